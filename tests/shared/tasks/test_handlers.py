"""Handlers and specs match one to one, or the worker does not start."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tandem.shared.config.settings import BAD_SETTING
from tandem.shared.tasks.handlers import BindingError, Handlers
from tandem.shared.tasks.registry import Catalog
from tandem.shared.tasks.spec import AnySpec, Input, Output, Queue, TaskSpec
from tests.support.processes import clean_environment
from tests.support.sources import copy_sources


class Nothing(Input):
    pass


class Done(Output):
    pass


def declare(name: str, queue: Queue = Queue.LLM) -> AnySpec:
    return TaskSpec(
        name=name, queue=queue, summary="Do.", input=Nothing, output=Done, example={}, timeout=timedelta(seconds=1)
    )


GREET, WAVE, PRINT = declare("greet"), declare("wave"), declare("print", Queue.SYNC)
CATALOG = Catalog([GREET, WAVE, PRINT])


def handler(*_: object) -> Done:
    return Done()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty package, so that `load` has something to import."""
    name = f"handlers_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return name


def bound(*specs: AnySpec) -> Handlers[type[Done]]:
    handlers: Handlers[type[Done]] = Handlers(Queue.LLM)
    for spec in specs:
        handlers.handles(spec)(handler)
    return handlers


def test_one_to_one_is_right_and_the_other_pool_is_not_asked(package: str) -> None:
    handlers = bound(GREET, WAVE)
    handlers.load(package, CATALOG)
    assert handlers["greet"] is handler


def test_the_decorator_gives_the_function_back() -> None:
    assert bound().handles(GREET)(handler) is handler


def test_a_spec_without_a_handler(package: str) -> None:
    with pytest.raises(BindingError, match=f"^no handler in {package} for: wave$"):
        bound(GREET).load(package, CATALOG)


def test_all_missing_handlers_are_named(package: str) -> None:
    with pytest.raises(BindingError, match=r"for: greet, wave$"):
        bound().load(package, CATALOG)


def test_a_handler_without_a_spec(package: str) -> None:
    with pytest.raises(BindingError, match=r"^no spec in the llm catalogue for: nod$"):
        bound(GREET, WAVE, declare("nod")).load(package, CATALOG)


def test_two_handlers_for_one_spec() -> None:
    with pytest.raises(BindingError, match=r"^task 'greet' has two handlers$"):
        bound(GREET, GREET)


def test_a_handler_in_the_wrong_pool() -> None:
    with pytest.raises(BindingError, match=r"^task 'print' belongs to the sync pool, not to llm$"):
        bound(PRINT)


def test_every_module_of_the_package_is_imported(package: str, tmp_path: Path) -> None:
    for module in ("one", "two"):
        (tmp_path / package / f"{module}.py").touch()
    bound(GREET, WAVE).load(package, CATALOG)
    assert {f"{package}.one", f"{package}.two"} <= set(sys.modules)


# --- real workers


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what the workers run, to be spoilt."""
    return copy_sources(tmp_path, "llm_worker", "sync_worker", "shared")


def refused(module: str, folder: Path, redis_url: str) -> str:
    """What `python -m module` says when it refuses to start."""
    environment = {**clean_environment(), "REDIS_URL": redis_url, "OPENAI_API_KEY": "sk-nobody"}
    ended = subprocess.run(
        [sys.executable, "-m", module, "--burst"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (BAD_SETTING, ""), ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


CONTEXTS = {"llm_worker": "tandem.llm_worker.generation.context", "sync_worker": "tandem.sync_worker.context"}
HANDLER = (
    "\n\nfrom {context} import handles\nfrom tandem.shared.tasks.catalog.{family} import {spec}\n\n@handles({spec})\n"
)
HANDLER += "def twice(ctx, job): ...\n"


@pytest.mark.slow
@pytest.mark.parametrize(("module", "task"), [("llm_worker", "score"), ("sync_worker", "report")])
def test_a_worker_without_one_of_its_handlers_does_not_start(
    sources: Path, valkey: str, module: str, task: str
) -> None:
    (sources / "tandem" / module / "handlers" / f"{task}.py").unlink()
    assert refused(f"tandem.{module}", sources, valkey) == f"no handler in tandem.{module}.handlers for: {task}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "family", "spec", "line"),
    [
        ("llm_worker", "llm", "SCORE", "task 'score' has two handlers\n"),
        ("sync_worker", "llm", "SCORE", "task 'score' belongs to the llm pool, not to sync\n"),
    ],
)
def test_a_worker_with_a_handler_too_many_does_not_start(
    sources: Path, valkey: str, module: str, family: str, spec: str, line: str
) -> None:
    (sources / module / "handlers" / "zz.py").write_text(
        HANDLER.format(context=CONTEXTS[module], family=family, spec=spec)
    )
    assert refused(f"tandem.{module}", sources, valkey) == line


@pytest.mark.slow
def test_whole_workers_start(sources: Path, valkey: str) -> None:
    """The copy is as good as the original, so the refusals above are for their reasons."""
    for module in ("llm_worker", "sync_worker"):
        environment = {**clean_environment(), "REDIS_URL": valkey, "OPENAI_API_KEY": "sk-nobody"}
        command = [sys.executable, "-m", f"tandem.{module}", "--burst"]
        ended = subprocess.run(command, cwd=sources, env=environment, capture_output=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
