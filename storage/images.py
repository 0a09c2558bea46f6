"""Pictures: files named by what is in them, and the record of which job drew them."""

import contextlib
import datetime as dt
import hashlib
import os
import string
import tempfile
from collections.abc import Sequence
from pathlib import Path

from generation.work.inputs import Input
from generation.work.jobs import Image
from storage.database import Database
from storage.errors import NotFound, StorageError
from storage.rows import IMAGE_COLUMNS, image_of, to_text

OF_JOB = f"SELECT {IMAGE_COLUMNS} FROM images WHERE job_id = ? ORDER BY position"
GET = f"SELECT {IMAGE_COLUMNS} FROM images WHERE id = ?"
FIND_BY_SHA256 = f"SELECT {IMAGE_COLUMNS} FROM images WHERE sha256 = ? ORDER BY id"
REMOVE = "UPDATE images SET removed_at = coalesce(removed_at, ?) WHERE id = ?"
TAKE_DOWN = "UPDATE images SET taken_down_at = coalesce(taken_down_at, ?) WHERE id = ?"
RESTORE = "UPDATE images SET taken_down_at = NULL WHERE id = ?"
CHILDREN = "SELECT job_id FROM lineage WHERE image_id = ? ORDER BY job_id"
IS_FILE_USED = """
  SELECT EXISTS (SELECT 1 FROM images WHERE sha256 = :sha256 AND removed_at IS NULL)
    OR EXISTS (
      SELECT 1 FROM jobs WHERE source_sha256 = :sha256
        AND state IN ('held', 'queued', 'running', 'rendered'))
"""

HEX_DIGITS = frozenset(string.hexdigits.lower())


class ImageFiles:
    """PNG files named by their SHA-256, spread over 256 folders.

    A file is there whole or not at all: it is written under a temporary name, synced, renamed, and
    only then may it be recorded. Every method blocks on the disk; call them in a thread.

    Args:
        directory: The folder; made when the first picture is written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, sha256: str) -> Path:
        """Return where the file of this name is, or would be.

        Raises:
            ValueError: The name is not a SHA-256 in hex, so it could lead out of the folder.
        """
        if len(sha256) != 64 or not HEX_DIGITS.issuperset(sha256):
            raise ValueError(f"not a SHA-256: {sha256!r}")
        return self._directory / sha256[:2] / f"{sha256}.png"

    def write(self, png: bytes) -> str:
        """Write a picture, on disk for good when this returns, and return its SHA-256.

        Raises:
            StorageError: The disk refused; nothing is left behind.
        """
        sha256 = hashlib.sha256(png).hexdigest()
        path = self.path(sha256)
        try:
            if not self._is_intact(path, sha256):
                self._write_whole(path, png)
        except OSError as error:
            raise StorageError(f"the picture {sha256} could not be written: {error}") from error
        return sha256

    def read(self, sha256: str) -> bytes:
        """Return a picture's bytes, checked against its name.

        Raises:
            NotFound: There is no such file.
            StorageError: It cannot be read, or is not what was written.
        """
        try:
            png = self.path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise NotFound("file", sha256) from error
        except OSError as error:
            raise StorageError(f"the picture {sha256} could not be read: {error}") from error
        if hashlib.sha256(png).hexdigest() != sha256:
            raise StorageError(f"the picture {sha256} is damaged")
        return png

    def read_all(self, inputs: Sequence[Input]) -> tuple[bytes, ...]:
        """Return the bytes of a request's inputs, in their order.

        Raises:
            NotFound: One of the files is gone.
            StorageError: One cannot be read, or is not what was written.
        """
        return tuple(self.read(each.sha256) for each in inputs)

    def remove(self, sha256: str) -> bool:
        """Remove a file and return whether there was one.

        Raises:
            StorageError: The disk refused.
        """
        path = self.path(sha256)
        try:
            path.unlink()
            _sync_directory(path.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(f"the picture {sha256} could not be removed: {error}") from error
        return True

    def _is_intact(self, path: Path, sha256: str) -> bool:
        # A damaged file is written anew instead of being taken for the picture.
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        except FileNotFoundError:
            return False

    def _write_whole(self, path: Path, png: bytes) -> None:
        folder = path.parent
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _sync_directory(self._directory)
        handle, partial = tempfile.mkstemp(prefix=".", suffix=".partial", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(png)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(partial).unlink()
            raise
        _sync_directory(folder)


class Images:
    """The record of every picture."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_job(self, job_id: int) -> tuple[Image, ...]:
        """Return a job's pictures in order of their index, the removed ones too."""
        return tuple(image_of(row) for row in await self._database.all(OF_JOB, (job_id,)))

    async def get(self, image_id: int) -> Image:
        """Return a picture's record.

        Raises:
            NotFound: No picture has this number.
        """
        row = await self._database.one(GET, (image_id,))
        if row is None:
            raise NotFound("image", image_id)
        return image_of(row)

    async def find_by_sha256(self, sha256: str) -> tuple[Image, ...]:
        """Return every record of a file, oldest first; the same picture may be drawn twice."""
        return tuple(image_of(row) for row in await self._database.all(FIND_BY_SHA256, (sha256,)))

    async def remove(self, image_id: int, now: dt.datetime) -> None:
        """Record that a picture was removed on request; the first time counts.

        The file is the caller's to remove afterwards, unless `is_file_used` says otherwise.

        Raises:
            NotFound: No picture has this number.
        """
        await self._mark(REMOVE, (to_text(now), image_id), image_id)

    async def take_down(self, image_id: int, now: dt.datetime) -> None:
        """Hide a picture; `Moderation.take_down` also says who did and why.

        Raises:
            NotFound: No picture has this number.
        """
        await self._mark(TAKE_DOWN, (to_text(now), image_id), image_id)

    async def restore(self, image_id: int) -> None:
        """Show a picture again that was taken down.

        Raises:
            NotFound: No picture has this number.
        """
        await self._mark(RESTORE, (image_id,), image_id)

    async def is_file_used(self, sha256: str) -> bool:
        """Return whether a picture that was not removed, or a job not yet over, needs a file."""
        row = await self._database.one(IS_FILE_USED, {"sha256": sha256})
        return bool(row and row[0])

    async def children(self, image_id: int) -> tuple[int, ...]:
        """Return the jobs that were remixed from a picture, oldest first."""
        rows = await self._database.all(CHILDREN, (image_id,))
        return tuple(row["job_id"] for row in rows)

    async def _mark(self, sql: str, values: tuple[object, ...], image_id: int) -> None:
        async with (
            self._database.transaction() as connection,
            connection.execute(sql, values) as cursor,
        ):
            if not cursor.rowcount:
                raise NotFound("image", image_id)


def _sync_directory(folder: Path) -> None:
    # A rename is on disk only once its folder is.
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
