"""From a record of the first version to one of today: every row, or none."""

import contextlib
import datetime as dt
import hashlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import time

import pytest

from generation.work.inputs import Input, Role
from generation.work.jobs import Place
from storage.consent import Scope
from storage.errors import StorageError
from storage.outbox import MessageState
from storage.schema import RAISED, migrate, migrations
from storage.settings import GuildSettings, MemberSettings
from storage.steps import Outcome
from storage.store import DATABASE_NAME, Store

from .version_1 import (
    ALICE,
    BOB,
    CHANNEL,
    GUILD,
    JOBS,
    LATER,
    MODERATOR,
    PHOTO,
    TERMINAL,
    sha,
    write,
)


def rows(path, sql, *values):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, values).fetchall()


def dump(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture
def path(tmp_path):
    write(tmp_path / DATABASE_NAME)
    return tmp_path / DATABASE_NAME


@pytest.fixture
async def store(path):
    store = await Store.open(path.parent)
    yield store
    await store.close()


def test_a_script_that_was_released_never_changes():
    first = hashlib.sha256(migrations()[1].encode()).hexdigest()
    assert first == "302c93816d490d537bd329dcc9cf9c2601246cbae2ed80fb4de9d3517113f2c4"


async def test_every_job_reads_as_what_it_was(store):
    for number, member, guild, channel, message, prompt, source, state, *_ in JOBS:
        job = await store.jobs.get(number)
        assert (job.member_id, job.state, job.typed) == (member, state, f"{prompt} --seed 7")
        assert job.place == Place(guild_id=guild, channel_id=channel, message_id=message)
        assert (job.request.prompt, job.request.style, job.request.seed) == (prompt, "3d", 7)
        assert (job.notes, job.cost_s, job.submission) == (("a note",), 1.5, number)
        assert job.request.strength == (0.6 if source else 1.0)
        assert (job.fingerprint is not None) == (state in {"posted", "rendered"})
    assert len(await store.jobs.of_member(BOB)) == 7


async def test_what_a_job_starts_from_is_the_picture_or_the_upload(store):
    remix, upload = await store.jobs.get(2), await store.jobs.get(3)
    assert remix.request.inputs == (Input(Role.START, sha("fox 2"), 2),)
    assert upload.request.inputs == (Input(Role.START, PHOTO),)
    assert (remix.parent_image_id, upload.parent_image_id) == (2, None)
    assert await store.images.children(2) == (2, 6)


async def test_files_belong_to_whoever_drew_or_uploaded_them(store, path):
    assert await store.files.owners(PHOTO) == {ALICE}  # Bob only pressed Again
    assert await store.files.owners(sha("blue fox")) == {BOB}
    assert await store.files.owners(sha("fox 2")) == {ALICE, TERMINAL}
    gone = rows(path, "SELECT sha256, gone_at FROM files WHERE gone_at IS NOT NULL")
    assert gone == [(sha("fox 1"), LATER)]
    kinds = dict(rows(path, "SELECT sha256, kind FROM files"))
    assert {name for name, kind in kinds.items() if kind == "upload"} == {PHOTO}


async def test_pictures_votes_and_reports_are_all_there(store):
    first, second = await store.images.of_job(1)
    assert (first.removed_at.isoformat(timespec="microseconds"), first.taken_down_at) == (
        LATER,
        None,
    )
    assert second.taken_down_at is not None
    assert second.pixels_sha256 is None
    assert await store.votes.counts(1) == {1: 0, 2: 1}
    (report,) = await store.moderation.open_reports(GUILD)
    assert (report.id, report.reporter_id, report.reason) == (1, BOB, "rude")
    assert [image.seed for image in await store.images.of_job(1)] == [7, 8]


async def test_consents_and_actions_keep_their_numbers_and_words(store):
    history = await store.consents.history(ALICE)
    assert [(each.id, each.scope, each.given) for each in history] == [
        (1, Scope.GALLERY, True),
        (2, Scope.REMIX, True),
        (3, Scope.TRAINING, False),
        (5, Scope.TRAINING, True),
    ]
    assert {each.text_sha256 for each in history} == {"0" * 64}
    actions = await store.moderation.of_guild(GUILD)
    assert [(each.id, each.moderator_id, each.member_id) for each in actions] == [
        (3, ALICE, ALICE),
        (2, MODERATOR, BOB),
        (1, MODERATOR, ALICE),
    ]
    assert await store.moderation.is_suspended(GUILD, BOB)


async def test_settings_and_costs_are_as_they_were(store):
    assert await store.settings.guild(GUILD) == GuildSettings(log_channel_id=4001)
    assert await store.settings.member(ALICE) == MemberSettings(style="3d")
    assert await store.costs.get() == {"atelier-emoji/128x128/28": 1.25}


async def test_starts_that_were_counted_are_attempts(store):
    ends = {
        number: [attempt.outcome for attempt in await store.attempts.of_job(number)]
        for number in range(1, 13)
    }
    assert ends == {
        1: [Outcome.RENDERED],
        2: [Outcome.DIED, Outcome.RENDERED],
        3: [Outcome.RENDERED],
        4: [Outcome.RENDERED],
        5: [Outcome.DIED, None],
        6: [Outcome.DIED],
        7: [],
        8: [Outcome.RENDERED],
        9: [Outcome.DIED, Outcome.FAILED],
        10: [Outcome.RENDERED],
        11: [Outcome.CANCELLED],
        12: [Outcome.RENDERED],
    }
    now = (await store.jobs.get(1)).finished_at
    assert [job.id for job in await store.attempts.recoverable(worker="new", now=now)] == []
    later = (await store.attempts.of_job(5))[1].lease_until
    assert [job.id for job in await store.attempts.recoverable(worker="new", now=later)] == [5]
    assert [job.id for job in await store.jobs.in_line()] == [6]


async def test_what_may_show_something_old_is_drawn_anew_and_nothing_else(store):
    now = (await store.jobs.get(8)).finished_at
    due = await store.outbox.due(now, 100)
    # Under way, or with pictures that were removed or taken down; the rest stands as it is.
    assert {message.job_id for message in due} == {1, 5, 6, 12}
    assert await store.outbox.of_job(8) is None  # the terminal's
    lost = await store.outbox.of_job(10)
    assert lost.state is MessageState.UNDELIVERABLE
    assert lost.reason == "delivered to nobody: x"
    found = await store.jobs.by_message(CHANNEL, 5002)
    assert found.id == 2


async def test_what_becomes_of_an_old_picture_is_shown_on_its_message(store):
    now = dt.datetime.fromisoformat(LATER) + dt.timedelta(days=1)
    await store.moderation.remove_pictures(2, guild_id=GUILD, by=BOB, reason="mine", now=now)
    assert 2 in {message.job_id for message in await store.outbox.due(now, 100)}


async def test_words_are_found_as_before_and_those_without_spaces_too(store):
    async def found(text):
        return [job.id for job in await store.jobs.search(guild_id=None, text=text)]

    assert await found("fox") == [2, 1]
    assert await found("狐狸") == [8]
    assert await found("红色") == [8]


async def test_a_number_that_was_given_once_is_not_given_again(store, path):
    (seq,) = rows(path, "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'")[0]
    assert seq == 40


async def test_the_copy_from_before_still_is_a_record_of_the_first_version(store, path):
    (copy,) = path.parent.glob("*.before-2.db")
    assert rows(copy, "PRAGMA user_version") == [(1,)]
    assert rows(copy, "SELECT count(*) FROM lineage") == [(2,)]
    (seq,) = rows(copy, "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'")[0]
    assert seq == 40 + RAISED
    assert copy.stat().st_mode & 0o077 == 0


def test_the_record_is_whole_afterwards(path):
    migrate(path)
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO prompts (prompts, rank) VALUES ('integrity-check', 1)")


def test_people_are_not_numbered_in_the_order_of_their_ids(tmp_path):
    orders = set()
    for number in range(5):
        path = tmp_path / f"{number}.db"
        write(path)
        migrate(path)
        orders.add(tuple(rows(path, "SELECT discord_id FROM people ORDER BY id")))
    assert len(orders) > 1


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE messages (id INTEGER)",
        "DROP TABLE lineage",
        "ALTER TABLE jobs ADD COLUMN submission INTEGER",
        "ALTER TABLE votes RENAME TO old_votes",
        "PRAGMA user_version = 0",
    ],
)
def test_a_record_that_is_not_what_its_version_says_is_refused_and_untouched(path, change):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
    before = dump(path)
    with pytest.raises(StorageError, match=r"schema version [01], but that is not so"):
        migrate(path)
    assert dump(path) == before
    assert not list(path.parent.glob("*.before-*"))


def test_a_row_that_points_at_nothing_stops_the_migration_and_nothing_is_lost(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE jobs SET member_id = 555 WHERE id = 11")
    before = dump(path)
    with pytest.raises(StorageError, match="every_row_came_along"):
        migrate(path)
    assert dump(path) == before


def migrate_and_die(path, *, at_statement=None, after_s=None):
    """Migrate in a process of its own that is killed; return whether it got to its end.

    Args:
        path: The database.
        at_statement: It kills itself before SQLite runs its so-manieth statement.
        after_s: It is killed after that time.
    """
    child = os.fork()
    if not child:
        seen = itertools.count(1)

        def trace(_):
            if next(seen) == at_statement:
                os.kill(os.getpid(), signal.SIGKILL)

        def connect(*args, real=sqlite3.connect, **options):
            connection = real(*args, **options)
            connection.set_trace_callback(trace)
            return connection

        sqlite3.connect = connect
        migrate(path)
        os._exit(0)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def assert_old_or_new(path, old):
    (version,) = rows(path, "PRAGMA user_version")[0]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    if version == 1:
        assert dump(path) == old
    migrate(path)
    assert rows(path, "PRAGMA user_version") == [(2,)]
    assert rows(path, "SELECT count(*) FROM jobs") == [(len(JOBS),)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    (copy,) = path.parent.glob("*.before-2.db*")
    assert rows(copy, "SELECT count(*) FROM lineage") == [(2,)]


def test_killed_before_any_statement_a_record_is_old_or_new_and_never_between(tmp_path):
    write(tmp_path / "old.db")
    old, ends = dump(tmp_path / "old.db"), []
    for number in range(1, 400, 13):
        path = tmp_path / str(number) / DATABASE_NAME
        path.parent.mkdir()
        shutil.copyfile(tmp_path / "old.db", path)
        ends.append(migrate_and_die(path, at_statement=number))
        assert_old_or_new(path, old)
        if ends[-1]:
            break
    assert ends[-1]
    assert len(ends) > 8


def test_killed_at_any_moment_a_record_is_old_or_new_and_never_between(tmp_path):
    write(tmp_path / "old.db")
    old = dump(tmp_path / "old.db")
    for number in range(10):
        path = tmp_path / str(number) / DATABASE_NAME
        path.parent.mkdir()
        shutil.copyfile(tmp_path / "old.db", path)
        migrate_and_die(path, after_s=random.uniform(0, 0.12))
        assert_old_or_new(path, old)
