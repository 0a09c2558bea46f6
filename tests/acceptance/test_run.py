"""`atelier run` as a service: one bot a record, a heartbeat, a clean end, a clear refusal."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.discord_rules import MISSING_PERMISSION, UNAVAILABLE, Refusal
from tests.integration.discord_server import DiscordServer
from tests.integration.life import CHILD, ROOT, TOKEN, Life


def second_bot(life: Life, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Start another bot and wait until it ends."""
    return subprocess.run(
        [sys.executable, str(CHILD), life.discord.address, "0"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "DISCORD_TOKEN": token,
            "ATELIER_DATA_DIR": str(life.data_dir),
            "ATELIER_DEFAULT_MODEL": "pattern",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_a_second_bot_on_the_same_record_is_refused(tmp_path: Path) -> None:
    async with Life.open(tmp_path, step_delay_s=0.0) as life:
        done = await asyncio.to_thread(second_bot, life)
        assert done.returncode == 3
        assert "another `atelier run` uses" in done.stderr
        assert life.is_alive


async def test_asked_to_stop_the_bot_ends_with_code_zero(tmp_path: Path) -> None:
    async with Life.open(tmp_path, step_delay_s=0.0) as life:
        assert await life.stop() == 0


async def test_a_connected_bot_gives_a_heartbeat(tmp_path: Path) -> None:
    async with Life.open(tmp_path, step_delay_s=0.0) as life:
        heartbeat = life.data_dir / "heartbeat"
        await life.until(heartbeat.exists, "a heartbeat")
        assert time.time() - heartbeat.stat().st_mtime < 30


async def test_a_wrong_token_is_refused_without_being_shown(tmp_path: Path) -> None:
    async with DiscordServer.open(TOKEN) as discord:
        life = Life(tmp_path, discord, 0.0, {})
        wrong = "MTAwMA.Gwrong." + "not-the-token-of-the-tests-" * 2
        done = await asyncio.to_thread(second_bot, life, wrong)
    assert done.returncode == 3
    assert "Discord refused the token" in done.stderr
    assert wrong not in done.stdout + done.stderr


async def test_a_gateway_that_no_longer_answers_lets_the_heartbeat_grow_old(
    tmp_path: Path,
) -> None:
    async with DiscordServer.open(TOKEN) as discord:
        discord.beat_interval_ms = 300
        life = Life(tmp_path, discord, 0.0, {})
        await life.start()
        heartbeat = life.data_dir / "heartbeat"
        await life.until(heartbeat.exists, "a heartbeat")
        first = heartbeat.stat().st_mtime_ns
        await life.until(lambda: heartbeat.stat().st_mtime_ns > first, "another")
        discord.acknowledges = False
        await asyncio.sleep(1.5)  # whatever was under way
        last = heartbeat.stat().st_mtime_ns
        await asyncio.sleep(2.0)
        assert heartbeat.stat().st_mtime_ns == last
        assert await life.stop() == 0


@pytest.mark.parametrize("path", ["/users/@me", "/oauth2/applications/@me"])
async def test_a_discord_that_is_unwell_at_the_start_is_waited_for(
    tmp_path: Path, path: str
) -> None:
    async with DiscordServer.open(TOKEN) as discord:
        discord.rule("GET", path, refusal=UNAVAILABLE)
        life = Life(tmp_path, discord, 0.0, {})
        await life.start()
        assert "Discord cannot be reached just now" in life.log()
        assert "Traceback" not in life.log()
        assert await life.stop() == 0


@pytest.mark.parametrize(
    "refusal", [UNAVAILABLE, MISSING_PERMISSION, None], ids=["503", "403", "cut"]
)
async def test_commands_that_cannot_be_registered_do_not_stop_the_bot(
    tmp_path: Path, refusal: Refusal | None
) -> None:
    async with DiscordServer.open(TOKEN) as discord:
        # aiohttp itself repeats a PUT once whose connection was cut.
        discord.rule("PUT", "/commands", refusal=refusal, is_cut=refusal is None, times=2)
        life = Life(tmp_path, discord, 0.0, {})
        await life.start()
        await life.until(lambda: "commands_not_registered" in life.log(), "a word in the log")
        assert await life.stop() == 0


async def test_asked_to_stop_in_the_middle_of_the_start_the_bot_ends_with_code_zero(
    tmp_path: Path,
) -> None:
    async with DiscordServer.open(TOKEN) as discord:
        for path in ("/users/@me", "/oauth2/applications/@me", "/commands"):
            method = "PUT" if path == "/commands" else "GET"
            rule = discord.rule(method, path, is_held=True)
            life = Life(tmp_path, discord, 0.0, {})
            starting = asyncio.create_task(life.start())
            await asyncio.wait_for(rule.arrived.wait(), 30)
            assert await life.stop() == 0, life.log()
            rule.released.set()
            await asyncio.gather(starting, return_exceptions=True)
            assert "this is a bug" not in life.log()
            assert "Traceback" not in life.log()


async def test_commands_that_are_being_answered_come_to_their_end_before_the_bot_does(
    tmp_path: Path,
) -> None:
    async with Life.open(tmp_path, step_delay_s=0.0) as life:
        callback = life.discord.rule("POST", "/callback", is_held=True)
        asked = await life.discord.slash(7, "imagine", prompt="a fox in a hurry")
        await asyncio.wait_for(callback.arrived.wait(), 30)
        ending = asyncio.create_task(life.stop())
        await asyncio.sleep(0.3)
        assert life.is_alive
        callback.released.set()
        assert await ending == 0
        assert asked.is_answered
        (job,) = life.jobs()
        assert job["message_id"] is not None
        assert "Traceback" not in life.log()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own settings out."""
    for name in list(os.environ):
        if name.startswith("ATELIER_"):
            monkeypatch.delenv(name)
