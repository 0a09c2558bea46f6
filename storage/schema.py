"""The schema's history: numbered SQL scripts, applied in order under a lock, after a backup."""

import contextlib
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from storage.errors import DatabaseTooNew, StorageError
from storage.search import letters_of

_log = logging.getLogger(__name__)

VERSION = "PRAGMA user_version"
COPY = "VACUUM INTO ?"
TABLES = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
QUICK_CHECK = "PRAGMA quick_check(1)"
CHECK_S = 20.0  # a check of the whole file at each start may take so long
CHECK_STEPS = 100_000  # of SQLite's virtual machine between two looks at the clock
# Buttons of messages younger than a copy carry numbers that it does not know. If it ever takes the
# record's place, new rows must not get them.
RAISED = 100_000
RAISE_NUMBERS = "UPDATE sqlite_sequence SET seq = seq + ?"


def migrations() -> dict[int, str]:
    """Return every migration script by its number, in order.

    A script holds its own BEGIN IMMEDIATE, PRAGMA user_version and COMMIT, because Python's
    `executescript` commits whatever transaction is open before it starts.
    """
    folder = resources.files("storage") / "migrations"
    scripts = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".sql")),
        key=lambda entry: entry.name,
    )
    return {int(entry.name.split("_")[0]): entry.read_text("utf-8") for entry in scripts}


def migrate(path: Path, scripts: dict[int, str] | None = None) -> None:
    """Bring the database at `path` up to date, creating it if it is absent.

    Blocks on the disk and on another process that migrates the same file: call it in a thread.

    Args:
        path: The database file.
        scripts: Number to SQL; the package's own when absent.

    Raises:
        DatabaseTooNew: The file was written by a newer program; it is left untouched.
        StorageError: It is not what its version says, or a script failed; the file is as it was
            before that script.
    """
    scripts = migrations() if scripts is None else scripts
    newest = max(scripts)
    try:
        with _lock(path), contextlib.closing(_connect(path)) as connection:
            version = version_of(connection)
            if version > newest:
                raise DatabaseTooNew(version, newest)
            if version == newest:
                return
            _check_tables(connection, {n: sql for n, sql in scripts.items() if n <= version})
            if version:
                copy_database(connection, path.with_name(f"{path.name}.before-{newest}.db"))
            for number in sorted(number for number in scripts if number > version):
                connection.executescript(scripts[number])
                _log.info("database_migrated", extra={"version": number})
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"the database could not be opened or migrated: {error}") from error


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of an open database; 0 is a new one."""
    return int(connection.execute(VERSION).fetchone()[0])


def damage(connection: sqlite3.Connection, limit_s: float = CHECK_S) -> str | None:
    """Return what is wrong with the pages of a database, or None.

    Args:
        connection: An open database.
        limit_s: A longer check is given up, and what was not looked at counts as sound.
    """
    end = time.monotonic() + limit_s
    connection.set_progress_handler(lambda: time.monotonic() > end, CHECK_STEPS)
    try:
        found = str(connection.execute(QUICK_CHECK).fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        _log.warning("database_check_unfinished", extra={"limit_s": limit_s})
        return None
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.set_progress_handler(None, 0)
    return None if found == "ok" else found.splitlines()[-1]  # under a headline


def _check_tables(connection: sqlite3.Connection, applied: dict[int, str]) -> None:
    """Refuse a database whose tables are not those of its version: nobody knows what it holds.

    Raises:
        StorageError: A table is missing, changed or one too many.
    """
    with contextlib.closing(_connect(Path(":memory:"))) as fresh:
        for number in sorted(applied):
            fresh.executescript(applied[number])
        expected = dict(fresh.execute(TABLES).fetchall())
    found = dict(connection.execute(TABLES).fetchall())
    differing = sorted({name for name, _ in expected.items() ^ found.items()})
    if differing:
        raise StorageError(
            f"the database says it has schema version {max(applied, default=0)}, but that is not "
            f"so in: {', '.join(differing)}. Nothing was changed; restore a backup, see "
            "docs/backup.md"
        )


def copy_database(connection: sqlite3.Connection, to: Path) -> None:
    """Write a consistent, compact copy of the database to `to`, whole or not at all.

    An older file of that name is replaced: it was made by an attempt that did not finish. Numbers
    that the copy will give begin higher than any that the original gives soon.
    """
    partial = to.with_name(f"{to.name}.partial")
    partial.unlink(missing_ok=True)
    _new_file(partial)
    connection.execute(COPY, (str(partial),))
    with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = FULL")
        copy.execute(RAISE_NUMBERS, (RAISED,))
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(to)


def back_up(path: Path, to: Path) -> None:
    """Write a copy of the database at `path` to `to`, while others use it.

    Raises:
        OSError: `to` exists already, or cannot be written.
        sqlite3.Error: The database cannot be read.
    """
    if to.exists():
        raise FileExistsError(f"{to} exists already")
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
        copy_database(connection, to)


def _connect(path: Path) -> sqlite3.Connection:
    # A script that fails leaves its transaction open; closing the connection rolls it back.
    if str(path) != ":memory:":
        _new_file(path)
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA foreign_keys = OFF")  # scripts rebuild tables, and check at the end
    connection.create_function("letters_of", 1, letters_of, deterministic=True)
    return connection


def _new_file(path: Path) -> None:
    # Prompts are private, also in a folder that others may read. SQLite's own files beside it
    # get the same mode.
    path.touch(mode=0o600)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    # A lock file of its own: SQLite drops its POSIX locks when another handle on the same file is
    # closed. The kernel releases this one when the process dies.
    with path.with_name(f"{path.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
