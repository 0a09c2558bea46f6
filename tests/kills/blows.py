"""Whom a blow strikes, with which signal, and at which moment."""

import asyncio
import contextlib
import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from storage.disk import PARTIAL
from storage.store import DATABASE_NAME, IMAGES_NAME
from tests.integration.discord_rules import Call
from tests.integration.life import Life

MOMENT_WITHIN_S = 1.5  # a moment that does not come is no reason to wait for long
FREEZE_S = (0.2, 1.2)
ENDS_WITHIN_S = 10.0  # asked politely
SEEN_OFF_WITHIN_S = 3.0  # a worker after its bot

# What is struck, and how; how often of a hundred.
ATTACKS = {
    "bot SIGKILL": 38,
    "worker SIGKILL": 20,
    "bot SIGKILL, worker SIGKILL": 5,
    "worker SIGKILL, bot SIGKILL": 5,
    "bot SIGTERM": 14,
    "bot SIGSTOP": 5,
    "bot SIGSTOP, bot SIGKILL": 4,
    "worker SIGSTOP": 4,
    "worker SIGSTOP, bot SIGKILL": 5,
}
# When, after the members have begun to act; how often of a hundred.
MOMENTS = {
    "some time": 22,
    "request": 20,
    "answer": 14,
    "upload": 14,
    "write": 18,
    "file": 12,
}
STARTING = 0.2  # of the blows come while the bot starts and recovers


@dataclasses.dataclass(frozen=True, slots=True)
class Blow:
    """One blow, planned by dice before it is known what will be going on.

    Args:
        attack: One of `ATTACKS`.
        moment: One of `MOMENTS`.
        count: The how manieth request or write it is about.
        after_s: How long to wait for the moment "some time".
        freeze_s: How long a stopped process stays stopped.
        is_at_start: Whether it comes while the bot starts, rather than while it is ready.
    """

    attack: str
    moment: str
    count: int
    after_s: float
    freeze_s: float
    is_at_start: bool

    @classmethod
    def drawn(cls, dice: random.Random, *, start_share: float = STARTING) -> "Blow":
        """Draw one."""
        is_at_start = dice.random() < start_share
        attacks = {each: w for each, w in ATTACKS.items() if not is_at_start or "bot" in each}
        moments = {"some time": 3, "write": 2, "request": 1} if is_at_start else MOMENTS
        return cls(
            attack=dice.choices(list(attacks), list(attacks.values()))[0],
            moment=dice.choices(list(moments), list(moments.values()))[0],
            count=dice.randint(1, 12),
            after_s=dice.uniform(0, 1.5),
            freeze_s=dice.uniform(*FREEZE_S),
            is_at_start=is_at_start,
        )

    def __str__(self) -> str:
        when = {"some time": f"after {self.after_s:.2f} s"}.get(
            self.moment, f"at {self.moment} {self.count}"
        )
        return f"{self.attack} {when}{' of the start' if self.is_at_start else ''}"

    async def moment_of(self, life: Life) -> None:
        """Wait for the moment, or until it can be waited for no longer."""
        if self.moment == "some time":
            await _until(lambda: not life.is_alive, self.after_s)
            return
        reached = {
            "request": lambda: _Requests(life, lambda _: True, is_answered=False),
            "answer": lambda: _Requests(life, lambda _: True, is_answered=True),
            "upload": lambda: _Requests(life, _is_upload, is_answered=self.count % 2 == 0),
            "write": lambda: _Changes(life.data_dir / f"{DATABASE_NAME}-wal"),
            "file": lambda: _Changes(life.data_dir / IMAGES_NAME / PARTIAL),
        }[self.moment]()
        count = 1 if self.moment in {"upload", "file"} else self.count
        await _until(lambda: reached.count >= count or not life.is_alive, MOMENT_WITHIN_S)

    async def strike(self, life: Life) -> list[str]:
        """Strike; return what that made visible and should not have."""
        family = family_of(life)
        pids = {"bot": life.pid, "worker": life.worker if life.is_alive else None}
        stopped, found = [], []
        for step in self.attack.split(", "):
            who, name = step.split()
            if name == "SIGTERM":
                found += await _end(life)
                continue
            _send(pids[who], signal.Signals[name])
            if name == "SIGSTOP":
                stopped.append(pids[who])
                await asyncio.sleep(self.freeze_s)
        if "bot SIGKILL" in self.attack:
            await life.ended()
        for pid in stopped:
            _send(pid, signal.SIGCONT)
        if not life.is_alive:
            found += [f"process {left} outlived its bot" for left in await left_of(family)]
        return found


class _Requests:
    """Requests since a moment, as they arrive or once they have had their effect."""

    def __init__(self, life: Life, is_meant: Callable[[Call], bool], *, is_answered: bool) -> None:
        self._calls, self._first = life.discord.calls, len(life.discord.calls)
        self._is_meant, self._is_answered = is_meant, is_answered

    @property
    def count(self) -> int:
        return sum(
            self._is_meant(call) and (call.status > 0 or not self._is_answered)
            for call in self._calls[self._first :]
        )


class _Changes:
    """How often a file or folder was seen to have changed."""

    def __init__(self, path: Path) -> None:
        self._path, self._last, self._count = path, _look(path), 0

    @property
    def count(self) -> int:
        now = _look(self._path)
        self._count += now != self._last
        self._last = now
        return self._count


def _look(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _is_upload(call: Call) -> bool:
    return bool(call.files)


async def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline_s:  # noqa: ASYNC110 - seen from outside
        await asyncio.sleep(0.001)


def _send(pid: int | None, number: signal.Signals) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def _end(life: Life) -> list[str]:
    """Ask the bot to end; it may be too young to have heard of that."""
    was_ready = life.discord.ready.is_set()
    _send(life.pid, signal.SIGTERM)
    try:
        code = await asyncio.wait_for(life.ended(), ENDS_WITHIN_S)
    except TimeoutError:
        await life.kill()
        return [f"SIGTERM had not ended it after {ENDS_WITHIN_S:.0f} s"]
    if code == 0 or (code == -signal.SIGTERM and not was_ready):
        return []
    return [f"SIGTERM ended it with exit code {code}"]


def family_of(life: Life) -> list[psutil.Process]:
    """Return the bot's children, and theirs."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(psutil.Process(life.pid).children(recursive=True))
    return []


async def left_of(family: list[psutil.Process]) -> list[int]:
    """Return which of them are still there, some time after their bot's end; they are killed."""
    await _until(lambda: not any(map(_lives, family)), SEEN_OFF_WITHIN_S)
    left = [process.pid for process in family if _lives(process)]
    for pid in left:
        _send(pid, signal.SIGKILL)
    return left


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
