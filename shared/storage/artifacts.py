"""Artefacts by URL: a local folder or an S3 bucket. Written whole or not at all."""

import errno
import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from tandem.shared.config.settings import Settings, SettingsError
from tandem.shared.errors import ServiceError, TransientError
from tandem.shared.jobs.model import Artefact

AWAY = "the store of files does not take requests now"
LARGE = 256 * 1024  # bytes of a result that the job book keeps; a larger one is a file
RESULT = "~result.json"  # its name
ID = r"[0-9A-HJKMNP-TV-Z]{26}|[A-Za-z0-9][A-Za-z0-9_-]{0,63}-[0-9]{8}T[0-9]{6}Z"  # a ULID, or a schedule's and its time
KEY = re.compile(rf"[^/]+/({ID})/[0-9]+(?:-[0-9a-f]+)?/[^/]+")  # owner/job/run/name
DRAFT = re.compile(r"#[0-9]+$")  # what obstore adds to the name of a file until it is whole
FULL = {errno.ENOSPC, errno.EDQUOT}
NUMBER = re.compile(r"\(os error ([0-9]+)\)")  # in what obstore says of a folder


@dataclass(frozen=True)
class Entry:
    """A stored file as a listing shows it."""

    key: str
    bytes: int
    modified: datetime


class Artifacts:
    """The artefacts' store, for synchronous code. Keys are `owner/job/run/name`."""

    def __init__(self, url: str) -> None:
        self.store = open_store(url)
        self._folder = Path(unquote(urlsplit(url).path)) if isinstance(self.store, LocalStore) else None

    def put(self, *, owner: str, job: str, run: int | str, name: str, media_type: str, content: bytes) -> Artefact:
        """Store `content` for one run of a job. The key holds the run (its lease's token, as attempts begin
        anew with a retry), so that one which lost its lease can't overwrite the file of the one that holds it.

        Raises:
            ValueError: a part of the key is empty or leads elsewhere.
            TransientError: `disk_full`, or `storage_unavailable`: the store did not take it.

        """
        key = f"{_place(owner, job)}/{run}/{name}"
        if not {"", ".", ".."}.isdisjoint(key.split("/")):
            raise ValueError(f"not a place for a file: {key!r}")
        try:
            obstore.put(self.store, key, content)
        except BaseError as error:
            raise _not_taken(error) from error
        digest = hashlib.sha256(content).hexdigest()
        return Artefact(key=key, name=name, media_type=media_type, bytes=len(content), sha256=digest)

    def may_write(self) -> bool:
        """Tell whether this process may; of a bucket nobody knows before."""
        effective = os.access in os.supports_effective_ids
        return self._folder is None or os.access(self._folder, os.W_OK | os.X_OK, effective_ids=effective)

    def put_result(self, *, owner: str, job: str, run: int | str, result: str) -> str | Artefact:
        """Give a result, JSON, back as it is; a large one is stored, and what comes back says where.

        Raises:
            TransientError: as `put`.

        """
        content = result.encode()
        if len(content) <= LARGE:
            return result
        return self.put(owner=owner, job=job, run=run, name=RESULT, media_type="application/json", content=content)

    def get(self, key: str) -> bytes:
        """Read a file whole. Raises FileNotFoundError."""
        return bytes(obstore.get(self.store, key).bytes())

    def delete(self, key: str) -> None:
        """Remove a file; one that is gone already is no error."""
        try:
            obstore.delete(self.store, key)
        except FileNotFoundError:
            return

    def list(self) -> Iterator[Entry]:
        """List all files."""
        for batch in obstore.list(self.store):
            for item in batch:
                yield Entry(item["path"], item["size"], item["last_modified"])

    def drafts(self) -> Iterator[Entry]:
        """List what killed writers left of files that they had not finished, which no listing shows.

        Only a folder has them; a bucket keeps them to itself until a lifecycle rule of its own removes them.
        """
        for path in self._folder.rglob("*#*") if self._folder else ():
            with suppress(FileNotFoundError):  # it has just been finished
                if DRAFT.search(path.name) and path.is_file():
                    told = path.stat()
                    modified = datetime.fromtimestamp(told.st_mtime, UTC)
                    yield Entry(path.relative_to(cast("Path", self._folder)).as_posix(), told.st_size, modified)

    def discard(self, draft: Entry) -> None:
        """Remove what `drafts` listed."""
        if self._folder:
            (self._folder / draft.key).unlink(missing_ok=True)


def open_files(settings: Settings) -> Artifacts:
    """Open the store that the settings name, to write to it.

    Raises:
        SettingsError: TANDEM_FILES_URL can't be used.

    """
    try:
        files = Artifacts(settings.files)
    except (OSError, ValueError) as error:
        raise SettingsError(f"TANDEM_FILES_URL: {error}") from None
    if not files.may_write():  # what a provider was paid for would be lost with its attempt
        raise SettingsError(f"TANDEM_FILES_URL: {settings.files}: this process may not write there")
    return files


async def stream(store: ObjectStore, file: Artefact, *, chunk: int) -> AsyncIterator[bytes]:
    """Look for a file that the job book names, and give its content in pieces of `chunk` bytes.

    Raises:
        FileNotFoundError: it is not there, or not whole. So it may be only once pieces are read.
        ServiceError: the store does not answer; as above.

    """
    with answering():
        found = await obstore.head_async(store, file.key)
    if found["size"] != file.bytes:
        raise FileNotFoundError(file.key)
    return _pieces(store, file, chunk)


@contextmanager
def answering() -> Iterator[None]:
    """Raise ServiceError where the store does not answer; that a file is not there is an answer."""
    try:
        yield
    except FileNotFoundError:
        raise
    except BaseError as error:
        raise ServiceError(AWAY) from error


async def _pieces(store: ObjectStore, file: Artefact, chunk: int) -> AsyncIterator[bytes]:
    """Read a range at a time: a reader may be slow, and obstore's streams go on for ever where a file gets shorter."""
    for start in range(0, file.bytes, chunk):
        end = min(start + chunk, file.bytes)
        with answering():
            piece = bytes(await obstore.get_range_async(store, file.key, start=start, end=end))
        if len(piece) != end - start:
            raise FileNotFoundError(file.key)
        yield piece


async def keys_of(store: ObjectStore, *, owner: str, job: str) -> Sequence[str]:
    """List the keys of a job's files, those of all its runs, also of runs that failed.

    Raises:
        ServiceError: the store does not answer.

    """
    with answering():
        return [item["path"] async for batch in obstore.list(store, prefix=_place(owner, job)) for item in batch]


async def erase(store: ObjectStore, keys: Sequence[str]) -> None:
    """Remove files; one that is gone already is no error. Raises ServiceError: the store does not answer."""
    for key in keys:
        with suppress(FileNotFoundError), answering():
            await obstore.delete_async(store, key)


def _not_taken(error: BaseError) -> TransientError:
    """Say what is the matter; not in obstore's words, which have the file's name in them, and the folder's."""
    found = NUMBER.search(str(error))
    number = int(found[1]) if found else None
    if number in FULL:
        return TransientError("the disk of the store of files is full (TANDEM_FILES_URL)", type="disk_full")
    why = os.strerror(number) if number else type(error).__name__
    return TransientError(f"the store of files did not take the file: {why}", type="storage_unavailable")


def _place(owner: str, job: str) -> str:
    """Give where a job's files are."""
    return f"{owner}/{job}"


def job_of(key: str) -> str | None:
    """Read the id of the job whose file or draft this is; None: nothing of ours lies there."""
    match = KEY.fullmatch(key)
    return match[1] if match else None


def open_store(url: str) -> ObjectStore:
    """Open `file:///folder` (made if missing) or `s3://bucket/prefix` (credentials from the environment).

    Raises:
        ValueError: another scheme, or a relative folder.

    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        folder = Path(unquote(parts.path))
        if parts.netloc not in {"", "localhost"} or not folder.is_absolute():
            raise ValueError(f"{url}: the folder must be absolute, as in file:///folder")
        folder.mkdir(parents=True, exist_ok=True)
        return LocalStore(folder, automatic_cleanup=True)
    if parts.scheme == "s3":
        return from_url(url)
    raise ValueError(f"{parts.scheme}: is not a store of files; use file:// or s3://")
