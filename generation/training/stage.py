"""One training loop for every stage: bfloat16 compute, float32 masters, exact resume."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from generation.training.sources import Progress

logger = logging.getLogger(__name__)

COMPUTE_DTYPE = torch.bfloat16
"""Weights in bfloat16 (not autocast) train twice as fast as float32 on a CPU with AVX512-BF16."""

LOSS_WINDOW = 50
"""Steps averaged into one point of the loss curve."""


class MasterWeights:
    """Float32 copies that receive the updates too small for bfloat16 weights.

    Source: Micikevicius et al., Mixed Precision Training, arXiv 1710.03740, section 3.1.

    Args:
        module: Computes in bfloat16 after this call.
        learning_rate: Peak learning rate of AdamW.
        ema_decay: Ceiling of the moving average's decay; 0 keeps no average.
    """

    def __init__(self, module: nn.Module, learning_rate: float, ema_decay: float = 0.0) -> None:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        trainable = [p for p in module.parameters() if p.requires_grad]
        self.learning_rate = learning_rate
        self.ema_decay = ema_decay
        self.masters = [p.detach().float().clone() for p in trainable]
        self.averages = [m.clone() for m in self.masters] if ema_decay else []
        module.to(COMPUTE_DTYPE)
        self.weights: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.masters, learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )

    def step(self, number: int, factor: float) -> None:
        """Apply the gradients on the bfloat16 weights to the masters and copy them back.

        Args:
            number: Step number, from 0.
            factor: Share of the peak learning rate to use.
        """
        for master, weight in zip(self.masters, self.weights, strict=True):
            if weight.grad is None:
                raise RuntimeError("a trainable weight took no part in the loss")
            # The fused optimiser walks raw memory: strides must agree, or it mixes up elements.
            master.grad = torch.empty_like(master).copy_(weight.grad)
            weight.grad = None
        nn.utils.clip_grad_norm_(self.masters, max_norm=1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * factor
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.masters)
            if self.averages:
                decay = min(self.ema_decay, (1 + number) / (10 + number))
                torch._foreach_lerp_(self.averages, self.masters, 1 - decay)

    def best(self) -> list[Tensor]:
        """Return the float32 weights to keep: the moving average where there is one."""
        return self.averages or self.masters

    def write_best_into(self, module: nn.Module) -> None:
        """Copy the weights to keep into a module of the same architecture."""
        targets = [p for p in module.parameters() if p.requires_grad]
        with torch.no_grad():
            for target, source in zip(targets, self.best(), strict=True):
                target.copy_(source)

    def state(self) -> dict[str, Any]:
        """Return everything a resumed run needs."""
        return {
            "masters": self.masters,
            "averages": self.averages,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the state of an earlier run."""
        with torch.no_grad():
            torch._foreach_copy_(self.masters, state["masters"])
            torch._foreach_copy_(self.weights, state["masters"])
            if self.averages:
                torch._foreach_copy_(self.averages, state["averages"])
        self.optimizer.load_state_dict(state["optimizer"])


@dataclass(slots=True)
class Stage:
    """One resumable stretch of optimisation.

    Batches depend on the step number alone, so a run that was killed and resumed sees exactly
    the batches of one that was not.

    Attributes:
        loss_at: Step number to loss; draws its own batch from a generator seeded by the number.
        snapshot: File that keeps the state between runs.
        losses: One mean for every `LOSS_WINDOW` steps so far.
        on_save: Called after every snapshot, for example to draw a sample sheet.
    """

    name: str
    weights: MasterWeights
    loss_at: Callable[[int], Tensor]
    steps: int
    snapshot: Path
    factor_at: Callable[[int], float]
    save_every_s: float
    losses: list[float] = field(default_factory=list)
    on_save: Callable[[int], None] | None = None

    def run(self, report: Progress) -> None:
        """Train to the last step, from the snapshot where there is one.

        Raises:
            FloatingPointError: The loss is no longer a number.
        """
        first = self._resume()
        window: list[float] = []
        saved_at = time.monotonic()
        started_at = saved_at
        for number in range(first, self.steps):
            loss = self.loss_at(number)
            loss.backward()
            self.weights.step(number, self.factor_at(number))
            window.append(loss.item())
            if not math.isfinite(window[-1]):
                raise FloatingPointError(f"{self.name}: loss is {window[-1]} at step {number}")
            if (number + 1) % LOSS_WINDOW == 0:
                self.losses.append(sum(window) / len(window))
                speed = (number + 1 - first) / (time.monotonic() - started_at)
                note = f"loss {self.losses[-1]:.4f}, {speed:.2f} steps/s"
                report(self.name, number + 1, self.steps, note)
                window.clear()
            # Saved at the end of a window only: the loss curve of a resumed run has no seam.
            if not window and time.monotonic() - saved_at > self.save_every_s:
                self._save(number + 1)
                saved_at = time.monotonic()
        if first < self.steps:
            self._save(self.steps)

    def _resume(self) -> int:
        if not self.snapshot.exists():
            return 0
        state = torch.load(self.snapshot, weights_only=True)
        self.weights.restore(state["weights"])
        self.losses[:] = state["losses"]
        step: int = state["step"]
        logger.info("training resumed", extra={"stage": self.name, "step": step})
        return step

    def _save(self, step: int) -> None:
        unfinished = self.snapshot.with_suffix(".tmp")
        state = {"step": step, "weights": self.weights.state(), "losses": self.losses}
        torch.save(state, unfinished)
        unfinished.replace(self.snapshot)
        if self.on_save is not None:
            self.on_save(step)


def generator_at(seed: int, step: int) -> torch.Generator:
    """Return the source of chance of one step."""
    return torch.Generator().manual_seed((seed << 32) + step)


def cosine(steps: int, warmup: int = 50, floor: float = 0.02) -> Callable[[int], float]:
    """Return a learning rate factor that warms up and falls along half a cosine."""

    def factor(step: int) -> float:
        fall = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * step / steps))
        return min(1.0, (step + 1) / warmup) * fall

    return factor


def trapezoid(steps: int, warmup: int, decay: float) -> Callable[[int], float]:
    """Return a factor that warms up, stays at 1 and falls to 0 in the last share of the steps.

    While it is flat, the number of steps may still be changed without spoiling the run.

    Source: Haegele et al., Scaling Laws Beyond Fixed Training Durations, arXiv 2405.18392.
    """

    def factor(step: int) -> float:
        rise = (step + 1) / max(1, warmup)
        fall = (steps - step) / max(1.0, decay * steps)
        return min(1.0, rise, fall)

    return factor
