"""The rooms and what each may carry; import-linter (make check) reads the imports, here they are run."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT, clean_environment

ROOMS = ("api", "llm_worker", "sync_worker", "shared", "deploy")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
HEAVY = {"openai", "arq", "rq", "rq_dashboard", "weasyprint", "alembic", "sqlalchemy", "flask", "aiohttp", "jinja2"}
PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "jsonpickle"}
WEB = {"fastapi", "starlette", "uvicorn"}


def modules(code: str) -> set[str]:
    """The modules, with their parents, that a fresh process has after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


# --- what a process carries


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "has", "never"),
    [
        (
            "import tandem.api.app",
            {"fastapi", "redis", "obstore"},
            HEAVY | {"smtplib", "tandem.llm_worker", "tandem.sync_worker"},
        ),
        (
            "import tandem.llm_worker.main",
            {"arq", "openai"},
            {"rq", "rq_dashboard", "weasyprint", "alembic", "flask", "tandem.api", "tandem.sync_worker", *WEB},
        ),
        (
            "import tandem.sync_worker.engine.worker",
            {"rq"},
            {"openai", "arq", "aiohttp", "flask", "rq_dashboard", "tandem.api", "tandem.llm_worker", *WEB},
        ),
        (
            "import tandem.shared.maintenance.clock",
            {"redis", "aiohttp"},  # it delivers webhooks
            HEAVY - {"aiohttp"} | WEB | {"tandem.api", "tandem.llm_worker", "tandem.sync_worker"},
        ),
        (
            "import tandem.shared.store.executor, tandem.shared.dispatch, tandem.shared.runtime.bootstrap",
            {"redis", "structlog"},
            HEAVY | WEB | {"tandem.api"},
        ),
        (
            "from tandem.shared.tasks.registry import load; load()",
            {"tandem.shared.tasks.catalog.llm"},
            HEAVY | WEB | {"tandem.api", "smtplib"},
        ),
    ],
    ids=["gateway", "asyncio pool", "forking pool", "clock", "ground floor", "catalogue"],
)
def test_each_part_carries_its_own_libraries_only(code: str, has: set[str], never: set[str]) -> None:
    loaded = modules(code)
    assert has <= loaded
    assert loaded & never == set()


@pytest.mark.slow
def test_preloaded_handlers_bring_no_other_pool_s_library() -> None:
    """What the parent of all horses has loaded before the first fork."""
    code = "from tandem.sync_worker.context import HANDLERS\nfrom tandem.sync_worker.engine.attempt import CATALOG\n"
    loaded = modules(code + "HANDLERS.load('tandem.sync_worker.handlers', CATALOG)")
    assert {"weasyprint", "smtplib"} <= loaded
    rare = {"alembic", "sqlalchemy"}  # the horse of a migration imports them: every other one would carry them
    assert loaded & {"openai", "arq", "aiohttp", "tandem.api", "tandem.llm_worker", *rare, *WEB} == set()


# --- what is written


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(), path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_there_are_sources() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(ROOMS)
    assert "fastapi" in set(imported(ROOT / "api/app.py"))


def test_nothing_is_imported_by_its_folder_s_name() -> None:
    """`shared.store` would be a second module beside `tandem.shared.store`, with a state of its own."""
    others = [path for folder in ("tests", "bench") for path in (ROOT / folder).rglob("*.py")]
    for path in (*SOURCES, *others):
        assert {name.partition(".")[0] for name in imported(path)}.isdisjoint(ROOMS), path


def test_no_pickle_and_no_long_file() -> None:
    for path in SOURCES:
        assert {name.partition(".")[0] for name in imported(path)} & PICKLES == set(), path
        assert len(path.read_text().splitlines()) <= 300, path


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("openai", "llm_worker/providers/openai_compatible/client.py"),
        ("weasyprint", "sync_worker/reports/pdf.py"),
        ("smtplib", "sync_worker/mail/smtp.py"),
        ("rq_dashboard", "sync_worker/dashboard/pages.py"),
        ("alembic", "sync_worker/migrations/runner.py"),
    ],
)
def test_a_heavy_library_lives_in_one_room(library: str, home: str) -> None:
    users = {path for path in SOURCES if library in {name.partition(".")[0] for name in imported(path)}}
    room = home.partition("/")[0]
    assert ROOT / home in users
    assert {path.relative_to(ROOT).parts[0] for path in users} <= {room, "deploy"}


def test_a_heavy_library_is_kept_out_of_the_other_files_of_its_room() -> None:
    """Only `llm_worker/providers/openai_compatible/client.py` reads the SDK's exceptions; handlers may not."""
    handlers = [path for path in SOURCES if path.parent.name == "handlers"]
    assert len(handlers) >= 9
    for path in handlers:
        assert {name.partition(".")[0] for name in imported(path)} & (HEAVY | {"smtplib"}) == set(), path


def test_what_tests_share_is_in_their_support() -> None:
    """A helper in a `test_` file or a conftest is found by nobody who looks for it, and drags its fixtures along."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert len(files) > 100
    for path in files:
        for name in imported(path):
            assert not name.rpartition(".")[2].startswith(("test_", "conftest")), f"{path} imports {name}"
    for folder in {path.parent for path in files if "support" in path.parts}:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12, folder


CALLERS = {"deploy/local/demo.py", "deploy/local/run.py"}  # they use the API as anybody does
FORMER = "shared/webhooks/request.py"  # for webhooks of jobs that the version before has stored
ANOTHERS = {"deploy/local/parts.py", "deploy/local/stub.py"}  # the end of the provider's base URL


def literals(path: Path) -> Iterator[str]:
    """All strings that a file writes, those within f-strings too."""
    for node in ast.walk(ast.parse(path.read_text(), path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_urls_of_the_api_are_made_in_the_api_alone() -> None:
    makers = {str(path.relative_to(ROOT)) for path in SOURCES if any(text.startswith("/v1") for text in literals(path))}
    assert makers == {"api/links.py", *CALLERS, *ANOTHERS, FORMER}


# --- what the repository carries

FORBIDDEN = {
    "a package index": re.compile(
        r"(?<!no-emit-)\b(?:extra-)?index-url\b|--(?:trusted-host|find-links)\b|\[\[tool\.uv\.index"
    ),
    "a registry's host": re.compile(
        r"pythonhosted\.org|pypi\.org/simple|artifactory|jfrog|codeartifact|pkg\.dev\b|nexus|\b(?:registry|mirror)s?\.(?!py\b)[a-z]",
        re.IGNORECASE,
    ),
    "a folder of one machine": re.compile(r"(?<![\w.}])/(?:home|root|work|Users|workspace|mnt)/\w"),
}


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_of_the_repository_names(what: str) -> None:
    files = tracked()
    assert ROOT / "README.md" in files
    found = []
    for path in files:
        content = path.read_bytes()
        if b"\0" in content or path == Path(__file__):  # not a text, or these patterns themselves
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            if FORBIDDEN[what].search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line[:120]}")
    assert found == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("--index-url https://example.com/simple", "a package index"),
        ("PIP_EXTRA_INDEX=1 pip install --extra-index-url=x y", "a package index"),
        ("see https://files.pythonhosted.org/packages/x.whl", "a registry's host"),
        ("FROM registry.example.com/python", "a registry's host"),
        ('open("/home/ann/x")', "a folder of one machine"),
        ("cd /work/main", "a folder of one machine"),
    ],
)
def test_the_patterns_find_what_they_are_for(line: str, what: str) -> None:
    assert FORBIDDEN[what].search(line)


def test_no_folder_has_more_than_about_a_dozen_modules() -> None:
    folders = Counter(path.parent.relative_to(ROOT) for path in SOURCES if path.name != "__init__.py")
    assert {folder: count for folder, count in folders.items() if count > 13} == {}
