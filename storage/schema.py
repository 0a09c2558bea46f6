"""The schema's history: numbered SQL scripts, applied in order under a lock, after a backup."""

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from storage.errors import DatabaseTooNew, StorageError

_log = logging.getLogger(__name__)

IS_EMPTY = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)"
VERSION = "PRAGMA user_version"
COPY = "VACUUM INTO ?"


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
        StorageError: A script failed; the file is as it was before that script.
    """
    scripts = migrations() if scripts is None else scripts
    newest = max(scripts)
    try:
        with _lock(path), contextlib.closing(_connect(path)) as connection:
            version = int(connection.execute(VERSION).fetchone()[0])
            if version > newest:
                raise DatabaseTooNew(version, newest)
            if version == newest:
                return
            if not connection.execute(IS_EMPTY).fetchone()[0]:
                copy_database(connection, path.with_name(f"{path.name}.before-{newest}.db"))
            for number in sorted(number for number in scripts if number > version):
                connection.executescript(scripts[number])
                _log.info("database_migrated", extra={"version": number})
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"the database could not be opened or migrated: {error}") from error


def copy_database(connection: sqlite3.Connection, to: Path) -> None:
    """Write a consistent, compact copy of the database to `to`, whole or not at all.

    An older file of that name is replaced: it was made by an attempt that did not finish.
    """
    partial = to.with_name(f"{to.name}.partial")
    partial.unlink(missing_ok=True)
    connection.execute(COPY, (str(partial),))
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(to)


def _connect(path: Path) -> sqlite3.Connection:
    # A script that fails leaves its transaction open; closing the connection rolls it back.
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    # A lock file of its own: SQLite drops its POSIX locks when another handle on the same file is
    # closed. The kernel releases this one when the process dies.
    with path.with_name(f"{path.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
