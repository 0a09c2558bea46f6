"""What the autoencoder learns from, and what it and its critic are told about its drawings."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from generation.judging.scorer.model import Scorer
from generation.learning.dataset.augment import varied
from generation.learning.dataset.stored import Dataset
from generation.learning.training import discriminator
from generation.learning.training.autoencoding import channel_statistics, picture_losses
from generation.learning.training.discriminator import adversarial_loss, critic_losses
from generation.learning.training.loop import Player
from generation.learning.training.optimizers import Optimizer
from generation.learning.training.perceptual import perceptual_distance
from generation.learning.training.run import Placement, generator_at
from generation.learning.training.vae_recipe import VaeRecipe

NAME = "vae"
SCALE_BATCHES = 16

Terms = dict[str, Tensor]


class Lessons:
    """What the autoencoder learns from in one phase, and what it is told about its drawings.

    Args:
        rows: Row numbers to learn from, int64.
        crop_px: Side of the crops; 0 takes whole pictures.
        rebuild_noisily: Pictures and chance to rebuilt pictures, and loss terms of its own.
        terms: Weights of the terms of this phase.
        eye: The scorer, where `perceptual` has a weight.
        seed: Of everything drawn by lot.
    """

    def __init__(
        self,
        recipe: VaeRecipe,
        dataset: Dataset,
        rows: Tensor,
        at: Placement,
        crop_px: int,
        rebuild_noisily: Callable[[Tensor, torch.Generator], tuple[Tensor, Terms]],
        terms: Mapping[str, float],
        eye: Scorer | None,
        seed: int,
    ) -> None:
        self._recipe, self._dataset, self._rows, self._at = recipe, dataset, rows, at
        self._crop_px, self._rebuild, self._seed = crop_px, rebuild_noisily, seed
        self._terms = {name: weight for name, weight in terms.items() if weight}
        self._eye = eye
        self._critic = discriminator.create(recipe.critic.widths, seed)
        self._pair: tuple[Tensor, Tensor] | None = None

    def players(self, modules: Mapping[str, nn.Module], optimizer: Optimizer) -> list[Player]:
        """Return the autoencoder, and its critic where the recipe has one."""
        schedule, critic = self._recipe.schedule, self._recipe.critic
        players = [Player(NAME, modules, self._losses, self._terms, optimizer, schedule)]
        if "adversarial" in self._terms:
            own = {"critic": self._critic}
            players.append(
                Player("critic", own, self._critic_losses, critic.terms, critic.optimizer, schedule)
            )
        return players

    def _losses(self, step: int, count: int) -> Terms:
        generator = generator_at(self._seed, step)
        targets = self._targets(count, generator)
        drawn, terms = self._rebuild(targets, generator)
        terms = {**terms, **picture_losses(drawn, targets)}
        if self._eye:
            terms["perceptual"] = perceptual_distance(self._eye, drawn, targets)
        if "adversarial" in self._terms and step >= self._recipe.critic.starts_at:
            terms["adversarial"] = adversarial_loss(self._critic, targets, drawn)
            self._pair = targets, drawn.detach()
        return {name: terms[name] for name in self._terms if name in terms}

    def _critic_losses(self, step: int, count: int) -> Terms:
        """Judge what the autoencoder drew in its turn just before: drawing again costs most."""
        if self._pair is None:
            return {}
        targets, drawn = self._pair
        self._pair = None
        return critic_losses(self._critic, targets[:count], drawn[:count])

    @torch.no_grad()
    def latent_scale(self, encoder: nn.Module) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel over such batches as it learns from.

        Args:
            encoder: Computes in the run's format or in float32.
        """
        dtype = next(encoder.parameters()).dtype
        batches = (
            self._targets(self._recipe.run.batch_size, generator_at(self._seed + 1, number))
            for number in range(SCALE_BATCHES)
        )
        return channel_statistics(encoder(targets.to(dtype)) for targets in batches)

    def _targets(self, count: int, generator: torch.Generator) -> Tensor:
        side, crop = self._recipe.side_px, self._crop_px
        rows = self._rows[torch.randint(len(self._rows), (count,), generator=generator)]
        pictures, _ = varied(
            self._dataset, rows, side, self._recipe.augmentation, generator, self._at.device
        )
        if crop:
            corners = torch.randint(side - crop + 1, (count, 2), generator=generator).tolist()
            cropped = [
                picture[:, top : top + crop, left : left + crop]
                for picture, (top, left) in zip(pictures, corners, strict=True)
            ]
            pictures = torch.stack(cropped)
        return pictures.to(self._at.dtype, memory_format=torch.channels_last)
