"""Schedules end where they say; names that do not exist are refused."""

import pytest
import torch

from generation.learning.training.optimizers import OPTIMIZERS, SCHEDULES, Optimizer, Schedule


def test_trapezoid_rises_stays_and_falls_to_zero() -> None:
    factor = Schedule("trapezoid", warmup=10, decay=0.2).factor_at(100)
    assert factor(0) == pytest.approx(0.1)
    assert {factor(step) for step in range(9, 80)} == {1.0}
    assert factor(90) == pytest.approx(0.5)
    assert factor(99) == pytest.approx(0.05)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_starts_low_never_exceeds_its_peak_and_ends_at_its_floor(name: str) -> None:
    factor = Schedule(name, warmup=5, decay=0.5, floor=0.1).factor_at(50)
    factors = [factor(step) for step in range(51)]
    assert factors[0] <= 0.2
    assert max(factors) <= 1.0
    assert factors[-1] == pytest.approx(1.0 if name == "constant" else 0.1)
    assert factors[5:] == sorted(factors[5:], reverse=True)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_finds_the_bottom_of_a_bowl(name: str) -> None:
    weight = torch.tensor([3.0, -2.0])
    optimizer = Optimizer(name=name, learning_rate=0.05, momentum=0.5).build([weight])
    for _ in range(300):
        weight.grad = 2 * weight
        optimizer.step()
    assert weight.abs().max() < 0.1


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="sgd, adam, adamw, rmsprop"):
        Optimizer(name="lion")
    with pytest.raises(ValueError, match="constant, linear, cosine, trapezoid"):
        Schedule(name="onecycle")
    with pytest.raises(ValueError, match="two numbers"):
        Optimizer(betas=(0.9,))
