"""Artefacts: kept whole or not at all, inside their folder, found again."""

import hashlib
import subprocess
import sys
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from obstore.store import S3Store

from tandem.shared.errors import TransientError
from tandem.shared.jobs.model import Artefact
from tandem.shared.storage.artifacts import Artifacts, Entry, open_store
from tests.support.processes import ROOT, clean_environment, until

PDF = b"%PDF-1.7 " + bytes(range(256))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a store may write; what lies beside it may not change."""
    return tmp_path / "some where" / "100% files"


@pytest.fixture
def files(folder: Path) -> Artifacts:
    return Artifacts(folder.as_uri())


def put(
    files: Artifacts, content: bytes = PDF, *, name: str = "report.pdf", job: str = "01J", run: int = 1
) -> Artefact:
    return files.put(owner="ann", job=job, run=run, name=name, media_type="application/pdf", content=content)


def on_disk(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- put, get, delete, list


def test_what_is_put_is_read_back(files: Artifacts, folder: Path) -> None:
    artefact = put(files)
    assert artefact == Artefact(
        key="ann/01J/1/report.pdf",
        name="report.pdf",
        media_type="application/pdf",
        bytes=len(PDF),
        sha256=hashlib.sha256(PDF).hexdigest(),
    )
    assert files.get(artefact.key) == PDF
    assert Artifacts(folder.as_uri()).get(artefact.key) == PDF, "another process finds it"
    assert on_disk(folder) == [artefact.key]


@pytest.mark.parametrize("content", [b"", b"x" * 11_000_000], ids=["empty", "several parts"])
def test_any_size(files: Artifacts, content: bytes) -> None:
    artefact = put(files, content)
    assert files.get(artefact.key) == content
    assert [(entry.key, entry.bytes) for entry in files.list()] == [(artefact.key, len(content))]


def test_the_same_key_is_overwritten(files: Artifacts) -> None:
    put(files, b"a longer first one")
    assert files.get(put(files, b"second").key) == b"second"


def test_a_missing_file_is_not_found(files: Artifacts) -> None:
    with pytest.raises(FileNotFoundError):
        files.get("ann/01J/1/report.pdf")


def test_deleting_leaves_nothing_and_may_be_repeated(files: Artifacts, folder: Path) -> None:
    one, two = put(files), put(files, run=2)
    files.delete(one.key)
    files.delete(one.key)
    assert [entry.key for entry in files.list()] == [two.key]
    files.delete(two.key)
    assert list(folder.rglob("*")) == [], "empty folders would pile up"
    assert put(files).key == one.key


def test_a_listing_shows_key_size_and_time(files: Artifacts) -> None:
    before = datetime.now(UTC)
    put(files, name="ä ñ.pdf")
    put(files, b"12", job="01K")
    listed = sorted(files.list(), key=lambda entry: entry.key)
    assert [(entry.key, entry.bytes) for entry in listed] == [
        ("ann/01J/1/ä ñ.pdf", len(PDF)),
        ("ann/01K/1/report.pdf", 2),
    ]
    assert all(abs((entry.modified - before).total_seconds()) < 60 for entry in listed)
    assert list(map(type, listed)) == [Entry, Entry]


def test_more_files_than_one_batch_of_a_listing(files: Artifacts) -> None:
    keys = {put(files, b"x", job=f"{number:04}").key for number in range(120)}
    assert {entry.key for entry in files.list()} == keys


def test_two_attempts_keep_a_file_each(files: Artifacts) -> None:
    """A run that lost its lease can't overwrite the file of the run that holds it."""
    first, second = put(files, b"stale", run=1), put(files, b"fresh", run=2)
    put(files, b"staler", run=1)
    assert first.key != second.key
    assert files.get(second.key) == b"fresh"


# --- whole or not at all


WRITER = """
import sys
from tandem.shared.storage.artifacts import Artifacts
files, number = Artifacts(sys.argv[1]), 0
while True:
    number += 1
    content = bytes([number % 256]) * {size}
    files.put(owner="ann", job="01J", run=number % 3, name="x.pdf", media_type="", content=content)
    print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [3_000_000, 15_000_000])
def test_a_writer_that_is_killed_leaves_no_half_file(files: Artifacts, folder: Path, size: int) -> None:
    """Killed in the middle of a write: what is listed is whole, and so is what readers saw meanwhile."""
    environment = {**clean_environment(), "PYTHONPATH": str(ROOT)}
    for laps in range(3):
        left = unfinished(folder)
        command = [sys.executable, "-c", WRITER.format(size=size), folder.as_uri()]
        writer = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert writer.stdout
        for _ in range(laps + 1):
            assert writer.stdout.readline(), "the writer ended"
            check_whole(files, size)
        until(partial(unfinished, folder, but=left), what="a write under way")
        check_whole(files, size)
        writer.kill()
        writer.communicate()
        check_whole(files, size)
    assert put(files, b"after", run=0).key in {entry.key for entry in files.list()}
    assert {folder / draft.key for draft in files.drafts()} == unfinished(folder)
    for draft in files.drafts():
        files.discard(draft)
    assert not unfinished(folder)


def unfinished(folder: Path, *, but: AbstractSet[Path] = frozenset()) -> set[Path]:
    """What a write under way, or a dead writer, has beside the files."""
    return {path for path in folder.rglob("*#*") if path.is_file()} - but


def check_whole(files: Artifacts, size: int) -> None:
    for entry in files.list():
        assert entry.bytes == size
        content = files.get(entry.key)
        assert len(content) == size
        assert content == content[:1] * size


# --- names can't lead out


HOSTILE = [
    *("../x", "../../../x", "../../../../../../../../tmp/x", "..", ".", "/etc/x", "a/../../../../x", "a//b", ""),
    *(
        "x#1",
        "#1",
        "a\nb",
        "a\0b",
        "\x7f",
        "n" * 300,
        "%2e%2e/%2e%2e/%2e%2e/x",
        "..%2F..%2Fx",
        "..\\..\\x",
        "a/b.pdf",
        "~",
    ),
    *("ü ñ.pdf", "100% sure.pdf", "a#b?c&d.pdf", 'a*b<>|:"', " ", "…"),
]


@pytest.mark.parametrize("part", ["name", "job", "owner"])
@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda name: repr(name)[:24])
def test_no_name_leads_out_of_the_folder(
    files: Artifacts, folder: Path, tmp_path: Path, part: str, hostile: str
) -> None:
    """It is stored inside, can be read back and deleted, or it is refused and nothing was written."""
    given = {"owner": "ann", "job": "01J", "name": "x.pdf", part: hostile}
    try:
        artefact = files.put(run=1, media_type="", content=PDF, **given)
    except (ValueError, TransientError):
        assert on_disk(tmp_path) == []
        return
    assert [path.is_relative_to(folder) for path in tmp_path.rglob("*") if path.is_file()] == [True]
    assert [entry.key for entry in files.list()] == [artefact.key]
    assert files.get(artefact.key) == PDF
    files.delete(artefact.key)
    assert on_disk(tmp_path) == []


@pytest.mark.parametrize("hostile", ["../secret", "/secret", "ann/../../secret", "..", "ann/./../../secret"])
def test_no_key_reads_or_deletes_outside(files: Artifacts, folder: Path, hostile: str) -> None:
    secret = folder.parent / "secret"
    secret.write_text("outside")
    for act in (files.get, files.delete):
        with suppress(ValueError, TypeError, FileNotFoundError):
            assert act(hostile) is None  # "/secret" is a key inside
        assert secret.read_text() == "outside"


# --- which stores there are


@pytest.mark.parametrize(
    "url",
    ["ftp://host/folder", "http://host/folder", "/srv/folder", "gs://bucket", "az://b", "memory://", "", "C:\\files"],
)
def test_another_scheme_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="file:// or s3://"):
        open_store(url)


@pytest.mark.parametrize("url", ["file://files/here", "file:files", "file:"])
def test_a_relative_folder_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`file://files/here` is the folder `/here` of a host named `files`; nobody means that."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="must be absolute"):
        open_store(url)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    Artifacts(f"file://localhost{tmp_path}/a/b%20c")
    assert (tmp_path / "a/b c").is_dir()


@pytest.mark.parametrize(("url", "prefix"), [("s3://bucket/some/prefix", "some/prefix"), ("s3://bucket", None)])
def test_s3_opens_a_store_without_asking_the_network(
    url: str, prefix: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nothing answers there
    store = open_store(url)
    assert isinstance(store, S3Store)
    assert store.config["bucket"] == "bucket"
    assert (str(store.prefix) if store.prefix else None) == prefix
