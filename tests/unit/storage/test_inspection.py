"""Looking at a record without changing it, and finding out that one is damaged."""

import contextlib
import sqlite3

import pytest

from bot.terminal.doctor import Verdict, _database
from storage.database import Database, inspect
from storage.errors import StorageError
from storage.schema import damage, migrate, migrations
from storage.store import DATABASE_NAME, IMAGES_NAME, Store

from .conftest import ALICE, NOW, Scene
from .version_1 import write

NEWEST = max(migrations())


def everything(folder):
    """What lies in a folder: names, sizes, times of change, contents."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def old(tmp_path):
    write(tmp_path / DATABASE_NAME)
    return tmp_path / DATABASE_NAME


def test_looking_at_a_record_at_rest_makes_no_file_and_writes_nothing(old):
    before = everything(old.parent)
    found = inspect(old)
    assert (found.version, found.known, found.damage) == (1, NEWEST, None)
    assert everything(old.parent) == before


async def test_a_record_in_use_is_seen_as_it_is_and_goes_on(tmp_path):
    store = await Store.open(tmp_path)
    try:
        job = await Scene(store).job()
        assert inspect(tmp_path / DATABASE_NAME).version == NEWEST
        async with store.database.transaction():
            assert inspect(tmp_path / DATABASE_NAME).damage is None
        assert await store.jobs.get(job.id) == job
        assert await Scene(store).job()
    finally:
        await store.close()


async def test_the_doctor_of_a_newer_version_migrates_nothing_under_a_running_bot(old):
    with contextlib.closing(sqlite3.connect(old, isolation_level=None)) as running:
        running.execute("INSERT INTO people (id) VALUES (12345)")
        for quick in (False, True):
            check = await _database(old.parent, quick=quick)
            assert check.verdict is Verdict.OK
            assert f"schema version 1; the next start makes it {NEWEST}" in check.found
        assert running.execute("PRAGMA user_version").fetchone() == (1,)
    assert not list(old.parent.glob("*.before-*"))


async def test_the_doctor_names_a_record_that_is_too_new_damaged_or_absent(tmp_path):
    path = tmp_path / DATABASE_NAME
    assert (await _database(tmp_path, quick=True)).verdict is Verdict.SKIPPED
    migrate(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
    assert "newer program" in (await _database(tmp_path, quick=True)).found
    path.write_bytes(b"a letter " * 1000)
    assert "not a database" in (await _database(tmp_path, quick=True)).found


async def filled(folder):
    store = await Store.open(folder)
    scene = Scene(store)
    for number in range(60):
        await scene.job(f"a fox number {number} " + "and more of it " * 20)
    await store.close()
    return folder / DATABASE_NAME


@pytest.mark.parametrize("content", [b"\x00" * 4096, b"foreign!" * 512])
async def test_a_damaged_page_is_found_at_the_start_and_said_in_a_sentence(tmp_path, content):
    path = await filled(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = 'jobs'"
        ((page,),) = connection.execute(sql).fetchall()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(content)
    with pytest.raises(StorageError, match=r"damaged: .*docs/backup\.md"):
        await Database.open(path)
    assert inspect(path).damage
    assert "damaged" in (await _database(tmp_path, quick=False)).found


async def test_a_check_that_would_take_too_long_is_given_up(tmp_path, caplog):
    path = await filled(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE many AS WITH RECURSIVE n (i) AS "
            "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) SELECT i FROM n"
        )
        assert damage(connection, limit_s=-1.0) is None
        assert "database_check_unfinished" in caplog.text
        assert damage(connection) is None


@pytest.mark.parametrize("is_empty", [True, False])
async def test_pictures_without_their_record_are_not_taken_for_a_new_one(tmp_path, is_empty):
    store = await Store.open(tmp_path)
    await store.files.write(b"picture", owner=ALICE, now=NOW)
    await store.close()
    path = tmp_path / DATABASE_NAME
    if is_empty:
        path.write_bytes(b"")
    else:
        path.unlink()
    with pytest.raises(StorageError, match=rf"{IMAGES_NAME} holds pictures.*docs/backup\.md"):
        await Store.open(tmp_path)


async def test_only_the_owner_can_read_what_is_remembered(tmp_path):
    open_folder = tmp_path / "shared"
    open_folder.mkdir(0o755)
    store = await Store.open(open_folder)
    await store.database.backup(open_folder / "copy.db")
    modes = {path.name: path.stat().st_mode & 0o077 for path in open_folder.glob("*.db*")}
    await store.close()
    assert {name for name, mode in modes.items() if mode} <= {f"{DATABASE_NAME}.lock"}
    assert {DATABASE_NAME, f"{DATABASE_NAME}-wal", "copy.db"} <= modes.keys()
