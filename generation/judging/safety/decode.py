"""Uploaded pictures, decoded where a hostile file can do no harm.

A decoder is the largest piece of C that strangers' bytes reach, so it runs in a child process
that has little memory and time and can open, connect and start nothing (see `guards`). What comes
back is plain pixels, counted before they are believed; the PNG that is kept is encoded here. Two
children run at a time, and further pictures wait.
"""

import asyncio
import contextlib
import dataclasses
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from PIL import Image

from generation.judging.safety.answers import Change, Refusal
from generation.judging.safety.guards import Guard
from generation.work.errors import ImageRefused
from generation.work.outside import Outside, just_wait, killed_after

log = logging.getLogger(__name__)

CHILD = ("-m", "generation.judging.safety.decode_child")  # of a Python
WHAT = "the picture decoder"
AT_ONCE = 2
HEAD_BYTES = 4096
WEBP_PREFIX = b"RIFF"


@dataclasses.dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one decoding may use.

    Args:
        size_bytes: Largest file.
        max_pixels: Most pixels before scaling down.
        max_webp_pixels: Fewer of a WebP, whose decoder holds the canvas several times.
        max_side_px: Longest side of the result; larger pictures are scaled down.
        memory_bytes: Address space of the child.
        cpu_s: CPU seconds of the child.
        timeout_s: Wall-clock seconds.
    """

    size_bytes: int = 25 * 2**20
    max_pixels: int = 40_000_000
    max_webp_pixels: int = 24_000_000
    max_side_px: int = 1024
    memory_bytes: int = 768 * 2**20
    cpu_s: int = 3
    timeout_s: float = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class DecodedUpload:
    """A picture that is safe to keep.

    Args:
        png: RGB, freshly encoded, without metadata.
        width: In pixels.
        height: In pixels.
        changes: What it no longer shows as it did; each is a sentence for whoever sent it.
    """

    png: bytes
    width: int
    height: int
    changes: tuple[Change, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class _Answer:
    """What a child said: a picture's pixels, or why there is none."""

    guards: frozenset[Guard]
    refusal: Refusal | None = None
    width: int = 0
    height: int = 0
    changes: tuple[Change, ...] = ()
    pixels: bytes = b""


class Decoder:
    """Opens uploads, two at a time, each in a guarded child of its own.

    Args:
        limits: What a child may use.
        outside: How a wait for a child is declared.
    """

    def __init__(self, limits: DecodeLimits | None = None, *, outside: Outside = just_wait) -> None:
        self.limits = limits or DecodeLimits()
        self._outside = outside
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def decode(self, content: bytes) -> DecodedUpload:
        """Return an uploaded picture as a clean PNG: first frame, upright, in sRGB, on white.

        Args:
            content: The file as it came.

        Raises:
            ImageRefused: It is no picture we accept; the message is one sentence for the uploader.
        """
        async with self._turns:
            return await self._decode(content)

    async def fetch_and_decode(self, fetch: Callable[[], Awaitable[bytes]]) -> DecodedUpload:
        """Do as `decode` with a file that is fetched when its turn comes, and not kept before.

        Args:
            fetch: Returns the file, or raises for its own reasons.

        Raises:
            ImageRefused: As for `decode`.
        """
        async with self._turns:
            return await self._decode(await fetch())

    async def _decode(self, content: bytes) -> DecodedUpload:
        if len(content) > self.limits.size_bytes:
            raise ImageRefused(f"That picture is larger than {self.limits.size_bytes // 2**20} MB.")
        is_webp = content.startswith(WEBP_PREFIX)
        max_pixels = self.limits.max_webp_pixels if is_webp else self.limits.max_pixels
        answer = await self._ask_child(content, max_pixels)
        if answer.refusal is not None:
            raise ImageRefused(answer.refusal.format(megapixels=max_pixels // 1_000_000))
        png = await self._outside(asyncio.to_thread(_encode, answer), WHAT)
        return DecodedUpload(png, answer.width, answer.height, answer.changes)

    async def guards(self) -> frozenset[Guard]:
        """Return the guards that a child holds on this machine, as the child itself found."""
        return (await self._ask_child(b"", self.limits.max_pixels)).guards

    async def _ask_child(self, content: bytes, max_pixels: int) -> _Answer:
        process = await self._outside(self._spawn(max_pixels), WHAT)
        try:
            with killed_after(process, self.limits.timeout_s) as was_killed:
                output = await self._outside(_exchange(process, content, self.limits), WHAT)
                await self._outside(process.wait(), WHAT)
        finally:
            if process.returncode is None:  # whoever waited is gone
                process.kill()
                await self._outside(process.communicate(), WHAT)
        if was_killed.is_set() or process.returncode == -signal.SIGXCPU:
            return _Answer(frozenset(), Refusal.TOO_SLOW)
        if process.returncode == -signal.SIGKILL:  # the kernel ran out of memory
            return _Answer(frozenset(), Refusal.TOO_MUCH_MEMORY)
        try:
            return _read(output, self.limits.max_side_px)
        except (ValueError, LookupError, TypeError, RecursionError):
            # A signal is the file's doing; an exit is ours, e.g. a package that is missing.
            log.warning("decoder_died", extra={"status": process.returncode})
            is_ours = (process.returncode or 0) > 0
            return _Answer(frozenset(), Refusal.UNABLE if is_ours else Refusal.NOT_A_PICTURE)

    async def _spawn(self, max_pixels: int) -> asyncio.subprocess.Process:
        limits = dataclasses.asdict(dataclasses.replace(self.limits, max_pixels=max_pixels))
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", *CHILD),
            json.dumps(limits),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            # Nothing of ours is in its reach: no token, no proxy, no home.
            env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": os.defpath},
        )


async def _exchange(
    process: asyncio.subprocess.Process, content: bytes, limits: DecodeLimits
) -> bytes:
    """Give the child its file and return what it says, but no more than a picture can be."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("the child has no pipes")
    feeding = asyncio.create_task(_feed(process.stdin, content))
    output, most = bytearray(), HEAD_BYTES + 3 * limits.max_side_px**2
    try:
        while len(output) <= most and (more := await process.stdout.read(2**16)):
            output += more
    finally:
        feeding.cancel()
    if len(output) > most:
        process.kill()
        await process.stdout.read()  # what stood in the pipe
    return bytes(output)


async def _feed(stdin: asyncio.StreamWriter, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(content)
        await stdin.drain()
        stdin.close()


def _read(output: bytes, max_side_px: int) -> _Answer:
    """Return what a child said, if it can be true.

    Raises:
        ValueError: It is no answer, or not of a picture of that size.
        LookupError: It names nothing we know.
        TypeError: It is of other types.
    """
    line, _, pixels = output.partition(b"\n")
    head = json.loads(line)
    guards = frozenset(Guard(guard) for guard in head["guards"])
    if "refused" in head:
        return _Answer(guards, Refusal[head["refused"]])
    width, height = int(head["width"]), int(head["height"])
    if not (0 < width <= max_side_px and 0 < height <= max_side_px):
        raise ValueError("a picture of another size than was asked for")
    if len(pixels) != 3 * width * height:
        raise ValueError("more or fewer pixels than the size has")
    changes = tuple(Change[name] for name in head["changes"])
    return _Answer(guards, None, width, height, changes, pixels)


def _encode(answer: _Answer) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (answer.width, answer.height), answer.pixels).save(file, "PNG")
    return file.getvalue()
