"""May it go on: at asking, after an answer, when its turn comes, before it is shown."""

import dataclasses
import datetime as dt

import pytest

from bot.studio.actors import Actor
from bot.studio.asking import Ask
from bot.studio.refusals import Gone, Refused
from generation.work.jobs import Image, Job, JobState
from storage.consent import Scope
from storage.errors import NotFound
from storage.settings import GuildSettings
from tests.unit.bot.studio.conftest import ALICE, BOB, CHANNEL, CLOSED, GUILD, MODERATOR, House

PHOTO = b"a photo"
MOMENTS = ["start", "show"]


async def remix(house: House) -> tuple[Job, Image]:
    """Let bob ask for a remix of alice's picture, and return his job and her picture."""
    await house.agree(ALICE, BOB)
    _, image = await house.draw(await house.ask(ALICE))
    return await house.ask(BOB, "an owl", parent=image), image


async def suspend(house: House, actor: Actor) -> None:
    """Suspend somebody whose jobs are another's: their own stay as they are."""
    (job,) = (await house.studio.submit(actor, Ask(text="x", channel_id=CHANNEL))).jobs
    await house.studio.oversight.suspend(MODERATOR, job.id, "spam")


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_remix_stops_when_its_owner_withdraws_consent(house: House, moment: str) -> None:
    job, _ = await remix(house)
    await getattr(house.gate, moment)(job)
    await house.agree(ALICE, remix=False)
    with pytest.raises(Refused, match="not agreed to remixes"):
        await getattr(house.gate, moment)(job)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("by", [ALICE, MODERATOR])
async def test_a_remix_stops_when_what_it_starts_from_is_removed(
    house: House, moment: str, by: Actor
) -> None:
    job, image = await remix(house)
    if by is MODERATOR:
        await house.studio.oversight.take_down(MODERATOR, image.job_id, "no")
    else:
        await house.studio.delete(ALICE, image.job_id)
    with pytest.raises(Gone, match="removed"):
        await getattr(house.gate, moment)(job)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_nothing_of_a_suspended_member_goes_on(house: House, moment: str) -> None:
    await house.agree(ALICE)
    job = await house.ask(ALICE)
    await suspend(house, ALICE)
    with pytest.raises(Refused, match="suspended"):
        await getattr(house.gate, moment)(job)


async def test_what_a_question_holds_is_refused_after_a_suspension(house: House) -> None:
    submission = await house.studio.submit(ALICE, Ask(text="a fox", channel_id=CHANNEL))
    assert submission.needs_consent
    await house.agree(ALICE)
    held = await house.studio.held(ALICE, submission.jobs[0].id)
    await house.store.moderation.record(
        "suspend",
        guild_id=GUILD,
        moderator_id=MODERATOR.member_id,
        member_id=ALICE.member_id,
        reason="spam",
        now=dt.datetime.now(dt.UTC),
    )
    with pytest.raises(Refused, match="suspended"):
        await house.studio.claim(ALICE, held)
    assert await house.state_of(held[0]) is JobState.HELD


async def test_what_a_question_holds_is_refused_in_a_channel_that_was_closed(house: House) -> None:
    submission = await house.studio.submit(ALICE, Ask(text="a fox", channel_id=CHANNEL))
    await house.store.settings.save_guild(GUILD, GuildSettings(allowed_channel_ids=(CHANNEL + 1,)))
    with pytest.raises(Refused, match="Pictures are drawn in"):
        await house.studio.claim(ALICE, submission.jobs)
    thread = dataclasses.replace(ALICE, parent_channel_id=CHANNEL + 1)
    assert await house.studio.claim(thread, submission.jobs)


async def test_a_held_remix_of_a_removed_picture_is_refused_and_its_file_is_gone(
    house: House,
) -> None:
    await house.agree(ALICE)
    _, image = await house.draw(await house.ask(ALICE))
    ask = Ask(text="an owl", channel_id=CHANNEL, parent=image)
    held = (await house.studio.submit(BOB, ask)).jobs
    await house.agree(BOB)
    await house.studio.delete(ALICE, image.job_id)
    with pytest.raises(Gone, match="removed"):
        await house.studio.claim(BOB, held)
    await house.studio.dismiss(held, "withdrawn")
    await house.store.files.sweep(dt.datetime.now(dt.UTC))
    with pytest.raises(NotFound):
        house.store.files.read(image.sha256)


async def test_again_on_somebody_elses_upload_needs_their_consent(house: House) -> None:
    await house.agree(ALICE, remix=False)
    await house.agree(BOB)
    job, _ = await house.draw(await house.ask(ALICE, image_png=PHOTO))
    with pytest.raises(Refused, match="not agreed to remixes"):
        await house.studio.again(BOB, job.id, CHANNEL)
    assert (await house.studio.again(ALICE, job.id, CHANNEL)).jobs
    await house.agree(ALICE)
    assert (await house.studio.again(BOB, job.id, CHANNEL)).jobs


async def test_again_is_refused_once_the_pictures_and_their_upload_were_removed(
    house: House,
) -> None:
    await house.agree(ALICE, BOB)
    job, _ = await house.draw(await house.ask(ALICE, image_png=PHOTO))
    await house.studio.delete(ALICE, job.id)
    for actor in (ALICE, BOB):
        with pytest.raises(Gone, match="removed"):
            await house.studio.again(actor, job.id, CHANNEL)
    with pytest.raises(NotFound):
        house.store.files.read(job.request.inputs[0].sha256)


async def test_what_was_taken_down_is_not_drawn_again(house: House) -> None:
    await house.agree(ALICE, BOB)
    job, _ = await house.draw(await house.ask(ALICE))
    await house.studio.oversight.take_down(MODERATOR, job.id, "no")
    for actor in (ALICE, BOB, MODERATOR):
        with pytest.raises(Gone, match="taken those pictures down"):
            await house.studio.again(actor, job.id, CHANNEL)


async def test_an_upload_is_refused_by_a_checkpoint_that_takes_none(house: House) -> None:
    await house.agree(ALICE)
    text = f"a fox --model {CLOSED}"
    with pytest.raises(Refused, match="does not start from uploaded pictures"):
        await house.studio.check_ask(ALICE, Ask(text=text, channel_id=CHANNEL))
    with pytest.raises(Refused, match="does not start from uploaded pictures"):
        await house.ask(ALICE, text, image_png=PHOTO)
    assert await house.store.jobs.of_member(ALICE.member_id) == []
    await house.studio.check_ask(ALICE, Ask(text="a fox", channel_id=CHANNEL))
    _, image = await house.draw(await house.ask(ALICE, image_png=PHOTO))
    assert await house.ask(ALICE, text, parent=image)  # drawn here, so no upload


async def test_a_refused_upload_leaves_no_file(house: House) -> None:
    await house.agree(ALICE)
    with pytest.raises(Refused):
        await house.ask(ALICE, f"a fox --model {CLOSED}", image_png=PHOTO)
    rows = await house.store.database.all("SELECT count(*) AS n FROM files")
    assert rows[0]["n"] == 0


async def test_a_picture_of_another_server_is_no_start(house: House) -> None:
    job, image = await remix(house)
    away = dataclasses.replace(BOB, guild_id=GUILD + 1)
    with pytest.raises(Gone, match="another server"):
        await house.gate.ask_for(away, job.request)
    with pytest.raises(Gone, match="another server"):
        await house.gate.check_remix(away, image)


async def test_suspending_cancels_what_waits_and_leaves_the_line(house: House) -> None:
    await house.agree(ALICE)
    jobs = [await house.ask(ALICE, text) for text in ("a fox", "an owl")]
    await house.studio.line_up(jobs)
    assert len(house.dispatcher.queue) == 2
    await house.studio.oversight.suspend(MODERATOR, jobs[0].id, "spam")
    assert len(house.dispatcher.queue) == 0
    assert {await house.state_of(job) for job in jobs} == {JobState.CANCELLED}


async def test_two_questions_at_once_hold_each_its_own_jobs(house: House) -> None:
    six = Ask(text="{a,b,c,d,e,f} fox", channel_id=CHANNEL)
    first, second = await house.studio.submit(ALICE, six), await house.studio.submit(ALICE, six)
    await house.agree(ALICE, remix=False)
    held = await house.studio.held(ALICE, first.jobs[0].id)
    assert [job.id for job in held] == [job.id for job in first.jobs]
    assert len(await house.studio.claim(ALICE, held)) == 6
    assert {await house.state_of(job) for job in second.jobs} == {JobState.HELD}


async def test_consent_is_asked_of_whoever_drew_it_however_deep(house: House) -> None:
    job, image = await remix(house)
    drawn, child = await house.draw(job, b"a remix")
    await house.agree(BOB, remix=False)
    with pytest.raises(Refused, match="not agreed"):
        await house.ask(ALICE, "a cat", parent=child)
    assert drawn.parent_image_id == image.id
    assert (await house.store.consents.current(BOB.member_id) or {})[Scope.REMIX] is False
