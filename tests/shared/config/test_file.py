"""The file of TANDEM_CONFIG: what it may say, and how mistakes are told."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tandem.deploy.local.parts import parts
from tandem.shared.config.api_keys import Role
from tandem.shared.config.file import Config, read
from tandem.shared.config.settings import Settings, SettingsError, load
from tests.support.processes import ROOT, clean_environment

KEY = "k" * 20
PASTED = "sk-proj-pastedpastedpasted"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, without a `.env`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> Path:
    path = Path("tandem.toml")
    path.write_text(text)
    return path


def refusal(text: str) -> str:
    with pytest.raises(ValueError, match=r"tandem\.toml: ") as caught:
        read(write(text))
    return str(caught.value).removeprefix("tandem.toml: ")


def test_the_example() -> None:
    config = read(ROOT / "docs/tandem.example.toml")
    assert list(config.providers) == ["openai", "anthropic", "local"]
    assert config.providers["local"].stall_timeout == timedelta(seconds=8)
    assert config.models["gpt-5.4-mini"].fallbacks == ("claude-haiku", "llama")
    assert config.models["gpt-5.4-mini"].fallback_after == timedelta(seconds=30)
    assert (config.keys["shop"].share, config.keys["shop"].rpm) == (0.25, 120)
    assert (config.tenants["shop"].weight, config.tenants["shop"].concurrency.sync) == (2, 4)
    assert [str(schedule.zone) for schedule in config.schedules] == ["Europe/Berlin", "UTC"]


def test_the_page_s_config() -> None:
    config, tenants, trial = configs("docs/providers.md")
    assert list(config.providers) == ["openai", "anthropic", "local"]
    assert config.models["claude-haiku"].provider == "anthropic"
    assert (tenants.tenants["shop"].weight, tenants.tenants["shop"].concurrency.llm) == (2, 50)
    assert not trial.providers, "the stand-in stays"
    assert trial.models["small"].tpm == 2000


@pytest.mark.parametrize("page", ["docs/operations.md", "docs/two-keys-one-limit.md"])
def test_the_config_of_another_page(page: str) -> None:
    assert configs(page)


def configs(page: str) -> list[Config]:
    """What a page's blocks of TOML say, each a whole file."""
    return [read(write(block)) for block in re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)]


def test_a_declared_provider_needs_no_stand_in() -> None:
    names = [{part.name for part in parts(settings(text))} for text in ("", "[providers.a]", "[models.a]")]
    assert ["llm-stub" in each for each in names] == [True, False, True]


def test_an_empty_file_is_a_config() -> None:
    assert read(write("")) == Config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = ", "not TOML"),
        ("[provider.a]", "'provider': no such name; did you mean providers?"),
        ("[providers.a]\nprm = 5", "providers.a: 'prm': no such name; did you mean rpm?"),
        ("[providers.a]\nbase_ulr = 'http://h'", "providers.a: 'base_ulr': no such name; did you mean base_url?"),
        ("[providers.a]\nbase_url = 'ftp://h'", "providers.a.base_url: must be a URL that begins with http://"),
        ("[providers.a]\nrpm = 0", "providers.a.rpm = 0: Input should be greater than or equal to 1"),
        ("[providers.a]\nrpm = true", "providers.a.rpm = True: Input should be a valid integer"),
        ("[providers.a]\ntimeout = 'soon'", "providers.a.timeout = 'soon': must be a duration such as 30s"),
        ("[providers.a]\ntimeout = '0s'", "providers.a.timeout = '0s': "),
        ("[providers.'a b']", 'providers."a b"'),
        ("[models.'gpt-5.4']\ncontext_window = 10", 'models."gpt-5.4".context_window = 10: '),
        (
            "[providers.openai]\n[models.m]\nprovider = 'opnai'",
            "models.m.provider: 'opnai': no such name; did you mean openai?",
        ),
        ("[models.m]\nfallbacks = ['n']", "models.m.fallbacks: 'n': no such name; known are m"),
        ("[models.m]\nfallbacks = ['m']", "models.m.fallbacks: each model may stand only once"),
        ("[keys.a]\nrole = 'user'", "keys.a: role and key_env go together"),
        ("[keys.a]\nshare = '120%'", "keys.a.share = '120%': must be a share such as 25%"),
        ("[keys.a]\nshare = nan", "keys.a.share"),
        ("[tenants.a]\nwieght = 2", "tenants.a: 'wieght': no such name; did you mean weight?"),
        ("[tenants.a]\nweight = 0", "tenants.a.weight = 0: Input should be greater than or equal to 0.01"),
        ("[tenants.a]\nweight = '2'", "tenants.a.weight = '2': Input should be a valid number"),
        ("[tenants.a]\nconcurrency = 5", "tenants.a.concurrency = 5: "),
        (
            "[tenants.a]\nconcurrency = {lm = 5}",
            "tenants.a.concurrency: 'lm': no such name; did you mean llm?",
        ),
        ("[tenants.a.concurrency]\nsync = 0", "tenants.a.concurrency.sync = 0: Input should be greater than or equal"),
        ("[tasks.reprot]\nconcurrency = 2", "tasks.'reprot': no such name; did you mean report?"),
        ("[tasks.report]\nconcurency = 2", "tasks.report: 'concurency': no such name; did you mean concurrency?"),
        ("[tasks.report]\nconcurrency = 0", "tasks.report.concurrency = 0: Input should be greater than or equal to 1"),
        ("[[schedules]]\nname = 'a'\ntask = 'chat'", "schedules.0.cron: Field required"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    assert refusal(text).startswith(said)


@pytest.mark.parametrize(
    "text",
    [
        f"[providers.a]\napi_key = '{PASTED}'",
        f"[providers.a]\napi_key_env = '{PASTED}'",
        f"[keys.a]\nrole = 'user'\nkey_env = '{PASTED}'",
        f"[keys.a]\nrole = '{PASTED}'",
        f"[providers.a]\nbase_url = 'gopher://u:{PASTED}@h'",
    ],
)
def test_a_secret_in_the_file_is_refused_unseen(text: str) -> None:
    assert PASTED not in refusal(text)


def schedule(cron: str = "0 0 * * *", task: str = "cleanup", more: str = "input = {older_than = '1d'}") -> str:
    return f"[[schedules]]\nname = 'a'\ntask = '{task}'\ncron = '{cron}'\n{more}\n"


@pytest.mark.parametrize("cron", ["0 0 31 2 *", "0 0 30 2,2 *", "60 * * * *", "* * * * * *", "daily", "@daily", ""])
def test_a_time_that_never_comes_is_refused(cron: str) -> None:
    assert refusal(schedule(cron)).startswith("schedules.0.cron")


@pytest.mark.parametrize("cron", ["0 0 29 2 *", "*/5 9-17 * * MON-FRI", "0 0 L * *", "0 0 30 2 1"])
def test_a_time_that_comes_is_taken(cron: str) -> None:
    assert read(write(schedule(cron))).schedules[0].cron == cron


def test_a_schedule_that_could_never_run_is_refused() -> None:
    assert "task 'cleanpu': no such name; did you mean cleanup?" in refusal(schedule(task="cleanpu"))
    assert "input.older_than of cleanup" in refusal(schedule(more="input = {older_than = 'long'}"))
    assert "must be a time zone" in refusal(schedule(more="timezone = 'Mars/Base'\ninput = {older_than = '1d'}"))
    assert "the name a stands twice" in refusal(schedule() * 2)


def test_every_mistake_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_CONFIG", str(write("[providers.a]\nrpm = 0\ntpm = 'x'")))
    with pytest.raises(SettingsError) as caught:
        load()
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["tandem.toml"] * 2


@pytest.mark.slow
def test_a_process_ends_with_2_and_one_line(folder: Path) -> None:
    write("[providers.a]\nrpm = 0")
    for value, said in (("tandem.toml", "tandem.toml: providers.a.rpm = 0: "), ("no.toml", "No such file")):
        env = {**clean_environment(), "TANDEM_CONFIG": value, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tandem.api"]
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert line.startswith("TANDEM_CONFIG=")
        assert said in line


# --- API keys of all sources


def settings(text: str, **values: Any) -> Settings:
    return Settings(_env_file=None, config=read(write(text)), run_dir=Path("run"), **values)


def test_keys_are_added_and_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", KEY)
    text = "[keys.shop]\nrole = 'admin'\nkey_env = 'SHOP_KEY'\nrpm = 9\n[keys.ann]\nshare = 0.5"
    keys = {key.name: key for key in settings(text, api_keys=f"ann:user:{'a' * 16}").keys}
    assert (keys["shop"].role, keys["shop"].rpm, keys["shop"].matches(KEY)) == (Role.ADMIN, 9, True)
    assert (keys["ann"].role, keys["ann"].rpm, keys["ann"].share) == (Role.USER, None, 0.5)


def test_the_local_keys_stay_beside_declared_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("run").mkdir()
    Path("run/user.key").write_text("u" * 20)
    assert [(key.name, key.rpm) for key in settings("[keys.user]\nrpm = 3").keys] == [("user", 3)]
    monkeypatch.setenv("SHOP_KEY", KEY)
    declared = "[keys.shop]\nrole = 'user'\nkey_env = 'SHOP_KEY'"
    assert [key.name for key in settings(declared).keys] == ["user", "shop"]
    assert [key.name for key in settings(declared, api_keys=f"ann:user:{'a' * 16}").keys] == ["ann", "shop"]
    [key] = settings(declared.replace("shop", "user")).keys  # the file's own of that name goes before the local one
    assert (key.name, key.matches(KEY)) == ("user", True)


SCHEDULE = (
    "[[schedules]]\nname = 'night'\ntask = 'cleanup'\ncron = '0 3 * * *'\nowner = 'anna'\ninput = {older_than = '7d'}\n"
)


def test_a_schedule_s_owner_has_a_key() -> None:
    with pytest.raises(SettingsError, match=r"TANDEM_CONFIG: schedules.night.owner: 'anna': .* did you mean ann\?"):
        _ = settings(SCHEDULE, api_keys=f"ann:user:{'a' * 16}").keys
    assert settings(SCHEDULE, api_keys=f"anna:user:{'a' * 16}").keys


def test_a_tenant_is_the_name_of_a_key_or_external() -> None:
    keys = f"anna:user:{'a' * 16}"
    with pytest.raises(SettingsError, match=r"TANDEM_CONFIG: tenants.'ana': .* did you mean anna\?"):
        _ = settings("[tenants.ana]\nweight = 2", api_keys=keys).keys
    text = "[tenants.anna]\nweight = 2\n[tenants.external]\nconcurrency = {sync = 1}"
    assert settings(text, api_keys=keys).keys


def test_a_process_without_keys_can_t_know_a_schedule_s_owner() -> None:
    settings(SCHEDULE).check_owners()
    with pytest.raises(SettingsError, match="did you mean ann"):
        settings(SCHEDULE, api_keys=f"ann:user:{'a' * 16}").check_owners()


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        "tandem.api",
        "tandem.llm_worker",
        "tandem.sync_worker",
        "tandem.shared.maintenance",
        "tandem.sync_worker.dashboard",
    ],
)
def test_an_unknown_owner_is_one_line_in_every_process(module: str, folder: Path) -> None:
    write(SCHEDULE)
    given = {
        "TANDEM_CONFIG": "tandem.toml",
        "TANDEM_API_KEYS": f"ann:user:{'a' * 16}",
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    env = {**clean_environment(), **given, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "TANDEM_CONFIG: schedules.night.owner: 'anna': no such name; did you mean ann?\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[keys.shop]\nrole = 'user'\nkey_env = 'NOT_SET'", "the environment variable NOT_SET is unset"),
        ("[keys.shop]\nrole = 'user'\nkey_env = 'SHORT'", "at least 16 characters"),
        ("[keys.shop]\nrpm = 3", "no such key in TANDEM_API_KEYS"),
        ("[keys.ann]\nrole = 'user'\nkey_env = 'SHOP_KEY'", "TANDEM_API_KEYS declares it too"),
        ("[keys.bob]\nrole = 'user'\nkey_env = 'SAME'", "each key may stand only once"),
    ],
)
def test_keys_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    for name, value in (("SHOP_KEY", KEY), ("SHORT", "short"), ("SAME", "a" * 16)):
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said) as caught:
        _ = settings(text, api_keys=f"ann:user:{'a' * 16}").keys
    assert "aaaa" not in str(caught.value)
