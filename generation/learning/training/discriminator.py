"""A critic of small patches: it teaches a decoder to draw edges instead of averages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from generation.learning.training.optimizers import Optimizer
from generation.learning.training.relativistic import gradient_penalties, pairing_loss

SLOPE = 0.2  # of its rectifiers


@dataclass(frozen=True, slots=True, kw_only=True)
class Critic:
    """The discriminator and when it joins in; used where `adversarial` has a weight.

    Attributes:
        widths: Channels of each stage; every stage halves the side.
        starts_at: Step before which it and the adversarial term are left out.
        terms: Weights of its `pairing` loss and of the gradient `penalty`.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    starts_at: int = 0
    terms: Mapping[str, float] = field(default_factory=lambda: {"pairing": 1.0, "penalty": 0.05})
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(betas=(0.0, 0.99)))


class PatchDiscriminator(nn.Module):
    """Scores every patch of a picture on its own: high is real.

    Source: Isola et al., Image-to-Image Translation with Conditional Adversarial Networks,
    arXiv 1611.07004, section 3.2.2; without normalisation, as arXiv 2501.05441 recommends.

    Args:
        widths: Channels of each stage.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((3, *widths), widths, strict=False):
            layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        layers.append(nn.Conv2d(widths[-1], 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return scores of shape (n, patches).

        Args:
            pictures: Shape (n, 3, height, width) in [-1, 1].
        """
        return self.layers(pictures.to(next(self.parameters()).dtype)).flatten(1)


def create(widths: Sequence[int], seed: int) -> PatchDiscriminator:
    """Return an untrained discriminator."""
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)  # initial weights only, forked
        return PatchDiscriminator(widths)


def critic_losses(critic: nn.Module, real: Tensor, drawn: Tensor) -> dict[str, Tensor]:
    """Return the critic's `pairing` loss and `penalty` (R1 and R2).

    Args:
        real: Shape (n, 3, height, width).
        drawn: What was drawn of each of them, without gradient.
    """
    real, drawn = real.detach().requires_grad_(), drawn.detach().requires_grad_()
    of_real, of_drawn = critic(real), critic(drawn)
    penalty = gradient_penalties(of_real.mean(1), real) + gradient_penalties(
        of_drawn.mean(1), drawn
    )
    return {
        "pairing": pairing_loss(of_real.flatten(), of_drawn.flatten()),
        "penalty": penalty.mean(),
    }


def adversarial_loss(critic: nn.Module, real: Tensor, drawn: Tensor) -> Tensor:
    """Return how far what was drawn is from looking more real than its real partner."""
    with torch.no_grad():
        of_real = critic(real)
    return pairing_loss(critic(drawn).flatten(), of_real.flatten())
