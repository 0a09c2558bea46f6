"""Every message ends by itself at what the record says, and none waits behind another."""

import asyncio
import datetime as dt
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.chat.answers import reply, think
from bot.chat.posts import KEPT, TOKEN_LIFE_S
from bot.studio.drawing import now
from generation.work.jobs import Job, JobState
from generation.work.results import StepDone
from storage.outbox import MessageKind, MessageState
from storage.settings import GuildSettings
from storage.steps import Outcome
from storage.store import DATABASE_NAME
from tests.integration.desk import ALICE, BOB, MODERATOR, Desk, _png
from tests.integration.discord_objects import CHANNEL, GUILD
from tests.integration.discord_rules import (
    MISSING_PERMISSION,
    NO_DIRECT_MESSAGES,
    TOO_LARGE,
    UNAVAILABLE,
    Refusal,
)

THREAD, LOG, ELSEWHERE = 3100, 3200, 3300
ANY_MESSAGE = r"/messages/\d+$"
SEND = r"^/api/channels/\d+/messages$"
FOLLOW_UP = r"^/api/webhooks/\d+/[^/]+$"
BROKEN = Refusal(500, 0, "Internal Server Error")  # discord.py sends it again after a second
MALFORMED = Refusal(400, 50035, "Invalid Form Body")
OFTEN = 10**6
FAILURES: dict[str, dict[str, Any]] = {
    "unavailable": {"refusal": UNAVAILABLE},
    "unavailable after its effect": {"refusal": UNAVAILABLE, "has_effect": True},
    "cut": {"is_cut": True},
    "cut after its effect": {"is_cut": True, "has_effect": True},
}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Desk.open(tmp_path / "data") as opened:
        opened.discord.channels |= {THREAD, LOG, ELSEWHERE}
        yield opened


def text_of(message: dict[str, Any]) -> str:
    return str(message["components"])


async def log_channel(desk: Desk) -> None:
    await desk.store.settings.save_guild(GUILD, GuildSettings(log_channel_id=LOG))


# Whatever fails ends by itself


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_pictures_arrive_once_however_their_upload_fails(
    desk: Desk, caplog: pytest.LogCaptureFixture, failure: dict[str, Any]
) -> None:
    job = await desk.running()
    desk.discord.rule("PATCH", ANY_MESSAGE, with_files=True, times=2, **failure)
    await desk.rendered(job)
    await desk.shown(job)
    assert len(desk.names(job)) == 4
    assert (await desk.store.jobs.get(job.id)).state is JobState.POSTED
    assert (await desk.row(job)).reason is None
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("is_restarted", [False, True], ids=["in this life", "in the next"])
async def test_what_was_taken_down_or_removed_disappears_though_its_edit_failed(
    desk: Desk, failure: dict[str, Any], is_restarted: bool
) -> None:
    (down, _), (removed, _) = await desk.posted(), await desk.posted()
    rule = desk.discord.rule("PATCH", ANY_MESSAGE, times=OFTEN, **failure)
    await desk.take_down(down)
    await desk.store.moderation.remove_pictures(
        removed.id, guild_id=GUILD, by=ALICE, reason="by its owner", now=now()
    )
    for job in (down, removed):
        await desk.until_row(job, lambda row: row.tries > 0)
    if is_restarted:
        await desk.restart()
    rule.times = 0
    for job in (down, removed):
        await desk.shown(job)
        assert desk.names(job) == []
    assert "taken these pictures down" in text_of(desk.message(down))
    assert "were removed" in text_of(desk.message(removed))


async def test_how_a_job_ended_is_shown_in_the_bots_next_life(desk: Desk) -> None:
    jobs = [await desk.running() for _ in range(2)]
    rule = desk.discord.rule("PATCH", ANY_MESSAGE, times=OFTEN, is_cut=True)
    for job, to in zip(jobs, (JobState.FAILED, JobState.CANCELLED), strict=True):
        await desk.store.jobs.move(
            job.id, expected=JobState.RUNNING, to=to, now=now(), reason="a reason"
        )
        await desk.until_row(job, lambda row: row.tries > 0)
    await desk.stop()
    rule.times = 0
    desk.start()
    for job, words in zip(jobs, ("could not be drawn", "cancelled"), strict=True):
        await desk.shown(job)
        assert words in text_of(desk.message(job))


async def test_a_clock_that_was_ahead_in_an_earlier_life_keeps_nothing_from_being_shown(
    desk: Desk,
) -> None:
    job = await desk.running()
    await desk.shown(job)
    await desk.stop()
    ahead = now() + dt.timedelta(days=2)
    await desk.store.attempts.end(job.id, Outcome.FAILED, reason="a reason", now=ahead)
    desk.start()
    await desk.shown(job)
    assert "could not be drawn" in text_of(desk.message(job))


@pytest.mark.parametrize("damage", ["lost", "damaged"])
async def test_one_picture_that_cannot_be_read_does_not_keep_the_others_back(
    desk: Desk, damage: str
) -> None:
    job = await desk.running()
    desk.discord.rule("PATCH", ANY_MESSAGE, with_files=True, refusal=UNAVAILABLE)
    _, images = await desk.rendered(job)
    path = desk.store.files.path(images[1].sha256)
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    await desk.shown(job)
    assert desk.names(job) == [f"atelier-{job.id}-{number}.png" for number in (1, 3, 4)]
    assert "1 of the pictures cannot be read" in text_of(desk.message(job))
    assert (await desk.store.jobs.get(job.id)).state is JobState.POSTED


async def test_a_message_that_was_deleted_ends_its_job_and_keeps_its_pictures(desk: Desk) -> None:
    job = await desk.running()
    await desk.shown(job)
    del desk.discord.messages[int(desk.message(job)["id"])]
    _, images = await desk.rendered(job)
    row = await desk.until_row(job, lambda row: row.state is MessageState.GONE)
    ended = await desk.store.jobs.get(job.id)
    assert (ended.state, ended.reason) == (
        JobState.POSTED,
        "delivered to nobody: Unknown Message",
    )
    assert all(desk.store.files.read(image.sha256) for image in images)
    assert not row.is_due


async def test_no_progress_is_shown_on_a_message_that_was_deleted(desk: Desk) -> None:
    job = await desk.running()
    await desk.shown(job)
    gone = desk.discord.rule("PATCH", ANY_MESSAGE, refusal=Refusal(404, 10008, "Unknown Message"))
    await desk.store.outbox.want(job.id, now())
    await desk.until_row(job, lambda row: row.state is MessageState.GONE)
    edits = len(desk.edits(job))
    await desk.delivery.show_progress(job, step(job))
    await asyncio.sleep(0.05)
    assert not gone.times
    assert len(desk.edits(job)) == edits


async def test_a_malformed_message_is_an_error_in_the_log_and_given_up(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    job = await desk.running()
    await desk.shown(job)
    rule = desk.discord.rule("PATCH", ANY_MESSAGE, times=OFTEN, refusal=MALFORMED)
    await desk.rendered(job)
    await desk.until_row(job, lambda row: row.state is MessageState.UNDELIVERABLE)
    assert ("message_given_up", logging.ERROR) in {
        (record.message, record.levelno) for record in caplog.records
    }
    assert "delivered to nobody" in ((await desk.store.jobs.get(job.id)).reason or "")
    rule.times = 0
    await desk.store.outbox.want(job.id, now())  # a change is another message
    await desk.shown(job)
    assert len(desk.names(job)) == 4


@pytest.mark.parametrize(
    "refusal",
    [Refusal(400, 30046, "Maximum number of edits"), Refusal(401, 0, "401: Unauthorized")],
    ids=["edited too often", "our token is refused"],
)
async def test_what_passes_is_waited_out(desk: Desk, refusal: Refusal) -> None:
    job, _ = await desk.posted()
    desk.discord.rule("PATCH", ANY_MESSAGE, times=2, refusal=refusal)
    await desk.take_down(job)
    await desk.shown(job)
    assert desk.names(job) == []


async def test_what_nobody_foresaw_is_logged_waits_its_time_and_holds_up_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await log_channel(desk)
    number = await desk.store.outbox.announce(GUILD, {"no such thing": 1}, now())
    assert number is not None
    job, _ = await desk.posted()
    await asyncio.sleep(0.3)
    tries = (await desk.store.outbox.get(number)).tries
    assert 1 <= tries <= 5
    errors = [record for record in caplog.records if record.message == "message_not_shown"]
    assert len(errors) in {tries, tries + 1}
    assert len(desk.names(job)) == 4


async def test_a_locked_database_delays_what_is_shown_and_ends_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.store.database._writer.execute("PRAGMA busy_timeout = 20")
    job, _ = await desk.posted()
    rule = desk.discord.rule("PATCH", ANY_MESSAGE, is_held=True, has_effect=True)
    await desk.take_down(job)
    await rule.arrived.wait()
    other = sqlite3.connect(tmp_path / "data" / DATABASE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    rule.released.set()
    await asyncio.sleep(0.3)
    assert (await desk.row(job)).is_due
    other.execute("ROLLBACK")
    other.close()
    await desk.shown(job)
    assert desk.names(job) == []
    await desk.posted()


# Too large


async def test_pictures_that_are_too_large_are_sent_as_webp(desk: Desk) -> None:
    job = await desk.running()
    await desk.shown(job)
    desk.discord.rule("PATCH", ANY_MESSAGE, with_files=True, refusal=TOO_LARGE)
    await desk.rendered(job)
    await desk.shown(job)
    assert desk.names(job) == [f"atelier-{job.id}-{number}.webp" for number in (1, 2, 3, 4)]
    assert (await desk.store.jobs.get(job.id)).state is JobState.POSTED
    (image, *_) = await desk.store.images.of_job(job.id)
    await desk.store.votes.toggle(image.id, BOB, now())
    await desk.shown(job)
    assert [bool(call.files) for call in desk.edits(job)[-3:]] == [True, True, False]


async def test_pictures_that_are_too_large_at_any_size_leave_a_sentence_and_nothing_waits(
    desk: Desk,
) -> None:
    job = await desk.running()
    await desk.shown(job)
    number = desk.message(job)["id"]
    desk.discord.rule(
        "PATCH", f"/messages/{number}$", with_files=True, times=OFTEN, refusal=TOO_LARGE
    )
    await desk.rendered(job)
    await desk.posted()
    await desk.shown(job)
    assert desk.names(job) == []
    assert "too large for Discord" in text_of(desk.message(job))
    assert (await desk.store.jobs.get(job.id)).state is JobState.POSTED
    tried = len(desk.edits(job))
    await asyncio.sleep(0.3)
    assert len(desk.edits(job)) == tried
    await desk.take_down(job)
    await desk.shown(job)
    assert "taken these pictures down" in text_of(desk.message(job))


# One edit after the other


def step(job: Job, done: int = 1) -> StepDone:
    return StepDone(job.id, done, 4, _png(8))


@pytest.mark.parametrize("what", ["progress", "place"])
async def test_a_late_edit_of_what_is_not_recorded_overtakes_and_erases_nothing(
    desk: Desk, what: str
) -> None:
    job = await desk.queued(age_s=0.0)
    await answer(desk, job)
    if what == "progress":
        job = await desk.running(job)
        await desk.shown(job)
    rule = desk.discord.rule("PATCH", "^/api/webhooks/", is_held=True)
    if what == "progress":
        await desk.delivery.show_progress(job, step(job))
        await rule.arrived.wait()
        desk.age_s = TOKEN_LIFE_S  # the next goes another way, which is free
        await desk.rendered(job)
    else:
        wait = await desk.delivery._drafts._estimate(job)
        await desk.delivery.show_place(job, wait)
        await rule.arrived.wait()
        desk.age_s = TOKEN_LIFE_S
        await desk.store.jobs.want_cancel(job.id, by=ALICE, reason="by its owner", now=now())
    await asyncio.sleep(0.1)
    assert desk.edits(job) == []  # the next waits until this one is answered
    rule.released.set()
    await desk.shown(job)
    if what == "progress":
        assert len(desk.names(job)) == 4
    else:
        assert "cancelled" in text_of(desk.message(job))


async def test_progress_that_comes_after_the_end_is_not_shown(desk: Desk) -> None:
    job, _ = await desk.posted()
    edits = len(desk.edits(job))
    await desk.delivery.show_progress(job, step(job, 3))
    await asyncio.sleep(0.1)
    assert len(desk.edits(job)) == edits
    assert len(desk.names(job)) == 4


async def test_a_wish_to_cancel_is_not_covered_by_progress(desk: Desk) -> None:
    job = await desk.running()
    await desk.store.jobs.want_cancel(job.id, by=ALICE, reason="by its owner", now=now())
    await desk.shown(job)
    await desk.delivery.show_progress(job, step(job))
    await asyncio.sleep(0.1)
    assert "Stopping at the next step" in text_of(desk.message(job))


async def test_every_preview_is_another_picture(desk: Desk) -> None:
    job = await desk.running()
    await desk.shown(job)
    seen = []
    for done in (1, 2):
        edits = len(desk.edits(job))
        await desk.delivery.show_progress(job, step(job, done))
        await desk.until(lambda before=edits: len(desk.edits(job)) > before, "an edit")
        await desk.until(lambda: desk.edits(job)[-1].status, "its answer")
        (attachment,) = desk.message(job)["attachments"]
        seen.append(desk.discord.files[attachment["url"]])
        await asyncio.sleep(0.02)
    assert seen[0] != seen[1]


async def test_votes_upload_nothing_again_and_are_shown_together(desk: Desk) -> None:
    job, images = await desk.posted()
    standing = [each["id"] for each in desk.message(job)["attachments"]]
    edits = len(desk.edits(job))
    rule = desk.discord.rule("PATCH", ANY_MESSAGE, is_held=True)
    await desk.store.votes.toggle(images[0].id, BOB, now())
    await rule.arrived.wait()
    for voter in range(100, 110):
        await desk.store.votes.toggle(images[0].id, voter, now())
    rule.released.set()
    await desk.shown(job)
    later = desk.edits(job)[edits:]
    assert [call.files for call in later] == [{}, {}]
    assert [each["id"] for each in desk.message(job)["attachments"]] == standing
    assert "1 · 11" in text_of(desk.message(job))


# Nothing waits behind another


async def test_fifty_messages_that_fail_do_not_starve_the_next(desk: Desk) -> None:
    jobs = [await desk.queued() for _ in range(51)]
    for job in jobs:
        await desk.shown(job)
    failing = "|".join(str(desk.message(job)["id"]) for job in jobs[:50])
    desk.discord.rule("PATCH", f"/messages/({failing})$", times=OFTEN, refusal=UNAVAILABLE)
    for job in jobs:
        await desk.store.outbox.want(job.id, now())
    await desk.shown(jobs[-1])
    assert (await desk.row(jobs[0])).is_due


async def test_a_channel_that_does_not_answer_holds_up_no_other(desk: Desk) -> None:
    held = [await desk.queued(age_s=3600.0) for _ in range(40)]
    for job in held:
        await desk.shown(job)
    other = await desk.queued(channel_id=ELSEWHERE)
    await desk.shown(other)
    desk.discord.rule("PATCH", f"/channels/{CHANNEL}/messages/", times=OFTEN, is_held=True)
    for job in (*held, other):
        await desk.store.outbox.want(job.id, now())
    await desk.shown(other)
    assert (await desk.row(held[-1])).is_due


# Threads and permissions


async def in_archived_thread(desk: Desk) -> Job:
    job, _ = await desk.posted(channel_id=THREAD)
    desk.discord.archived.add(THREAD)
    return job


async def test_an_archived_thread_is_opened_for_what_must_change_in_it(desk: Desk) -> None:
    job = await in_archived_thread(desk)
    await desk.take_down(job)
    await desk.shown(job)
    assert desk.names(job) == []


async def test_an_archived_thread_is_opened_for_an_answer_in_it_too(desk: Desk) -> None:
    job = await desk.queued(channel_id=CHANNEL)
    await answer(desk, job)
    await desk.running(job)
    desk.discord.archived.add(CHANNEL)
    await desk.rendered(await desk.store.jobs.get(job.id))
    await desk.shown(job)
    assert len(desk.names(job)) == 4


async def test_who_can_help_is_told_of_a_thread_that_stays_closed_and_it_is_tried_again(
    desk: Desk,
) -> None:
    await log_channel(desk)
    job = await in_archived_thread(desk)
    desk.discord.locked.add(THREAD)
    await desk.take_down(job)
    settled = await desk.delivery.settled(await desk.row(job))
    assert settled is not None
    assert (settled.is_due, settled.reason) == (True, "Thread is archived")
    (line,) = await desk.until(
        lambda: [line for line in desk.discord.posts(LOG) if "by hand" in text_of(line)], "a line"
    )
    assert f"/channels/{GUILD}/{THREAD}/{desk.message(job)['id']}" in text_of(line)
    assert "Thread is archived" in text_of(line)
    assert len(desk.discord.posts(LOG)) <= 2  # the act, and that it is not shown
    desk.discord.locked.clear()
    await desk.shown(job)
    assert desk.names(job) == []


async def test_pictures_that_may_not_be_sent_are_kept_told_of_once_and_posted_when_they_may(
    desk: Desk,
) -> None:
    rule = desk.discord.rule(
        "POST", f"^/api/channels/{CHANNEL}/messages$", times=OFTEN, refusal=MISSING_PERMISSION
    )
    for_both = [await desk.queued() for _ in range(2)]
    for job in for_both:
        await desk.rendered(job)
    direct = 10**6 + ALICE
    for job in for_both:
        await desk.until_row(job, lambda row: row.tries > 2)
        assert (await desk.store.jobs.get(job.id)).state is JobState.RENDERED
    notices = desk.discord.posts(direct)
    assert len(notices) == 2  # one for each command
    assert "Missing Permissions. They are kept, and posted there" in text_of(notices[0])
    rule.times = 0
    for job in for_both:
        await desk.shown(job)
        assert len(desk.names(job)) == 4
        assert (await desk.store.jobs.get(job.id)).state is JobState.POSTED
    assert len(desk.discord.posts(direct)) == 2


async def test_who_takes_no_direct_messages_is_not_asked_again(desk: Desk) -> None:
    rule = desk.discord.rule(
        "POST", f"^/api/channels/{CHANNEL}/messages$", times=OFTEN, refusal=MISSING_PERMISSION
    )
    dms = f"^/api/channels/{10**6 + ALICE}/messages$"
    desk.discord.rule("POST", dms, times=OFTEN, refusal=NO_DIRECT_MESSAGES)
    job = await desk.queued()
    await desk.rendered(job)
    await desk.until_row(job, lambda row: row.tries > 4)
    assert [call.status for call in desk.discord.called("POST", dms)] == [403]
    rule.times = 0
    await desk.shown(job)


async def test_a_line_for_a_lost_log_channel_is_given_up(desk: Desk) -> None:
    await log_channel(desk)
    desk.discord.channels.discard(LOG)
    job, _ = await desk.posted()
    await desk.take_down(job)
    line = await desk.delivery.settled(await desk.store.outbox.last_told(GUILD))
    assert line is not None
    assert (line.kind, line.state) == (MessageKind.LOG, MessageState.GONE)
    await desk.shown(job)


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_a_report_is_told_in_the_log_channel_once_whatever_fails(
    desk: Desk, failure: dict[str, Any]
) -> None:
    await log_channel(desk)
    job, _ = await desk.posted()
    rule = desk.discord.rule("POST", f"^/api/channels/{LOG}/messages$", times=1, **failure)
    await desk.store.moderation.report(
        guild_id=GUILD, job_id=job.id, reporter_id=BOB, reason="rude", now=now()
    )
    await desk.until(lambda: not rule.times and desk.discord.posts(LOG), "the line")
    await asyncio.sleep(0.3)
    (line,) = desk.discord.posts(LOG)
    assert "rude" in text_of(line)


# One first message


async def answer(desk: Desk, job: Job) -> None:
    """Answer a command with a job's first message."""
    interaction = await desk.interaction()
    async with desk.delivery.opening([job]):
        await desk.delivery.open(job, lambda view: reply(interaction, view))


async def test_a_slow_answer_and_the_loop_make_one_message(desk: Desk) -> None:
    rule = desk.discord.rule("POST", "/callback$", is_held=True)
    job = await desk.queued(age_s=3.95)  # the loop would send it 50 ms from now
    answering = asyncio.create_task(answer(desk, job))
    await rule.arrived.wait()
    await desk.rendered(await desk.running(job))
    await asyncio.sleep(0.2)
    assert desk.messages(job) == []
    rule.released.set()
    await answering
    await desk.shown(job)
    assert len(desk.names(job)) == 4
    assert desk.discord.called("POST", SEND) == []


async def test_an_answer_that_begins_late_finds_what_the_loop_has_sent(desk: Desk) -> None:
    rule = desk.discord.rule("POST", SEND, is_held=True, has_effect=True)
    job = await desk.queued()
    await rule.arrived.wait()
    answering = asyncio.create_task(answer(desk, job))
    await asyncio.sleep(0.05)
    assert not answering.done()
    rule.released.set()
    await answering
    await desk.shown(job)
    assert len(desk.messages(job)) == 1
    assert desk.discord.called("POST", "/callback$") == []


async def test_an_answer_that_got_lost_is_found_and_not_given_twice(desk: Desk) -> None:
    interaction = await desk.interaction()
    desk.delivery._posts._born -= dt.timedelta(hours=1)  # this life's own, then
    desk.discord.rule("POST", FOLLOW_UP, is_cut=True, has_effect=True)
    job = await desk.queued(age_s=2.0)
    async with desk.delivery.opening([job]):
        await think(interaction, ephemeral=True)
        await interaction.edit_original_response(content="it follows")
        with pytest.raises(aiohttp.ClientError):
            await desk.delivery.open(job, lambda view: reply(interaction, view))
    for _ in range(250):
        desk.discord._store({"content": "chatter"}, {}, CHANNEL)
    await desk.rendered(await desk.running(job))
    await desk.shown(job)
    assert len(desk.names(job)) == 4
    assert desk.discord.called("POST", SEND) == []


async def test_a_follow_up_that_is_sent_twice_leaves_no_second_message(desk: Desk) -> None:
    interaction = await desk.interaction()
    await think(interaction, ephemeral=True)
    await interaction.edit_original_response(content="it follows")
    desk.discord.rule("POST", FOLLOW_UP, refusal=BROKEN, has_effect=True)
    job = await desk.queued(age_s=0.0)
    async with desk.delivery.opening([job]):
        await desk.delivery.open(job, lambda view: reply(interaction, view))
    assert len(desk.discord.called("POST", FOLLOW_UP)) == 2
    await desk.rendered(await desk.running(job))
    await desk.shown(job)
    assert len(desk.names(job)) == 4  # on the one message


@pytest.mark.parametrize("when", ["in this life", "in the next"])
async def test_a_message_whose_sending_got_lost_in_a_busy_channel_is_found(
    desk: Desk, when: str
) -> None:
    def chatter() -> None:
        for _ in range(250):
            desk.discord._store({"content": "chatter"}, {}, CHANNEL)

    rule = desk.discord.rule("POST", SEND, is_held=True, has_effect=True)
    rule.is_cut = when == "in this life"
    chatter()
    job = await desk.queued(age_s=7200.0)  # asked for two hours ago
    await rule.arrived.wait()
    if when == "in the next":
        await desk.stop()
    chatter()
    rule.released.set()
    if when == "in the next":
        desk.start()
    await desk.shown(job)
    await desk.rendered(await desk.running(job))
    await desk.shown(job)
    assert len(desk.names(job)) == 4
    assert len(desk.discord.called("POST", SEND)) == 1


async def test_an_old_answer_is_edited_with_the_bots_own_token(desk: Desk) -> None:
    job = await desk.queued(age_s=0.0)
    await answer(desk, job)
    await desk.running(job)
    await desk.shown(job)
    by_interaction = len(desk.discord.called("PATCH", "^/api/webhooks/"))
    assert by_interaction
    desk.age_s = TOKEN_LIFE_S
    await desk.rendered(await desk.store.jobs.get(job.id))
    await desk.shown(job)
    assert len(desk.names(job)) == 4
    assert len(desk.discord.called("PATCH", "^/api/webhooks/")) == by_interaction


# What somebody who acted is told


async def test_who_acts_waits_for_the_act_and_not_for_what_was_under_way(desk: Desk) -> None:
    job, images = await desk.posted()
    vote = desk.discord.rule("PATCH", ANY_MESSAGE, is_held=True)
    await desk.store.votes.toggle(images[0].id, BOB, now())
    await vote.arrived.wait()
    await desk.take_down(job)
    settling = asyncio.create_task(desk.delivery.settled(await desk.row(job)))
    vote.released.set()
    settled = await settling
    assert settled is not None
    assert settled.wanted == settled.shown
    assert desk.names(job) == []


async def test_who_acts_is_told_why_it_is_not_shown_yet(desk: Desk) -> None:
    job, _ = await desk.posted()
    desk.discord.rule("PATCH", ANY_MESSAGE, times=OFTEN, refusal=UNAVAILABLE)
    await desk.take_down(job)
    settled = await desk.delivery.settled(await desk.row(job))
    assert settled is not None
    assert (settled.is_due, settled.reason) == (True, "Service Unavailable")


# Memory


async def test_nothing_is_kept_of_jobs_that_have_ended(desk: Desk) -> None:
    for place in range(12):
        job = await desk.queued(age_s=0.0, member_id=MODERATOR)
        await answer(desk, job)
        await desk.running(job)
        await desk.shown(job)
        await desk.delivery.show_progress(job, step(job))
        assert desk.delivery._last_edit
        fresh = await desk.store.jobs.get(job.id)
        if place % 3:
            await desk.rendered(fresh)
        else:
            await desk.store.jobs.want_cancel(job.id, by=ALICE, reason="", now=now())
        await desk.delivery.settled(await desk.row(job))
        await desk.shown(job)
    await asyncio.sleep(0.05)
    delivery = desk.delivery
    for kept in (delivery._under_way, delivery._ends, delivery._opening, delivery._last_edit):
        assert not kept
    assert not delivery._posts._unsure
    assert len(delivery._posts._attached) == 8 < KEPT  # so that votes upload nothing again
    assert len(delivery._recent) < 20
    desk.age_s = TOKEN_LIFE_S
    await answer(desk, await desk.queued(age_s=0.0))
    assert len(delivery._posts._young) == 1
