"""The main job on a simulated Discord: one message from acknowledgement to picture and beyond."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import discord
import pytest
from PIL import Image as Pillow

from bot.chat.presses import Action, Press
from bot.demo.stage import text_of
from generation.judging.safety.answers import Change
from generation.language.text_encoder import PACKAGE
from generation.work.checkpoints import PATTERN
from generation.work.inputs import Input, Role
from generation.work.jobs import Job, JobState
from tests.integration.conftest import World, answer_to, buttons, open_world


async def test_the_acknowledgement_becomes_the_result(world: World) -> None:
    await world.consent(world.alice)
    answer = await world.alice.slash(world.channel, "imagine", prompt="a fox --seed 7")
    assert answer.acknowledged
    assert not answer.ephemeral
    (job,) = await world.app.store.jobs.of_member(world.alice.id)
    job = await world.job_in(job.id, JobState.POSTED)
    assert answer.response.id == job.place.message_id
    message = world.message(job)
    assert [a.filename for a in message.attachments] == [
        f"atelier-{job.id}-{n}.png" for n in (1, 2, 3, 4)
    ]
    shown = text_of(message)
    assert "a fox" in shown
    assert shown.splitlines() == [
        "**a fox**",
        f"-# <@{world.alice.id}> · plain · AI-generated",
    ]
    assert job.request.seed == 7
    assert list(buttons(message)) == [
        "1 · 0", "2 · 0", "3 · 0", "4 · 0", "Again", "Remix", "Details",
    ]  # fmt: skip
    view = discord.ui.LayoutView.from_message(message, timeout=None)
    rows = [i for i in view.walk_children() if isinstance(i, discord.ui.ActionRow)]
    assert len(rows) == 2  # votes, actions: a phone shows pictures and buttons together


async def test_every_picture_has_alt_text(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    view = discord.ui.LayoutView.from_message(world.message(job), timeout=None)
    (gallery,) = [i for i in view.walk_children() if isinstance(i, discord.ui.MediaGallery)]
    assert all(item.description and "a fox" in item.description for item in gallery.items)


async def test_recorded_pictures_are_the_posted_bytes(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox", images=2)
    images = await world.app.store.images.of_job(job.id)
    posted = [await attachment.read() for attachment in world.message(job).attachments]
    assert [world.app.store.files.read(image.sha256) for image in images] == posted
    assert [image.seed for image in images] == [job.request.seed, job.request.seed + 1]


async def test_words_the_model_cannot_know_are_said_once_however_often_it_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowing = dataclasses.replace(PATTERN, vocabulary=("fox", "horse"), text_encoder=PACKAGE)
    monkeypatch.setattr("bot.models.PATTERN", knowing)
    async with open_world(tmp_path) as world:
        await world.consent(world.alice)
        job = await world.imagine(world.alice, "a fox and a centaur", images=1)
        await world.alice.click(world.message(job), label="Again")
        again = (await world.app.store.jobs.of_member(world.alice.id))[-1]
        for each in (job, await world.job_in(again.id, JobState.POSTED)):

            async def said(posted: Job = each) -> bool:
                return "knows no “centaur”" in text_of(world.message(posted))

            await world.until(said, "what is said of the words, after the pictures")
            shown = text_of(world.message(each))
            assert shown.count("knows no “centaur” yet; near: horse") == 1


async def test_first_picture_waits_for_the_consent_answer(world: World) -> None:
    asked = await world.alice.slash(world.channel, "imagine", prompt="a fox")
    assert asked.ephemeral
    assert "two choices" in text_of(asked.response.message)
    (job,) = await world.app.store.jobs.of_member(world.alice.id)
    assert job.state is JobState.HELD
    flip = Press(Action.CONSENT_FLIP, (job.id, job.id, 0, 2)).pack()  # the third bit: training
    await world.alice.click(asked.response, custom_id=flip)
    await world.alice.click(asked.response, label="Save and draw")
    job = await world.job_in(job.id, JobState.POSTED)
    records = await world.app.store.consents.history(world.alice.id)
    assert [(r.scope.value, r.given) for r in records] == [
        ("remix", False), ("training", True),
    ]  # fmt: skip
    assert "Remix" not in buttons(world.message(job))


async def test_vote_counts_once_a_member_and_is_taken_back(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    await world.bob.click(world.message(job), label="2 · 0")
    assert "2 · 1" in buttons(world.message(job))
    assert len(world.message(job).attachments) == 4
    await world.bob.click(world.message(job), label="2 · 1")
    assert "2 · 0" in buttons(world.message(job))


async def test_nobody_votes_for_their_own_picture(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    answer = await world.alice.click(world.message(job), label="1 · 0")
    assert answer_to(answer).ephemeral
    assert "your own" in answer_to(answer).content
    assert "1 · 0" in buttons(world.message(job))


async def test_again_draws_the_same_request_with_new_seeds(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox --seed 7 --no teeth")
    await world.alice.click(world.message(job), label="Again")
    newest = (await world.app.store.jobs.of_member(world.alice.id))[-1]
    newest = await world.job_in(newest.id, JobState.POSTED)
    assert newest.request.seed != 7
    assert dataclasses.replace(newest.request, seed=7) == job.request


async def test_remix_draws_a_child_that_remembers_its_parent(world: World) -> None:
    await world.consent(world.alice, world.bob)
    job = await world.imagine(world.alice, "a fox")
    images = await world.app.store.images.of_job(job.id)
    form = await world.bob.click(world.message(job), label="Remix")
    await world.bob.submit_modal(form, {"prompt": "a blue fox", "image": [str(images[2].id)]})
    (child,) = await world.app.store.jobs.of_member(world.bob.id)
    child = await world.job_in(child.id, JobState.POSTED)
    assert child.parent_image_id == images[2].id
    assert child.request.start == Input(Role.START, images[2].sha256, images[2].id)


async def test_a_form_opened_before_a_restart_can_be_sent_after_it(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    image = (await world.app.store.images.of_job(job.id))[0]
    form = await world.alice.click(world.message(job), label="Remix")
    await world.restart()
    await world.alice.submit_modal(form, {"prompt": "a blue fox", "image": [str(image.id)]})
    child = (await world.app.store.jobs.of_member(world.alice.id))[-1]
    assert child.parent_image_id == image.id
    await world.job_in(child.id, JobState.POSTED)


async def test_details_hold_everything_needed_to_redraw(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox --seed 7 --style bold --no teeth")
    shown = await world.bob.click(world.message(job), label="Details")
    assert shown.ephemeral
    text = text_of(shown.response.message)
    for fact in ("a fox", "`7`", "bold", "teeth", "pattern", "128×128", "Steps"):
        assert fact in text, fact


async def test_owner_deletes_pictures_and_the_record_stays(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    sha256s = [image.sha256 for image in await world.app.store.images.of_job(job.id)]
    details = await world.bob.click(world.message(job), label="Details")
    assert "Delete" not in buttons(details.response.message)
    details = await world.alice.click(world.message(job), label="Details")
    sure = await world.alice.click(details.response, label="Delete")
    await world.alice.click(sure.response, label="Remove them")
    assert world.message(job).attachments == []
    assert "removed" in text_of(world.message(job))
    assert not any(world.app.store.files.path(sha256).exists() for sha256 in sha256s)
    assert (await world.app.store.jobs.get(job.id)).request == job.request


async def test_buttons_work_after_a_restart(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    await world.restart()
    await world.bob.click(world.message(job), label="1 · 0")
    assert "1 · 1" in buttons(world.message(job))
    shown = await world.bob.click(world.message(job), label="Details")
    assert "a fox" in text_of(shown.response.message)


async def test_a_button_whose_job_is_gone_says_so(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    message = world.message(job)
    async with world.app.store.database.transaction() as connection:
        await connection.execute("PRAGMA defer_foreign_keys = ON")
        for table in ("images", "attempts", "messages"):
            await connection.execute(f"DELETE FROM {table} WHERE job_id = ?", (job.id,))  # noqa: S608
        await connection.execute("DELETE FROM jobs WHERE id = ?", (job.id,))
    for label in ("1 · 0", "Again", "Remix", "Details"):
        answer = await world.bob.click(message, label=label)
        said = answer_to(answer)
        assert said.ephemeral, label
        assert "no longer" in said.content or "any more" in said.content


async def _png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (width, height), "teal").save(buffer, "PNG")
    return buffer.getvalue()


async def test_an_attached_picture_is_the_start(world: World) -> None:
    await world.consent(world.alice)
    upload = ("start.png", await _png(200, 100))
    job = await world.imagine(world.alice, "a fox", image=upload)
    with Pillow.open(io.BytesIO(world.app.store.files.read(job.request.start.sha256))) as kept:
        assert kept.size == (200, 100)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("   ", "prompt"),
        ("\u200b\u200d\u2060", "prompt"),
        ("x" * 6000, "2000"),
        ("fox --seed 99999999999", "seed"),
        ("fox --seed NaN", "seed"),
        ("fox --ar 0:1", "ar"),
        ("fox --ar 1000:1", "ar"),
        ("fox --wibble", "wibble"),
        ("fox --style nosuch", "nosuch"),
        ("fox --model nosuch", "model"),
        ("fox::nan", "weight"),
        ("fox::1e309", "weight"),
        ("fox --s inf", "--s"),
        ("{a,b,c,d,e,f,g} {a,b,c,d,e,f,g}", "40"),
        ("https://example.com/a.png fox", "Discord"),
    ],
)
async def test_bad_prompts_get_one_private_sentence(
    world: World, prompt: str, expected: str
) -> None:
    await world.consent(world.alice)
    answer = await world.alice.slash(world.channel, "imagine", prompt=prompt)
    said = answer.response or answer.followups[0]
    assert said.ephemeral
    assert expected.lower().replace("2000", "2,000") in said.content.lower().replace(
        "2000", "2,000"
    )
    assert await world.app.store.jobs.of_member(world.alice.id) == []


@pytest.mark.parametrize(
    "prompt",
    [
        "@everyone <@1> <@&2> <#3>",
        "**bold** [click](https://example.com) # heading ||spoiler||",
        "a\u202etxet kcab\u202c fox",
        "z" + "\u0300" * 200 + "algo",
        "`code` ```block``` \\escape",
        "half a character \ud800 fox",
    ],
)
async def test_hostile_text_is_drawn_and_shown_harmlessly(world: World, prompt: str) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, prompt, images=1)
    shown = text_of(world.message(job))
    for dangerous in (
        " @everyone",
        "*@everyone",
        "](http",
        "https://",
        "||spoiler||",
        "\u202e",
        "```",
    ):
        assert dangerous not in shown.replace(f"<@{world.alice.id}>", "")
    assert not world.message(job).mention_everyone


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("notes.png", b"hello, I am no picture", "picture"),
        ("cut.webp", b"RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00\x30\x01\x00", "picture"),
    ],
)
async def test_bad_uploads_get_one_private_sentence(
    world: World, name: str, content: bytes, expected: str
) -> None:
    await world.consent(world.alice)
    answer = await world.alice.slash(world.channel, "imagine", prompt="fox", image=(name, content))
    said = answer_to(answer)
    assert said.ephemeral
    assert expected in said.content.lower()
    assert await world.app.store.jobs.of_member(world.alice.id) == []


async def test_whoever_may_not_draw_has_nothing_fetched_and_nothing_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    read = discord.Attachment.read

    async def watched(self: discord.Attachment, **options: Any) -> bytes:
        fetched.append(self.filename)
        return await read(self, **options)

    monkeypatch.setattr(discord.Attachment, "read", watched)
    await world.consent(world.alice)
    guild = await world.app.store.settings.guild(world.guild.id)
    elsewhere = dataclasses.replace(guild, allowed_channel_ids=(1,))
    await world.app.store.settings.save_guild(world.guild.id, elsewhere)
    picture = ("fox.png", await _png(16, 16))
    answer = await world.alice.slash(world.channel, "imagine", prompt="a fox", image=picture)
    assert answer_to(answer).ephemeral
    assert "Pictures are drawn in" in answer_to(answer).content
    assert (fetched, world.channel.history()) == ([], [])
    await world.app.store.settings.save_guild(world.guild.id, guild)
    await world.imagine(world.alice, "a fox", image=picture)
    assert fetched == ["fox.png"]


async def test_what_an_upload_cannot_keep_is_said_with_the_pictures(world: World) -> None:
    await world.consent(world.alice)
    frames = [Pillow.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    await world.imagine(world.alice, "a fox", image=("fox.gif", content.getvalue()))
    (job,) = await world.app.store.jobs.of_member(world.alice.id)
    assert Change.FIRST_FRAME in text_of(world.message(job))


async def test_more_than_five_jobs_ask_first(world: World) -> None:
    await world.consent(world.alice)
    asked = await world.alice.slash(
        world.channel, "imagine", prompt="{red, green, blue} {fox, owl}", images=1
    )
    assert asked.ephemeral
    assert "6 jobs" in text_of(asked.response.message)
    await world.alice.click(asked.response, label="Draw 6")
    jobs = await world.app.store.jobs.of_member(world.alice.id)
    done = [await world.job_in(job.id, JobState.POSTED) for job in jobs]
    assert {job.request.prompt for job in done} == {
        f"{colour} {animal}" for colour in ("red", "green", "blue") for animal in ("fox", "owl")
    }
    message_ids = {job.place.message_id for job in done}
    assert len(message_ids) == 6
    assert None not in message_ids


async def test_never_mind_draws_nothing(world: World) -> None:
    await world.consent(world.alice)
    asked = await world.alice.slash(world.channel, "imagine", prompt="fox --r 6")
    await world.alice.click(asked.response, label="Never mind")
    jobs = await world.app.store.jobs.of_member(world.alice.id)
    assert {job.state for job in jobs} == {JobState.CANCELLED}


async def test_what_the_model_cannot_honour_is_said(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox --tile", images=1)
    assert "--tile" in text_of(world.message(job)).replace("\\", "")


async def test_server_errors_of_discord_lose_nothing(world: World) -> None:
    await world.consent(world.alice)
    world.env.inject_error("PATCH", "/webhooks/*", status=500)
    await world.alice.slash(world.channel, "imagine", prompt="a fox")
    (job,) = await world.app.store.jobs.of_member(world.alice.id)
    await world.job_in(job.id, JobState.RENDERED, JobState.POSTED)

    async def posted() -> Job | None:
        await world.env.advance_time(5)
        found = await world.app.store.jobs.get(job.id)
        return found if found.state is JobState.POSTED else None

    done = await world.until(posted, "posted after the error")
    assert len(world.message(done).attachments) == 4


async def test_a_job_knows_by_discords_own_clock_when_it_was_asked_for(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    answered = await world.alice.click(world.message(job), label="Again")
    message = answered.response.message
    assert message is not None
    again = await world.app.store.jobs.by_message(message.channel.id, message.id)
    assert again is not None
    for each in (job, again):
        sent = await world.app.store.outbox.of_job(each.id)
        assert sent is not None
        assert sent.sent_after is not None
        assert sent.sent_after < (sent.message_id or 0), "so it is looked for from then on"
