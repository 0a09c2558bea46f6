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
FREE_BYTES = (0, 60_000)  # left on a full disk
LIMIT_BYTES = 4_096  # of any file that a process may write


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Put a small disk under a folder, where that is permitted; yields whether it was."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", str(folder)]
    is_mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def trouble(life: Life, dice: random.Random, *, is_small: bool) -> None:
    """Let the disk be full, or the pictures' folder be no folder, every now and then; for ever."""
    while True:
        await asyncio.sleep(dice.uniform(0.3, 1.5))
        kinds = [unwritable(life), limited(life)]
        if is_small:
            kinds += [full(life, dice.randint(*FREE_BYTES))] * 2
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
