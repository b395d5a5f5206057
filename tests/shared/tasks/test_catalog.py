"""The catalogue: what a declaration must be, and what refuses to be declared."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tandem.api.app import create_app
from tandem.api.links import PREFIX
from tandem.shared.config.api_keys import parse_keys
from tandem.shared.config.settings import Settings
from tandem.shared.tasks.registry import RESERVED, Catalog, load
from tandem.shared.tasks.spec import NAME, AnySpec, Input, Output, Queue, TaskSpec
from tests.support.processes import clean_environment
from tests.support.sources import copy_sources

CATALOG = load()
SPECS = pytest.mark.parametrize("spec", list(CATALOG), ids=lambda spec: spec.name)


class Greeting(Input):
    name: str


class Greeted(Output):
    text: str


def declare(name: str = "greet", **changes: Any) -> AnySpec:
    return TaskSpec(
        **{
            "name": name,
            "queue": Queue.LLM,
            "summary": "Greet.",
            "input": Greeting,
            "output": Greeted,
            "example": {"name": "Ada"},
            "timeout": timedelta(seconds=1),
            **changes,
        }
    )


# --- the nine


def test_the_nine_tasks_of_the_contract() -> None:
    assert {spec.name: spec.queue.value for spec in CATALOG} == {
        **dict.fromkeys(("chat", "score", "summarize", "embed", "extract"), "llm"),
        **dict.fromkeys(("email", "report", "cleanup", "migrate"), "sync"),
    }
    assert [spec.name for spec in CATALOG if spec.admin] == ["cleanup", "migrate"]


@SPECS
def test_an_example_survives_its_way_through_the_job_book(spec: AnySpec) -> None:
    given = spec.input.model_validate(spec.example)
    stored = given.model_dump_json(by_alias=True, exclude_unset=True)
    assert spec.input.model_validate_json(stored) == given
    assert set(json.loads(stored)) == set(spec.example)


@SPECS
def test_unknown_fields_are_refused(spec: AnySpec) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        spec.input.model_validate({**spec.example, "no_such_field": 1})


@SPECS
def test_limits_are_set(spec: AnySpec) -> None:
    assert timedelta(0) < spec.timeout <= timedelta(hours=1)
    assert spec.retry.max_attempts >= 1
    assert timedelta(0) < spec.retry.base <= spec.retry.cap
    assert spec.summary.endswith(".")


def test_a_catalogue_is_asked_by_name_and_by_pool() -> None:
    greet, wave = declare(), declare("wave", queue=Queue.SYNC)
    catalog = Catalog([greet, wave])
    assert (catalog["greet"], "wave" in catalog, "nod" in catalog) == (greet, True, False)
    assert (catalog.of(Queue.LLM), catalog.of(Queue.SYNC), list(catalog)) == ([greet], [wave], [greet, wave])
    with pytest.raises(KeyError):
        _ = catalog["nod"]


# --- what is refused


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="'greet' is declared twice"):
        Catalog([declare(), declare(queue=Queue.SYNC)])


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_path_of_the_api_is_no_task(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is .*reserved"):
        Catalog([declare(name)])


def test_every_path_of_the_api_is_reserved(tmp_path: Path) -> None:
    """A route that the gateway has beside the tasks must not be shadowed by a new task."""
    keys = parse_keys("root:admin:root-key-0123456789ab")
    app = create_app(Settings(_env_file=None, run_dir=tmp_path, api_keys=keys))
    names = {path.split("/")[2] for path in app.openapi()["paths"] if path.startswith(f"{PREFIX}/")}
    routes = names - {spec.name for spec in load()}
    assert {"jobs", "tasks", "queues"} <= routes
    assert routes <= RESERVED


@pytest.mark.parametrize(
    "name", ["", "Greet", "1st", "_x", "greet-me", "greet me", "greet/me", "../x", "grüße", "x" * 41, "greet\n", "a:b"]
)
def test_a_name_that_is_no_identifier(name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"task name {name!r} must match")):
        declare(name)


def test_the_longest_name() -> None:
    assert NAME.fullmatch(declare("x" * 40).name)


@pytest.mark.parametrize("example", [{}, {"name": 1}, {"name": "Ada", "age": 36}])
def test_an_example_that_its_own_model_refuses(example: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Greeting"):
        declare(example=example)


@pytest.mark.parametrize("change", [{"retries": 3}, {"timeout_seconds": 3}])
def test_an_option_that_does_not_exist(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        declare(**change)


def test_every_module_of_the_folder_is_read(tmp_path: Path) -> None:
    """A new file in the catalogue's folder is all that a new spec needs; two of a name end the import."""
    module = copy_sources(tmp_path, "shared") / "shared/tasks/catalog/greet.py"
    source = (
        "from datetime import timedelta\n"
        "from tandem.shared.tasks.spec import Input, Output, Queue, TaskSpec\n"
        "class In(Input):\n    name: str\n"
        "class Out(Output):\n    text: str\n"
        "GREET = TaskSpec(name='{name}', queue=Queue.LLM, summary='Greet.', input=In, output=Out,\n"
        "                 example={{'name': 'Ada'}}, timeout=timedelta(seconds=9))\n"
    )
    module.write_text(source.format(name="greet"))
    assert set(names(tmp_path).stdout.split()) == {"greet", *(spec.name for spec in CATALOG)}
    module.write_text(source.format(name="chat"))
    assert "ValueError: task name 'chat' is declared twice" in names(tmp_path).stderr


def names(folder: Path) -> subprocess.CompletedProcess[str]:
    """The names of the catalogue of the sources in `folder`."""
    code = "from tandem.shared.tasks.registry import load; print(*(spec.name for spec in load()))"
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
