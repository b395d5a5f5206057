"""Settings as a process sees them: read from the environment and `.env`, refused in one line."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ByteSize

from tandem.shared.config.environment import environment
from tandem.shared.config.settings import BAD_SETTING, Settings, SettingsError, load, variable
from tests.support.processes import ROOT, clean_environment

HIDDEN = "hunter2hunter2hunter2"
SECRETS = {
    "TANDEM_API_KEYS": f"ann:admin:{HIDDEN}",
    "REDIS_URL": f"redis://u:{HIDDEN}@redis.example:6379/3",
    "SMTP_URL": f"smtp://u:{HIDDEN}@mail.example:587",
    "DATABASE_URL": f"postgresql://u:{HIDDEN}@db.example/app",
    "OPENAI_API_KEY": HIDDEN,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and an environment that sets nothing."""
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What `load` says to these variables."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as info:
        load()
    return str(info.value)


def loaded(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load()


def run(module: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m module` to its end, in a folder without `.env`."""
    settings = {**clean_environment(), **environment, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module]
    return subprocess.run(command, env=settings, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


# --- what is refused, and how it is said


BAD = [
    ("PORT", "0", "greater than or equal to 1"),
    ("PORT", "65536", "less than or equal to 65535"),
    ("PORT", "http", "valid integer"),
    ("DASHBOARD_PORT", "-1", "greater than or equal to 1"),
    ("LLM_WORKERS", "many", "valid integer"),
    ("LLM_WORKERS", "-1", "greater than or equal to 0"),
    ("SYNC_WORKERS", "257", "less than or equal to 256"),
    ("OPENAI_BASE_URL", "localhost/v1", "begins with http://, https://"),
    ("OPENAI_BASE_URL", "http:///v1", "must name a host"),
    ("OPENAI_BASE_URL", "http://llm/v 1", "have no blanks"),
    ("OPENAI_BASE_URL", "http://llm/v1#part", "no fragment"),
    ("TANDEM_LLM_MAX_JOBS", "9" * 20, "less than or equal to"),
    ("TANDEM_QUEUE_MAX", "9" * 20, "less than or equal to"),
    ("TANDEM_CONTEXT_WINDOW", "9" * 20, "less than or equal to"),
    ("TANDEM_SYNC_CONCURRENCY", "0", "greater than or equal to 1"),
    ("TANDEM_SYNC_CONCURRENCY", "65", "less than or equal to 64"),
    ("TANDEM_SYNC_MEMORY", "9" * 20, "less than or equal to"),
    ("TANDEM_LLM_MAX_MEMORY", "9" * 20, "less than or equal to"),
    ("TANDEM_MAX_BODY", "2 GiB", "less than or equal to"),
    ("RUN_DIR", "/dev/null", "must be a folder"),
    ("TANDEM_LLM_CONCURRENCY", "0", "greater than or equal to 1"),
    ("TANDEM_LLM_TIMEOUT", "0.001", "at least 0.01s"),
    ("TANDEM_CONTEXT_WINDOW", "1", "greater than or equal to 256"),
    ("TANDEM_FILES_URL", "ftp://files", "begins with file://, s3://"),
    ("TANDEM_TEMPLATES", "no/such/folder", "not point to a directory"),
    ("TANDEM_JOB_TTL", "0", "at least 0.01s"),
    ("TANDEM_MAX_AGE", "-1s", "such as 30s"),
    ("TANDEM_JOB_TTL", "a week", "such as 30s, 15m, 12h, 7d or P7D"),
    ("TANDEM_QUEUE_MAX", "0", "greater than or equal to 1"),
    ("TANDEM_GRACE", "-5s", "such as 30s"),
    ("TANDEM_GRACE", "-P1D", "can't be negative"),
    ("TANDEM_GRACE", "5 dours", "such as 30s"),
    ("TANDEM_GRACE", "9" * 30 + "d", "too long"),
    ("TANDEM_MAX_BODY", "big", "such as 512 KiB"),
    ("TANDEM_MAX_BODY", "1 QiB", "byte unit"),
    ("TANDEM_MAX_BODY", "1023", "greater than or equal to 1024"),
    ("TANDEM_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ("TANDEM_LOG_FORMAT", "xml", "'auto', 'console' or 'json'"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD, ids=lambda part: part[:20])
def test_a_bad_value_is_one_line_with_name_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    said = refusal(monkeypatch, **{name: value})
    assert said.startswith(f"{name}={value!r}: ")
    assert allowed in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("TANDEM_API_KEYS", HIDDEN, "role is user or admin"),  # name and role forgotten
        ("TANDEM_API_KEYS", f"{HIDDEN}:user:ann", "at least 16"),  # the wrong way round
        ("TANDEM_API_KEYS", f"ann:{HIDDEN}", "role is user or admin"),
        ("TANDEM_API_KEYS", f"ann:user:{HIDDEN},bob:user:{HIDDEN}", "each key may stand only once"),
        ("REDIS_URL", f"http://:{HIDDEN}@redis", "redis+sentinel://"),
        ("REDIS_URL", f"redis://:{HIDDEN}/{HIDDEN}@redis", "redis+sentinel://"),  # a slash that was not encoded
        ("REDIS_URL", f"redis://:{HIDDEN}@redis:{HIDDEN}", "redis+sentinel://"),
        ("REDIS_URL", f"redis://[{HIDDEN}", "redis+sentinel://"),
        ("REDIS_URL", f"redis://:{HIDDEN}@redis/db", "the database must be a number"),
        ("REDIS_URL", f"redis://:{HIDDEN}@redis/0/1", "the database must be a number"),
        ("REDIS_URL", f"redis://:{HIDDEN}@redis?db=x", "the database must be a number"),
        ("REDIS_URL", f"redis+sentinel://:{HIDDEN}@s1,s2/mymaster/x", "the database must be a number"),
        ("REDIS_URL", f"redis://:{HIDDEN}@redis/0?usrname=ann", "did you mean username?"),
        ("REDIS_URL", f"redis://redis/0?{HIDDEN}=1", "unknown option; known are db, username"),
        ("REDIS_URL", f"redis://:{HIDDEN}@redis/0?decode_responses=true", "unknown option"),
        ("REDIS_URL", f"redis://:{HIDDEN}@redis/0?socket_timeout=abc", "unknown option"),
        ("REDIS_URL", f"redis://:{HIDDEN}@redis/0?ssl_cert_reqs=none", "unknown option"),  # without TLS
        ("REDIS_URL", f"rediss://:{HIDDEN}@redis/0?ssl_cert_reqs=maybe", "none or optional or required"),
        ("REDIS_URL", f"redis+sentinel://:{HIDDEN}@s1/m/0?db=1", "unknown option; known are none"),
        ("REDIS_URL", f"redis://:{HIDDEN}#x@redis/0", "%23"),
        ("REDIS_URL", f"redis://:{HIDDEN} x@redis/0", "%20"),
        ("SMTP_URL", f"http://:{HIDDEN}@mail", "smtp://"),
        ("OPENAI_BASE_URL", f"https://ann:{HIDDEN}@llm/v1", "must have no user and password"),
        ("OPENAI_BASE_URL", f"llm/v1?key={HIDDEN}://", "begins with http://"),
        ("SMTP_URL", f"smtp://:{HIDDEN}/{HIDDEN}@mail", "smtp://"),
    ],
)
def test_a_bad_secret_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    said = refusal(monkeypatch, **{name: value})
    assert said.startswith(f"{name}: ")
    assert allowed in said
    assert HIDDEN not in said
    assert len(said.splitlines()) == 1


def test_several_bad_values_are_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, PORT="x", TANDEM_GRACE="y", **SECRETS)
    assert [line.partition("=")[0] for line in said.splitlines()] == ["PORT", "TANDEM_GRACE"]
    assert HIDDEN not in said


@pytest.mark.slow
@pytest.mark.parametrize("module", ["tandem.api", "tandem.llm_worker", "tandem.shared.maintenance"])
def test_every_process_says_so_and_ends_with_2(module: str, tmp_path: Path) -> None:
    ended = run(module, tmp_path, **SECRETS, PORT="no")
    assert ended.returncode == BAD_SETTING
    assert ended.stdout == ""
    assert re.fullmatch(r"PORT='no': .*\n", ended.stderr)


def test_secrets_are_in_no_repr_and_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, **SECRETS)
    shown = [repr(settings), str(settings), f"{settings}", repr(list(settings)), repr(settings.keys)]
    assert not [text for text in shown if HIDDEN in text]
    assert settings.redis == SECRETS["REDIS_URL"]
    assert settings.smtp == SECRETS["SMTP_URL"]
    assert settings.llm == (None, HIDDEN)
    assert settings.keys[0].matches(HIDDEN)


# --- names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TANDEM_GRACES", "TANDEM_GRACE"),
        ("TANDEM_API_KEY", "TANDEM_API_KEYS"),
        ("TANDEM_LLM_CONCURENCY", "TANDEM_LLM_CONCURRENCY"),
        ("TANDEM_LLM_RPMS", "TANDEM_LLM_RPM"),
        ("TANDEM_LLM_PRM", "TANDEM_LLM_RPM"),
        ("TANDEM_LLM_TMP", "TANDEM_LLM_TPM"),
        ("tandem_queue_mx", "TANDEM_QUEUE_MAX"),
    ],
)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_misspelt_name_is_refused_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, meant: str, where: str
) -> None:
    if where == ".env":
        (folder / ".env").write_text(f"PORT=9000\n{name}=ann:user:{HIDDEN}\n")
        said = refusal(monkeypatch)
    else:
        said = refusal(monkeypatch, **{name: f"ann:user:{HIDDEN}"})
    assert said == f"{name.upper()}: no such setting; did you mean {meant}?"


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_foreign_names_warn_only(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    names = ["TANDEM_BICYCLE_SADDLE", "TANDEM_UNICYCLE"]
    if where == ".env":
        (folder / ".env").write_text("".join(f"{name}={HIDDEN}\n" for name in names))
    else:
        for name in names:
            monkeypatch.setenv(name, HIDDEN)
    assert load() == Settings(_env_file=None)
    said = capsys.readouterr().err
    assert sorted(line.split()[0] for line in said.splitlines()) == sorted(names)
    assert HIDDEN not in said


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("OPEN_AI_API_KEY", "OPENAI_API_KEY"),
        ("OPENAI_BASEURL", "OPENAI_BASE_URL"),
        ("OPENAI_API_KYE", "OPENAI_API_KEY"),
        ("PROT", "PORT"),
        ("SMPT_URL", "SMTP_URL"),
        ("REDIS_ULR", "REDIS_URL"),
        ("RUNDIR", "RUN_DIR"),
        ("LLM_WORKER", "LLM_WORKERS"),
        ("TANDM_GRACE", "TANDEM_GRACE"),
    ],
)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_close_spelling_without_our_prefix_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str], name: str, meant: str, where: str
) -> None:
    if where == ".env":
        (folder / ".env").write_text(f"{name}={HIDDEN}\n")
    else:
        monkeypatch.setenv(name, HIDDEN)
    assert load() == Settings(_env_file=None)
    assert capsys.readouterr().err == f"{name} is no setting and is ignored; did you mean {meant}?\n"


FOREIGN = (
    *("PATH", "HOME", "HOSTNAME", "POST", "PORTS", "COST", "MODEL", "GRACE", "DB_URL", "SMTP_HOST", "REDIS_HOST"),
    *("REDIS_PORT", "OPENAI_ORG_ID", "OPENAI_LOG", "OPENAI_PROJECT_ID", "TEST_DATABASE_URL", "XDG_RUNTIME_DIR", "PWD"),
    *("AWS_ACCESS_KEY_ID", "ANTHROPIC_API_KEY", "DATABASE_NAME", "WEB_CONCURRENCY", "CELERY_WORKERS", "DASHBOARD_HOST"),
)


def test_foreign_variables_are_no_misspellings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded(monkeypatch, **dict.fromkeys(FOREIGN, "x"))
    assert capsys.readouterr().err == ""


def test_a_close_spelling_beside_the_right_one_is_somebody_else_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded(monkeypatch, REDIS_URL="redis://a", REDIS_URL2="redis://b")
    assert capsys.readouterr().err == ""


def test_a_setting_is_read_from_its_own_variable_only(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """LOG_LEVEL, MODEL and their like belong to other programs."""
    theirs = [field.upper() for field in Settings.model_fields if variable(field) != field.upper()]
    assert {"LOG_LEVEL", "MODEL", "GRACE"} <= set(theirs)
    (folder / ".env").write_text("".join(f"{name}=7\n" for name in theirs))
    assert loaded(monkeypatch, **dict.fromkeys(theirs, "7")) == Settings(_env_file=None)


def test_code_may_set_a_field_by_its_name_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_MODEL", "theirs")
    assert Settings(model="ours").model == "ours"


# --- where values come from


def test_dot_env_is_read_and_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / ".env").write_text('# mine\nPORT=9001\nTANDEM_MODEL="small one"\nexport TANDEM_GRACE=7s\nOTHER=x\n')
    settings = loaded(monkeypatch, PORT="9002")
    assert (settings.port, settings.model, settings.grace) == (9002, "small one", timedelta(seconds=7))


def test_what_editors_and_tools_add_is_no_part_of_a_value(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A byte order mark, Windows' line ends, blanks, and quotes that `docker --env-file` hands on."""
    text = "PORT=9001 \r\nTANDEM_MODEL='small one'\r\nTANDEM_EMBED_MODEL=  \r\nSHOP_KEY=abc\r\n"
    (folder / ".env").write_bytes(b"\xef\xbb\xbf" + text.encode())
    settings = loaded(monkeypatch, OPENAI_BASE_URL=' "http://llm/v1" ', TANDEM_GRACE="7s\r", HOST="  ")
    assert (settings.port, settings.model, settings.grace) == (9001, "small one", timedelta(seconds=7))
    assert settings.openai_base_url == "http://llm/v1"
    defaults = Settings(_env_file=None, openai_base_url=None)
    assert (settings.host, settings.embed_model) == ("127.0.0.1", defaults.embed_model)
    assert environment("SHOP_KEY") == "abc"


def test_a_dot_env_that_is_no_text_is_one_line(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / ".env").write_bytes("PORT=9001\n".encode("utf-16"))
    assert refusal(monkeypatch) == ".env: must be text in UTF-8"


def test_a_folder_in_place_of_dot_env_is_none(folder: Path) -> None:
    (folder / ".env").mkdir()
    assert load() == Settings(_env_file=None)


def test_a_folder_in_place_of_the_configuration_is_one_line(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    said = refusal(monkeypatch, TANDEM_CONFIG=str(folder))
    assert said == f"TANDEM_CONFIG={str(folder)!r}: the file can't be read: Is a directory"


def test_a_bad_value_in_dot_env_is_refused_alike(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / ".env").write_text("TANDEM_QUEUE_MAX=none\n")
    assert refusal(monkeypatch).startswith("TANDEM_QUEUE_MAX='none': ")


def test_empty_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = dict.fromkeys((variable(field) for field in Settings.model_fields), "")
    assert loaded(monkeypatch, **empty) == Settings(_env_file=None)


CONTRACT = {  # the table of the contract, section 2
    "PORT": 8000,
    "HOST": "127.0.0.1",
    "DASHBOARD_PORT": 9181,
    "REDIS_URL": None,
    "RUN_DIR": Path(".run"),
    "LLM_WORKERS": 1,
    "SYNC_WORKERS": 1,
    "OPENAI_API_KEY": None,
    "OPENAI_BASE_URL": None,
    "TANDEM_LLM_CONCURRENCY": 100,
    "TANDEM_API_KEYS": None,
    "TANDEM_FILES_URL": None,
    "SMTP_URL": None,
    "TANDEM_JOB_TTL": timedelta(days=7),
    "TANDEM_QUEUE_MAX": 100_000,
    "TANDEM_GRACE": timedelta(seconds=25),
    "TANDEM_REDIS_SHARE": 0.85,
    "TANDEM_MAX_BODY": 1024 * 1024,
    "DATABASE_URL": None,
    "TANDEM_ALEMBIC": None,
}
CONTRACT_LATER = {
    *("TANDEM_LLM_RPM", "TANDEM_LLM_TPM", "TANDEM_CONFIG", "TANDEM_KEY_RPM", "TANDEM_KEY_SHARE"),
    *("TANDEM_IDEMPOTENCY_TTL", "TANDEM_SYNC_MEMORY", "TANDEM_RQ_IMPORTS", "TANDEM_WEBHOOK_SECRET"),
    *("TANDEM_SYNC_CONCURRENCY", "TANDEM_METRICS_PUBLIC", "TANDEM_ALLOW_PRIVATE_WEBHOOKS", "TANDEM_MAX_AGE"),
}


def test_the_defaults_are_the_contract_s() -> None:
    settings = load()
    values = {variable(field): getattr(settings, field) for field in Settings.model_fields}
    assert {name: values[name] for name in CONTRACT} == CONTRACT
    assert all(values[name] for name in ("TANDEM_MODEL", "TANDEM_EMBED_MODEL"))


def test_every_name_of_the_contract_is_known() -> None:
    built = {variable(field) for field in Settings.model_fields}
    assert built >= CONTRACT_LATER


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("25 s", 25),
        ("25s", 25),
        (" 30 sec ", 30),
        ("2 seconds", 2),
        ("15m", 900),
        ("3 mins", 180),
        ("1 minute", 60),
        ("24h", 86_400),
        ("2 hours", 7200),
        ("7d", 604_800),
        ("7 days", 604_800),
        ("P7D", 604_800),
        ("PT1H30M", 5400),
    ],
)
def test_durations(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    assert loaded(monkeypatch, TANDEM_GRACE=text).grace == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["5 dours", "5 sin", "5 hin", "500ms", "1h30m", "-1", "1e3", "7 weeks", "s", "P", "ten"]
)
def test_what_is_no_duration(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert refusal(monkeypatch, TANDEM_GRACE=text).startswith("TANDEM_GRACE=")


@pytest.mark.parametrize(
    ("text", "size"), [("1 MiB", 1_048_576), ("2MB", 2_000_000), ("512KiB", 524_288), ("4096", 4096), ("1.5 KiB", 1536)]
)
def test_sizes(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    assert loaded(monkeypatch, TANDEM_MAX_BODY=text).max_body == ByteSize(size)


# --- addresses that local helpers recorded


@pytest.mark.parametrize(
    ("file", "ask", "target"),
    [
        ("redis.url", lambda settings: settings.redis, "REDIS_URL is unset.*`make redis`"),
        ("smtp.url", lambda settings: settings.smtp, "SMTP_URL is unset.*`make mailbox`"),
        ("llm.url", lambda settings: settings.llm[0], "OPENAI_API_KEY and OPENAI_BASE_URL are unset.*`make llm-stub`"),
    ],
)
def test_a_helper_s_address_or_how_to_start_it(
    monkeypatch: pytest.MonkeyPatch, folder: Path, file: str, ask: Any, target: str
) -> None:
    settings = loaded(monkeypatch, RUN_DIR=str(folder / "run"))
    with pytest.raises(SettingsError, match=target) as info:
        ask(settings)
    assert len(str(info.value).splitlines()) == 1
    (folder / "run").mkdir()
    (folder / "run" / file).write_text("scheme://recorded:1\n")
    assert ask(settings) == "scheme://recorded:1"


def test_what_is_set_goes_before_what_is_recorded(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for file in ("redis.url", "smtp.url", "llm.url"):
        (folder / file).write_text("scheme://recorded:1\n")
    settings = loaded(
        monkeypatch,
        RUN_DIR=str(folder),
        REDIS_URL="redis://r",
        SMTP_URL="smtp://m",
        OPENAI_BASE_URL="http://llm/v1",
        TANDEM_FILES_URL="s3://bucket/prefix",
    )
    assert (settings.redis, settings.smtp, settings.files) == ("redis://r", "smtp://m", "s3://bucket/prefix")
    assert settings.llm == ("http://llm/v1", "none")


def test_a_key_alone_is_for_the_sdk_s_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, OPENAI_API_KEY="sk-1").llm == (None, "sk-1")


def test_files_live_under_run_dir_unless_set(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert loaded(monkeypatch, RUN_DIR="some where").files == (folder / "some where/files").as_uri()


def test_without_keys_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    settings = loaded(monkeypatch, RUN_DIR=str(folder))
    with pytest.raises(SettingsError, match="TANDEM_API_KEYS is unset: give name:role:key"):
        _ = settings.keys


def test_a_process_without_redis_says_which_target_starts_one(tmp_path: Path) -> None:
    ended = run("tandem.shared.maintenance", tmp_path)
    assert (ended.returncode, ended.stdout) == (BAD_SETTING, "")
    assert ended.stderr == "REDIS_URL is unset and no embedded server runs: `make redis` starts one\n"
