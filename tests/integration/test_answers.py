"""An interaction is answered once, before anything is done; a lost word of that stops nothing."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from storage.store import DATABASE_NAME
from tests.integration.discord_objects import MODERATORS
from tests.integration.discord_rules import UNAVAILABLE, Refusal
from tests.integration.discord_server import DiscordServer
from tests.integration.life import Life

pytestmark = pytest.mark.asyncio(loop_scope="module")

BROKEN = Refusal(500, 0, "Internal Server Error")  # discord.py sends it again
TOO_LATE = Refusal(404, 10062, "Unknown interaction")
CALLBACK = r"/interactions/.*/callback"
MODERATOR, LOG = 9, 3500


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def only(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Life]:
    async with Life.open(tmp_path_factory.mktemp("answers"), step_delay_s=0.02) as life:
        life.discord.roles[MODERATOR] = [MODERATORS]
        yield life
        assert await life.stop() == 0
        assert life.discord.violations == []


@pytest_asyncio.fixture(loop_scope="module")
async def life(only: Life) -> AsyncIterator[Life]:
    yield only
    for rule in only.discord.rules:
        rule.times = 0
        rule.released.set()


@pytest.fixture
def discord(life: Life) -> DiscordServer:
    return life.discord


async def posted(life: Life, prompt: str) -> int:
    job_id = await life.imagine(prompt)
    await life.in_state(job_id, "posted")
    return job_id


async def record(life: Life, job_id: int) -> dict[str, Any]:
    """Open a job's record as its moderator."""
    opened = await life.discord.menu(MODERATOR, "Show record", life.message(job_id))
    shown = await life.answer(opened)
    await life.until(lambda: f"Job {job_id}" in str(shown), "the record")
    return shown


LOST = {
    "500 after its effect": {"refusal": BROKEN, "has_effect": True},
    "cut after its effect": {"is_cut": True, "has_effect": True},
    "cut before its effect": {"is_cut": True},
}


@pytest.mark.parametrize("how", LOST)
async def test_a_lost_word_of_the_acknowledgement_does_not_stop_what_was_asked(
    life: Life, discord: DiscordServer, how: str
) -> None:
    job_id = await posted(life, f"a fox, {how.replace(' ', '-')}")
    discord.rule("POST", CALLBACK, **LOST[how])
    shown = await record(life, job_id)
    discord.rule("POST", CALLBACK, **LOST[how])
    form = await discord.click(MODERATOR, shown, "Take down")
    await life.until(lambda: form.is_answered, "a form")
    discord.rule("POST", CALLBACK, **LOST[how])
    sent = await discord.submit(MODERATOR, discord.forms[-1], "no", shown)
    assert "Taken down" in await life.told(sent)
    assert life.message(job_id)["attachments"] == []


@pytest.mark.parametrize("how", LOST)
async def test_a_lost_word_of_the_acknowledgement_draws_once(
    life: Life, discord: DiscordServer, how: str
) -> None:
    discord.rule("POST", CALLBACK, **LOST[how])
    job_id = await posted(life, f"an owl, {how.replace(' ', '-')}")
    assert len(life.message(job_id)["attachments"]) == 4
    assert not [m for m in discord.messages.values() if "went wrong" in m["content"]]


@pytest.mark.parametrize("how", LOST)
async def test_a_lost_word_of_the_acknowledgement_neither_keeps_pictures_up_nor_a_report_back(
    life: Life, discord: DiscordServer, how: str
) -> None:
    told_in(life, LOG)
    discord.channels.add(LOG)
    job_id = await posted(life, f"a crow, {how.replace(' ', '-')}")
    form = await discord.menu(8, "Report", life.message(job_id))
    await life.until(lambda: form.is_answered, "a form")
    discord.rule("POST", CALLBACK, **LOST[how])
    await discord.submit(8, discord.forms[-1], "not nice", life.message(job_id))
    about_it = f"**Report** of job {job_id},"
    await life.until(lambda: about_it in str(discord.posts(LOG)), "a line in the log channel")
    details = await life.answer(await discord.click(7, life.message(job_id), "Details"))
    question = await life.answer(await discord.click(7, details, "Delete"))
    discord.rule("POST", CALLBACK, **LOST[how])
    await discord.click(7, question, "Remove them")
    await life.until(lambda: not life.message(job_id)["attachments"], "the pictures' end")
    await life.until(lambda: "Removed." in str(question), "a word to whoever asked")


def told_in(life: Life, channel_id: int) -> None:
    """Set the server's log channel."""
    path = life.data_dir / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        connection.execute(
            "UPDATE servers SET settings = json_set(settings, '$.log_channel_id', ?)",
            (channel_id,),
        )


async def test_what_could_not_be_acknowledged_is_not_done(
    life: Life, discord: DiscordServer
) -> None:
    job_id = await posted(life, "a fox that stays up")
    shown = await record(life, job_id)
    form = await discord.click(MODERATOR, shown, "Take down")
    await life.until(lambda: form.is_answered, "a form")
    discord.rule("POST", CALLBACK, refusal=UNAVAILABLE, times=10)
    before = len(discord.called("POST", CALLBACK))
    sent = await discord.submit(MODERATOR, discord.forms[-1], "no", shown)
    await life.until(lambda: len(discord.called("POST", CALLBACK)) > before, "an attempt")
    vote = await discord.click(8, life.message(job_id), "1 ·")
    await life.until(lambda: len(discord.called("POST", CALLBACK)) > before + 2, "an attempt")
    assert not sent.is_answered
    assert not vote.is_answered
    assert life.rows("SELECT * FROM moderation_actions WHERE job_id = ?", job_id) == []
    assert life.rows("SELECT * FROM votes") == []
    assert len(life.message(job_id)["attachments"]) == 4


async def test_a_form_that_could_not_be_acknowledged_can_be_sent_again(
    life: Life, discord: DiscordServer
) -> None:
    job_id = await posted(life, "a fox that comes down at the second try")
    shown = await record(life, job_id)
    form = await discord.click(MODERATOR, shown, "Take down")
    await life.until(lambda: form.is_answered, "a form")
    discord.rule("POST", CALLBACK, refusal=TOO_LATE)
    before = life.log().count("answered_too_late")
    await discord.submit(MODERATOR, discord.forms[-1], "no", shown)
    await life.until(lambda: life.log().count("answered_too_late") > before, "a word in the log")
    sent = await discord.submit(MODERATOR, discord.forms[-1], "no", shown)
    assert "Taken down" in await life.told(sent)
    assert life.message(job_id)["attachments"] == []
    twice = await discord.submit(MODERATOR, discord.forms[-1], "no", shown)
    assert "already sent" in str(await life.answer(twice))


async def test_an_answer_that_comes_too_late_is_no_error_of_ours(
    life: Life, discord: DiscordServer
) -> None:
    rule = discord.rule("POST", CALLBACK, refusal=TOO_LATE)
    await discord.slash(8, "queue")
    await life.until(rule.arrived.is_set, "an attempt")
    await life.until(lambda: "answered_too_late" in life.log(), "a word in the log")
    assert "Traceback" not in life.log()


async def test_saved_is_said_of_jobs_that_are_in_line_already(
    life: Life, discord: DiscordServer
) -> None:
    question = await life.answer(await discord.slash(12, "imagine", prompt="my first"))
    job_id = life.jobs()[-1]["id"]
    edit = discord.rule("PATCH", r"/messages/@original", is_held=True)
    await discord.click(12, question, "Save")
    await life.until(edit.arrived.is_set, "the answer to the question")
    assert life.job(job_id)["state"] != "held"
    edit.released.set()
    await life.in_state(job_id, "posted")


async def test_a_record_that_takes_its_time_keeps_nobody_waiting_for_an_answer(
    life: Life, discord: DiscordServer
) -> None:
    known = len(life.jobs())
    with life.record_locked():
        asked = await discord.slash(7, "imagine", prompt="a patient fox")
        thinking = await life.answer(asked)
        assert len(life.jobs()) == known, "it was answered before anything could be recorded"
    await life.until(lambda: len(life.jobs()) > known, "a job")
    job = await life.in_state(int(life.jobs()[known]["id"]), "posted")
    assert str(job["message_id"]) == str(thinking["id"]), "and that answer became the picture"
    assert life.message(job["id"])["id"] == thinking["id"]


async def test_a_question_that_comes_late_is_for_one_person_and_leaves_nothing_in_public(
    life: Life, discord: DiscordServer
) -> None:
    with life.record_locked():
        asked = await discord.slash(13, "imagine", prompt="my first, late")
        thinking = await life.answer(asked)
    await life.until(lambda: asked.follow_up_ids, "the question")
    await life.until(lambda: thinking["id"] not in discord.messages, "nothing in public")
