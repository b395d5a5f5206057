"""What the documentation says is so: the page on adding a task is followed, tables are compared, names exist."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tandem.api.jobs import events
from tandem.deploy.local.ports import free_port
from tandem.deploy.local.run import welcome
from tandem.shared.config.api_keys import make_key_files
from tandem.shared.config.settings import Settings, variable
from tandem.shared.tasks.registry import load
from tandem.shared.webhooks import deliverer, request
from tandem.sync_worker.mail import smtp
from tandem.sync_worker.reports import table
from tests.support.processes import ROOT, Process, until
from tests.support.sources import copy_sources

README = (ROOT / "README.md").read_text()
ADD_A_TASK = (ROOT / "docs/add-a-task.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
PRESENT = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [*PRESENT, ROOT / "CHANGELOG.md"]
ROOMS = ("api", "llm_worker", "sync_worker", "shared", "deploy")
PARTS = {"api", "llm-worker", "sync-worker", "clock", "dashboard", "redis", "llm-stub", "mailbox"}
CONTRACT_TARGETS = {"run", "test", "demo", "check", "bench", "chaos", *PARTS}


# --- docs/add-a-task.md, literally

BLOCKS = dict(re.findall(r"^`([\w/.]+)`:\n\n```python\n(.*?)^```$", ADD_A_TASK, re.DOTALL | re.MULTILINE))


def test_a_task_is_two_files_and_under_30_lines() -> None:
    folders = [str(Path(name).parent) for name in BLOCKS]
    assert folders[0] == "shared/tasks/catalog"
    assert folders[1:] in (["llm_worker/handlers"], ["sync_worker/handlers"])
    assert not any((ROOT / name).exists() for name in BLOCKS)
    lines = [line for block in BLOCKS.values() for line in block.splitlines() if line.strip()]
    assert len(lines) < 30


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the sources with the page's files in it."""
    copy_sources(tmp_path, "api", "llm_worker", "sync_worker", "shared")
    for name, block in BLOCKS.items():
        (tmp_path / name).write_text(block)
    return tmp_path


@pytest.fixture
def gateway(copy: Path, valkey: str) -> Iterator[str]:
    """A gateway, a worker and a stand-in for the provider, run from the copy with its own `.run`."""
    run_dir = copy / ".run"
    run_dir.mkdir()
    make_key_files(run_dir)
    port = free_port()
    env = {"REDIS_URL": valkey, "PORT": str(port), "TANDEM_LOG_FORMAT": "console"}
    with ExitStack() as stack:

        def start(module: str, cwd: Path, **more: str) -> Process:
            log = copy / f"{module}.log"
            process = Process([sys.executable, "-m", module], env={**env, **more}, log=log, cwd=cwd)
            stack.callback(process.stop)
            return process

        start("tandem.deploy.local.stub", ROOT, RUN_DIR=str(run_dir))
        until((run_dir / "llm.url").exists, what="the stand-in's address")
        processes = [start("tandem.api", copy), start("tandem.llm_worker", copy)]
        for process, text in zip(processes, ("listening on", "ready,"), strict=True):
            process.until_says(text)
        base = (run_dir / "llm.url").read_text().strip().removesuffix("/v1")
        until(lambda: answers(f"{base}/health"), what="the stand-in's answer")
        yield f"127.0.0.1:{port}"


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_following_the_page_gives_a_task_that_works(gateway: str, copy: Path) -> None:
    request = curl(ADD_A_TASK, copy, gateway)
    with httpx.Client(timeout=60) as client:
        job = client.send(request).raise_for_status().json()
        headers = {"Authorization": request.headers["Authorization"]}
        tasks = client.get(f"http://{gateway}/v1/tasks", headers=headers).raise_for_status().json()["tasks"]
    name = Path(next(iter(BLOCKS))).stem
    assert (job["task"], job["status"], job["attempt"], job["error"]) == (name, "succeeded", 1, None)
    assert all(job["result"].values())
    assert name in {task["name"] for task in tasks}


def curl(page: str, folder: Path, gateway: str) -> httpx.Request:
    """Read the page's curl line as a shell run in `folder` would."""
    [line] = re.findall(r"^```sh\n(curl .*?)\n```$", page, re.DOTALL | re.MULTILINE)
    line = line.replace("127.0.0.1:8000", gateway)
    line = re.sub(r"\$\(cat ([\w./]+)\)", lambda match: (folder / match[1]).read_text().strip(), line)
    _curl, _silent, url, *options = shlex.split(line.replace("\\\n", " "))
    pairs = list(zip(options[::2], options[1::2], strict=True))
    given = (value.partition(": ") for option, value in pairs if option == "-H")
    headers = {name: value for name, _, value in given}
    [body] = [value for option, value in pairs if option == "-d"]
    return httpx.Request("POST", url, headers={**headers, "Content-Type": "application/json"}, content=body)


# --- README.md's tables


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def section(start: str, end: str, page: str = README) -> str:
    return page.split(start, 1)[1].split(end, 1)[0]


def test_the_settings_table_is_complete_and_its_defaults_are_right() -> None:
    table = {row[0].strip("`"): row[1] for row in rows(section("<!-- settings:", "## Scaling"))}
    assert set(table) == {variable(field) for field in Settings.model_fields}
    given = {name: cell.strip("`") for name, cell in table.items() if not cell.startswith("unset")}
    documented = Settings.model_validate(given)
    for field, info in Settings.model_fields.items():
        assert getattr(documented, field) == info.default, field
        assert (variable(field) in given) == (info.default is not None), field


def test_the_tasks_table_is_the_catalogue() -> None:
    documented = {row[0].strip("`"): (row[1], row[3]) for row in rows(section("## Tasks", "`POST /v1/{task}`"))}
    declared = {
        spec.name: (
            f"{spec.queue}{', admin' if spec.admin else ''}",
            f"{spec.retry.max_attempts}, {spec.timeout.total_seconds() / 60:g} min",
        )
        for spec in load()
    }
    assert documented == declared


# --- numbers of other pages

NUMBERS = [
    ("docs/api.md", "A comment every {} s keeps the connection open", events.HEARTBEAT),
    ("docs/webhooks.md", "up to {} at once", deliverer.AT_ONCE),
    ("docs/webhooks.md", "no answer within {} s", request.TIMEOUT.total_seconds()),
    ("docs/mail-and-reports.md", "or {} s went by", smtp.DATA_TIMEOUT),
    ("docs/mail-and-reports.md", "smaller type (down to {} pt)", min(table.SIZES)),
]


@pytest.mark.parametrize(("page", "sentence", "number"), NUMBERS)
def test_a_number_on_a_page_is_the_code_s(page: str, sentence: str, number: float) -> None:
    assert sentence.format(f"{number:g}") in (ROOT / page).read_text()


def test_the_quick_start_shows_what_make_run_prints() -> None:
    [block] = re.findall(r"```console\n\$ make run\n(.*?)```", README, re.DOTALL)
    assert block[block.index("ready http") :].strip() == welcome(Settings(_env_file=None))


# --- docs/architecture.md


def test_the_page_is_short() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 120


def test_every_room_has_its_place_on_the_page() -> None:
    rooms = [path.parent for room in ROOMS for path in (ROOT / room).glob("*/__init__.py")]
    assert len(rooms) > 20
    for room in rooms:
        assert f"`{room.relative_to(ROOT)}/`" in ARCHITECTURE, room


def test_the_rules_are_the_linter_s() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layered = {name: contract["layers"] for contract in contracts for name in contract.get("containers", ())}
    for room in ("shared", "llm_worker"):
        [rule] = re.findall(rf"^\d\. Within `{room}`: (.*)$", ARCHITECTURE, re.MULTILINE)
        order = [re.split(r" \| ", layer) for layer in layered[f"tandem.{room}"]]
        ranks = [[next(i for i, layer in enumerate(order) if name in layer) for name in step] for step in steps(rule)]
        assert ranks == sorted(ranks), rule
        assert len(ranks) > 3
    [pure] = [contract["source_modules"] for contract in contracts if contract["name"] == "what decides is pure"]
    [rule] = re.findall(r"^\d\. What decides is pure.*$", ARCHITECTURE, re.MULTILINE)
    named = {path.rstrip("/").removesuffix(".py").replace("/", ".") for path in re.findall(r"`([\w/.]+)`", rule)}
    assert {f"tandem.{name}" for name in named} == set(pure)


def steps(rule: str) -> list[list[str]]:
    """The names on each step of a rule such as "`a | b` → `c`, with …"."""
    return [re.findall(r"\w+", names) for names in re.findall(r"`([\w |]+)`", rule.partition(",")[0])]


def test_the_ten_questions_have_answers() -> None:
    answers = rows(section("## Ten questions", "\n## ", ARCHITECTURE + "\n## "))
    assert len(answers) == 10
    for question, answer, _ in answers:
        path, *names = re.findall(r"`([^`]+)`", answer)
        assert (ROOT / path).exists(), question
        for name in names:
            assert name in defined(ROOT / path), f"{question} {path} has no {name}"


def defined(path: Path) -> set[str]:
    """The functions, classes and module-level names of a file in Python or Lua."""
    if path.suffix == ".lua":
        return set(re.findall(r"\bfunction (?:[\w.]+[.:])?(\w+)\(", path.read_text()))
    tree = ast.parse(path.read_text(), path)
    names = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    targets = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
    return names | {target.id for target in targets if isinstance(target, ast.Name)}


# --- targets, links, names


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_every_make_target_that_is_named_exists_and_is_listed() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code)) <= targets
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in targets.intersection(CONTRACT_TARGETS):
        assert re.search(rf"^\W*(\[1m)?{target}\b", listed, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_tests_that_are_named_exist(page: Path) -> None:
    sources = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page.read_text()):
        assert re.search(rf"\bdef {name}\(", sources), name


PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join((*ROOMS, 'tests', 'bench', 'docs', 'tandem'))})/[\w./-]*[\w/]")
FILE = re.compile(r"`([\w./-]+\.(?:py|lua))`")
MODULE = re.compile(r"(?:-m|\bimport|\bfrom|\barq) (tandem(?:\.\w+)+)|`(tandem(?:\.[a-z_]\w*)+)`")
MADE = {*BLOCKS, "bench/profiles/"}  # by whoever follows the page, by `make profile`


@pytest.mark.parametrize("page", PRESENT, ids=name_of)
def test_the_paths_that_are_named_exist(page: Path) -> None:
    """All of a file's path, from the top: nobody has to search. (A changelog may name what was.)"""
    text = page.read_text()
    named = {*PATH.findall(text), *FILE.findall(text)} - MADE
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("page", PRESENT, ids=name_of)
def test_commands_start_modules_of_the_package(page: Path) -> None:
    """The folders' own names are not importable where the package is installed."""
    assert re.findall(rf"(?:-m|\barq) (?:{'|'.join(ROOMS)})\b", page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_modules_that_are_named_exist(page: Path) -> None:
    named = {"".join(names) for names in MODULE.findall(page.read_text())}
    assert sorted(name for name in named if not is_there(name)) == []


def is_there(name: str) -> bool:
    """Whether a dotted name is a module of ours, a package, or a name in one."""
    path = ROOT.joinpath(*name.split(".")[1:])
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    if str(path.relative_to(ROOT).with_suffix(".py")) in BLOCKS:
        return True
    module = path.parent.with_suffix(".py")
    if not module.exists():
        return False
    made = "__getattr__" in defined(module) and f'"{path.name}"' in module.read_text()
    return made or path.name in defined(module)
