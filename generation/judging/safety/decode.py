"""Uploaded pictures, decoded where a hostile file can do no harm.

A decoder is the largest piece of C that strangers' bytes reach, so it runs in a child process with
little memory, little time and no files of its own. What comes back is a fresh PNG that we encoded.
"""

import asyncio
import dataclasses
import json
import logging
import os
import sys
from pathlib import Path

from generation.work.errors import ImageRefused
from generation.work.outside import Outside, just_wait, killed_after

log = logging.getLogger(__name__)

WHAT = "the picture decoder"
NOT_A_PICTURE = "That file is not a picture I can open. Please use PNG, JPEG, WebP or GIF."
TOO_SLOW = "That picture took too long to open; please save it again and try once more."


@dataclasses.dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one decoding may use.

    Args:
        size_bytes: Largest file.
        max_pixels: Most pixels before scaling down.
        max_side_px: Longest side of the result; larger pictures are scaled down.
        memory_bytes: Address space of the child.
        cpu_s: CPU seconds of the child.
        timeout_s: Wall-clock seconds.
    """

    size_bytes: int = 25 * 2**20
    max_pixels: int = 40_000_000
    max_side_px: int = 1024
    memory_bytes: int = 1024 * 2**20
    cpu_s: int = 10
    timeout_s: float = 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class DecodedUpload:
    """A picture that is safe to keep.

    Args:
        png: RGB, freshly encoded, without metadata.
        width: In pixels.
        height: In pixels.
    """

    png: bytes
    width: int
    height: int


async def decode_upload(
    content: bytes, *, outside: Outside = just_wait, limits: DecodeLimits | None = None
) -> DecodedUpload:
    """Return an uploaded picture as a clean PNG: first frame, upright, alpha on white.

    Args:
        content: The file as it came.
        outside: How a wait for the child is declared.
        limits: What the child may use.

    Raises:
        ImageRefused: It is no picture we accept; the message is one sentence for the uploader.
    """
    limits = limits or DecodeLimits()
    if len(content) > limits.size_bytes:
        raise ImageRefused(f"That picture is larger than {limits.size_bytes // 2**20} MB.")
    process = await outside(_spawn(limits), WHAT)
    with killed_after(process, limits.timeout_s) as was_killed:
        output, _ = await outside(process.communicate(content), WHAT)
    if was_killed.is_set():
        raise ImageRefused(TOO_SLOW)
    head, _, png = output.partition(b"\n")
    try:
        answer = json.loads(head)
    except ValueError as error:  # it died: out of memory, out of time, or worse
        log.warning("decoder_died", extra={"status": process.returncode})
        raise ImageRefused(NOT_A_PICTURE) from error
    if "refused" in answer:
        raise ImageRefused(answer["refused"])
    return DecodedUpload(png, answer["width"], answer["height"])


async def _spawn(limits: DecodeLimits) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "generation.judging.safety.decode_child"),
        json.dumps(dataclasses.asdict(limits)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        # Nothing of ours is in its reach: no token, no proxy, no home.
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": os.defpath},
    )
