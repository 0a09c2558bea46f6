"""A message is due from the change that it must show until it shows it."""

import datetime as dt

import pytest

from generation.work.jobs import JobState, Place
from storage.consent import REDRAWN, Scope
from storage.errors import NotFound
from storage.outbox import MessageKind, MessageState
from storage.settings import GuildSettings
from storage.steps import ANSWERED_WITHIN, Outcome

from .conftest import ALICE, BOB, CHANNEL, GUILD, MODERATOR, NOW, new_images, remove

LATER = NOW + dt.timedelta(minutes=1)
BY = {"guild_id": GUILD, "moderator_id": MODERATOR, "reason": "rules", "now": NOW}


async def due(scene, now=LATER):
    return [message.job_id for message in await scene.store.outbox.due(now, 100)]


async def show(scene, job, *, version=None):
    """Note that a job's message shows what it should."""
    message = await scene.store.outbox.of_job(job.id)
    await scene.store.outbox.shown(message.id, version or message.wanted, NOW)
    return await scene.store.jobs.get(job.id)


async def posted(scene, **changes):
    job, images = await scene.rendered(**changes)
    job = await show(scene, job)
    assert job.state is JobState.POSTED
    assert await due(scene) == []
    return job, images


async def answer(scene, scope, *, is_given=True):
    answers = {"text_version": "1", "text_sha256": "0" * 64, "interaction_id": 1, "now": NOW}
    await scene.store.consents.append(ALICE, {scope: is_given}, **answers)


CHANGES = {
    "a vote": lambda scene, job, images: scene.store.votes.toggle(images[0].id, BOB, NOW),
    "a take-down": lambda scene, job, images: scene.store.moderation.take_down(
        job.id, [images[0].id], **BY
    ),
    "a take-down said again": lambda scene, job, images: scene.store.moderation.take_down(
        job.id, [], **BY
    ),
    "a restore": lambda scene, job, images: scene.store.moderation.restore(
        job.id, [images[0].id], **BY
    ),
    "a removal": lambda scene, job, images: remove(scene, job.id),
    "an answer about remixes": lambda scene, job, images: answer(scene, Scope.REMIX),
    "a wish": lambda scene, job, images: scene.store.outbox.want(job.id, NOW),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_whatever_changes_what_people_see_makes_its_message_due(scene, change):
    job, images = await posted(scene)
    await posted(scene, member_id=BOB)
    await CHANGES[change](scene, job, images)
    assert await due(scene) == [job.id]
    assert (await show(scene, job)).state is JobState.POSTED
    assert await due(scene) == []


async def test_an_answer_about_something_else_redraws_nothing(scene):
    await posted(scene)
    await answer(scene, Scope.TRAINING)
    assert await due(scene) == []


async def test_an_answer_about_remixes_redraws_the_newest_messages_only(scene):
    for _ in range(REDRAWN + 2):
        job = await scene.job()
        async with scene.store.database.transaction() as connection:
            await connection.execute("UPDATE jobs SET state = 'posted' WHERE id = ?", (job.id,))
        await show(scene, job)
    await answer(scene, Scope.REMIX)
    assert sorted(await due(scene)) == list(range(3, REDRAWN + 3))


@pytest.mark.parametrize(
    "end", [Outcome.FAILED, Outcome.CANCELLED, Outcome.STOPPED, Outcome.DIED, None]
)
async def test_every_step_of_a_job_makes_its_message_due(scene, end):
    job = await scene.job()
    assert await due(scene) == [job.id]
    await show(scene, job)
    job = await scene.begin(job)
    assert await due(scene) == [job.id]
    await show(scene, job)
    if end is None:
        await scene.store.jobs.record_rendered(
            job.id, images=new_images(1), fingerprint="{}", elapsed_s=1.0, now=NOW
        )
    else:
        await scene.store.attempts.end(job.id, end, now=NOW)
    assert await due(scene) == [job.id]


async def test_a_question_that_nobody_answered_has_no_message(scene):
    job = await scene.job(state=JobState.HELD)
    assert await due(scene) == []
    await scene.store.jobs.want_cancel(job.id, by=ALICE, reason="withdrawn", now=NOW)
    assert await due(scene) == []
    answered = await scene.job(state=JobState.HELD)
    await scene.store.jobs.claim(answered.id, member_id=ALICE, now=NOW)
    assert await due(scene) == [answered.id]


async def test_what_changed_while_it_was_drawn_stays_due(scene):
    job, images = await scene.rendered()
    version = (await scene.store.outbox.of_job(job.id)).wanted
    await scene.store.votes.toggle(images[0].id, BOB, NOW)
    job = await show(scene, job, version=version)
    assert job.state is JobState.RENDERED
    assert await due(scene) == [job.id]
    assert (await show(scene, job)).state is JobState.POSTED


async def test_an_older_drawing_never_takes_back_a_newer_one(scene):
    job, images = await posted(scene)
    version = (await scene.store.outbox.of_job(job.id)).wanted
    await scene.store.votes.toggle(images[0].id, BOB, NOW)
    await show(scene, job)
    await show(scene, job, version=version)
    assert await due(scene) == []


async def test_a_message_that_fails_waits_and_holds_up_no_other(scene):
    first, second = await scene.job(), await scene.job()
    outbox = scene.store.outbox
    message = await outbox.of_job(first.id)
    await outbox.place(message.id, channel_id=CHANNEL, message_id=2**61)
    await outbox.failed(message.id, next_try_at=LATER, reason="503", now=NOW)
    assert await due(scene, NOW + ANSWERED_WITHIN) == [second.id]
    assert await outbox.next_due_at(NOW) == NOW + ANSWERED_WITHIN
    assert await outbox.next_due_at(NOW + ANSWERED_WITHIN) == LATER
    assert await outbox.next_due_at(LATER) is None
    assert await due(scene, LATER) == [second.id, first.id]
    failed = await outbox.of_job(first.id)
    assert (failed.tries, failed.tried_at, failed.reason) == (1, NOW, "503")
    await scene.begin(first)  # there is something new to show
    assert await due(scene, NOW) == [first.id]
    assert (await outbox.of_job(first.id)).tries == 0


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.HELD])
async def test_the_first_message_is_left_to_the_answer_for_a_while(scene, state):
    job = await scene.job(state=state)
    if state is JobState.HELD:
        (job,) = await scene.store.jobs.claim(job.id, member_id=ALICE, now=NOW)
    assert await due(scene, NOW) == []
    await scene.begin(job)  # however fast it is drawn
    assert await due(scene, NOW) == []
    assert await due(scene, NOW + ANSWERED_WITHIN) == [job.id]
    await scene.store.outbox.sending(job.id, NOW)
    await scene.store.outbox.want(job.id, NOW)
    assert await due(scene, NOW) == [job.id]


async def test_a_clock_that_is_set_back_puts_no_message_off(scene):
    job = await scene.job()
    message = await scene.store.outbox.of_job(job.id)
    wait = dt.timedelta(hours=6)  # the longest between two tries
    await scene.store.outbox.failed(message.id, next_try_at=NOW + wait, reason="busy", now=NOW)
    await scene.store.outbox.bring_forward(NOW)
    assert await due(scene, NOW) == []
    earlier = NOW - dt.timedelta(days=2)
    await scene.store.outbox.bring_forward(earlier)
    assert await due(scene, earlier) == [job.id]


async def test_no_channel_takes_more_than_its_share_and_none_waits_behind_what_is_left_out(scene):
    here = [(await scene.job()).id for _ in range(5)]
    there = await scene.job(place=Place(guild_id=GUILD, channel_id=CHANNEL + 1))
    outbox = scene.store.outbox
    first = [message.job_id for message in await outbox.due(LATER, 4, share=2)]
    assert first == [*here[:2], there.id]
    rest = await outbox.due(LATER, 4, share=2, but=here[:2])
    assert [message.job_id for message in rest] == [*here[2:4], there.id]


async def test_a_line_about_a_job_does_not_make_it_posted(scene):
    job, _ = await scene.rendered()
    number = await scene.store.outbox.notify(ALICE, {"job_id": job.id}, NOW)
    await scene.store.outbox.shown(number, 1, NOW)
    assert (await scene.store.jobs.get(job.id)).state is JobState.RENDERED


async def test_a_person_is_told_the_same_thing_once(scene):
    first, second = await scene.job(), await scene.job()
    notify = scene.store.outbox.notify
    number = await notify(ALICE, {"job_id": first.id}, NOW)
    assert await notify(ALICE, {"job_id": first.id}, LATER) == number
    assert await notify(BOB, {"job_id": first.id}, NOW) != number
    assert await notify(ALICE, {"job_id": second.id}, NOW) != number


async def test_what_was_undeliverable_is_tried_at_the_next_change_and_what_is_gone_is_not(scene):
    job, _ = await scene.rendered()
    outbox = scene.store.outbox
    message = await outbox.of_job(job.id)
    await outbox.give_up(message.id, reason="archived", now=NOW)
    assert await due(scene) == []
    assert (await scene.store.jobs.get(job.id)).state is JobState.POSTED, "nobody waits for ever"
    assert (await outbox.of_job(job.id)).state is MessageState.UNDELIVERABLE
    await remove(scene, job.id)
    assert await due(scene) == [job.id]
    await outbox.give_up(message.id, reason="deleted", now=NOW, state=MessageState.GONE)
    await outbox.want(job.id, NOW)
    assert await due(scene) == []


async def test_what_is_given_up_for_good_ends_its_job_in_the_same_transaction(scene):
    job, _ = await scene.rendered()
    message = await scene.store.outbox.of_job(job.id)
    gone = {"state": MessageState.GONE}
    await scene.store.outbox.give_up(message.id, reason="deleted", now=NOW, **gone)
    job = await scene.store.jobs.get(job.id)
    assert (job.state, job.reason) == (JobState.POSTED, "delivered to nobody: deleted")
    await scene.store.outbox.give_up(message.id, reason="deleted", now=NOW, **gone)


async def test_the_place_of_a_message_is_the_place_of_its_job(scene):
    job = await scene.job()
    message = await scene.store.outbox.of_job(job.id)
    assert (message.channel_id, message.message_id) == (CHANNEL, None)
    await scene.store.outbox.place(message.id, channel_id=CHANNEL, message_id=2**61)
    place = Place(guild_id=GUILD, channel_id=CHANNEL, message_id=2**61)
    assert (await scene.store.jobs.get(job.id)).place == place
    assert (await scene.store.jobs.by_message(CHANNEL, 2**61)).id == job.id


async def test_an_unknown_message_is_not_found(store):
    outbox = store.outbox
    for call in (
        outbox.get(9),
        outbox.shown(9, 1, NOW),
        outbox.failed(9, next_try_at=NOW, reason="", now=NOW),
        outbox.give_up(9, reason="", now=NOW),
        outbox.place(9, channel_id=1, message_id=1),
    ):
        with pytest.raises(NotFound, match="message 9"):
            await call
    assert await outbox.of_job(9) is None
    assert await outbox.next_due_at(NOW) is None


async def test_what_moderators_do_is_told_in_the_log_channel_and_carries_no_words(scene):
    await scene.store.settings.save_guild(GUILD, GuildSettings(log_channel_id=77))
    job, images = await posted(scene)
    moderation, outbox = scene.store.moderation, scene.store.outbox
    actions = await moderation.take_down(job.id, [image.id for image in images], **BY)
    report = await moderation.report(
        guild_id=GUILD, job_id=job.id, reporter_id=BOB, reason="rude words", now=NOW
    )
    await moderation.report(guild_id=GUILD, job_id=job.id, reporter_id=BOB, reason="again", now=NOW)
    told = [m for m in await outbox.due(LATER, 100) if m.kind is MessageKind.LOG]
    assert [message.about for message in told] == [
        {"action_ids": [action.id for action in actions], "job_id": job.id},
        {"report_id": report.id, "job_id": job.id},
    ]
    assert {(message.channel_id, message.guild_id) for message in told} == {(77, GUILD)}
    assert len({message.nonce for message in told}) == 2
    assert await outbox.last_told(GUILD) == told[-1]
    assert await outbox.last_told(GUILD + 1) is None
    assert await moderation.get(actions[0].id) == actions[0]
    assert await moderation.get_report(report.id) == report
    await outbox.shown(told[0].id, told[0].wanted, NOW)
    assert (await outbox.get(told[0].id)).is_due is False


async def test_a_server_without_a_log_channel_is_told_nothing(scene):
    job, images = await posted(scene)
    await scene.store.moderation.take_down(job.id, [images[0].id], **BY)
    assert await due(scene) == [job.id]
    assert await scene.store.outbox.announce(None, {}, NOW) is None


async def test_a_person_can_be_told_something(scene):
    number = await scene.store.outbox.notify(ALICE, {"action_ids": [1]}, NOW)
    (message,) = await scene.store.outbox.due(LATER, 10)
    assert (message.id, message.kind, message.recipient) == (number, MessageKind.DIRECT, ALICE)
    assert message.channel_id is None


async def test_a_suspension_cancels_what_its_member_has_under_way_there(scene):
    waiting, held = await scene.job(), await scene.job(state=JobState.HELD)
    running, elsewhere = await scene.running(), await scene.job(guild_id=GUILD + 1)
    others = await scene.job(member_id=BOB)
    action, stopped = await scene.store.moderation.suspend(ALICE, **BY)
    assert [job.id for job in stopped] == [waiting.id, held.id, running.id]
    assert [job.state for job in stopped] == ["cancelled", "cancelled", "running"]
    assert stopped[2].cancel_wanted_at == NOW
    assert "suspended" in stopped[0].reason
    for job in (elsewhere, others):
        assert (await scene.store.jobs.get(job.id)).state is JobState.QUEUED
    assert await scene.store.moderation.is_suspended(GUILD, ALICE)
    assert (await scene.store.moderation.of_guild(GUILD)) == [action]
