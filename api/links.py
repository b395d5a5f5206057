"""The API's paths and links, made nowhere else."""

from tandem.shared.jobs.model import Job
from tandem.shared.jobs.view import Links, links_of
from tandem.shared.tasks.spec import AnySpec

PREFIX = "/v1"
JOBS = f"{PREFIX}/jobs"


def task_path(spec: AnySpec) -> str:
    """Give the path of a task: POST submits, and a job's id follows it."""
    return f"{PREFIX}/{spec.name}"


def job_url(job_id: str) -> str:
    """Give a job's own page."""
    return f"{JOBS}/{job_id}"


def links(job: Job) -> Links:
    """Give the links that an answer shows."""
    return links_of(job_url(job.id), file=job.file is not None)
