import asyncio
import dataclasses
import datetime as dt
import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from generation.work.inputs import Input, Role
from generation.work.jobs import FINAL_STATES, TRANSITIONS, JobState, Place
from generation.work.requests.imagine import WeightedPrompt
from storage.errors import NotFound, StorageError, TransitionRefused
from storage.store import Store

from .conftest import ALICE, BOB, CHANNEL, GUILD, NOW, new_images, request_for, start

LATER = NOW + dt.timedelta(minutes=5)
PATHS = {
    JobState.HELD: [],
    JobState.QUEUED: [JobState.QUEUED],
    JobState.RUNNING: [JobState.QUEUED, JobState.RUNNING],
    JobState.RENDERED: [JobState.QUEUED, JobState.RUNNING, JobState.RENDERED],
    JobState.POSTED: [JobState.QUEUED, JobState.RUNNING, JobState.RENDERED, JobState.POSTED],
    JobState.FAILED: [JobState.QUEUED, JobState.FAILED],
    JobState.CANCELLED: [JobState.CANCELLED],
    JobState.REFUSED: [JobState.REFUSED],
}


async def job_in(scene, state):
    job = await scene.job(state=JobState.HELD)
    for step in PATHS[state]:
        job = await scene.step(job, step)
    return job


async def test_a_job_reads_back_exactly_as_it_was_added(scene):
    request = dataclasses.replace(
        request_for(negative_prompt="blur", style="3d"),
        prompts=(WeightedPrompt("a fox", 2.0), WeightedPrompt("snow", -0.5)),
        inputs=(Input(Role.START, "ab" * 32),),
        strength=0.6,
    )
    place = Place(guild_id=GUILD, channel_id=CHANNEL, message_id=77)
    job = await scene.job(
        member_id=BOB,
        place=place,
        typed="a fox::2 snow::-0.5 --no blur — “quoted” 🦊",
        request=request,
        cost_s=0.25,
        state=JobState.HELD,
        notes=("One note.", "Two."),
        now=NOW.astimezone(dt.timezone(dt.timedelta(hours=9))),
    )
    assert await scene.store.jobs.get(job.id) == job
    assert job.request == request
    assert (job.member_id, job.place, job.state, job.cost_s) == (BOB, place, JobState.HELD, 0.25)
    assert job.typed == "a fox::2 snow::-0.5 --no blur — “quoted” 🦊"
    assert job.notes == ("One note.", "Two.")
    assert job.created_at == NOW
    assert job.created_at.utcoffset() == dt.timedelta(0)
    assert (job.attempts, job.started_at, job.finished_at) == (0, None, None)


async def test_a_time_without_a_zone_is_refused(scene):
    with pytest.raises(ValueError, match="zone"):
        await scene.job(now=dt.datetime(2026, 7, 1))  # noqa: DTZ001


async def test_an_unknown_job_is_not_found(scene):
    jobs = scene.store.jobs
    assert await jobs.find(99) is None
    for call in (
        jobs.get(99),
        jobs.move(99, expected=JobState.QUEUED, to=JobState.FAILED, now=NOW),
        jobs.record_rendered(99, images=[], fingerprint="{}", elapsed_s=1.0, now=NOW),
    ):
        with pytest.raises(NotFound, match="no job 99"):
            await call


@pytest.mark.parametrize("state", sorted(set(JobState) - {"held", "queued", "refused"}))
async def test_a_job_does_not_begin_in_the_middle_of_its_life(scene, state):
    with pytest.raises(ValueError, match="begin"):
        await scene.job(state=state)


async def test_a_job_refused_at_once_is_over_and_says_why(scene):
    job = await scene.job(state=JobState.REFUSED, reason="not here")
    assert (job.state, job.reason, job.finished_at) == (JobState.REFUSED, "not here", NOW)


@pytest.mark.parametrize(("actual", "to"), list(itertools.product(JobState, JobState)))
async def test_exactly_the_drawn_transitions_are_possible(scene, actual, to):
    job = await job_in(scene, actual)
    move = scene.store.jobs.move(job.id, expected=actual, to=to, now=LATER, reason="because")
    if to is JobState.RUNNING:
        with pytest.raises(ValueError, match="attempt"):
            await move
    elif (actual, to) in TRANSITIONS:
        moved = await move
        assert (moved.state, moved.reason) == (to, "because")
        assert moved.finished_at == (LATER if to in FINAL_STATES else None)
    else:
        with pytest.raises(ValueError, match="no step"):
            await move
        assert await scene.store.jobs.get(job.id) == job


async def test_a_step_from_a_state_the_job_has_left_changes_nothing(scene):
    job = await job_in(scene, JobState.RUNNING)
    with pytest.raises(TransitionRefused) as caught:
        await scene.store.jobs.move(
            job.id,
            expected={JobState.HELD, JobState.QUEUED},
            to=JobState.CANCELLED,
            now=LATER,
        )
    assert (caught.value.job_id, caught.value.actual) == (job.id, JobState.RUNNING)
    assert caught.value.expected == {JobState.HELD, JobState.QUEUED}
    assert await scene.store.jobs.get(job.id) == job


async def test_a_set_of_expected_states_with_one_impossible_step_is_refused(scene):
    job = await job_in(scene, JobState.QUEUED)
    with pytest.raises(ValueError, match="posted"):
        await scene.store.jobs.move(
            job.id,
            expected=(JobState.QUEUED, JobState.POSTED),
            to=JobState.CANCELLED,
            now=NOW,
        )


async def test_of_many_that_race_for_a_step_exactly_one_wins(scene):
    job = await scene.job()
    steps = [
        scene.store.jobs.move(job.id, expected=JobState.QUEUED, to=to, now=NOW)
        for to in (JobState.FAILED, JobState.CANCELLED, JobState.REFUSED) * 5
    ]
    results = await asyncio.gather(*steps, return_exceptions=True)
    losers = [each for each in results if isinstance(each, Exception)]
    assert len(losers) == len(steps) - 1
    assert {type(each) for each in losers} == {TransitionRefused}


async def test_pictures_and_the_rendered_state_are_recorded_together(scene):
    job = await scene.running()
    wanted = new_images(3)
    job, images = await scene.store.jobs.record_rendered(
        job.id, images=wanted, fingerprint='{"device":"cpu"}', elapsed_s=3.5, now=LATER
    )
    assert (job.state, job.fingerprint, job.elapsed_s) == (
        JobState.RENDERED,
        '{"device":"cpu"}',
        3.5,
    )
    assert images == await scene.store.images.of_job(job.id)
    assert [(each.index, each.seed, each.sha256) for each in images] == [
        (each.index, each.seed, each.sha256) for each in wanted
    ]
    posted = await scene.store.jobs.move(
        job.id, expected=JobState.RENDERED, to=JobState.POSTED, now=LATER
    )
    assert (posted.fingerprint, posted.elapsed_s) == ('{"device":"cpu"}', 3.5)


async def test_notes_from_drawing_take_the_place_of_those_from_asking(scene):
    for notes, expected in ((None, ("One.",)), (("One.", "Two."), ("One.", "Two."))):
        job = await scene.running(notes=("One.",))
        job, _ = await scene.store.jobs.record_rendered(
            job.id, images=(), fingerprint="{}", elapsed_s=1.0, now=LATER, notes=notes
        )
        assert job.notes == expected


async def test_a_picture_that_cannot_be_recorded_leaves_the_job_running(scene):
    job = await scene.running()
    twice = [*new_images(2), *new_images(1)]
    with pytest.raises(StorageError, match="UNIQUE"):
        await scene.store.jobs.record_rendered(
            job.id, images=twice, fingerprint="{}", elapsed_s=1.0, now=NOW
        )
    assert await scene.store.jobs.get(job.id) == job
    assert await scene.store.images.of_job(job.id) == ()


async def test_a_job_is_rendered_only_once(scene):
    job, images = await scene.rendered()
    with pytest.raises(TransitionRefused):
        await scene.store.jobs.record_rendered(
            job.id, images=new_images(2), fingerprint="{}", elapsed_s=1.0, now=NOW
        )
    assert await scene.store.images.of_job(job.id) == images


async def test_a_message_leads_to_its_newest_job(scene):
    place = Place(guild_id=GUILD, channel_id=CHANNEL, message_id=501)
    await scene.job(place=place)
    newest = await scene.job()
    message = await scene.store.outbox.of_job(newest.id)
    await scene.store.outbox.place(message.id, channel_id=CHANNEL, message_id=501)
    found = await scene.store.jobs.by_message(CHANNEL, 501)
    assert found is not None
    assert (found.id, found.place) == (newest.id, place)
    assert await scene.store.jobs.by_message(CHANNEL + 1, 501) is None
    assert await scene.store.jobs.by_message(CHANNEL, 502) is None


async def test_what_waits_for_the_bot_comes_oldest_first_some_at_a_time(scene):
    await job_in(scene, JobState.POSTED)
    terminal = await scene.job(place=Place(guild_id=None, channel_id=0), guild_id=None)
    jobs = [await job_in(scene, JobState.QUEUED) for _ in range(3)]
    line = scene.store.jobs.in_line
    assert [job.id for job in await line()] == [job.id for job in jobs]
    assert [job.id for job in await line(limit=2)] == [job.id for job in jobs[:2]]
    assert [job.id for job in await line(after_id=jobs[1].id, limit=2)] == [jobs[2].id]
    assert [job.id for job in await scene.store.jobs.open_of_terminals()] == [terminal.id]


async def test_notes_are_added_once_and_shown(scene):
    job = await job_in(scene, JobState.POSTED)
    before = await scene.store.outbox.of_job(job.id)
    noted = await scene.store.jobs.add_notes(job.id, ["a", "b", "a"], now=LATER)
    assert noted.notes == (*job.notes, "a", "b")
    after = await scene.store.outbox.of_job(job.id)
    assert after.wanted == before.wanted + 1
    await scene.store.jobs.add_notes(job.id, ["b"], now=LATER)
    assert (await scene.store.outbox.of_job(job.id)).wanted == after.wanted


async def test_jobs_of_a_member_are_all_of_theirs_and_nobody_elses(scene):
    own = [await scene.job(), await job_in(scene, JobState.POSTED)]
    await scene.job(member_id=BOB)
    assert await scene.store.jobs.of_member(ALICE) == own


async def test_a_child_remembers_its_parent_and_the_parent_its_children(scene):
    _, (first, second) = await scene.rendered()
    child = await scene.job(request=request_for(inputs=start(second.sha256, second.id)))
    assert child.parent_image_id == second.id
    assert await scene.store.images.children(second.id) == (child.id,)
    assert await scene.store.images.children(first.id) == ()


async def test_a_job_with_an_unknown_parent_is_not_recorded(scene):
    with pytest.raises(NotFound, match="image 404"):
        await scene.job(request=request_for(inputs=start("ab" * 32, 404)))
    assert await scene.store.jobs.of_member(ALICE) == []


WRITE_FOR_EVER = textwrap.dedent("""
    import asyncio, datetime as dt, hashlib, sys, pathlib
    from generation.work.jobs import Place
    from generation.work.requests.imagine import Imagine, WeightedPrompt
    from storage.asking import NewJob
    from storage.jobs import NewImage
    from storage.store import Store

    now = dt.datetime.now(dt.UTC)
    request = Imagine(
        prompts=(WeightedPrompt("fox"),), model="m", seed=1, width=64, height=64,
        num_inference_steps=1, guidance_scale=1.0)
    images = [
        NewImage(index=i, seed=i, sha256=hashlib.sha256(bytes([i])).hexdigest(), width=64,
                 height=64) for i in range(4)]

    async def main():
        store = await Store.open(pathlib.Path(sys.argv[1]))
        while True:
            new = NewJob(
                member_id=1, place=Place(guild_id=2, channel_id=3), typed="fox",
                request=request, cost_s=1.0)
            job = await store.jobs.add(new, now=now)
            print("added", job.id, flush=True)
            await store.attempts.begin(job.id, worker="w", lease_until=now, now=now)
            await store.jobs.record_rendered(
                job.id, images=images, fingerprint="{}", elapsed_s=1.0, now=now)
            print("rendered", job.id, flush=True)

    asyncio.run(main())
""")


def killed_while_writing(directory):
    """Return the lines that a process acknowledged before it was killed at a random moment."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(directory)], stdout=subprocess.PIPE, text=True
    )
    first = child.stdout.readline()
    time.sleep(random.uniform(0.02, 0.2))
    os.kill(child.pid, signal.SIGKILL)
    # A line that the kill cut off has no newline and was not acknowledged.
    rest = child.communicate()[0].splitlines(keepends=True)
    return [line.split() for line in (first, *rest) if line.endswith("\n")]


async def test_after_kill_9_every_acknowledged_job_is_there_and_none_is_half_rendered(tmp_path):
    said = []
    for _ in range(3):
        said += await asyncio.to_thread(killed_while_writing, tmp_path)
    store = await Store.open(tmp_path)
    try:
        for word, number in said:
            job = await store.jobs.get(int(number))
            assert word == "added" or job.state is JobState.RENDERED
        jobs = await store.jobs.of_member(1)
        for job in jobs:
            drawn = len(await store.images.of_job(job.id))
            assert drawn == (4 if job.state is JobState.RENDERED else 0)
        assert len(await store.jobs.search(guild_id=2, text="fox", limit=10**6)) == len(jobs) > 2
    finally:
        await store.close()
