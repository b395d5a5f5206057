"""Whose limits a request must pass by the settings, and what a claim is told of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tandem.shared.config.settings import Settings
from tandem.shared.limits.model import Limits
from tandem.shared.limits.scopes import Scopes

FILE = """
[providers.a]
tpm = 7
[providers.b]
concurrency = 3
[models.m]
provider = "b"
rpm = 5
fallbacks = ["n"]
fallback_after = "20s"
[models.n]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "t.toml").write_text(FILE)
    values: dict[str, Any] = {"config": tmp_path / "t.toml", "llm_rpm": 600, "llm_tpm": 9, "model": "m"}
    return Settings(_env_file=None, openai_api_key=SecretStr("k"), **values)


def test_a_claim_is_told_of_every_model_and_its_fallbacks(settings: Settings) -> None:
    a = [{"name": "a", "rpm": 600, "tpm": 7}]
    n = {"scope": "a:n", "levels": a}
    m = {"scope": "b:m", "levels": [{"name": "b", "concurrency": 3}, {"name": "b:m", "rpm": 5}]}
    table = Scopes.of(settings, default="a").table()
    assert table == {
        "known": {"m": {"scopes": [m, n], "after": 20_000_000}, "n": {"scopes": [n], "after": 30_000_000}},
        "provider": "a",
        "levels": a,
    }
    assert json.loads(json.dumps(table)) == table


def test_other_workers_are_told_of_every_limit(settings: Settings) -> None:
    told = Scopes.of(settings, default="a").told()
    assert told == {"a": {"rpm": 600, "tpm": 7}, "b": {"concurrency": 3}, "b:m": {"rpm": 5}}


def test_a_model_that_no_file_names_is_the_default_providers(settings: Settings) -> None:
    scope = Scopes.of(settings, default="a").own("any")
    assert (scope.name, scope.known, scope.provider_limits) == ("a:any", False, Limits(rpm=600, tpm=7))
    assert scope.label == "a|other"


def test_what_has_no_limit_has_no_level() -> None:
    scope = Scopes({}, {}, default="p").own("m")
    assert (scope.limited, scope.levels()) == (False, [])
