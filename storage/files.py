"""Files with owners: who drew or uploaded which, whether anything still names it, and the sweep.

A file is known before it is on disk, and held for what is about to name it. What no shown picture
and no living job names, and nobody holds, is unlinked inside a writing transaction: nothing can be
recorded about it meanwhile, by no process.
"""

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path

import aiosqlite

from generation.work.inputs import Input
from storage.database import Database
from storage.disk import FOLDERS, ImageFiles
from storage.errors import NotFound
from storage.rows import know_person, to_text

HOLD = dt.timedelta(minutes=10)  # from writing a file to recording what names it, at most
SWEPT_AT_ONCE = 200  # files looked at in one transaction; writers wait for its end

KNOW = """
  INSERT INTO files (sha256, person_id, kind, written_at, held_until)
  VALUES (:sha256, :person_id, :kind, :now, :held_until)
  ON CONFLICT (sha256, person_id) DO UPDATE SET
    written_at = excluded.written_at, held_until = excluded.held_until, gone_at = NULL
"""
NAME = """
  UPDATE files SET held_until = NULL
  WHERE sha256 = ? AND person_id = (SELECT person_id FROM jobs WHERE id = ?) AND gone_at IS NULL
"""
IS_GONE = """
  SELECT EXISTS (SELECT 1 FROM files WHERE sha256 = :sha256)
    AND NOT EXISTS (SELECT 1 FROM files WHERE sha256 = :sha256 AND gone_at IS NULL)
"""
OWNERS = """
  SELECT people.discord_id FROM files JOIN people ON people.id = files.person_id
  WHERE files.sha256 = ? AND people.discord_id IS NOT NULL
"""
KNOWN_IN = """
  SELECT DISTINCT sha256 FROM files WHERE sha256 >= ? AND sha256 < ? || 'g' AND gone_at IS NULL
"""
# A taken-down picture keeps its file for an appeal. An upload also stays as long as its owner has
# pictures that were drawn from it, so that these can be drawn again.
UNUSED = """
  SELECT value AS sha256 FROM json_each(:names)
  WHERE NOT EXISTS (SELECT 1 FROM images WHERE images.sha256 = value AND removed_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM files WHERE files.sha256 = value AND held_until > :now)
    AND NOT EXISTS (
      SELECT 1 FROM job_inputs JOIN jobs ON jobs.id = job_inputs.job_id
      WHERE job_inputs.sha256 = value AND jobs.state IN ('held', 'queued', 'running'))
    AND NOT EXISTS (
      SELECT 1 FROM job_inputs
        JOIN jobs ON jobs.id = job_inputs.job_id
        JOIN files ON files.sha256 = value AND files.person_id = jobs.person_id
        JOIN images ON images.job_id = jobs.id AND images.removed_at IS NULL
      WHERE job_inputs.sha256 = value AND job_inputs.image_id IS NULL)
"""
MARK_GONE = "UPDATE files SET gone_at = ?, held_until = NULL WHERE sha256 = ? AND gone_at IS NULL"


class FileKind(StrEnum):
    """How a file came to be."""

    DRAWN = "drawn"
    UPLOAD = "upload"


class Files:
    """The pictures' files, on disk and in the record.

    Args:
        database: Where they are recorded.
        disk: Where they are.
    """

    def __init__(self, database: Database, disk: ImageFiles) -> None:
        self._database = database
        self._disk = disk

    def path(self, sha256: str) -> Path:
        """Return where the file of this name is, or would be; see `ImageFiles.path`."""
        return self._disk.path(sha256)

    def read(self, sha256: str) -> bytes:
        """Return a picture's bytes; blocks on the disk. See `ImageFiles.read`."""
        return self._disk.read(sha256)

    def read_all(self, inputs: Sequence[Input]) -> tuple[bytes, ...]:
        """Return the bytes of a request's inputs; blocks on the disk."""
        return self._disk.read_all(inputs)

    async def write(
        self, png: bytes, *, owner: int, now: dt.datetime, kind: FileKind = FileKind.DRAWN
    ) -> str:
        """Write one picture; see `write_all`."""
        (sha256,) = await self.write_all([png], owner=owner, now=now, kind=kind)
        return sha256

    async def write_all(
        self,
        pngs: Sequence[bytes],
        *,
        owner: int,
        now: dt.datetime,
        kind: FileKind = FileKind.DRAWN,
    ) -> tuple[str, ...]:
        """Write pictures, on disk for good when this returns, and return their SHA-256s.

        They are held for ten minutes, in which `Jobs.add_all` or `Jobs.record_rendered` must name
        them.

        Args:
            pngs: The files.
            owner: The member who drew or uploaded them.
            now: When.
            kind: Whether they were drawn or uploaded.

        Raises:
            StorageError: The disk or the database refused.
        """
        names = await asyncio.to_thread(lambda: [hashlib.sha256(png).hexdigest() for png in pngs])
        async with self._database.transaction() as connection:
            row = {
                "person_id": await know_person(connection, owner),
                "kind": kind,
                "now": to_text(now),
                "held_until": to_text(now + HOLD),
            }
            for sha256 in names:
                await connection.execute_fetchall(KNOW, {**row, "sha256": sha256})
        return tuple([await asyncio.to_thread(self._disk.write, png) for png in pngs])

    async def owners(self, sha256: str) -> frozenset[int]:
        """Return the members who drew or uploaded a file themselves."""
        rows = await self._database.all(OWNERS, (sha256,))
        return frozenset(row["discord_id"] for row in rows)

    async def release(self, sha256s: Collection[str], now: dt.datetime) -> int:
        """Unlink those of these files that nothing names any more; return how many there were.

        Raises:
            StorageError: The disk or the database refused.
        """
        removed = 0
        for batch in _batches(sorted(set(sha256s))):
            async with self._database.transaction() as connection:
                asked = {"names": json.dumps(batch), "now": to_text(now)}
                for row in await connection.execute_fetchall(UNUSED, asked):
                    sha256 = row["sha256"]
                    removed += await asyncio.to_thread(self._disk.remove, sha256)
                    await connection.execute_fetchall(MARK_GONE, (to_text(now), sha256))
        return removed

    async def sweep(self, now: dt.datetime) -> int:
        """Unlink every file that nothing names, and what killed writers left; return how many.

        Goes folder by folder, so that the database is never held for long.

        Raises:
            StorageError: The disk or the database refused.
        """
        removed = await asyncio.to_thread(self._disk.clear_partials)
        for folder in FOLDERS:
            names = set(await asyncio.to_thread(self._disk.names, folder))
            known = await self._database.all(KNOWN_IN, (folder, folder))
            names.update(row["sha256"] for row in known)
            removed += await self._release_unused(names, now)
        return removed

    async def _release_unused(self, names: Collection[str], now: dt.datetime) -> int:
        unused: list[str] = []
        for batch in _batches(sorted(names)):
            asked = {"names": json.dumps(batch), "now": to_text(now)}
            unused += [row["sha256"] for row in await self._database.all(UNUSED, asked)]
        return await self.release(unused, now)


async def name_file(connection: aiosqlite.Connection, sha256: str, job_id: int) -> None:
    """Let go of a file, inside the transaction that records which job draws or needs it.

    Raises:
        NotFound: It was swept: the caller took longer than it was held.
    """
    await connection.execute_fetchall(NAME, (sha256, job_id))
    ((is_gone,),) = await connection.execute_fetchall(IS_GONE, {"sha256": sha256})
    if is_gone:
        raise NotFound("file", sha256)


def _batches(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[start : start + SWEPT_AT_ONCE] for start in range(0, len(names), SWEPT_AT_ONCE)]
