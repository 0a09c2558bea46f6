"""One SQLite file: one writer with one transaction at a time, one reader beside it."""

import asyncio
import contextlib
import dataclasses
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Self

import aiosqlite

from storage.errors import StorageError
from storage.schema import back_up, damage, migrate, migrations, version_of

# FULL: a commit that was acknowledged survives a power cut, also in WAL mode.
# secure_delete: what is removed on request is overwritten, not only unlinked.
PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 10000",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
)
READ_ONLY = "PRAGMA query_only = ON"
BEGIN = "BEGIN IMMEDIATE"


class Database:
    """The open database.

    Coroutines that share one connection share its transaction, so that one's rollback would drop
    another's insert. Writes therefore take turns in `transaction()`, and reads go through a second
    connection, which sees only what was committed.

    Args:
        path: The file.
        writer: Used by one transaction at a time.
        reader: Refuses writes.
    """

    def __init__(
        self, path: Path, writer: aiosqlite.Connection, reader: aiosqlite.Connection
    ) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._turn = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._is_closed = False
        self._told: list[Callable[[], None]] = []

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the database at `path`, creating or migrating it first.

        Raises:
            DatabaseTooNew: It was written by a newer program.
            StorageError: It cannot be opened, is damaged, or a migration failed.
        """
        await asyncio.to_thread(_prepare, path)
        try:
            writer = await _connect(path, PRAGMAS)
            try:
                reader = await _connect(path, (*PRAGMAS, READ_ONLY))
            except BaseException:
                await writer.close()
                raise
        except sqlite3.Error as error:
            raise StorageError(f"the database could not be opened: {error}") from error
        return cls(path, writer, reader)

    async def close(self) -> None:
        """Close both connections after the open transaction, if any, is over."""
        # An unclosed aiosqlite connection keeps a thread alive and hangs the exit.
        async with self._turn:
            self._is_closed = True
            try:
                await self._reader.close()
            finally:
                await self._writer.close()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """Run the body as one transaction: committed at its end, rolled back if it raises.

        Raises:
            StorageError: SQLite refused a statement; nothing of the body was kept.
            RuntimeError: The task already is inside a transaction and would wait for itself.
        """
        task = asyncio.current_task()
        if task is self._owner and task is not None:
            raise RuntimeError("a transaction inside a transaction of the same task")
        async with self._turn:
            self._check_open()
            self._owner = task
            try:
                # BEGIN is inside the try: a cancelled await does not stop the statement.
                await self._writer.execute_fetchall(BEGIN)
                yield self._writer
                await self._writer.commit()
                for told in self._told:
                    told()
            except sqlite3.Error as error:
                await self._writer.rollback()
                raise StorageError(f"the database refused: {error}") from error
            except BaseException:
                await self._writer.rollback()
                raise
            finally:
                self._owner = None

    def when_committed(self, told: Callable[[], None]) -> None:
        """Have `told` called after each transaction that was committed; it must be quick."""
        self._told.append(told)

    async def all(self, sql: str, params: Iterable[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """Return every row of a query over what was committed."""
        self._check_open()
        try:
            return list(await self._reader.execute_fetchall(sql, params))
        except sqlite3.Error as error:
            raise StorageError(f"the database could not be read: {error}") from error

    async def one(
        self, sql: str, params: Iterable[Any] | dict[str, Any] = ()
    ) -> sqlite3.Row | None:
        """Return the first row of a query over what was committed, or None."""
        return next(iter(await self.all(sql, params)), None)

    async def backup(self, to: Path) -> None:
        """Write a consistent copy to `to` while the bot goes on.

        Raises:
            StorageError: `to` exists already, or cannot be written.
        """
        try:
            await asyncio.to_thread(back_up, self.path, to)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"the backup failed: {error}") from error

    def _check_open(self) -> None:
        if self._is_closed:
            raise StorageError("the database is closed")


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """What a look at a database from outside says.

    Args:
        version: Its schema version; 0 is a new one.
        known: The newest version that this program knows.
        damage: What is wrong with its pages, or None.
    """

    version: int
    known: int
    damage: str | None


def inspect(path: Path, *, is_quick: bool = False) -> Inspection:
    """Look at a database that others may be using, and change nothing: no file is made or written.

    Blocks on the disk: call it in a thread.

    Args:
        path: The database file.
        is_quick: Whether to leave its pages alone.

    Raises:
        StorageError: It is absent or cannot be read.
    """
    if not path.is_file():
        raise StorageError(f"there is no {path}")
    # Without a write-ahead log nobody has it open, and SQLite would make one only to read. With
    # one, its newest rows are in there.
    has_log = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=ro" if has_log else "mode=ro&immutable=1"
    try:
        uri = f"{path.absolute().as_uri()}?{mode}"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
            found = version_of(connection)
            return Inspection(
                version=found,
                known=max(migrations()),
                damage=None if is_quick else damage(connection),
            )
    except sqlite3.Error as error:
        raise StorageError(f"the database could not be read: {error}") from error


def _prepare(path: Path) -> None:
    migrate(path)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
            if found := damage(connection):
                raise StorageError(
                    f"the database is damaged: {found}. Restore a backup: see docs/backup.md"
                )
    except sqlite3.Error as error:
        raise StorageError(f"the database could not be read: {error}") from error


async def _connect(path: Path, pragmas: Iterable[str]) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        for pragma in pragmas:
            await connection.execute_fetchall(pragma)
    except BaseException:
        await connection.close()
        raise
    return connection
