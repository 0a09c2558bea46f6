"""What only the wire shows: dead tokens, refusals, lost answers, and what is written where."""

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from storage.store import DATABASE_NAME
from tests.integration.discord_objects import CHANNEL
from tests.integration.discord_rules import MISSING_PERMISSION, UNAVAILABLE, Refusal
from tests.integration.discord_server import DiscordServer
from tests.integration.life import TOKEN, Life

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITED = Refusal(429, 0, "You are being rate limited.")
BROKEN = Refusal(500, 0, "Internal Server Error")  # discord.py sends it again
ANY_MESSAGE = r"/messages/"
BY_BOT = rf"^/api/channels/{CHANNEL}/messages"
BY_INTERACTION = r"^/api/webhooks/"
CALLBACK = r"/interactions/.*/callback"
NOBODY = "delivered to nobody"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def only(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Life]:
    async with Life.open(tmp_path_factory.mktemp("wire"), step_delay_s=0.05) as life:
        yield life
        assert await life.stop() == 0
        assert life.discord.violations == []


@pytest_asyncio.fixture(loop_scope="module")
async def life(only: Life) -> AsyncIterator[Life]:
    """The bot, on a Discord that is well again after every test."""
    yield only
    discord = only.discord
    discord.token_life_s = 15 * 60.0
    discord.channels = {CHANNEL}
    for rule in discord.rules:
        rule.times = 0
        rule.released.set()


@pytest.fixture
def discord(life: Life) -> DiscordServer:
    return life.discord


def uploads(life: Life, path: str = ANY_MESSAGE) -> list[int]:
    """Return how every upload of pictures so far was answered."""
    return [call.status for call in life.discord.called("PATCH", path) if call.files]


async def posted(life: Life, job_id: int) -> None:
    """Wait until a job is posted; its pictures stand on one message."""
    await life.in_state(job_id, "posted")
    assert life.job(job_id)["reason"] is None
    assert len(life.message(job_id)["attachments"]) == 4
    buttons = re.compile(rf"atelier:(?!vote)[a-z]+:{job_id}\b")
    about_it = [post for post in life.discord.posts() if buttons.search(str(post["components"]))]
    assert [int(post["id"]) for post in about_it] == [life.job(job_id)["message_id"]]


async def test_pictures_are_uploaded_once_with_the_interactions_token(life: Life) -> None:
    job_id = await life.imagine("a fox")
    await posted(life, job_id)
    assert uploads(life, BY_INTERACTION) == [200]
    assert uploads(life, BY_BOT) == []


async def test_a_first_picture_stands_on_one_public_message_after_the_question(
    life: Life, discord: DiscordServer
) -> None:
    public = len(discord.posts())
    question = await life.answer(await discord.slash(11, "imagine", prompt="my first"))
    assert len(discord.posts()) == public
    job_id = life.jobs()[-1]["id"]
    assert life.job(job_id)["state"] == "held"
    await discord.click(11, question, "Save")
    await posted(life, job_id)
    assert "Saved" in str(question["components"])


async def test_a_dead_interaction_token_gives_way_to_the_bots_own(
    life: Life, discord: DiscordServer
) -> None:
    discord.token_life_s = 0.1
    job_id = await life.imagine("a fox whose token dies")
    await posted(life, job_id)
    assert discord.called("PATCH", BY_INTERACTION)[-1].status == 401
    assert uploads(life, BY_BOT)[-1] == 200


async def test_a_rate_limit_on_the_upload_is_waited_out(life: Life, discord: DiscordServer) -> None:
    before = len(uploads(life))
    settings = {"refusal": LIMITED, "retry_after_s": 0.4, "with_files": True}
    discord.rule("PATCH", ANY_MESSAGE, times=2, **settings)
    await posted(life, await life.imagine("a patient fox"))
    assert uploads(life)[before:] == [429, 429, 200]
    assert discord.violations == []  # one would say that it came back too early


async def test_a_rate_limit_on_the_acknowledgement_makes_one_message(
    life: Life, discord: DiscordServer
) -> None:
    discord.rule("POST", CALLBACK, refusal=LIMITED, retry_after_s=0.3)
    job_id = await life.imagine("a fox that waits to be greeted")
    await posted(life, job_id)


@pytest.mark.parametrize("has_effect", [True, False], ids=["edited", "not edited"])
async def test_a_server_error_on_the_upload_is_tried_again(
    life: Life, discord: DiscordServer, has_effect: bool
) -> None:
    before = len(uploads(life))
    settings = {"refusal": UNAVAILABLE, "has_effect": has_effect, "with_files": True}
    discord.rule("PATCH", ANY_MESSAGE, **settings)
    await posted(life, await life.imagine("a stubborn fox"))
    assert uploads(life)[before:] == [503, 200]


@pytest.mark.parametrize("has_effect", [True, False], ids=["sent", "not sent"])
async def test_a_server_error_on_the_acknowledgement_makes_one_message(
    life: Life, discord: DiscordServer, has_effect: bool
) -> None:
    discord.rule("POST", CALLBACK, refusal=UNAVAILABLE, has_effect=has_effect)
    await posted(life, await life.imagine("a fox at the door"))


@pytest.mark.parametrize("refusal", [BROKEN, UNAVAILABLE], ids=["tried again", "not tried again"])
async def test_a_message_that_the_bot_sends_itself_is_sent_once(
    life: Life, discord: DiscordServer, refusal: Refusal
) -> None:
    known, sends = len(life.jobs()), len(discord.called("POST", BY_BOT))
    discord.rule("POST", BY_BOT, refusal=refusal, has_effect=True)
    six = "{red, green, blue, grey, gold, black} fox"
    question = await life.answer(await discord.slash(7, "imagine", prompt=six))
    await discord.click(7, question, "Draw 6")
    assert len(life.jobs()) == known + 6
    for job in life.jobs()[known:]:
        await posted(life, job["id"])
    sent = discord.called("POST", BY_BOT)[sends:]
    assert len({call.payload["nonce"] for call in sent}) == 1
    assert [call.status for call in sent] == ([500, 200] if refusal is BROKEN else [503])


async def test_a_slow_word_to_whoever_confirmed_makes_no_message_twice(
    life: Life, discord: DiscordServer
) -> None:
    known, sends = len(life.jobs()), len(discord.called("POST", BY_BOT))
    six = "{red, green, blue, grey, gold, black} owl"
    question = await life.answer(await discord.slash(7, "imagine", prompt=six))
    path = life.data_dir / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        connection.execute("UPDATE messages SET created_at = '2026-01-01T00:00:00+00:00'")
    rule = discord.rule("PATCH", "@original", is_held=True)
    await discord.click(7, question, "Draw 6")
    await life.until(rule.arrived.is_set, "a word to whoever asked")
    await asyncio.sleep(0.5)
    rule.released.set()
    for job in life.jobs()[known:]:
        await posted(life, job["id"])
    assert len(discord.called("POST", BY_BOT)) == sends + 1  # five are answers


async def test_an_answer_that_is_slower_than_three_seconds_makes_one_message(
    life: Life, discord: DiscordServer
) -> None:
    discord.rule("POST", CALLBACK, refusal=LIMITED, retry_after_s=4.5)
    job_id = await life.imagine("a fox that nobody is told of")
    await posted(life, job_id)
    assert discord.called("POST", CALLBACK)[-1].status == 404


async def test_jobs_of_one_command_are_told_different_places(
    life: Life, discord: DiscordServer
) -> None:
    known = len(discord.calls)
    worker = await life.until(lambda: life.worker, "a worker")
    os.kill(worker, signal.SIGSTOP)  # so that they wait
    try:
        first = await life.imagine("{red, green, blue, grey} crow")
        own = range(first, first + 4)
        await life.until(lambda: all(life.job(n)["message_id"] for n in own), "their messages")
    finally:
        os.kill(worker, signal.SIGCONT)
    for job_id in own:
        await posted(life, job_id)
    sent = [str(call.payload) for call in discord.calls[known:] if call.method == "POST"]
    places = [found[0] for text in sent if (found := re.search(r"Next in (line)|place (\d)", text))]
    assert len(places) >= 2
    assert len(set(places)) == len(places)


async def test_what_the_bot_may_not_send_is_said_before_it_is_drawn(
    life: Life, discord: DiscordServer
) -> None:
    six = "{red, green, blue, grey, gold, black} newt"
    discord.app_permissions, may = str(1 << 10), discord.app_permissions
    question = await life.answer(await discord.slash(7, "imagine", prompt=six))
    assert "I lack *Send Messages* here, so only the first 5" in str(question)
    discord.app_permissions = may
    question = await life.answer(await discord.slash(7, "imagine", prompt=six))
    assert "I lack" not in str(question)


async def test_a_message_that_was_deleted_keeps_its_pictures_and_is_not_sent_again(
    life: Life, discord: DiscordServer
) -> None:
    job_id = await life.imagine("a fox whose message goes --q 2")
    message_id = await life.until(lambda: life.job(job_id)["message_id"], "its message")
    del discord.messages[message_id]
    await delivered_to_nobody(life, job_id, "Unknown Message")
    assert message_id not in discord.messages


async def test_a_channel_that_was_deleted_keeps_its_pictures(
    life: Life, discord: DiscordServer
) -> None:
    discord.token_life_s = 0.1
    job_id = await life.imagine("a fox whose channel goes --q 2")
    await life.until(lambda: life.job(job_id)["message_id"], "its message")
    discord.channels.clear()
    await delivered_to_nobody(life, job_id, "Unknown Channel")


async def test_a_missing_permission_delays_the_pictures_until_it_is_given(
    life: Life, discord: DiscordServer
) -> None:
    discord.token_life_s = 0.1
    discord.rule("PATCH", BY_BOT, refusal=MISSING_PERMISSION, times=1)
    job_id = await life.imagine("a fox without permission")
    await life.in_state(job_id, "posted")


async def delivered_to_nobody(life: Life, job_id: int, why: str) -> None:
    """Wait until a job is posted to nobody; its pictures are kept, and it is not tried again."""
    job = await life.in_state(job_id, "posted")
    assert NOBODY in job["reason"]
    assert why in job["reason"]
    images = life.rows("SELECT sha256 FROM images WHERE job_id = ?", job_id)
    assert len(images) == 4
    for image in images:
        assert len(list(life.data_dir.rglob(f"{image['sha256']}.png"))) == 1
    tried = len(life.discord.calls)
    await asyncio.sleep(0.3)
    assert len(life.discord.calls) == tried


async def test_a_command_after_a_broken_connection_is_answered(
    life: Life, discord: DiscordServer
) -> None:
    await discord.break_connection()
    await life.until(discord.ready.is_set, "connected again")
    await posted(life, await life.imagine("a fox that came back"))


async def test_neither_tokens_nor_prompts_are_written_where_they_do_not_belong(
    life: Life, discord: DiscordServer
) -> None:
    discord.token_life_s = 0.1
    discord.rule("PATCH", BY_BOT, refusal=LIMITED, retry_after_s=0.2)
    await posted(life, await life.imagine("xylophonist in a marmalade storm --no zeppelin"))
    log = life.log()
    assert "rendered" in log
    for word in ("xylophonist", "marmalade", "zeppelin"):
        assert word not in log
    stored = b"".join(path.read_bytes() for path in life.data_dir.glob("atelier.db*"))
    assert b"xylophonist" in stored
    for token in (TOKEN, *discord.interactions):
        assert token not in log
        assert token.encode() not in stored
    assert not re.search(r"Traceback|ERROR|CRITICAL", log), log[-3000:]
