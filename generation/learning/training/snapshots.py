"""Resumable states on disk: safetensors and one JSON file, replaced as a whole or not at all."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

STATE = "state.json"
UNFINISHED = ".tmp"
NAME = "snapshot-"

Files = Mapping[str, Mapping[str, Tensor]]


class Snapshots:
    """The snapshots of one run; only the last is kept.

    Args:
        folder: Where they lie, each a folder `snapshot-<step>`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def last(self) -> Path | None:
        """Return the newest whole snapshot."""
        whole = [path for path in self._folder.glob(f"{NAME}*") if path.suffix != UNFINISHED]
        return max(whole, default=None)

    def write(self, step: int, state: Mapping[str, Any], files: Files) -> None:
        """Write a snapshot beside the last one, then let it take its place.

        A kill at any moment leaves the last one or the new one whole.

        Args:
            step: Orders the snapshots.
            state: Plain JSON.
            files: Tensors by file name and name; contiguous.

        Raises:
            OSError, SafetensorError: The disk is full (see `generation.work.disk`) or cannot be written.
        """
        final = self._folder / f"{NAME}{step:08d}"
        if final == self.last():  # the same step again holds the same weights
            return
        unfinished = final.with_suffix(UNFINISHED)
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir()
            for name, tensors in files.items():
                save_file(dict(tensors), unfinished / name)
            (unfinished / STATE).write_text(json.dumps(state), encoding="utf-8")
            unfinished.rename(final)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)  # nothing of it is left once it is whole
        for path in self._folder.glob(f"{NAME}*"):
            if path != final:
                shutil.rmtree(path)

    def forget(self) -> None:
        """Delete all of them."""
        for path in self._folder.glob(f"{NAME}*"):
            shutil.rmtree(path)


def read(snapshot: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Return a snapshot's state and tensors, on the CPU.

    Raises:
        OSError, ValueError, SafetensorError: It is damaged.
    """
    state: dict[str, Any] = json.loads((snapshot / STATE).read_text(encoding="utf-8"))
    return state, {path.name: load_file(path) for path in snapshot.glob("*.safetensors")}
