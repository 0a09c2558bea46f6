"""How long a run is, where it computes, and where its chance comes from."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from generation.techniques import device


@dataclass(frozen=True, slots=True)
class Run:
    """How long to train, on what, and what to leave behind.

    Attributes:
        steps: Optimizer steps; `epochs`, where given, counts passes over the pictures instead.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto` (bfloat16 where the device computes it), `float32` or `bfloat16`.
        compile: Use torch.compile on CUDA; elsewhere it does not pay.
        threads: Torch threads; 0 leaves torch's own choice. 1 is right on a machine that does
            anything else: two threads on two busy cores can be ten times slower than one.
        workers: Parts of each batch that are computed at the same time, each by `threads` threads.
            On a CPU, workers with one thread each get more done than one with as many threads,
            if the network is not tiny.
        ema_decay: Ceiling of the weights' moving average; 0 keeps none.
        log_every: Steps averaged into one point of the curve.
        save_every_s: Seconds between snapshots: the most that a killed run loses.
        validate_every: Steps between validations; 0 never validates.
        patience: Validations without improvement after which the run ends, and the best weights
            are kept; 0 goes on to the last step and keeps the last weights.
        sheet_every: Steps between sample sheets; 0 draws none.
        sheet: Prompts of the sample sheet.
    """

    seed: int = 0
    steps: int = 1000
    epochs: float = 0.0
    batch_size: int = 32
    device: str = "auto"
    precision: str = "auto"
    compile: bool = True
    threads: int = 0
    workers: int = 1
    ema_decay: float = 0.998
    log_every: int = 50
    save_every_s: float = 180.0
    validate_every: int = 0
    patience: int = 0
    sheet_every: int = 0
    sheet: tuple[str, ...] = ()

    def total_steps(self, pictures: int) -> int:
        """Return the number of steps for a training set of so many pictures."""
        if not self.epochs:
            return self.steps
        return math.ceil(self.epochs * pictures / self.batch_size)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where to compute and in which format."""

    device: torch.device
    dtype: torch.dtype


def place(run: Run) -> Placement:
    """Choose the device as drawing does; float16 is never trained in."""
    chosen = device.choose(run.device, run.precision, run.threads)
    if run.threads:
        torch.set_num_threads(run.threads)
    dtype = torch.bfloat16 if chosen.dtype == "bfloat16" else torch.float32
    return Placement(torch.device(chosen.device), dtype)


def generator_at(seed: int, step: int) -> torch.Generator:
    """Return the source of chance of one step: it depends on nothing else, so resuming is exact."""
    # Mixed into one word: on the CPU torch takes only the lower 32 bits of a seed.
    (mixed,) = np.random.SeedSequence((seed, step)).generate_state(1)
    return torch.Generator().manual_seed(int(mixed))
