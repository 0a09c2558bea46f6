import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from storage.database import Database
from storage.errors import StorageError

ADD = "INSERT INTO people (id) VALUES (?)"
IDS = "SELECT id FROM people ORDER BY id"


@pytest.fixture
async def database(tmp_path):
    database = await Database.open(tmp_path / "a.db")
    yield database
    await database.close()


async def ids(database):
    return [row["id"] for row in await database.all(IDS)]


async def test_a_rollback_loses_only_its_own_rows(database):
    inside = asyncio.Event()

    async def fails():
        async with database.transaction() as connection:
            await connection.execute(ADD, (1,))
            inside.set()
            await asyncio.sleep(0.05)
            await connection.execute(ADD, (2,))
            raise ValueError("changed my mind")

    async def succeeds():
        await inside.wait()
        async with database.transaction() as connection:
            await connection.execute(ADD, (3,))

    results = await asyncio.gather(fails(), succeeds(), return_exceptions=True)
    assert isinstance(results[0], ValueError)
    assert results[1] is None
    assert await ids(database) == [3]


async def test_many_coroutines_never_share_a_transaction(database):
    async def write(number):
        async with database.transaction() as connection:
            await connection.execute(ADD, (2 * number,))
            await asyncio.sleep(0)
            await connection.execute(ADD, (2 * number + 1,))
            if number % 3 == 0:
                raise ValueError(number)

    await asyncio.gather(*(write(number) for number in range(40)), return_exceptions=True)
    kept = [number for number in range(40) if number % 3]
    assert await ids(database) == [each for n in kept for each in (2 * n, 2 * n + 1)]


async def test_a_read_never_sees_an_open_transaction(database):
    async with database.transaction() as connection:
        await connection.execute(ADD, (1,))
        assert await ids(database) == []
    assert await ids(database) == [1]


async def test_a_read_does_not_wait_for_an_open_transaction(database):
    async with database.transaction():
        assert await asyncio.wait_for(ids(database), timeout=5) == []


async def test_a_cancelled_transaction_keeps_nothing_and_frees_the_turn(database):
    inside = asyncio.Event()

    async def endless():
        async with database.transaction() as connection:
            await connection.execute(ADD, (1,))
            inside.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(endless())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.transaction() as connection:
        await connection.execute(ADD, (2,))
    assert await ids(database) == [2]


async def test_cancelling_at_any_await_never_breaks_the_next_transaction(database):
    async def write(number):
        async with database.transaction() as connection:
            await connection.execute(ADD, (number,))
            await connection.execute(ADD, (number + 1000,))

    for number in range(60):
        task = asyncio.create_task(write(number))
        for _ in range(number % 12):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with database.transaction() as connection:
        await connection.execute(ADD, (5000,))
    kept = await ids(database)
    halves = {number for number in kept if number < 1000}
    assert {number - 1000 for number in kept if 1000 <= number < 5000} == halves
    assert kept[-1] == 5000


async def test_a_refused_statement_undoes_the_whole_transaction(database):
    async def add_twice():
        async with database.transaction() as connection:
            await connection.execute(ADD, (1,))
            await connection.execute(ADD, (1,))

    with pytest.raises(StorageError, match="UNIQUE"):
        await add_twice()
    assert await ids(database) == []


async def test_a_transaction_inside_its_own_is_refused_instead_of_waiting_for_ever(database):
    async with database.transaction() as connection:
        await connection.execute(ADD, (1,))
        with pytest.raises(RuntimeError, match="same task"):
            async with database.transaction():
                pass
    assert await ids(database) == [1]


async def test_reads_cannot_write(database):
    with pytest.raises(StorageError, match="readonly"):
        await database.all("DELETE FROM people")


async def test_foreign_keys_hold(database):
    with pytest.raises(StorageError, match="FOREIGN KEY"):
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO votes (image_id, person_id, voted_at) VALUES (1, 1, '')"
            )


async def test_a_closed_database_says_so(tmp_path):
    database = await Database.open(tmp_path / "a.db")
    await database.close()
    with pytest.raises(StorageError, match="closed"):
        await database.all(IDS)
    with pytest.raises(StorageError, match="closed"):
        async with database.transaction():
            pass


async def test_a_backup_is_whole_while_writes_go_on(database, tmp_path):
    async with database.transaction() as connection:
        await connection.execute(ADD, (1,))
    async with database.transaction() as connection:
        await connection.execute(ADD, (2,))
        await database.backup(tmp_path / "copy.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute(IDS).fetchall() == [(1,)]
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        copy.execute("INSERT INTO prompts (prompts, rank) VALUES ('integrity-check', 1)")
    assert not list(tmp_path.glob("*.partial"))


async def test_a_backup_never_overwrites_another(database, tmp_path):
    (tmp_path / "copy.db").write_bytes(b"last week's")
    with pytest.raises(StorageError, match="exists"):
        await database.backup(tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_bytes() == b"last week's"


async def test_what_was_committed_survives_kill_9_and_the_rest_is_gone(tmp_path):
    code = textwrap.dedent("""
        import asyncio, os, signal, sys, pathlib
        from storage.database import Database

        async def main():
            database = await Database.open(pathlib.Path(sys.argv[1]))
            async with database.transaction() as connection:
                await connection.execute("INSERT INTO people (id) VALUES (1)")
            async with database.transaction() as connection:
                await connection.execute("INSERT INTO people (id) VALUES (2)")
                os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """)
    path = tmp_path / "a.db"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code, str(path)], check=False
    )
    assert done.returncode == -9
    database = await Database.open(path)
    try:
        assert await ids(database) == [1]
    finally:
        await database.close()
