"""`atelier run` as a service: one bot a record, a heartbeat, a clean end, a clear refusal."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own settings out."""
    for name in list(os.environ):
        if name.startswith("ATELIER_"):
            monkeypatch.delenv(name)
