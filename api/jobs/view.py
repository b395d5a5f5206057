"""A job as an answer."""

from fastapi import Response

from tandem.api.links import links
from tandem.shared.jobs.model import Job
from tandem.shared.jobs.view import AnyJob
from tandem.shared.jobs.view import show as show_with


def show(job: Job) -> AnyJob:
    """Show a record with this API's links."""
    return show_with(job, links(job))


def answer(job: Job, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Make the answer. The worker has validated the result; doing it again would only cost time."""
    return Response(show(job).model_dump_json(), status, headers, media_type="application/json")
