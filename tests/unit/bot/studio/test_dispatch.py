"""From the line to the worker and back, with a real record and a real worker process."""

import asyncio
import contextlib
import datetime as dt
import json
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.studio.asking import Ask
from bot.studio.dispatch import BOT, Drawing
from bot.studio.line import AT_ONCE
from bot.studio.trouble import Breaker, Trouble
from generation.work.jobs import Job, JobState
from storage.asking import HELD_LIFE, NewJob
from storage.moderation import ActionKind
from storage.settings import GuildSettings
from storage.steps import Outcome
from tests.unit.bot.studio.conftest import (
    ALICE,
    BOB,
    BROKEN,
    CHANNEL,
    GUILD,
    MODERATOR,
    SLOW,
    STEP_S,
    House,
    open_house,
)

DRAWN = (JobState.RENDERED, JobState.POSTED)
LOG = CHANNEL + 7


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.studio.trouble.FIRST_PAUSE_S", 0.3)


async def outcomes(house: House, job: Job) -> list[Outcome | None]:
    return [each.outcome for each in await house.store.attempts.of_job(job.id)]


async def told(house: House) -> list[str]:
    """Return what the log channel was told of pauses."""
    rows = await house.store.database.all(
        "SELECT about ->> '$.paused' AS why FROM messages WHERE kind = 'log'"
    )
    return [row["why"] for row in rows if row["why"]]


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110  # nobody would set an event
            await asyncio.sleep(0.01)


def kill_worker(house: House) -> None:
    assert house.supervisor.pid is not None
    os.kill(house.supervisor.pid, signal.SIGKILL)


# Drawing


async def test_whoever_asks_for_the_like_joins_what_is_being_drawn(house: House) -> None:
    await house.agree(ALICE, BOB)
    (long,) = await house.line_up((ALICE, f"a fox --model {SLOW} --q 2"))
    async with house.drawing():
        await house.until_step(long)
        (short,) = await house.line_up((BOB, f"an owl --model {SLOW} --q .25"))
        await house.until(short, *DRAWN)
        assert await house.state_of(long) is JobState.RUNNING
        await house.until(long, *DRAWN)


async def test_a_checkpoint_that_cannot_load_fails_its_own_jobs_only(house: House) -> None:
    await house.agree(ALICE, BOB)
    bad, good = await house.line_up((ALICE, f"a fox --model {BROKEN}"), (BOB, "an owl"))
    async with house.drawing():
        failed = await house.until(bad, JobState.FAILED)
        await house.until(good, *DRAWN)
    assert "/nowhere" not in (failed.reason or "")
    assert await told(house) == []


async def test_a_lease_is_renewed_while_a_job_is_drawn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.studio.dispatch.RENEW_S", 0.1)
    await house.agree(ALICE)
    (job,) = await house.line_up((ALICE, f"a fox --model {SLOW} --q 2"))
    async with house.drawing():
        await house.until(job, JobState.RUNNING)
        (first,) = await house.store.attempts.of_job(job.id)
        await house.until(job, *DRAWN)
    (last,) = await house.store.attempts.of_job(job.id)
    assert last.lease_until > first.lease_until


async def test_drawing_that_hangs_is_seen_from_outside(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.studio.dispatch.HANGS_AFTER_S", 10 * STEP_S)
    await house.agree(ALICE)
    assert house.dispatcher.is_turning()
    (job,) = await house.line_up((ALICE, f"a fox --model {SLOW} --q 2"))
    async with house.drawing():
        await house.until_step(job)
        assert house.dispatcher.is_turning()
        assert house.supervisor.pid is not None
        os.kill(house.supervisor.pid, signal.SIGSTOP)
        async with asyncio.timeout(30):
            while house.dispatcher.is_turning():  # noqa: ASYNC110  # nothing happens any more
                await asyncio.sleep(0.01)
        os.kill(house.supervisor.pid, signal.SIGCONT)
        await house.until(job, *DRAWN)
    assert house.dispatcher.is_turning()


# The gate


async def test_a_suspended_members_job_is_refused_when_its_turn_comes(house: House) -> None:
    await house.agree(ALICE)
    (job,) = await house.line_up((ALICE, "a fox"))
    await house.store.moderation.record(
        ActionKind.SUSPEND,
        guild_id=GUILD,
        moderator_id=MODERATOR.member_id,
        member_id=ALICE.member_id,
        reason="spam",
        now=dt.datetime.now(dt.UTC),
    )
    async with house.drawing():
        refused = await house.until(job, JobState.REFUSED)
    assert "suspended" in (refused.reason or "")
    assert await outcomes(house, job) == []


async def test_a_remix_is_cancelled_when_its_start_was_removed_while_it_waited(
    house: House,
) -> None:
    await house.agree(ALICE, BOB)
    _, image = await house.draw(await house.ask(ALICE))
    remix = await house.ask(BOB, "an owl", parent=image)
    await house.studio.line_up([remix])
    await house.studio.delete(ALICE, image.job_id)
    async with house.drawing():
        cancelled = await house.until(remix, JobState.CANCELLED)
    assert "removed" in (cancelled.reason or "")


async def test_nothing_is_shown_of_a_remix_whose_consent_was_withdrawn_while_it_was_drawn(
    house: House,
) -> None:
    await house.agree(ALICE, BOB)
    async with house.drawing():
        first = await house.until((await house.line_up((ALICE, "a fox")))[0], *DRAWN)
        (image,) = await house.store.images.of_job(first.id)
        remix = await house.ask(BOB, f"an owl --iw 1 --model {SLOW}", parent=image)
        await house.studio.line_up([remix])
        await house.until(remix, JobState.RUNNING)
        await house.agree(ALICE, remix=False)
        refused = await house.until(remix, JobState.REFUSED)
    assert "not agreed" in (refused.reason or "")
    assert await house.store.images.of_job(remix.id) == ()


# Cancelling


async def test_a_cancel_while_the_worker_still_starts_is_kept(house: House) -> None:
    await house.agree(ALICE)
    (job,) = await house.line_up((ALICE, f"a fox --model {SLOW}"))
    async with house.drawing():
        await house.until(job, JobState.RUNNING)
        await house.studio.cancel(ALICE, job.id)
        await house.until(job, JobState.CANCELLED)
    assert await house.store.images.of_job(job.id) == ()


async def wish_cancelled(house: House, job: Job) -> None:
    """Record a wish of which nobody was left to tell the worker."""
    await house.store.jobs.want_cancel(
        job.id, by=ALICE.member_id, reason="by its owner", now=dt.datetime.now(dt.UTC)
    )


async def test_a_wish_to_cancel_outlives_the_worker(house: House) -> None:
    await house.agree(ALICE)
    (job,) = await house.line_up((ALICE, f"a fox --model {SLOW} --q 2"))
    async with house.drawing():
        await house.until_step(job)
        await wish_cancelled(house, job)
        kill_worker(house)
        await house.until(job, JobState.CANCELLED)
    assert len(await outcomes(house, job)) == 1


async def test_a_wish_to_cancel_outlives_the_bot(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.agree(ALICE)
        job = await house.ask(ALICE)
        moment = dt.datetime.now(dt.UTC)
        lease = moment + dt.timedelta(minutes=1)
        await house.store.attempts.begin(job.id, worker="bot", lease_until=lease, now=moment)
        await wish_cancelled(house, job)  # and here the bot was killed
    async with open_house(tmp_path) as house:
        await house.dispatcher.recover()
        assert await house.state_of(job) is JobState.CANCELLED


async def test_suspending_stops_what_is_drawn(house: House) -> None:
    await house.agree(ALICE)
    (job,) = await house.line_up((ALICE, f"a fox --model {SLOW} --q 2"))
    async with house.drawing():
        await house.until(job, JobState.RUNNING)
        await house.studio.oversight.suspend(MODERATOR, job.id, "spam")
        await house.until(job, JobState.CANCELLED)
    assert await house.store.images.of_job(job.id) == ()


# Ends that are no job's fault


async def test_orderly_stops_cost_a_job_nothing_however_many(tmp_path: Path) -> None:
    for _ in range(3):
        async with open_house(tmp_path) as house:
            await house.agree(ALICE)
            jobs = await house.store.jobs.of_member(ALICE.member_id)
            if not jobs:
                await house.ask(ALICE, f"a fox --model {SLOW} --q 2")
            await house.dispatcher.recover()
            (job,) = await house.store.jobs.of_member(ALICE.member_id)
            async with house.drawing():
                await house.until(job, JobState.RUNNING)
            stopped = await house.store.jobs.get(job.id)
            assert (stopped.state, stopped.attempts) == (JobState.QUEUED, 0)
    async with open_house(tmp_path) as house:
        assert await outcomes(house, job) == [Outcome.STOPPED] * 3


async def test_a_full_disk_leaves_everything_in_line_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_house(tmp_path) as house:
        await house.store.settings.save_guild(GUILD, GuildSettings(log_channel_id=LOG))
        await house.agree(ALICE, BOB)
        jobs = await house.line_up((ALICE, "a fox"), (BOB, "an owl"))
        pictures = tmp_path / "images"
        pictures.write_text("no folder can be made here")
        async with house.drawing():

            async def paused_twice() -> bool:
                return caplog.messages.count("drawing_paused") >= 2

            await until(paused_twice)
            for job in jobs:
                waiting = await house.store.jobs.get(job.id)
                assert waiting.state in {JobState.QUEUED, JobState.RUNNING}
                assert waiting.attempts == 0
            assert (await house.dispatcher.estimate(jobs[0])).trouble == "storage"
            assert await told(house) == ["storage"]
            pictures.unlink()
            for job in jobs:
                assert (await house.until(job, *DRAWN)).attempts == 0
        assert await told(house) == ["storage"]
        assert (await house.dispatcher.estimate(jobs[0])).trouble == ""


async def test_a_locked_database_loses_no_job(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.store.database._writer.execute_fetchall("PRAGMA busy_timeout = 20")
        await house.agree(ALICE, BOB)
        jobs = await house.line_up((ALICE, f"a fox --model {SLOW}"), (BOB, f"owl --model {SLOW}"))
        other = sqlite3.connect(tmp_path / "atelier.db", isolation_level=None)
        with contextlib.closing(other):
            async with house.drawing():
                await house.until(jobs[0], JobState.RUNNING)
                other.execute("BEGIN IMMEDIATE")
                await asyncio.sleep(1.5)  # longer than it takes to draw
                other.execute("COMMIT")
                for job in jobs:
                    assert (await house.until(job, *DRAWN)).attempts == 0


async def test_a_stop_while_it_is_given_back_costs_a_job_nothing(house: House) -> None:
    await house.agree(ALICE)
    jobs = await house.line_up((ALICE, "a fox"), (ALICE, "an owl"))
    dispatcher, moment = house.dispatcher, dt.datetime.now(dt.UTC)
    for job in jobs:  # as after a locked database
        ticket = dispatcher.queue.remove(job.id)
        assert ticket is not None
        await house.store.attempts.begin(job.id, worker=BOT, lease_until=moment, now=moment)
        dispatcher._stranded[job.id] = ticket
    dispatcher._breaker.is_open = True
    dispatcher._in_background(dispatcher._pause(0))
    while dispatcher._breaker.is_open:  # noqa: ASYNC110 -- it tells nobody
        await asyncio.sleep(0)
    await dispatcher.close()
    for job in jobs:
        assert await house.state_of(job) is JobState.QUEUED
        assert await outcomes(house, job) == [Outcome.STOPPED]


async def test_a_worker_that_cannot_start_leaves_everything_in_line(tmp_path: Path) -> None:
    async with open_house(tmp_path, device="mps") as house:
        await house.store.settings.save_guild(GUILD, GuildSettings(log_channel_id=LOG))
        await house.agree(ALICE, BOB)
        jobs = await house.line_up((ALICE, "a fox"), (BOB, "an owl"))
        before = await house.store.outbox.of_job(jobs[1].id)
        async with house.drawing():
            await until(lambda: told(house))
            wait = await house.dispatcher.estimate(jobs[1])
            assert wait.trouble == "worker"

            async def says_so() -> bool:
                shown = await house.store.outbox.of_job(jobs[1].id)
                return shown is not None and before is not None and shown.wanted > before.wanted

            await until(says_so)
        for job in jobs:
            fresh = await house.store.jobs.get(job.id)
            assert (fresh.state, fresh.attempts) == (JobState.QUEUED, 0)


async def test_a_job_whose_worker_dies_twice_is_set_aside_and_the_next_is_drawn(
    house: House,
) -> None:
    await house.agree(ALICE, BOB)
    (job,) = await house.line_up((ALICE, f"a fox --model {SLOW} --q 2"))
    async with house.drawing():
        await house.until_step(job)
        (other,) = await house.line_up((BOB, "an owl"))
        kill_worker(house)

        async def again() -> bool:
            return len(await outcomes(house, job)) == 2

        await until(again)
        house.seen.steps.clear()
        await house.until_step(job)
        kill_worker(house)
        failed = await house.until(job, JobState.FAILED)
        await house.until(other, *DRAWN)
    assert "set it aside" in (failed.reason or "")
    assert await outcomes(house, job) == [Outcome.DIED, Outcome.DIED]


async def test_one_death_of_a_worker_is_no_trouble_however_many_it_drew(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.agree(ALICE)
    await house.store.settings.save_guild(GUILD, GuildSettings(concurrent_jobs_per_member=4))
    jobs = await house.line_up(
        *[(ALICE, f"a fox --seed {n} --q 2 --model {SLOW}") for n in range(4)]
    )
    async with house.drawing():
        for job in jobs:
            await house.until_step(job)
        kill_worker(house)
        drawn = [await house.until(job, *DRAWN) for job in jobs]
    assert sum(job.attempts for job in drawn) >= 3  # or there was nothing to be told apart
    assert "drawing_paused" not in caplog.messages


async def test_drawing_pauses_when_worker_after_worker_dies(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.agree(ALICE, BOB)
    jobs = await house.line_up(
        (ALICE, f"a fox --model {SLOW} --q 2"), (BOB, f"an owl --ar 2:1 --model {SLOW} --q 2")
    )
    async with house.drawing():
        for _ in range(3):
            house.seen.steps.clear()

            async def draws() -> bool:
                return bool(house.seen.steps)

            await until(draws)
            kill_worker(house)
        ends = {(await house.until(job, JobState.FAILED, *DRAWN)).state for job in jobs}
    assert JobState.FAILED in ends
    assert caplog.messages.count("drawing_paused") == 1


async def test_pauses_grow_up_to_five_minutes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.studio.trouble.FIRST_PAUSE_S", 5.0)
    breaker = Breaker(house.store, house.dispatcher.line)
    pauses_s = []
    for _ in range(8):
        pauses_s.append(breaker.trip(Trouble.WORKER, Exception("no")))
        assert breaker.trip(Trouble.STORAGE, Exception("the same")) is None
        breaker.try_again()
    assert pauses_s == [5, 10, 20, 40, 80, 160, 300, 300]
    await breaker.succeeded()
    assert breaker.trip(Trouble.WORKER, Exception("no")) == 5


async def test_what_nobody_thought_of_ends_one_job_and_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.agree(ALICE, BOB)
    bad, good = await house.line_up((ALICE, "a fox"), (BOB, "an owl"))
    show = house.gate.show

    async def fails_for_one(job: Job) -> None:
        if job.id == bad.id:
            raise KeyError("a bug")
        await show(job)

    monkeypatch.setattr(house.gate, "show", fails_for_one)
    async with house.drawing():
        assert "on my side" in ((await house.until(bad, JobState.FAILED)).reason or "")
        await house.until(good, *DRAWN)


# Starting, and what is done now and then


async def test_a_question_that_nobody_answers_is_dropped_without_a_restart(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.studio.dispatch.DROP_S", 0.05)
    (held,) = (await house.studio.submit(ALICE, Ask(text="a fox", channel_id=CHANNEL))).jobs
    old = dt.datetime.now(dt.UTC) - HELD_LIFE
    await house.store.database._writer.execute_fetchall(
        "UPDATE jobs SET created_at = ?", (old.isoformat(timespec="microseconds"),)
    )
    async with house.drawing():
        await house.until(held, JobState.CANCELLED)


async def test_a_queued_job_that_stands_in_no_line_is_found_and_drawn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.studio.dispatch.FIRST_SWEEP_S", 0.05)
    await house.agree(ALICE)
    job = await house.ask(ALICE)  # whoever asked was cut off before it was lined up
    async with house.drawing():
        await house.until(job, *DRAWN)


async def test_a_job_whose_turn_comes_while_the_record_is_read_is_not_lined_up_again(
    house: House,
) -> None:
    await house.agree(ALICE)
    (job,) = await house.line_up((ALICE, "a fox"))
    looking = asyncio.create_task(house.dispatcher._line_up_waiting())
    await asyncio.sleep(0)  # the record is being read, in its thread
    (ticket,) = house.dispatcher._next()
    house.dispatcher._drawing[job.id] = Drawing(ticket)
    await looking
    assert job.id not in house.dispatcher.queue


@pytest.mark.parametrize(
    "written",
    [
        {"version": 99, "verb": "dance", "num_images": 0},
        {"version": 2, "verb": "imagine", "num_images": 1000, "prompts": [], "model": "pattern"},
    ],
)
async def test_a_job_that_this_version_cannot_read_fails_alone(
    house: House, written: dict[str, Any]
) -> None:
    await house.agree(ALICE, BOB)
    odd, good = await house.ask(ALICE), await house.ask(BOB)
    await house.store.database._writer.execute_fetchall(
        "UPDATE jobs SET request = ?, cost_s = 0 WHERE id = ?", (json.dumps(written), odd.id)
    )
    await house.dispatcher.recover()
    async with house.drawing():
        assert (await house.until(odd, JobState.FAILED)).reason
        await house.until(good, *DRAWN)


async def test_recovery_lets_others_have_their_turn(house: House) -> None:
    await house.agree(ALICE)
    job = await house.ask(ALICE)
    new = NewJob(
        member_id=BOB.member_id, place=job.place, typed="x", request=job.request, cost_s=1.0
    )
    await house.store.jobs.add_all([new] * 2_000, limits=None, now=dt.datetime.now(dt.UTC))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await house.dispatcher.recover()
    counting.cancel()
    assert len(house.dispatcher.queue) == 2_001
    assert turns > 2_000 / AT_ONCE
