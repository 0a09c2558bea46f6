"""Who draws a job, for how long, and what its end costs it."""

import asyncio
import datetime as dt

import pytest

from generation.work.jobs import JobState, Place
from storage.errors import TransitionRefused
from storage.steps import Outcome

from .conftest import ALICE, BOB, GUILD, LEASE, MODERATOR, NOW, new_images

SECOND = dt.timedelta(seconds=1)
STOPPED = {"by": ALICE, "reason": "by its owner", "now": NOW}


async def outcomes(scene, job):
    return [attempt.outcome for attempt in await scene.store.attempts.of_job(job.id)]


async def test_of_many_that_begin_a_job_exactly_one_draws_it(scene):
    job = await scene.job()
    begun = [scene.begin(job, worker=f"worker {number}") for number in range(5)]
    results = await asyncio.gather(*begun, return_exceptions=True)
    assert len([each for each in results if isinstance(each, TransitionRefused)]) == 4
    (attempt,) = await scene.store.attempts.of_job(job.id)
    assert (attempt.began_at, attempt.lease_until) == (NOW, NOW + LEASE)
    assert attempt.outcome is None


@pytest.mark.parametrize(
    ("outcome", "state", "charged"),
    [
        (Outcome.FAILED, JobState.FAILED, 0),
        (Outcome.CANCELLED, JobState.CANCELLED, 0),
        (Outcome.STOPPED, JobState.QUEUED, 0),
        (Outcome.LOST, JobState.QUEUED, 0),
        (Outcome.DIED, JobState.QUEUED, 1),
    ],
)
async def test_only_a_death_is_charged(scene, outcome, state, charged):
    job = await scene.running()
    ended = await scene.store.attempts.end(job.id, outcome, now=NOW + SECOND)
    assert (ended.state, ended.attempts) == (state, charged)
    (attempt,) = await scene.store.attempts.of_job(job.id)
    assert (attempt.outcome, attempt.ended_at) == (outcome, NOW + SECOND)


async def test_two_orderly_stops_cost_a_job_nothing_and_two_deaths_set_it_aside(scene):
    job = await scene.running()
    for _ in range(2):
        job = await scene.store.attempts.end(job.id, Outcome.STOPPED, now=NOW)
        job = await scene.begin(job)
    assert job.attempts == 0
    job = await scene.store.attempts.end(job.id, Outcome.DIED, now=NOW)
    job = await scene.begin(job)
    assert job.attempts == 1
    job = await scene.store.attempts.end(
        job.id, Outcome.DIED, now=NOW, to=JobState.FAILED, reason="set aside"
    )
    assert (job.state, job.reason, job.attempts) == (JobState.FAILED, "set aside", 2)
    assert await outcomes(scene, job) == ["stopped", "stopped", "died", "died"]


async def test_nobody_takes_over_a_job_whose_lease_runs(scene):
    await scene.running()
    own = await scene.running()
    attempts = scene.store.attempts
    await attempts.end(own.id, Outcome.STOPPED, now=NOW)
    await scene.begin(own, worker="other")

    async def recoverable(worker, when):
        return [job.id for job in await attempts.recoverable(worker=worker, now=when)]

    assert await recoverable("other", NOW) == [own.id]
    assert await recoverable("third", NOW + LEASE - SECOND) == []
    await attempts.renew("other", NOW + 2 * LEASE)
    assert await recoverable("third", NOW + LEASE) == [own.id - 1]
    assert await recoverable("third", NOW + 2 * LEASE) == [own.id - 1, own.id]


async def test_the_bot_never_takes_up_a_job_of_the_terminal(scene):
    place = Place(guild_id=None, channel_id=0)
    waiting = await scene.job(place=place, member_id=0)
    drawn = await scene.running(place=place, member_id=0)
    asked = await scene.job()
    jobs, attempts = scene.store.jobs, scene.store.attempts
    assert [job.id for job in await jobs.in_line()] == [asked.id]
    assert await attempts.recoverable(worker="bot", now=NOW + 9 * LEASE) == []
    assert (await jobs.get(waiting.id)).place == (await jobs.get(drawn.id)).place == place
    assert await scene.store.outbox.of_job(drawn.id) is None


async def test_a_wish_to_cancel_outlives_whatever_becomes_of_the_worker(scene):
    for outcome in (Outcome.STOPPED, Outcome.DIED, Outcome.LOST):
        job = await scene.running()
        wished = await scene.store.jobs.want_cancel(job.id, **STOPPED)
        assert (wished.state, wished.cancel_wanted_at) == (JobState.RUNNING, NOW)
        assert wished.cancel_wanted_by == ALICE
        ended = await scene.store.attempts.end(job.id, outcome, now=NOW)
        assert (ended.state, ended.reason) == (JobState.CANCELLED, "by its owner")


async def test_what_was_wished_cancelled_is_not_said_to_have_failed(scene):
    job = await scene.running()
    await scene.store.jobs.want_cancel(job.id, **STOPPED)
    ended = await scene.store.attempts.end(
        job.id, Outcome.DIED, to=JobState.FAILED, reason="set aside", now=NOW
    )
    assert (ended.state, ended.reason) == (JobState.CANCELLED, "by its owner")
    assert await outcomes(scene, job) == ["died"]


async def test_what_was_wished_cancelled_is_recorded_without_pictures(scene):
    job = await scene.running()
    await scene.store.jobs.want_cancel(job.id, **STOPPED)
    recorded, images = await scene.store.jobs.record_rendered(
        job.id, images=new_images(2), fingerprint="{}", elapsed_s=1.0, now=NOW
    )
    assert (recorded.state, recorded.reason, images) == (JobState.CANCELLED, "by its owner", ())
    assert await scene.store.images.of_job(job.id) == ()
    assert await outcomes(scene, job) == ["cancelled"]


async def test_a_waiting_job_is_cancelled_at_once_and_an_ended_one_is_not(scene):
    for state in (JobState.HELD, JobState.QUEUED):
        job = await scene.job(state=state)
        cancelled = await scene.store.jobs.want_cancel(job.id, **STOPPED)
        assert (cancelled.state, cancelled.cancel_wanted_at) == (JobState.CANCELLED, None)
        with pytest.raises(TransitionRefused):
            await scene.store.jobs.want_cancel(job.id, **STOPPED)


async def test_a_moderators_cancel_is_in_the_audit_once_and_only_if_it_was_one(scene):
    job, moderation = await scene.running(), scene.store.moderation
    for _ in range(2):
        await scene.store.jobs.want_cancel(job.id, by=MODERATOR, reason="no", now=NOW)
    (action,) = await moderation.of_job(job.id)
    assert (action.kind, action.moderator_id, action.member_id) == ("cancel", MODERATOR, ALICE)
    assert action.guild_id == GUILD
    ended = await scene.job(member_id=BOB, state=JobState.REFUSED)
    with pytest.raises(TransitionRefused):
        await scene.store.jobs.want_cancel(ended.id, by=MODERATOR, reason="no", now=NOW)
    assert await moderation.of_job(ended.id) == []


async def test_pictures_are_not_an_end_without_them(scene):
    job = await scene.running()
    with pytest.raises(ValueError, match="pictures"):
        await scene.store.attempts.end(job.id, Outcome.RENDERED, now=NOW)
