"""One life: a data directory and a Discord, through several blows, until all has settled."""

import asyncio
import contextlib
import dataclasses
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from bot.chat.answers import PATIENCE_S
from storage.disk import PARTIAL
from storage.settings import GuildSettings
from storage.store import IMAGES_NAME, Store
from tests.integration.discord_objects import GUILD
from tests.integration.discord_server import DiscordServer
from tests.integration.life import TOKEN, Life
from tests.kills import disks, old_record
from tests.kills.blows import Blow, family_of, left_of
from tests.kills.checker import LOG_CHANNEL, Checker, Violation
from tests.kills.members import ARTISTS, Crowd
from tests.kills.old_record import OLD_REASON
from tests.kills.weather import MOODS, calm, weather_of

KILLS_OF_A_LIFE = 10
KINDS = ("ordinary", "ordinary", "migration", "ordinary", "full disk", "ordinary", "ordinary")
UNWRITTEN = "code 120"  # how Python ends where its last line goes to a disk that is full
REFUSED = 3  # the exit code of a start that is refused
ENDS_WITHIN_S = 40.0  # everything that waits, once all is well
QUIET_S = 0.4  # for an edit that is under way
PENDING = """
  SELECT (SELECT count(*) FROM jobs WHERE state IN ('queued', 'running', 'rendered')) AS jobs,
    (SELECT count(*) FROM messages WHERE wanted > shown AND state = 'open') AS messages
"""
DUE = """
  SELECT kind, job_id, wanted, shown, tries, next_try_at, reason FROM messages
  WHERE wanted > shown AND state = 'open'
"""
SETTINGS = {"ATELIER_UPLOAD_HOSTS": '["127.0.0.1"]'}
BUGS = re.compile(
    r"\b(interaction_failed|message_not_shown|event_not_handled|job_broke|loop_stopped|not_shown"
    r"|this is a bug|not_ended|Ignoring exception|never retrieved|never awaited)\b"
)


@dataclasses.dataclass
class Told:
    """What a life was and what came of it."""

    seed: int
    number: int
    kind: str = ""
    mood: str = ""
    blows: list[str] = dataclasses.field(default_factory=list)
    attacks: Counter[str] = dataclasses.field(default_factory=Counter)
    moments: Counter[str] = dataclasses.field(default_factory=Counter)
    violations: list[Violation] = dataclasses.field(default_factory=list)
    states: Counter[str] = dataclasses.field(default_factory=Counter)
    interactions: int = 0
    promises: int = 0
    requests: int = 0
    elapsed_s: float = 0.0


async def live(
    seed: int, number: int, directory: Path, *, kills: int = KILLS_OF_A_LIFE
) -> AsyncIterator[Told]:
    """Go through one life; yields after each blow, and at its end with what was found.

    Args:
        seed: Of the campaign.
        number: Of this life; the two together are its dice.
        directory: Empty; the record, the files and the log stay there.
        kills: How many blows.
    """
    began_at_s = time.monotonic()
    dice = random.Random(f"{seed}/{number}")
    told = Told(seed, number, KINDS[number % len(KINDS)], dice.choice(list(MOODS)))
    async with contextlib.AsyncExitStack() as stack:
        discord = await stack.enter_async_context(DiscordServer.open(TOKEN))
        step_delay_s = dice.choice((0.0, 0.02, 0.06))
        life = Life(directory, discord, step_delay_s, SETTINGS, patience=PATIENCE_S)
        is_small = told.kind == "full disk" and stack.enter_context(disks.small_disk(life.data_dir))
        stage = Stage(life, dice, told)
        stack.push_async_callback(stage.close)
        await stage.prepare()
        if told.kind == "full disk":
            stage.trouble(is_small=is_small)
        discord.weather = weather_of(told.mood, random.Random(f"{seed}/{number}/weather"))
        for _ in range(kills):
            await stage.blow()
            yield told
        await stage.settle()
        checker = Checker(discord, life.data_dir, stage.crowd.promises)
        told.violations += await checker.check()
        told.promises = checker.kept
        told.states = Counter(job["state"] for job in life.jobs() if job["reason"] != OLD_REASON)
        told.interactions, told.requests = len(discord.interactions), len(discord.calls)
    told.elapsed_s = time.monotonic() - began_at_s


class Stage:
    """A life, its members and what strikes it.

    Args:
        life: The bot's.
        dice: Of this life.
        told: Gets what happens.
    """

    def __init__(self, life: Life, dice: random.Random, told: Told) -> None:
        self._life, self._dice, self._told = life, dice, told
        self._tasks: list[asyncio.Task[None]] = []
        self._trouble: asyncio.Task[None] | None = None
        self._disk = asyncio.Lock()  # held while it is in trouble
        self._blows = 0
        self._is_expected = True  # that the bot does not run
        self.crowd = Crowd(life)

    async def prepare(self) -> None:
        """Write what the first start finds."""
        life = self._life
        life.discord.channels.add(LOG_CHANNEL)
        if self._told.kind == "migration":
            old_record.write(life.data_dir, life.discord)
            return
        await life.consent(*ARTISTS)
        store = await Store.open(life.data_dir)
        await store.settings.save_guild(GUILD, GuildSettings(log_channel_id=LOG_CHANNEL))
        await store.close()

    def trouble(self, *, is_small: bool) -> None:
        """Let the disk be full or read-only now and then."""
        dice = random.Random(self._dice.random())
        self._trouble = asyncio.create_task(
            disks.trouble(self._life, dice, self._disk, is_small=is_small)
        )

    async def blow(self) -> None:
        """Let members act, and strike at the planned moment."""
        life, self._blows = self._life, self._blows + 1
        is_upgrade = self._told.kind == "migration" and self._blows <= 4
        blow = Blow.drawn(self._dice, start_share=0.9 if is_upgrade else 0.2)
        deeds = [random.Random(self._dice.random()) for _ in range(self._dice.randint(2, 7))]
        self._note_death()
        if not life.is_alive:
            if self._trouble and self._dice.random() < 0.25:
                async with self._disk:
                    await self._refused_on_read_only()
            await life.spawn()
            if not blow.is_at_start:
                await self._ready()
        if not blow.is_at_start:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._tasks += [asyncio.create_task(self.crowd.act(each)) for each in deeds]
        await blow.moment_of(life)
        self._note_death()
        if not life.is_alive:  # then there is nothing to strike; `_note_death` has said so
            return
        self._told.blows.append(str(blow))
        self._told.attacks[blow.attack] += 1
        self._told.moments["start" if blow.is_at_start else blow.moment] += 1
        for said in await blow.strike(life):
            if self._trouble and said.endswith(UNWRITTEN):
                continue
            self._add("a process is left" if "outlived" in said else "an end was not orderly", said)
        self._is_expected = not life.is_alive

    async def settle(self) -> None:
        """Let all become well, wait until nothing is due, and end the bot in good order."""
        life = self._life
        if self._trouble is not None:
            self._trouble.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._trouble
        life.discord.weather = calm
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._note_death()
        if not life.is_alive:
            await life.spawn()
        await self._ready()
        deadline_s = time.monotonic() + ENDS_WITHIN_S
        while self._pending():
            if time.monotonic() > deadline_s or not life.is_alive:
                due = [tuple(row) for row in life.rows(DUE)]
                self._add("it does not settle", f"{self._pending()}, due: {due[:3]}")
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(QUIET_S)
        self._note_death()
        if life.is_alive:
            family = family_of(life)
            if code := await life.stop():
                self._add("an end was not orderly", f"the last one: {code}")
            for left in await left_of(family):
                self._add("a process is left", f"process {left} outlived its bot")
        if self._told.kind != "full disk":
            for line in sorted({m[0] for m in BUGS.finditer(life.log())}):
                self._add("the log speaks of a bug", line)

    async def close(self) -> None:
        """End what still runs."""
        tasks = [*self._tasks, *([self._trouble] if self._trouble else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._life.is_alive:
            await self._life.kill()

    def _pending(self) -> str:
        (row,) = self._life.rows(PENDING)
        images = self._life.data_dir / IMAGES_NAME
        files = len(list((images / PARTIAL).glob("*")))
        counts = {"jobs": row["jobs"], "messages": row["messages"], "unfinished files": files}
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)

    async def _ready(self) -> None:
        """Wait until the bot is ready; on a bad disk it may have refused to start."""
        life, ready = self._life, self._life.discord.ready
        for _ in range(5):
            await life.until(lambda: ready.is_set() or not life.is_alive, "ready")
            if life.is_alive:
                return
            self._note_death()
            await life.spawn()
        raise AssertionError(f"it does not start:\n{life.log()[-3000:]}")

    async def _refused_on_read_only(self) -> None:
        """Start on a disk that cannot be written to: refused, in a sentence."""
        with disks.read_only(self._life.data_dir) as is_so:
            if not is_so:
                return
            await self._life.spawn()
            code = await self._life.ended()
            said = self._life.log().strip().splitlines()[-1]
            if code != REFUSED or not said.startswith("atelier: "):
                self._add("a read-only disk was not refused", f"{code}: {said}")

    def _note_death(self) -> None:
        """Note if the bot has ended though nobody struck it."""
        if not self._life.is_alive and not self._is_expected:
            last = self._life.log().strip().splitlines()[-1:]
            if self._told.kind != "full disk":
                self._add("the bot ended by itself", f"{last}")
        self._is_expected = not self._life.is_alive

    def _add(self, kind: str, detail: str) -> None:
        self._told.violations.append(Violation(kind, detail))
