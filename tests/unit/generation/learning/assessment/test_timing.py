"""Operations are counted, not guessed, and the floor follows from them."""

import pytest
import torch

from generation.learning.assessment import timing
from generation.learning.assessment.timing import Timing


def test_a_matrix_product_takes_two_operations_a_term() -> None:
    first, second = torch.ones(3, 5), torch.ones(5, 7)
    assert timing.operations_of(lambda: first @ second) == 2 * 3 * 5 * 7


def test_a_convolution_takes_two_operations_a_term() -> None:
    layer = torch.nn.Conv2d(4, 6, 3, padding=1)
    assert timing.operations_of(lambda: layer(torch.ones(1, 4, 8, 8))) == 2 * 4 * 6 * 9 * 64


def test_a_gradient_penalty_is_counted_like_any_other_work() -> None:
    critic = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 1))
    real = torch.ones(3, 5, requires_grad=True)

    def penalty() -> None:
        (slope,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
        slope.square().sum().backward()

    forward = timing.operations_of(lambda: critic(real))
    assert forward == 2 * 3 * (5 * 7 + 7)
    assert timing.operations_of(penalty) > 2 * forward


def test_floor_and_share_follow_from_counted_operations() -> None:
    measured = Timing(seconds=2.0, operations=10**9, matrix_rate=1e9, device="", dtype="")
    assert (measured.floor_s, measured.share) == (1.0, 0.5)


def test_matrix_rate_is_that_of_this_machine() -> None:
    rate = timing.matrix_rate(torch.device("cpu"), torch.float32)
    assert 1e9 < rate < 1e14  # slower than a pocket calculator's chip, faster than any CPU


def test_first_batch_does_not_count_where_there_are_others() -> None:
    assert timing.warm_median([100.0, 1.0, 3.0, 2.0]) == 2.0
    assert timing.warm_median([5.0]) == pytest.approx(5.0)
