"""Consent is asked once, recorded for good, changed at any time, and enforced where it is off."""

import datetime as dt
from typing import Any

from bot.demo.stage import text_of
from bot.messages import ASKED, CONSENT, SAME_BEFORE
from bot.studio.actors import Actor
from bot.studio.asking import Ask
from generation.work.jobs import Job, JobState
from storage.consent import ConsentRecord, Scope
from tests.integration.conftest import World, buttons


async def history(world: World, member: Any) -> list[ConsentRecord]:
    return await world.app.store.consents.history(member.id)


def switches(message: Any) -> list[str]:
    """Return the labels of the switches, from the top."""
    sections = [c for c in message.components[0]["components"] if c["type"] == 9]
    return [section["accessory"]["label"] for section in sections]


def switch(message: Any, place: int) -> str:
    """Return the custom_id of one switch."""
    sections = [c for c in message.components[0]["components"] if c["type"] == 9]
    return str(sections[place]["accessory"]["custom_id"])


async def test_every_choice_is_off_until_it_is_given(world: World) -> None:
    answer = await world.alice.slash(world.channel, "consent")
    assert answer.ephemeral
    assert switches(answer.response) == ["Off", "Off"]
    assert "not answered yet" in text_of(answer.response)
    assert await history(world, world.alice) == []


async def test_an_answer_is_recorded_with_the_text_that_was_shown(world: World) -> None:
    shown = (await world.alice.slash(world.channel, "consent")).response
    await world.alice.click(shown, custom_id=switch(shown, 0))
    assert switches(shown) == ["On", "Off"]
    assert await history(world, world.alice) == []  # nothing is recorded before Save
    saved = await world.alice.click(shown, label="Save")
    records = await history(world, world.alice)
    assert [(r.scope, r.given) for r in records] == [
        (Scope.REMIX, True),
        (Scope.TRAINING, False),
    ]
    assert {r.text_version for r in records} == {CONSENT.version}
    assert {r.text_sha256 for r in records} == {CONSENT.sha256}
    assert {r.interaction_id for r in records} == {saved._interaction.id}
    assert [label in text_of(shown) for _, label in CONSENT.choices] == [True, False]


async def test_changing_ones_mind_adds_records_and_removes_none(world: World) -> None:
    await world.consent(world.alice)
    before = await history(world, world.alice)
    shown = (await world.alice.slash(world.channel, "consent")).response
    assert switches(shown) == ["On", "On"]
    assert "last answered" in text_of(shown)
    for place in range(2):
        await world.alice.click(shown, custom_id=switch(shown, place))
    await world.alice.click(shown, label="Save")
    after = await history(world, world.alice)
    assert after[: len(before)] == before
    assert [record.given for record in after[len(before) :]] == [False, False]
    current = await world.app.store.consents.current(world.alice.id)
    # What was once answered about a gallery, which nobody is asked about now, is kept and told.
    assert current == {Scope.GALLERY: True, Scope.REMIX: False, Scope.TRAINING: False}
    again = await world.alice.slash(world.channel, "consent")
    assert "once allowed a gallery" in text_of(again.response)


async def test_the_switches_work_after_a_restart(world: World) -> None:
    shown = (await world.alice.slash(world.channel, "consent")).response
    await world.alice.click(shown, custom_id=switch(shown, 0))
    await world.restart()
    await world.alice.click(shown, custom_id=switch(shown, 1))
    await world.alice.click(shown, label="Save")
    current = await world.app.store.consents.current(world.alice.id)
    assert current == {Scope.GALLERY: False, Scope.REMIX: True, Scope.TRAINING: True}


async def test_the_first_pictures_question_is_answered_once(world: World) -> None:
    asked = await world.alice.slash(world.channel, "imagine", prompt="a fox", images=1)
    assert asked.ephemeral
    await world.alice.click(asked.response, label="Save and draw")
    (job,) = await world.app.store.jobs.of_member(world.alice.id)
    await world.job_in(job.id, JobState.POSTED)
    await world.imagine(world.alice, "an owl", images=1)  # no second question
    assert len(await history(world, world.alice)) == len(CONSENT.choices)


async def without_remix(world: World) -> Job:
    await world.consent(world.alice, remix=False)
    return await world.imagine(world.alice, "a fox", images=1)


async def test_without_consent_there_is_no_remix_button(world: World) -> None:
    job = await without_remix(world)
    assert "Remix" not in buttons(world.message(job))


async def test_without_consent_the_owner_still_remixes(world: World) -> None:
    job = await without_remix(world)
    details = await world.alice.click(world.message(job), label="Details")
    form = await world.alice.click(details.response, label="Remix")
    image = (await world.app.store.images.of_job(job.id))[0]
    await world.alice.submit_modal(form, {"prompt": "an owl", "image": [str(image.id)]})
    child = (await world.app.store.jobs.of_member(world.alice.id))[-1]
    assert child.parent_image_id == image.id


async def test_an_old_remix_button_is_refused_after_consent_was_withdrawn(world: World) -> None:
    await world.consent(world.alice, world.bob)
    job = await world.imagine(world.alice, "a fox", images=1)
    form = await world.bob.click(world.message(job), label="Remix")
    await world.consent(world.alice, remix=False)
    pressed = await world.bob.click(world.message(job), label="Remix")
    assert pressed.modal is None
    assert "not agreed to remixes" in pressed.response.content
    image = (await world.app.store.images.of_job(job.id))[0]
    sent = await world.bob.submit_modal(form, {"prompt": "an owl", "image": [str(image.id)]})
    assert "not agreed to remixes" in sent.response.content
    assert await world.app.store.jobs.of_member(world.bob.id) == []


async def test_the_next_redraw_of_a_message_drops_the_remix_button(world: World) -> None:
    await world.consent(world.alice, world.bob)
    job = await world.imagine(world.alice, "a fox", images=1)
    assert "Remix" in buttons(world.message(job))
    await world.consent(world.alice, remix=False)
    await world.bob.click(world.message(job), label="1 · 0")
    assert "Remix" not in buttons(world.message(job))


async def test_whoever_answered_a_question_that_has_changed_is_asked_again(world: World) -> None:
    submit, actor = world.app.studio.submit, Actor(member_id=7, guild_id=world.guild.id)
    ask = Ask(text="a fox", channel_id=world.channel.id)

    async def answered(text_sha256: str) -> bool:
        await world.app.store.consents.append(
            7,
            dict.fromkeys(ASKED, True),
            text_version="0",
            text_sha256=text_sha256,
            interaction_id=1,
            now=dt.datetime.now(dt.UTC),
        )
        return not (await submit(actor, ask)).needs_consent

    assert (await submit(actor, ask)).needs_consent
    assert not await answered("0" * 64)
    assert await answered(SAME_BEFORE[0])
    assert await answered(CONSENT.sha256)
