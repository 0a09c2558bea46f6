import asyncio
import contextlib
import sqlite3
import subprocess
import sys

import pytest

from storage.database import Database
from storage.errors import DatabaseTooNew, StorageError
from storage.schema import migrate, migrations

LATER = "BEGIN IMMEDIATE; CREATE TABLE later (x TEXT) STRICT; PRAGMA user_version = {}; COMMIT;"
BROKEN = "BEGIN IMMEDIATE; CREATE TABLE half (x); INSERT INTO nowhere VALUES (1); COMMIT;"
SCHEMA = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
NEXT = max(migrations()) + 1


def ask(path, sql):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_migrations_are_numbered_without_a_gap():
    assert list(migrations()) == list(range(1, NEXT))


@pytest.mark.parametrize("applied", range(NEXT))
def test_fresh_schema_equals_all_migrations_replayed(tmp_path, applied):
    scripts = migrations()
    fresh, old = tmp_path / "fresh.db", tmp_path / "old.db"
    migrate(fresh)
    for number in range(1, applied + 1):
        migrate(old, {number: scripts[number] for number in range(1, number + 1)})
    migrate(old)
    assert ask(old, SCHEMA) == ask(fresh, SCHEMA)
    assert ask(old, "PRAGMA user_version") == ask(fresh, "PRAGMA user_version") == [(NEXT - 1,)]


def test_migrating_again_changes_nothing(tmp_path):
    path = tmp_path / "a.db"
    migrate(path)
    before = path.read_bytes()
    migrate(path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.before-*"))


def test_a_copy_is_kept_of_what_was_there_before_a_migration(tmp_path):
    path = tmp_path / "a.db"
    migrate(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO people (id) VALUES (5)")
    stale = tmp_path / f"a.db.before-{NEXT}.db.partial"
    stale.write_bytes(b"left by a crash")
    migrate(path, {**migrations(), NEXT: LATER.format(NEXT)})
    (copy,) = tmp_path.glob("*.before-*")
    assert copy.name == f"a.db.before-{NEXT}.db"
    assert ask(copy, "SELECT id FROM people") == [(5,)]
    assert ask(copy, "PRAGMA user_version") == [(NEXT - 1,)]
    assert ask(path, "PRAGMA user_version") == [(NEXT,)]
    assert ask(path, "SELECT id FROM people") == [(5,)]


def test_a_migration_that_fails_leaves_nothing_of_itself(tmp_path):
    path = tmp_path / "a.db"
    migrate(path)
    before = ask(path, SCHEMA)
    with pytest.raises(StorageError, match="nowhere"):
        migrate(path, {**migrations(), NEXT: BROKEN})
    assert ask(path, SCHEMA) == before
    assert ask(path, "PRAGMA user_version") == [(NEXT - 1,)]


async def test_a_newer_database_is_refused_and_untouched(tmp_path):
    path = tmp_path / "a.db"
    migrate(path, {**migrations(), NEXT: LATER.format(NEXT)})
    before = path.read_bytes()
    with pytest.raises(DatabaseTooNew) as caught:
        await Database.open(path)
    assert (caught.value.found, caught.value.known) == (NEXT, NEXT - 1)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_untouched(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"a letter to my aunt " * 500)
    with pytest.raises(StorageError, match="not a database"):
        await Database.open(path)
    assert path.read_bytes() == b"a letter to my aunt " * 500


async def test_a_missing_folder_is_an_error_of_storage(tmp_path):
    with pytest.raises(StorageError):
        await Database.open(tmp_path / "nowhere" / "a.db")


def test_processes_that_start_together_migrate_once(tmp_path):
    path = tmp_path / "a.db"
    code = "import sys, pathlib; from storage.schema import migrate; migrate(pathlib.Path(sys.argv[1]))"
    starts = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    errors = [start.communicate()[1] for start in starts]
    assert [start.returncode for start in starts] == [0] * 4, errors
    assert ask(path, "PRAGMA user_version") == [(NEXT - 1,)]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("table", ["consents", "moderation_actions"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET id = id",
        "DELETE FROM {table}",
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
    ],
)
async def test_history_can_only_be_added_to(tmp_path, table, statement):
    database = await Database.open(tmp_path / "a.db")
    rows = {
        "consents": "(1, 5, 'remix', 1, '1', printf('%064d', 0), 'then', 9)",
        "moderation_actions": "(1, 'lift', NULL, 5, NULL, NULL, NULL, 'why', 'then')",
    }
    try:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO people (id) VALUES (5)")
            await connection.execute(f"INSERT INTO {table} VALUES {rows[table]}")  # noqa: S608
        everything = f"SELECT * FROM {table}"  # noqa: S608
        before = [tuple(row) for row in await database.all(everything)]
        with pytest.raises(StorageError, match="append-only"):
            async with database.transaction() as connection:
                await connection.execute(statement.format(table=table))
        assert [tuple(row) for row in await database.all(everything)] == before
    finally:
        await database.close()


async def test_open_sets_what_durability_and_privacy_need(tmp_path):
    database = await Database.open(tmp_path / "a.db")
    try:
        expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
        async with database.transaction() as connection:
            for name, value in expected.items():
                (row,) = await connection.execute_fetchall(f"PRAGMA {name}")
                assert row[0] == value, name
    finally:
        await database.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
