"""The losses are the paper's: known values where they are known."""

import math

import torch
from torch import nn

from generation.learning.training.relativistic import gradient_penalties, pairing_loss


def test_where_nobody_is_ahead_the_loss_is_log_2() -> None:
    scores = torch.tensor([-3.0, 0.0, 7.0])
    assert math.isclose(pairing_loss(scores, scores.clone()).item(), math.log(2), rel_tol=1e-6)


def test_only_the_gap_of_each_pair_counts() -> None:
    scores, others = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 4.0])
    by_hand = (math.log1p(math.exp(-0.5)) + math.log1p(math.exp(2.0))) / 2
    assert math.isclose(pairing_loss(scores, others).item(), by_hand, rel_tol=1e-6)
    shifted = pairing_loss(scores + torch.tensor([5.0, -9.0]), others + torch.tensor([5.0, -9.0]))
    assert math.isclose(shifted.item(), by_hand, rel_tol=1e-6)


def test_what_one_side_gains_the_other_pulls_the_other_way() -> None:
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    pairing_loss(real, fake).backward()
    assert torch.allclose(real.grad, -fake.grad)
    assert (real.grad < 0).all()  # descending raises the real scores


def test_penalty_of_a_linear_discriminator_is_the_square_of_its_weights() -> None:
    critic = nn.Linear(12, 1)
    pictures = torch.randn((5, 3, 2, 2), generator=torch.Generator().manual_seed(0))
    pictures.requires_grad_()
    penalties = gradient_penalties(critic(pictures.flatten(1))[:, 0], pictures)
    assert torch.allclose(penalties, critic.weight.square().sum().expand(5))
    penalties.mean().backward()
    assert torch.allclose(critic.weight.grad, 2 * critic.weight)


def test_penalty_of_a_quadratic_discriminator_is_four_times_the_picture_squared() -> None:
    pictures = torch.randn((3, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    pictures.requires_grad_()
    penalties = gradient_penalties(pictures.square().sum((1, 2, 3)), pictures)
    assert torch.allclose(penalties, 4 * pictures.detach().square().sum((1, 2, 3)))
