"""How fast pictures are drawn, and how fast this machine could draw them at best."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

MATRIX_SIDE = {"cpu": 1024, "cuda": 8192, "mps": 2048}
MATRIX_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Timing:
    """What one picture costs.

    Attributes:
        seconds: Wall clock of one picture, the warm median over batches.
        operations: Counted multiplications and additions of one picture, matrix products and
            convolutions only.
        matrix_rate: Operations a second of a large matrix product here, in the same number format.
        device: What it was measured on.
        dtype: Number format.
    """

    seconds: float
    operations: int
    matrix_rate: float
    device: str
    dtype: str

    @property
    def floor_s(self) -> float:
        """Seconds that the counted operations alone would take at the matrix rate."""
        return self.operations / self.matrix_rate

    @property
    def share(self) -> float:
        """Share of the machine's matrix rate that drawing reaches."""
        return self.floor_s / self.seconds


class _NoModules(ModuleTracker):
    """Tells no module from another.

    The counter's own tracker puts hooks on every tensor that enters a module, and those refuse to
    run inside `torch.autograd.grad` when the tensor is a leaf, as in a gradient penalty.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def operations_of(work: Callable[[], object]) -> int:
    """Return how many operations a piece of work takes, counted as it runs once."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()
    with counter:
        work()
    total: int = counter.get_total_flops()
    return total


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations a second of a square matrix product, the best of a few."""
    side = MATRIX_SIDE[device.type]
    first, second = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(MATRIX_ROUNDS + 1):
        started_at = time.perf_counter()
        torch.mm(first, second)
        _finish(device)
        seconds.append(time.perf_counter() - started_at)
    return 2 * side**3 / min(seconds[1:])  # the first one warms up


def warm_median(seconds: list[float]) -> float:
    """Return the median, without the first where there are more."""
    return statistics.median(seconds[1:] or seconds)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
