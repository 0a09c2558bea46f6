"""`kill -9` at every step of a job: nothing is lost, and nothing is shown twice.

The moments are chosen from outside: the database is watched, the loopback Discord holds its
answers back, and a lock on the database keeps the bot between two steps. The bot and its data go
through all of these tests as through one long bad day.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.discord_rules import Refusal
from tests.integration.life import Life

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOST = Refusal(503, 0, "the request never arrived")
LONG = " --q 2"  # twice the steps: time to watch a job being drawn
CALLBACK = r"/interactions/.*/callback"
MESSAGE = r"/messages/"
Moment = Callable[[Life], contextlib.AbstractAsyncContextManager[int]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Life]:
    async with Life.open(tmp_path_factory.mktemp("life"), step_delay_s=0.06) as life:
        yield life
        assert await life.stop() == 0


@pytest_asyncio.fixture(loop_scope="module")
async def life(day: Life) -> Life:
    """The bot, alive whatever the test before left behind."""
    if not day.is_alive:
        await day.start()
    return day


# The moments: each yields the number of the job that has just come that far


@contextlib.asynccontextmanager
async def held(life: Life, method: str, path: str, **settings: bool) -> AsyncIterator[None]:
    """Hold Discord's answer; a request that had no effect yet dies with the bot that sent it."""
    rule = life.discord.rule(method, path, is_held=True, **settings)
    try:
        yield
    finally:
        if not rule.has_effect and not life.is_alive:
            rule.refusal = LOST
        rule.released.set()
        rule.times = 0


async def arrived(life: Life) -> None:
    rule = life.discord.rules[-1]
    await life.until(rule.arrived.is_set, f"{rule.method} {rule.path}")


@contextlib.asynccontextmanager
async def recorded(life: Life) -> AsyncIterator[int]:
    async with held(life, "POST", CALLBACK):
        job_id = await life.imagine("recorded, nothing sent")
        await arrived(life)
        yield job_id


@contextlib.asynccontextmanager
async def sent(life: Life) -> AsyncIterator[int]:
    async with held(life, "POST", CALLBACK, has_effect=True):
        job_id = await life.imagine("sent, the bot does not know")
        await arrived(life)
        yield job_id


@contextlib.asynccontextmanager
async def acknowledged(life: Life) -> AsyncIterator[int]:
    async with held(life, "POST", CALLBACK, has_effect=True):
        job_id = await life.imagine("acknowledged, its place not recorded")
        await arrived(life)
        with life.record_locked():
            await answered(life, "POST", CALLBACK)
            yield job_id


async def answered(life: Life, method: str, path: str) -> None:
    """Let a held answer go and give the bot the time to read it."""
    life.discord.rules[-1].released.set()
    call = life.discord.called(method, path)[-1]
    await life.until(lambda: call.status, "an answer")
    await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def queued(life: Life) -> AsyncIterator[int]:
    first = await life.imagine("not alike, so the other waits --ar 2:1" + LONG, member=8)
    await life.in_state(first, "running")
    job_id = await life.imagine("waits")
    await life.until(lambda: life.job(job_id)["message_id"], "its place")
    assert life.job(job_id)["state"] == "queued"
    yield job_id


@contextlib.asynccontextmanager
async def running(life: Life) -> AsyncIterator[int]:
    job_id = await life.imagine("in the middle of a step" + LONG)
    await life.in_state(job_id, "running")
    await asyncio.sleep(0.12)
    assert life.job(job_id)["state"] == "running"
    yield job_id


@contextlib.asynccontextmanager
async def written(life: Life) -> AsyncIterator[int]:
    for _ in range(5):
        before = life.files()
        job_id = await life.imagine("files without rows" + LONG)
        await life.in_state(job_id, "running")
        with await first_file_and_lock(life, before):
            if life.job(job_id)["state"] == "running":  # otherwise the lock came too late
                await asyncio.sleep(0.1)
                assert len(life.files() - before) == 4
                assert life.job(job_id)["state"] == "running"
                yield job_id
                return
        await life.in_state(job_id, "posted")
    raise AssertionError("the record was never locked in time")


async def first_file_and_lock(
    life: Life, before: set[Path]
) -> contextlib.AbstractContextManager[None]:
    """Wait, without a pause, for a new picture; return what locks the record."""
    while not life.files() - before:  # noqa: ASYNC110 - the moment is over in a few milliseconds
        await asyncio.sleep(0)
    return life.record_locked()


@contextlib.asynccontextmanager
async def rendered(life: Life) -> AsyncIterator[int]:
    async with held(life, "PATCH", MESSAGE, with_files=True):
        job_id = await life.imagine("rendered, not posted")
        await arrived(life)
        assert life.job(job_id)["state"] == "rendered"
        yield job_id


@contextlib.asynccontextmanager
async def uploading(life: Life) -> AsyncIterator[int]:
    async with held(life, "PATCH", MESSAGE, with_files=True, has_effect=True):
        job_id = await life.imagine("shown, Discord has not answered yet")
        await arrived(life)
        assert life.job(job_id)["state"] == "rendered"
        yield job_id


@contextlib.asynccontextmanager
async def edited(life: Life) -> AsyncIterator[int]:
    async with held(life, "PATCH", MESSAGE, with_files=True, has_effect=True):
        job_id = await life.imagine("shown, not recorded as posted")
        await arrived(life)
        with life.record_locked():
            await answered(life, "PATCH", MESSAGE)
            assert life.job(job_id)["state"] == "rendered"
            yield job_id


MOMENTS = (
    recorded,
    sent,
    acknowledged,
    queued,
    running,
    written,
    rendered,
    uploading,
    edited,
)


async def all_ended(life: Life) -> None:
    await life.until(
        lambda: all(job["state"] in {"posted", "failed"} for job in life.jobs()), "every job's end"
    )


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
async def test_a_job_survives_the_bots_death(life: Life, moment: Moment) -> None:
    async with moment(life) as job_id:
        await life.kill()
    await life.start()
    job = await life.in_state(job_id, "posted", "failed")
    assert (job["state"], job["reason"]) == ("posted", None)
    await all_ended(life)
    life.assert_nothing_lost()


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
async def test_a_job_survives_its_workers_death(life: Life, moment: Moment) -> None:
    bot = life.pid
    async with moment(life) as job_id:
        await life.kill_worker()
    job = await life.in_state(job_id, "posted", "failed")
    assert (job["state"], job["reason"]) == ("posted", None)
    await all_ended(life)
    life.assert_nothing_lost()
    assert (life.is_alive, life.pid) == (True, bot)


async def test_a_job_that_kills_its_worker_twice_is_set_aside_alone(life: Life) -> None:
    bot = life.pid
    killer = await life.imagine("kills its worker" + LONG, member=7)
    companion = await life.imagine("shares its batch" + LONG, member=8)
    await life.in_state(killer, "running")
    await life.in_state(companion, "running")
    ready = life.log().count("worker.ready")
    await life.kill_worker()
    await life.until(lambda: dict(life.job(killer))["attempts"] == 2, "its second try")
    assert life.job(killer)["state"] == "running"
    assert life.job(companion)["state"] != "running"
    # A worker that dies before it can draw is no job's fault.
    await life.until(lambda: life.log().count("worker.ready") > ready, "another worker")
    await life.kill_worker()
    assert "set it aside" in (await life.in_state(killer, "failed"))["reason"]
    after = await life.imagine("drawn by the next worker")
    for job_id in (companion, after):
        assert (await life.in_state(job_id, "posted", "failed"))["state"] == "posted"
    await life.until(lambda: "set it aside" in str(life.message(killer)), "the sentence")
    life.assert_nothing_lost()
    assert (life.is_alive, life.pid) == (True, bot)


def is_at(life: Life, job_id: int, attempt: int) -> bool:
    return bool(life.job(job_id)["attempts"] == attempt)


async def test_a_job_that_the_bot_died_with_twice_fails_with_a_sentence(life: Life) -> None:
    job_id = await life.imagine("takes the bot down" + LONG)
    for attempt in (1, 2):
        await life.until(functools.partial(is_at, life, job_id, attempt), f"try {attempt}")
        await life.in_state(job_id, "running")
        await life.kill()
        await life.start()
    assert "set it aside" in (await life.in_state(job_id, "failed"))["reason"]
    await life.until(lambda: "set it aside" in str(life.message(job_id)), "the sentence")
    life.assert_nothing_lost()


async def test_orderly_restarts_cost_a_job_nothing(life: Life) -> None:
    job_id = await life.imagine("stopped again and again" + LONG)
    for _ in range(3):
        await life.in_state(job_id, "running")
        assert await life.stop() == 0
        assert life.job(job_id)["state"] == "queued"
        await life.start()
    await life.in_state(job_id, "posted")
    sql = "SELECT outcome FROM attempts WHERE job_id = ? ORDER BY number"
    ends = [row["outcome"] for row in life.rows(sql, job_id)]
    assert set(ends[:-1]) == {"stopped"}
    life.assert_nothing_lost()


async def test_a_question_is_answered_in_the_bots_next_life(life: Life) -> None:
    asked = await life.discord.slash(11, "imagine", prompt="waits for an answer about consent")
    question = await life.answer(asked)
    job_id = life.jobs()[-1]["id"]
    assert life.job(job_id)["state"] == "held"
    await life.kill()
    await life.start()
    assert life.job(job_id)["state"] == "held"
    await life.discord.click(11, question, "Save")
    await life.in_state(job_id, "posted")
    life.assert_nothing_lost()


async def test_being_asked_to_stop_in_the_middle_of_a_step_loses_nothing(life: Life) -> None:
    async with running(life) as job_id:
        assert await life.stop() == 0
    await life.start()
    await life.in_state(job_id, "posted")
    life.assert_nothing_lost()
