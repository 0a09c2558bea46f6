"""The bot as a process that can be killed, and what can be seen of it from outside."""

import asyncio
import contextlib
import hashlib
import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from bot.messages import CONSENT
from bot.studio.drawing import now
from storage.consent import Scope
from storage.disk import ImageFiles
from storage.store import DATABASE_NAME, IMAGES_NAME, Store
from tests.integration.discord_rules import Interaction
from tests.integration.discord_server import DiscordServer

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("bot_process.py")
TOKEN = "MTAwMA.GloopA." + "bot-token-of-the-tests-" * 2
WAIT_S = 30.0

JOBS = """
  SELECT jobs.*, messages.channel_id, messages.message_id,
    (SELECT count(*) FROM attempts WHERE attempts.job_id = jobs.id) AS attempts
  FROM jobs JOIN messages ON messages.job_id = jobs.id AND messages.kind = 'job'
"""


class Life:
    """One data directory and one Discord, and whichever bot process lives with them now.

    Args:
        directory: Empty; gets the data directory and the log.
        discord: The loopback server.
        step_delay_s: How long the test pattern takes for each of its four steps.
        settings: Further settings, as environment variables.
        patience: Seconds before "is thinking…", 0.02 as in life; and the share of its pauses that the
            bot makes before it tries something again.
    """

    def __init__(
        self,
        directory: Path,
        discord: DiscordServer,
        step_delay_s: float,
        settings: Mapping[str, str],
        patience: float = 1.0,
    ) -> None:
        self.discord = discord
        self.data_dir = directory / "data"
        self._image_files = ImageFiles(self.data_dir / IMAGES_NAME)
        self._log = directory / "bot.log"
        self._step_delay_s = step_delay_s
        self._settings = settings
        self._patience = patience
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, directory: Path, *, step_delay_s: float, patience: float = 1.0, **settings: str
    ) -> AsyncIterator["Life"]:
        """Start a Discord and a bot; members 7, 8 and 9 have answered about consent."""
        async with DiscordServer.open(TOKEN) as discord:
            life = cls(directory, discord, step_delay_s, settings, patience)
            await life.consent(7, 8, 9)
            await life.start()
            try:
                yield life
            finally:
                if life.is_alive:
                    await life.kill()

    async def consent(self, *members: int) -> None:
        """Answer the three questions with yes, before the bot starts."""
        store = await Store.open(self.data_dir)
        for member_id in members:
            await store.consents.append(
                member_id,
                dict.fromkeys(Scope, True),
                text_version=CONSENT.version,
                text_sha256=CONSENT.sha256,
                interaction_id=1,
                now=now(),
            )
        await store.close()

    # The process

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start the bot and wait until it is connected."""
        await self.spawn()
        await self.until(lambda: self.discord.ready.is_set() or not self.is_alive, "connected")
        assert self.is_alive, self.log()

    async def spawn(self) -> None:
        """Start the bot."""
        assert not self.is_alive
        self.discord.ready.clear()
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "DISCORD_TOKEN": TOKEN,
            "ATELIER_DATA_DIR": str(self.data_dir),
            "ATELIER_DEFAULT_MODEL": "pattern",
            "ATELIER_DEVICE": "cpu",
            "ATELIER_PROGRESS_INTERVAL_S": "1",
            **self._settings,
        }
        with self._log.open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-W",
                    "error",
                    "-W",
                    "ignore:'audioop' is deprecated",
                    str(CHILD),
                ),
                *(self.discord.address, str(self._step_delay_s), str(self._patience)),
                env=environment,
                cwd=self._log.parent,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        """Kill the bot as `kill -9` does, and wait until it is gone."""
        assert self._process is not None
        os.kill(self.pid, signal.SIGKILL)
        await self._process.wait()

    async def ended(self) -> int:
        """Wait until the bot is gone; return its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> int:
        """Ask the bot to end; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return await asyncio.wait_for(self._process.wait(), WAIT_S)

    @property
    def worker(self) -> int | None:
        """Process number of the drawing worker, if there is one."""
        for child in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "generation.engine.worker" in child.cmdline():
                    return int(child.pid)
        return None

    async def kill_worker(self) -> None:
        """Kill the worker as `kill -9` does, and wait until it is gone."""
        pid = await self.until(lambda: self.worker, "a worker")
        os.kill(pid, signal.SIGKILL)
        await self.until(lambda: self.worker != pid, "the worker's end")

    def log(self) -> str:
        """Return everything the bot has printed in all its lives."""
        return self._log.read_text()

    # The record

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return rows of the bot's database, which is opened for reading only."""
        path = self.data_dir / DATABASE_NAME
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, values).fetchall()

    def jobs(self) -> list[sqlite3.Row]:
        """Return all jobs, oldest first."""
        return self.rows(f"{JOBS} ORDER BY jobs.id")

    def job(self, job_id: int) -> sqlite3.Row:
        """Return one job."""
        (row,) = self.rows(f"{JOBS} WHERE jobs.id = ?", job_id)
        return row

    @contextlib.contextmanager
    def record_locked(self) -> Iterator[None]:
        """Keep the bot from committing anything, as another writer would."""
        path = self.data_dir / DATABASE_NAME
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")

    # What happens

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until the condition holds and return its value."""
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            if found := condition():
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"never happened: {what}\n{self.log()[-4000:]}")

    async def imagine(self, prompt: str, *, member: int = 7, **options: Any) -> int:
        """Send `/imagine` and return the number of the job that was recorded for it."""
        known = len(self.jobs())
        await self.discord.slash(member, "imagine", prompt=prompt, **options)
        await self.until(lambda: len(self.jobs()) > known, "a job")
        return int(self.jobs()[known]["id"])

    async def in_state(self, job_id: int, *states: str) -> sqlite3.Row:
        """Wait until a job is in one of the states."""
        await self.until(lambda: self.job(job_id)["state"] in states, f"job {job_id} {states}")
        return self.job(job_id)

    async def answer(self, interaction: Interaction) -> dict[str, Any]:
        """Wait for the answer to an interaction and return the message that it is."""
        number = await self.until(lambda: interaction.response_id, "an answer")
        return self.discord.messages[number]

    async def told(self, interaction: Interaction) -> str:
        """Wait until a person is told something beside the answer, and return it."""
        (number, *_) = await self.until(lambda: interaction.follow_up_ids, "a follow-up")
        return str(self.discord.messages[number]["content"])

    def message(self, job_id: int) -> dict[str, Any]:
        """Return the one message that is a job's; fail if there are more or none."""
        of_it = re.compile(rf"atelier:(?!vote)[a-z]+:{job_id}\b")
        (message,) = (p for p in self.discord.posts() if of_it.search(str(p["components"])))
        return message

    def assert_nothing_lost(self) -> None:
        """Every job ended; its pictures stand on one message, in one file each, unharmed."""
        assert self.discord.violations == []
        jobs = self.jobs()
        assert {job["state"] for job in jobs} <= {"posted", "failed", "cancelled"}
        for job in jobs:
            message = self.message(job["id"])
            assert int(message["id"]) == job["message_id"]
            images = self.rows("SELECT * FROM images WHERE job_id = ? ORDER BY position", job["id"])
            assert (job["state"] == "posted") == bool(images)
            shown = [self.discord.files[a["url"]] for a in message["attachments"]]
            assert [hashlib.sha256(png).hexdigest() for png in shown] == [
                image["sha256"] for image in images
            ]
            for image in images:
                png = self._image_files.path(image["sha256"]).read_bytes()
                assert hashlib.sha256(png).hexdigest() == image["sha256"]
        assert len(self.discord.posts()) == len(jobs)

    def files(self) -> set[Path]:
        """Return the finished picture files."""
        return set(self.data_dir.rglob("*.png"))
