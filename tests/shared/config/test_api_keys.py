"""API keys: what is a key, who is let in, and what never shows."""

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tandem.shared.config.api_keys import ApiKey, Role, find, key_files, make_key_files, parse_keys, read_key_files

ANN, BOB, ROOT = "ann-key-0123456789", "bob-key-0123456789", "root:key:with:colons"
KEYS = parse_keys(f"ann:user:{ANN}, bob:user:{BOB} ,root:admin:{ROOT},")


def test_parsing() -> None:
    assert [(key.name, key.role, key.secret) for key in KEYS] == [
        ("ann", Role.USER, ANN),
        ("bob", Role.USER, BOB),
        ("root", Role.ADMIN, ROOT),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected name:role:key"),
        (" , ,", "expected name:role:key"),
        (ANN, "entry 1: a name is of|entry 1: the role"),
        (f"ann:user:{ANN},bob:{BOB}", "entry 2: the role is user or admin"),
        (f"ann:root:{ANN}", "entry 1: the role is user or admin"),
        (f"ann:User:{ANN}", "entry 1: the role is user or admin"),
        (f":user:{ANN}", "entry 1: a name is of letters"),
        (f"a b:user:{ANN}", "entry 1: a name is of letters"),
        (f"a/b:user:{ANN}", "entry 1: a name is of letters"),
        (f"..:user:{ANN}", "entry 1: a name is of letters"),
        (f"ann\n:user:{ANN}", "entry 1: a name is of letters"),
        (f"{'a' * 65}:user:{ANN}", "entry 1: a name is of letters"),
        ("ann:user:", "entry 1: a key has at least 16"),
        ("ann:user:123456789012345", "entry 1: a key has at least 16"),
        (f"ann:user:schlüssel{ANN}", "entry 1: a key is of visible ASCII"),
        (f"ann:user:two words {ANN}", "entry 1: a key is of visible ASCII"),
        (f"ann:user:{ANN},ann:admin:{BOB}", "each name may stand only once"),
        (f"ann:user:{ANN},bob:admin:{ANN}", "each key may stand only once"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as info:
        parse_keys(text)
    assert not [part for part in (ANN, BOB, "12345") if part in str(info.value)]
    assert len(str(info.value).splitlines()) == 1


def test_sixteen_characters_are_enough() -> None:
    assert parse_keys("ann:user:1234567890123456")[0].secret == "1234567890123456"


# --- who is let in


def test_each_key_finds_its_owner_wherever_it_stands() -> None:
    for keys in (KEYS, KEYS[::-1]):
        assert [found.name for key in KEYS if (found := find(keys, key.secret))] == ["ann", "bob", "root"]


@pytest.mark.parametrize(
    "secret",
    [
        "",
        ANN[:-1],
        ANN + "x",
        ANN.upper(),
        f" {ANN}",
        f"{ANN}\n",
        f"ann:user:{ANN}",
        "ann",
        "ä" * 16,
        "ÿ\x00",
        "\udcff",
        "🗝" * 9,
        "x" * 1_000_000,
    ],
)
def test_anything_else_finds_nobody_and_does_not_crash(secret: str) -> None:
    assert find(KEYS, secret) is None


@pytest.mark.parametrize("odd", ["schlüssel-0123456789", "\udcff" * 16])
def test_a_key_of_odd_characters_matches_itself_only(odd: str) -> None:
    key = ApiKey("odd", Role.USER, odd)
    assert key.matches(odd)
    assert not key.matches(ANN)


def test_every_key_is_compared_also_after_a_match() -> None:
    """A search that ended at the first match would tell by its time where a key stands."""
    compared = []

    class Watched(ApiKey):
        def matches(self, secret: str) -> bool:
            compared.append(self.name)
            return super().matches(secret)

    keys = tuple(Watched(key.name, key.role, key.secret) for key in KEYS)
    found = find(keys, ANN)
    assert found is not None
    assert found.name == "ann"
    assert compared == ["ann", "bob", "root"]


def test_no_keys_let_nobody_in() -> None:
    assert find((), "") is None
    assert find((), ANN) is None


def test_secrets_are_in_no_repr() -> None:
    shown = f"{KEYS} {KEYS!r} {KEYS[0]} {KEYS[0]!r}"
    assert "ann" in shown
    assert not [key.secret for key in KEYS if key.secret in shown]


# --- the local set-up's files


def test_key_files_are_made_for_their_owner_only_and_stay(tmp_path: Path) -> None:
    make_key_files(tmp_path)
    made = {path: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(path.name for path in made) == ["admin.key", "user.key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert all(re.fullmatch(r"[\w-]{43}\n", text) for text in made.values())
    assert len(set(made.values())) == 2
    make_key_files(tmp_path)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == made
    keys = read_key_files(tmp_path)
    assert sorted((key.name, key.role) for key in keys) == [("admin", Role.ADMIN), ("user", Role.USER)]
    assert sorted(key.secret for key in keys) == sorted(text.strip() for text in made.values())


def test_a_key_that_somebody_put_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text(f"{ANN}\n")
    make_key_files(tmp_path)
    assert (tmp_path / "admin.key").read_text() == f"{ANN}\n"
    assert len(read_key_files(tmp_path)) == 2


def test_parts_that_start_together_agree_on_the_keys(tmp_path: Path) -> None:
    def make(_: int) -> set[str]:
        make_key_files(tmp_path)
        return {key.secret for key in read_key_files(tmp_path)}

    for number in range(20):
        with ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(make, range(8)))
        assert all(keys == seen[0] and len(keys) == 2 for keys in seen), number
        for path in key_files(tmp_path).values():
            path.unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", ["", "\n", "short\n"])
def test_an_empty_or_cut_file_is_no_key_and_is_made_anew(tmp_path: Path, cut: str) -> None:
    """Otherwise an empty password would be an admin's."""
    for path in key_files(tmp_path).values():
        path.write_text(cut)
    assert read_key_files(tmp_path) == ()
    make_key_files(tmp_path)
    assert len(read_key_files(tmp_path)) == 2


def test_without_files_there_are_no_keys(tmp_path: Path) -> None:
    assert read_key_files(tmp_path / "nowhere") == ()
