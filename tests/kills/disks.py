"""Disks that fill up and folders that cannot be written to, now and then, while the bot runs."""

import asyncio
import contextlib
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from storage.disk import PARTIAL
from storage.store import IMAGES_NAME
from tests.integration.life import Life

SIZE_BYTES = 12 * 2**20
FREE_BYTES = (0, 400_000)  # left on a full disk
LIMIT_BYTES = 4_096  # of any file that a process may write


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Put a small disk under a folder, where that is permitted; yields whether it was."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", str(folder)]
    is_mounted = _is_done(mount)
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[bool]:
    """Let nothing be written on a small disk that nobody uses; yields whether that is so."""
    remount = ["mount", "-o", "remount,ro", str(folder)]
    is_so = folder.is_mount() and _is_done(remount)
    try:
        yield is_so
    finally:
        if is_so:
            subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


def _is_done(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


async def trouble(life: Life, dice: random.Random, in_use: asyncio.Lock, *, is_small: bool) -> None:
    """Let the disk be full, or the pictures' folder be no folder, every now and then; for ever.

    Args:
        life: Whose.
        dice: When, how and for how long.
        in_use: Held meanwhile: the disk is not made read-only then.
        is_small: Whether it is small enough to be filled up.
    """
    while True:
        await asyncio.sleep(dice.uniform(0.5, 4.0))
        kinds = [unwritable(life)] * 2 + [limited(life)]
        if is_small:
            kinds += [full(life, dice.randint(*FREE_BYTES))] * 2
        async with in_use:
            with dice.choice(kinds):
                await asyncio.sleep(dice.uniform(0.2, 1.5))


@contextlib.contextmanager
def full(life: Life, free_bytes: int) -> Iterator[None]:
    """Leave next to nothing on a small disk."""
    filler = life.data_dir / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            left = shutil.disk_usage(life.data_dir).free - free_bytes
            while left > 0:
                left -= file.write(bytes(min(left, 2**16)))
        yield
    finally:
        filler.unlink(missing_ok=True)


@contextlib.contextmanager
def limited(life: Life) -> Iterator[None]:
    """Let the running bot write no file beyond a few kilobytes, as on a full disk."""
    try:
        bot = psutil.Process(life.pid)
        before = bot.rlimit(psutil.RLIMIT_FSIZE)
        bot.rlimit(psutil.RLIMIT_FSIZE, (LIMIT_BYTES, before[1]))
    except (psutil.Error, AssertionError):
        yield  # there is no bot just now
        return
    try:
        yield
    finally:
        with contextlib.suppress(psutil.Error):
            bot.rlimit(psutil.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def unwritable(life: Life) -> Iterator[None]:
    """Let no picture be written, not even by root: its folder is a file."""
    folder = life.data_dir / IMAGES_NAME / PARTIAL
    away = folder.with_name("away")
    with contextlib.suppress(OSError):
        folder.rename(away)
        folder.touch()
    try:
        yield
    finally:
        if away.is_dir():
            folder.unlink(missing_ok=True)
            away.rename(folder)
