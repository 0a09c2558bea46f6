"""Limits are counted where jobs are inserted; questions are answered for a whole command."""

import asyncio
import datetime as dt

import pytest

from generation.work.jobs import JobState, Place
from storage.asking import HELD_LIFE, Limits, NewJob
from storage.errors import LimitReached, NotFound

from .conftest import ALICE, BOB, CHANNEL, GUILD, NOW, request_for, start

LIMITS = Limits(member=5, server=8)
MINUTE = dt.timedelta(minutes=1)


def new_jobs(count, *, member_id=ALICE, guild_id=GUILD, state=JobState.QUEUED, **changes):
    place = Place(guild_id=guild_id, channel_id=CHANNEL)
    fields = {"typed": "a fox", "request": request_for(), "cost_s": 1.0, **changes}
    new = NewJob(member_id=member_id, place=place, state=state, **fields)
    return [new] * count


async def ask(scene, count, *, now=NOW, limits=LIMITS, **changes):
    return await scene.store.jobs.add_all(new_jobs(count, **changes), limits=limits, now=now)


async def test_jobs_of_one_command_are_recorded_together_under_the_first_ones_number(scene):
    await scene.job()
    jobs = await ask(scene, 3)
    assert [job.submission for job in jobs] == [jobs[0].id] * 3
    assert await scene.store.jobs.of_submission(jobs[0].id) == jobs
    assert await scene.store.jobs.of_submission(jobs[1].id) == ()


async def test_commands_at_the_same_time_never_pass_a_limit_together(scene):
    asked = [ask(scene, 2) for _ in range(5)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in results if isinstance(each, LimitReached)]
    assert len(refused) == 3
    assert {(each.whose, each.limit) for each in refused} == {("member", 5)}
    assert len(await scene.store.jobs.of_member(ALICE)) == 4


async def test_a_command_that_is_refused_leaves_none_of_its_jobs(scene):
    with pytest.raises(LimitReached) as caught:
        await ask(scene, 6)
    assert (caught.value.whose, caught.value.waiting, caught.value.limit) == ("member", 0, 5)
    gone = new_jobs(1, request=request_for(inputs=start("ab" * 32, 404)))
    with pytest.raises(NotFound, match="image 404"):
        await scene.store.jobs.add_all([*new_jobs(1), *gone], limits=LIMITS, now=NOW)
    assert await scene.store.jobs.of_member(ALICE) == []


async def test_a_server_is_full_for_everybody_there_and_for_nobody_elsewhere(scene):
    await ask(scene, 5)
    await ask(scene, 3, member_id=BOB)
    with pytest.raises(LimitReached) as caught:
        await ask(scene, 1, member_id=BOB)
    assert (caught.value.whose, caught.value.waiting) == ("server", 8)
    assert await ask(scene, 1, guild_id=GUILD + 1)
    assert await ask(scene, 1, guild_id=None)


async def test_what_a_question_holds_is_a_burden_to_its_member_only_and_for_15_minutes(scene):
    for member_id in range(100, 105):
        await ask(scene, 5, member_id=member_id, state=JobState.HELD)
    await ask(scene, 3, member_id=BOB)  # the server's line is free
    await ask(scene, 5, state=JobState.HELD)
    with pytest.raises(LimitReached, match="member"):
        await ask(scene, 1, now=NOW + HELD_LIFE - MINUTE)
    assert await ask(scene, 3, now=NOW + HELD_LIFE)


async def test_an_early_look_at_the_limits_refuses_the_same(scene):
    await ask(scene, 4)
    check = scene.store.jobs.check_limits
    await check(ALICE, GUILD, limits=LIMITS, new=1, now=NOW)
    with pytest.raises(LimitReached, match="4 jobs of the member wait, 5 may"):
        await check(ALICE, GUILD, limits=LIMITS, new=2, now=NOW)
    await check(BOB, GUILD, limits=LIMITS, new=2, now=NOW)


async def claim(scene, submission, *, member_id=ALICE, now=NOW, **changes):
    jobs = await scene.store.jobs.claim(submission, member_id=member_id, now=now, **changes)
    return [job.id for job in jobs]


async def test_an_answer_queues_its_own_command_and_no_other(scene):
    first = await ask(scene, 2, state=JobState.HELD)
    second = await ask(scene, 2, state=JobState.HELD, limits=None)
    assert await claim(scene, first[0].id, member_id=BOB) == []
    assert await claim(scene, first[0].id) == [job.id for job in first]
    assert await claim(scene, first[0].id) == []
    states = [job.state for job in await scene.store.jobs.of_submission(second[0].id)]
    assert states == [JobState.HELD] * 2


async def test_an_answer_after_15_minutes_queues_nothing(scene):
    job, *_ = await ask(scene, 2, state=JobState.HELD)
    assert await claim(scene, job.id, now=NOW + HELD_LIFE) == []
    assert len(await claim(scene, job.id, now=NOW + HELD_LIFE - MINUTE)) == 2


async def test_an_answer_finds_the_line_full_that_filled_meanwhile(scene):
    job, *_ = await ask(scene, 5, state=JobState.HELD)
    await ask(scene, 4, member_id=BOB)
    with pytest.raises(LimitReached, match="server"):
        await claim(scene, job.id, jobs_waiting_per_server=8)
    assert len(await claim(scene, job.id, jobs_waiting_per_server=9)) == 5


async def test_unanswered_questions_are_dropped_and_younger_ones_kept(scene):
    old = await ask(scene, 2, state=JobState.HELD)
    young = await ask(scene, 1, state=JobState.HELD, now=NOW + MINUTE)
    await ask(scene, 1)
    jobs = scene.store.jobs
    assert await jobs.drop_unanswered(NOW + HELD_LIFE - MINUTE) == 0
    assert await jobs.drop_unanswered(NOW + HELD_LIFE) == 2
    assert await jobs.drop_unanswered(NOW + HELD_LIFE) == 0
    dropped = await jobs.of_submission(old[0].id)
    assert {(job.state, job.reason) for job in dropped} == {
        (JobState.CANCELLED, "The question before it was not answered.")
    }
    assert (await jobs.get(young[0].id)).state is JobState.HELD
    assert (await scene.store.outbox.of_job(old[0].id)).wanted == 0


async def test_a_row_that_another_version_wrote_is_read_and_takes_no_others_along(scene):
    first, second = await ask(scene, 2)
    changes = (
        """json_set(request, '$.num_inference_steps', 9000)""",
        """json_set(request, '$.verb', 'sculpt')""",
        """json_set(request, '$.version', 99)""",
        """json_set(request, '$.new_field', 1)""",
        """'[1, 2]'""",
        """'{"kind": "Nonsense"}'""",
    )
    for change in changes:
        async with scene.store.database.transaction() as connection:
            await connection.execute(
                f"UPDATE jobs SET request = {change} WHERE id = ?",  # noqa: S608
                (first.id,),
            )
        line = await scene.store.jobs.in_line()
        assert [job.id for job in line] == [first.id, second.id]
        assert line[1] == second
        found = await scene.store.jobs.search(guild_id=GUILD)
        assert len(found) == 2
