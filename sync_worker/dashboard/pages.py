"""rq-dashboard's Flask application on our connection, our templates and jobs as the job book knows them."""

from collections.abc import Mapping
from typing import Any, cast

import rq_dashboard
import rq_dashboard.web
from flask import Flask, Response, abort, request
from flask.json.provider import DefaultJSONProvider
from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.registry import (
    BaseRegistry,
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from rq.serializers import JSONSerializer

from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.redis_client import Client
from tandem.sync_worker.dashboard.readonly import ReadOnly
from tandem.sync_worker.dashboard.shown import ShownJob, ShownQueue, ShownWorker
from tandem.sync_worker.dashboard.templates import PAGES, STATIC, MendedTemplates, page_script

REGISTRIES: Mapping[str, type[BaseRegistry]] = {
    "scheduled": ScheduledJobRegistry,
    "deferred": DeferredJobRegistry,
    "started": StartedJobRegistry,
    "finished": FinishedJobRegistry,
    "failed": FailedJobRegistry,
    "canceled": CanceledJobRegistry,
}
PER_PAGE, PAGE = 100, 1_000_000  # the largest numbers that are answered
UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


class PlainJson(DefaultJSONProvider):
    """JSON that is no HTML, whatever reads it: the same values without a character that could open a tag."""

    def dumps(self, obj: Any, **options: Any) -> str:
        text = super().dumps(obj, **options)
        for character, escape in UNSAFE.items():
            text = text.replace(character, escape)
        return text


def flask_app(connection: Client) -> Flask:
    """Build rq-dashboard so that it reads only, by JSON only, and survives what it finds."""
    reader = ReadOnly(connection)
    app = Flask("rq_dashboard")  # by this name Flask finds the static files that its pages ask for
    app.config.update(RQ_DASHBOARD_REDIS_URL=("the shared Redis",), RQ_DASHBOARD_DISABLE_DELETE=True)
    app.redis_conn = reader  # type: ignore[attr-defined]  # where rq-dashboard looks for it
    app.json = PlainJson(app)
    app.jinja_loader = MendedTemplates()
    _mend(reader)
    app.before_request(_refuse_nonsense)
    app.register_blueprint(rq_dashboard.blueprint)
    app.register_error_handler(NoSuchJobError, lambda _error: ("No such job.\n", 404))
    for outage in (RedisError, StoreUnavailable):
        app.register_error_handler(outage, lambda _error: ("Redis does not answer.\n", 503, {"Retry-After": "5"}))
    _serve_scripts(app)
    return app


def _mend(reader: ReadOnly) -> None:
    web: Any = rq_dashboard.web
    # It opens a client of its own for each request, without our timeouts: give it ours.
    web.from_url = lambda *_args, **_kwargs: (None, reader)
    web.config.serializer = JSONSerializer
    web.Job, web.Queue, web.Worker = ShownJob, ShownQueue, ShownWorker
    web.get_queue_registry_jobs_count = page_of_jobs


def _serve_scripts(app: Flask) -> None:
    """Serve what upstream has inline. Made at start, so that an rq-dashboard we don't know is noticed there."""
    scripts = {f"{page}.js": (page_script(page), "text/javascript") for page in PAGES}
    files = {**scripts, "tandem.css": ((STATIC / "tandem.css").read_text(), "text/css")}

    def serve(name: str) -> Response:
        if name not in files:
            abort(404)
        text, kind = files[name]
        return Response(text, mimetype=kind, headers={"Cache-Control": "no-cache"})

    app.add_url_rule("/tandem/<name>", view_func=serve, methods=["GET"])


def _refuse_nonsense() -> None:
    """Answer 404 where rq-dashboard would fail: another Redis, no such list, a page 0."""
    given = request.view_args or {}
    right = (
        given.get("instance_number", 0) == 0
        and given.get("registry_name", "queued") in {"queued", *REGISTRIES}
        and given.get("order", "asc") in {"asc", "dsc"}
        and _between(given.get("per_page", 1), PER_PAGE)
        and _between(given.get("page", 1), PAGE)
    )
    if not right:
        abort(404)


def _between(given: str | int, largest: int) -> bool:
    text = str(given)
    return text.isascii() and text.isdecimal() and len(text) <= len(str(largest)) and 1 <= int(text) <= largest


def page_of_jobs(
    queue_name: str, registry_name: str, offset: int, per_page: int, order: str, connection: Any
) -> tuple[int, list[dict[str, Any]]]:
    """Give the length of a list and one page of it. Upstream's own gives more than a page from the second on."""
    queue, backwards, end = ShownQueue(queue_name, connection=connection), order == "dsc", offset + per_page - 1
    if registry_name == "queued":
        total = queue.count
        ids = queue.get_job_ids(offset, per_page)
        if backwards:
            start = total - offset - per_page
            ids = queue.get_job_ids(max(start, 0), per_page + min(start, 0) if start > -per_page else 0)[::-1]
    else:
        kept = REGISTRIES[registry_name](queue_name, connection=connection, serializer=JSONSerializer)
        total = kept.get_job_count(cleanup=False)
        ids = kept.get_job_ids(offset, end, desc=backwards, cleanup=False)
    jobs = [job for job_id in ids if (job := queue.fetch_job(job_id))]
    return total, [cast("dict[str, Any]", rq_dashboard.web.serialize_job(job)) for job in jobs if isinstance(job, Job)]
