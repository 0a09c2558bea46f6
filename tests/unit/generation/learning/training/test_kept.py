"""Arrays on disk are computed once, and a killed computation goes on where it was."""

import errno
import threading
from pathlib import Path

import numpy as np
import pytest

from generation.learning.training import kept
from generation.learning.training.kept import Array
from generation.learning.training.loop import TrainingStopped
from generation.work.progress import silent


class Squares:
    """Computes squares, and can be killed on the way."""

    def __init__(self, dies_at: int = -1, error: BaseException | None = None) -> None:
        self.dies_at, self.error = dies_at, error or KeyboardInterrupt()
        self.asked: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int) -> Array:
        if start == self.dies_at:
            raise self.error
        self.asked.append((start, stop))
        return np.arange(start, stop, dtype=np.float64)[:, None] ** 2 * [1, 2]

    def array(self, folder: Path, identity: object = "a") -> Array:
        return kept.array(folder, "squares", identity, (10, 2), np.float16, self, 4, silent)


def test_second_run_reads_what_the_first_computed(tmp_path: Path) -> None:
    first, second = Squares(), Squares()
    expected = first.array(tmp_path)
    assert first.asked == [(0, 4), (4, 8), (8, 10)]
    np.testing.assert_array_equal(second.array(tmp_path), expected)
    np.testing.assert_array_equal(expected[:, 0], np.arange(10) ** 2)
    assert second.asked == []


def test_killed_run_computes_only_what_is_missing(tmp_path: Path) -> None:
    killed, resumed = Squares(dies_at=8), Squares()
    with pytest.raises(KeyboardInterrupt):
        killed.array(tmp_path)
    np.testing.assert_array_equal(resumed.array(tmp_path)[:, 1], 2 * np.arange(10) ** 2)
    assert resumed.asked == [(8, 10)]


def test_workers_compute_at_the_same_time_what_one_computes(tmp_path: Path) -> None:
    alone, both_there = Squares(), threading.Barrier(2, timeout=10)

    def together(start: int, stop: int) -> Array:
        if start < 8:  # the last part has no other beside it
            both_there.wait()
        return alone(start, stop)

    entries = kept.array(tmp_path, "two", "a", (10, 2), np.float16, together, 4, silent, workers=2)
    np.testing.assert_array_equal(entries, alone.array(tmp_path))


def test_torn_part_is_computed_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Squares(dies_at=8).array(tmp_path)
    (file,) = tmp_path.glob("*.npy")
    with file.open("r+b") as half:
        half.truncate(file.stat().st_size - 3)
    resumed = Squares()
    np.testing.assert_array_equal(resumed.array(tmp_path)[:, 0], np.arange(10) ** 2)
    assert resumed.asked == [(4, 8), (8, 10)]


def test_other_identity_replaces_the_file(tmp_path: Path) -> None:
    Squares().array(tmp_path, "a")
    other = Squares()
    other.array(tmp_path, "b")
    assert len(other.asked) == 3
    assert len(list(tmp_path.glob("*.npy"))) == 1


def test_full_disk_is_told_and_what_is_there_is_kept(tmp_path: Path) -> None:
    full = Squares(dies_at=4, error=OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(TrainingStopped, match=r"disk is full.*make room and go on"):
        full.array(tmp_path)
    resumed = Squares()
    resumed.array(tmp_path)
    assert resumed.asked == [(4, 8), (8, 10)]
