"""Training loses nothing: not small updates, not a killed run's progress."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from generation.training.stage import MasterWeights, Stage, generator_at, trapezoid


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    pass


def stage(snapshot: Path, steps: int) -> Stage:
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 3, 1))
    weights = MasterWeights(model, 1e-2, ema_decay=0.9)

    def loss_at(step: int) -> Tensor:
        batch = torch.rand((4, 3, 8, 8), generator=generator_at(0, step)).bfloat16()
        return (model(batch) - batch.flip(1)).float().square().mean()

    return Stage("toy", weights, loss_at, steps, snapshot, lambda step: 1.0, save_every_s=0.0)


def test_killed_and_resumed_run_equals_an_undisturbed_one(tmp_path: Path) -> None:
    whole = stage(tmp_path / "whole.pt", 150)
    whole.run(silent)
    killed = stage(tmp_path / "parts.pt", 150)
    seen = killed.loss_at

    def dies(step: int) -> Tensor:
        if step == 120:
            raise KeyboardInterrupt
        return seen(step)

    killed.loss_at = dies
    with pytest.raises(KeyboardInterrupt):
        killed.run(silent)
    resumed = stage(tmp_path / "parts.pt", 150)
    resumed.run(silent)
    assert resumed.losses == whole.losses
    for left, right in zip(resumed.weights.best(), whole.weights.best(), strict=True):
        assert torch.equal(left, right)


def test_loss_falls_in_channels_last_layout(tmp_path: Path) -> None:
    # The fused optimiser once paired gradients with the wrong weights: their strides differed.
    toy = stage(tmp_path / "toy.pt", 200)
    toy.run(silent)
    assert toy.losses[-1] < toy.losses[0] / 4
    for master, weight in zip(toy.weights.masters, toy.weights.weights, strict=True):
        assert master.stride() == weight.stride()


def test_updates_below_bfloat16_resolution_add_up() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    weights = MasterWeights(model, learning_rate=1e-4)
    for number in range(100):
        model(torch.ones((1, 1), dtype=torch.bfloat16)).sum().backward()
        weights.step(number, 1.0)
    assert model.weight.item() == pytest.approx(0.99, abs=0.004)


def test_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    broken = stage(tmp_path / "toy.pt", 5)
    fine = broken.loss_at
    broken.loss_at = lambda step: fine(step) * float("nan")
    with pytest.raises(FloatingPointError, match="step 0"):
        broken.run(silent)


def test_learning_rate_rises_stays_and_falls_to_zero() -> None:
    factor = trapezoid(100, warmup=10, decay=0.2)
    assert factor(0) == pytest.approx(0.1)
    assert {factor(step) for step in range(9, 80)} == {1.0}
    assert factor(90) == pytest.approx(0.5)
    assert factor(99) == pytest.approx(0.05)
