"""The critic of patches: what it sees, what it learns, what it teaches."""

import math

import pytest
import torch
from torch import Tensor

from generation.learning.training import discriminator
from generation.learning.training.discriminator import adversarial_loss, critic_losses


def noise(seed: int) -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_far_corner_does_not_change_a_patch_s_score() -> None:
    critic = discriminator.create((8, 16), 0)
    first, second = noise(0), noise(0)
    second[:, :, 24:, 24:] += 1
    changed = (critic(first) != critic(second)).view(4, 8, 8)
    assert not changed[:, :4, :4].any()
    assert changed[:, 7, 7].all()


def test_equal_pictures_leave_nobody_ahead() -> None:
    critic = discriminator.create((8, 16), 0)
    losses = critic_losses(critic, noise(0), noise(0))
    assert losses["pairing"].item() == pytest.approx(math.log(2))
    assert adversarial_loss(critic, noise(0), noise(0)).item() == pytest.approx(math.log(2))


def test_penalty_is_the_squared_slope_of_both_sides() -> None:
    critic = discriminator.create((8, 16), 0)
    slopes = torch.autograd.functional.jacobian(lambda x: critic(x).mean(1).sum(), noise(0))
    expected = 2 * slopes.square().sum((1, 2, 3)).mean()
    found = critic_losses(critic, noise(0), noise(0))["penalty"]
    torch.testing.assert_close(found, expected)


def test_critic_learns_to_tell_blurred_from_sharp_and_teaches_it() -> None:
    critic = discriminator.create((8, 16), 0)
    sharp = noise(1).sign()
    blurred = torch.nn.functional.avg_pool2d(sharp, 3, stride=1, padding=1)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    for _ in range(20):
        losses = critic_losses(critic, sharp, blurred)
        optimizer.zero_grad()
        (losses["pairing"] + 0.05 * losses["penalty"]).backward()
        optimizer.step()
    assert losses["pairing"] < 0.3
    optimizer.zero_grad()
    drawn = blurred.clone().requires_grad_()
    loss = adversarial_loss(critic, sharp, drawn)
    loss.backward()
    assert drawn.grad is not None
    better = blurred - 20 * drawn.grad
    assert adversarial_loss(critic, sharp, better) < loss
