"""Optimizers and learning rate schedules by the names that recipes use."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "linear", "cosine", "trapezoid")


@dataclass(frozen=True, slots=True)
class Optimizer:
    """How gradients become steps.

    Attributes:
        name: `sgd`, `adam`, `adamw` or `rmsprop`.
        learning_rate: Peak; the schedule scales it.
        betas: Decays of Adam's two averages; the second is RMSprop's smoothing.
        momentum: Of SGD and RMSprop.
        clip_norm: Longest gradient of all weights together; 0 does not clip.
    """

    name: str = "adamw"
    learning_rate: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.99)
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise ValueError(f"optimizer {self.name!r} is not one of {', '.join(OPTIMIZERS)}")
        if len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers, got {list(self.betas)}")

    def build(self, weights: Iterable[Tensor]) -> torch.optim.Optimizer:
        """Return torch's optimizer of that name for these weights."""
        common: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        betas = (self.betas[0], self.betas[1])
        match self.name:
            case "sgd":
                return torch.optim.SGD(weights, momentum=self.momentum, fused=True, **common)
            case "adam":
                return torch.optim.Adam(weights, betas=betas, fused=True, **common)
            case "adamw":
                return torch.optim.AdamW(weights, betas=betas, fused=True, **common)
            case _:
                return torch.optim.RMSprop(
                    weights, alpha=self.betas[1], momentum=self.momentum, **common
                )


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the learning rate changes over the steps.

    Attributes:
        name: `constant`, `linear` (falls to `floor`), `cosine` (falls along half a wave), or
            `trapezoid` (flat, falls in the last `decay` of the steps; while it is flat the number
            of steps may still be changed without spoiling the run).
        warmup: Steps in which it rises from zero.
        decay: Share of the steps in which a trapezoid falls.
        floor: Share of the peak that is left at the end.
    """

    name: str = "trapezoid"
    warmup: int = 50
    decay: float = 0.3
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise ValueError(f"schedule {self.name!r} is not one of {', '.join(SCHEDULES)}")

    def factor_at(self, steps: int) -> Callable[[int], float]:
        """Return the share of the peak learning rate at each step of a run of `steps`.

        Source: for the trapezoid Haegele et al., Scaling Laws Beyond Fixed Training Durations,
        arXiv 2405.18392; for the cosine Loshchilov and Hutter, SGDR, arXiv 1608.03983, equation 5.
        """

        def fall(step: int) -> float:
            done = step / max(1, steps)
            match self.name:
                case "constant":
                    return 1.0
                case "linear":
                    return 1 - done
                case "cosine":
                    return 0.5 * (1 + math.cos(math.pi * done))
                case _:
                    return min(1.0, (1 - done) / max(1e-9, self.decay))

        def factor(step: int) -> float:
            rise = (step + 1) / max(1, self.warmup)
            return min(1.0, rise) * (self.floor + (1 - self.floor) * fall(step))

        return factor
