"""The checkpoints that are loaded, as many as there is room for."""

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from generation.engine import fetch
from generation.engine.fetch import Told
from generation.techniques.device import DeviceChoice, free_memory
from generation.techniques.protocol import Technique
from generation.work.checkpoints import Checkpoint
from generation.work.errors import UnknownCheckpoint

AnyTechnique = Technique[Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where checkpoints are loaded.

    Args:
        device: As `generation.techniques.device.choose` takes it.
        dtype: As `generation.techniques.device.choose` takes it.
        threads: CPU cores to use; 0 for all.
        memory_bytes: What all loaded ones may take together; None for what the device has to give.
    """

    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    memory_bytes: int | None = None

    def choose(self) -> DeviceChoice:
        """Return what is drawn with.

        Raises:
            InvalidRequest: The device is not there.
        """
        from generation.techniques import device

        return device.choose(self.device, self.dtype, self.threads)


class Residents:
    """Loads checkpoints and lets go of those that were used longest ago when room is needed.

    Args:
        checkpoints: Name to description of all that may be loaded.
        place: Where.

    Attributes:
        is_on_gpu: Whether one was ever put onto a GPU, or was to be: from then on this process
            depends on it, whatever is loaded.
    """

    def __init__(self, checkpoints: Mapping[str, Checkpoint], place: Place) -> None:
        self._checkpoints = dict(checkpoints)
        self._place = place
        self._loaded: OrderedDict[str, AnyTechnique] = OrderedDict()
        self.is_on_gpu = False

    def __contains__(self, name: str) -> bool:
        return name in self._loaded

    @property
    def max_images(self) -> dict[str, int]:
        """How many pictures each loaded one draws at once, by name."""
        return {name: technique.max_images for name, technique in self._loaded.items()}

    def checkpoint(self, name: str) -> Checkpoint:
        """Return a description.

        Raises:
            UnknownCheckpoint: No checkpoint has this name.
        """
        if name not in self._checkpoints:
            raise UnknownCheckpoint(f"no model is called {name!r} here")
        return self._checkpoints[name]

    def get(self, name: str, told: Told = lambda done, total: None) -> AnyTechnique:
        """Return the technique of a checkpoint, loading it if it is not.

        What is wrong with its files is found before another one is let go.

        Args:
            name: Of the checkpoint.
            told: Takes how far its download is, if it must be downloaded first.

        Raises:
            UnknownCheckpoint: No checkpoint has this name.
            CheckpointCorrupt: Its files are missing or not the recorded ones.
            FetchFailed: It could not be downloaded.
            OutOfMemory: The device has no room for it.
        """
        checkpoint = self.checkpoint(name)
        if name not in self._loaded:
            is_pattern = checkpoint.family == "pattern"
            self.adopt(
                self._open_pattern(checkpoint)
                if is_pattern
                else self._open_diffusion(checkpoint, told)
            )
        self._loaded.move_to_end(name)
        return self._loaded[name]

    def adopt(self, technique: AnyTechnique) -> None:
        """Hold one that is open already."""
        self._loaded[technique.checkpoint.name] = technique
        self.is_on_gpu |= technique.fingerprint.fields.get("device", "cpu") != "cpu"

    def close(self) -> None:
        """Let go of all, now; call it where no exception is being handled."""
        while self._loaded:
            self._loaded.popitem()[1].close()
        free_memory()

    def _open_pattern(self, checkpoint: Checkpoint) -> AnyTechnique:
        from generation.techniques.pattern import Pattern

        return Pattern(checkpoint)

    def _open_diffusion(self, checkpoint: Checkpoint, told: Told) -> AnyTechnique:
        from generation.techniques.diffusion import files

        files.check(checkpoint)  # in milliseconds, before the seconds that the next imports take
        files.go_offline(self._checkpoints.values())
        folder = fetch.fetch(checkpoint, told)
        from generation.techniques import device
        from generation.techniques.diffusion import loading

        choice = self._place.choose()
        self.is_on_gpu |= choice.device != "cpu"
        budget = self._place.memory_bytes
        self._make_room(
            files.size_bytes(folder),
            device.memory_bytes(choice.device) if budget is None else budget,
        )
        with device.out_of_memory_told():
            return loading.load(checkpoint, choice)

    def _make_room(self, needed_bytes: int, budget_bytes: int) -> None:
        is_freed = False
        while self._loaded and self._taken_bytes() + needed_bytes > budget_bytes:
            self._loaded.popitem(last=False)[1].close()
            is_freed = True
        if is_freed:
            free_memory()

    def _taken_bytes(self) -> int:
        return sum(technique.memory_bytes for technique in self._loaded.values())
