"""Arrays that take long to compute: kept on disk, taken up where a killed run left them."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generation.learning.training.loop import TrainingStopped
from generation.work import disk
from generation.work.progress import Progress

Array = npt.NDArray[Any]


def array(
    folder: Path,
    name: str,
    identity: object,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    compute: Callable[[int, int], Array],
    at_once: int,
    report: Progress,
    workers: int = 1,
) -> Array:
    """Return an array from its file, computing and appending what is not there yet.

    Appended rather than written through a memory map: a full disk is then an error, not the end of
    the process.

    Args:
        folder: Keeps the file; files of another identity are deleted.
        name: Of the file, and of the stage that progress shows.
        identity: Plain JSON that tells everything the array depends on.
        compute: First and last entry (not included) to entries.
        at_once: Entries that one call computes.
        workers: Calls that run at the same time, each in a thread of its own; what these compute is
            the most that a killed run loses.

    Returns:
        Memory-mapped, read only.

    Raises:
        TrainingStopped: The disk is full.
    """
    kind = np.dtype(dtype)
    digest = hashlib.sha256(json.dumps([identity, shape, kind.str]).encode()).hexdigest()
    file = folder / f"{name}-{digest[:16]}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.glob(f"{name}-????????????????.npy"):
        if other != file:
            other.unlink()
    try:
        _append(file, name, shape, kind, compute, at_once, report, workers)
    except OSError as error:
        if not disk.is_full(error):
            raise
        raise TrainingStopped(
            f"the disk is full, so {file} could not be finished; make room and go on: what is"
            " there is kept"
        ) from error
    entries: Array = np.load(file, mmap_mode="r")
    return entries


def _append(
    file: Path,
    name: str,
    shape: tuple[int, ...],
    kind: np.dtype[Any],
    compute: Callable[[int, int], Array],
    at_once: int,
    report: Progress,
    workers: int,
) -> None:
    count = shape[0]
    entry_bytes = kind.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    with file.open("ab") as ends:
        if ends.tell() == 0:
            descr = np.lib.format.dtype_to_descr(kind)
            header = {"descr": descr, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(ends, header)
            ends.flush()
        header_bytes = _header_bytes(file)
        done = min(count, (ends.tell() - header_bytes) // entry_bytes)
        if done == count:
            return
        done = done // at_once * at_once  # parts as before, so that results are too
        ends.truncate(header_bytes + done * entry_bytes)
        ends.seek(0, 2)
        starts = range(done, count, at_once)
        with ThreadPoolExecutor(workers) as pool:
            for first in range(0, len(starts), workers):
                together = starts[first : first + workers]
                stops = [min(start + at_once, count) for start in together]
                for stop, entries in zip(stops, pool.map(compute, together, stops), strict=True):
                    ends.write(entries.astype(kind, copy=False).tobytes())
                    report(name, stop, count)


def _header_bytes(file: Path) -> int:
    with file.open("rb") as start:
        np.lib.format.read_magic(start)
        np.lib.format.read_array_header_1_0(start)
        return start.tell()
