"""The turns of generator and discriminator."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from generation.judging.scorer.model import Scorer
from generation.learning.dataset.augment import varied
from generation.learning.dataset.stored import Dataset
from generation.learning.training.contrast import Captions
from generation.learning.training.differentiable_augmentation import augment
from generation.learning.training.gan_recipe import GanRecipe
from generation.learning.training.latents import Latents
from generation.learning.training.perceptual import perceptual_distance
from generation.learning.training.relativistic import gradient_penalties, pairing_loss
from generation.learning.training.run import Placement, generator_at
from generation.techniques.gan.model import Gan
from generation.techniques.gan.networks import Discriminator


@dataclass(frozen=True, slots=True)
class _Batch:
    """Real pictures with their captions, and noise to dream of the same captions."""

    pictures: Tensor
    sentences: Tensor
    looks: Tensor
    noise: Tensor

    @property
    def dreamt(self) -> int:
        """How many of the generated pictures are dreamt; the others rebuild the real ones."""
        return (len(self.pictures) + 1) // 2


class Game:
    """What either side loses by.

    Half of each generated batch is dreamt (noise, caption and look to a latent to a picture), half
    is rebuilt (a real picture to its latent and back), and the discriminator judges both: so
    rebuilt pictures must look real, and one pass inverts any picture.

    Args:
        rows: Numbers of the training pictures, int64.
        latents: Of these pictures, in the same order; None to work on pixels.
        eye: The scorer of the perceptual term; None without that term.
    """

    def __init__(
        self,
        recipe: GanRecipe,
        dataset: Dataset,
        captions: Captions,
        rows: Tensor,
        latents: Latents | None,
        gan: Gan,
        discriminator: Discriminator,
        eye: Scorer | None,
        at: Placement,
    ) -> None:
        self._recipe, self._dataset, self._captions, self._rows = recipe, dataset, captions, rows
        self._latents = latents
        self._gan, self._discriminator, self._eye, self._at = gan, discriminator, eye, at

    def discriminator_losses(self, step: int, size: int) -> dict[str, Tensor]:
        """Return `adversarial`, and at some steps `r1` and `r2`."""
        recipe, generator = self._recipe, generator_at(2 * self._recipe.run.seed, step)
        batch = self._batch(size, generator)
        with torch.no_grad():
            generated, _, _ = self._generate(batch)
        seen = self._changed(torch.cat([batch.pictures, generated]), generator)
        is_penalised = step % recipe.penalty_every == 0
        seen.requires_grad_(is_penalised)
        scores = self._discriminator(
            seen, batch.sentences.repeat(2, 1), batch.looks.repeat(2)
        ).float()
        real, fake = scores.chunk(2)
        losses = {"adversarial": pairing_loss(real, fake)}
        if is_penalised:
            r1, r2 = gradient_penalties(scores, seen).view(2, -1).mean(1)
            losses |= {"r1": r1, "r2": r2}
        return losses

    def generator_losses(self, step: int, size: int) -> dict[str, Tensor]:
        """Return `adversarial`, `pixels`, `latent`, `anchor`, and `perceptual` where it is asked for."""
        generator = generator_at(2 * self._recipe.run.seed + 1, step)
        batch = self._batch(size, generator)
        generated, dreams, inverted = self._generate(batch)
        conditions = (batch.sentences, batch.looks)
        with torch.no_grad():
            real = self._discriminator(self._changed(batch.pictures, generator), *conditions)
        fake = self._discriminator(self._changed(generated, generator), *conditions)
        count = batch.dreamt
        rebuilt, original = generated[count:], batch.pictures[count:]
        found = self._gan.encoder(generated[:count].detach())
        losses = {
            "adversarial": pairing_loss(fake, real),
            "pixels": F.mse_loss(rebuilt.float(), original.float()),
            # Source: reciprocity in the latent space, Pidhorskyi et al., ALAE, arXiv 2004.04467.
            "latent": F.mse_loss(found.float(), dreams[:count].detach().float()),
            "anchor": F.mse_loss(dreams[count:].float(), inverted.detach().float()),
        }
        if self._eye is not None:
            losses["perceptual"] = perceptual_distance(self._eye, rebuilt, original)
        return losses

    def _batch(self, size: int, generator: torch.Generator) -> _Batch:
        # At least one to dream and one to rebuild, even where memory is short.
        chosen = torch.randint(len(self._rows), (max(2, size),), generator=generator)
        rows, recipe, at = self._rows[chosen], self._recipe, self._at
        if self._latents is not None:
            pictures, words = self._latents.draw(chosen, generator)
        else:
            pictures, words = varied(
                self._dataset, rows, recipe.sizes.side_px, recipe.augmentation, generator, at.device
            )
        states, claims = self._captions.choose(rows, words, recipe.lookless, generator)
        noise = torch.randn((len(rows), recipe.sizes.noise_dim), generator=generator)
        return _Batch(
            pictures.to(at.device, at.dtype, memory_format=torch.channels_last),
            states.to(at.dtype),
            claims.looks.to(at.device),
            noise.to(at.device, at.dtype),
        )

    def _generate(self, batch: _Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return generated pictures, the latents of all captions, those of the rebuilt half."""
        dreams = self._gan.mapping(batch.noise, batch.sentences, batch.looks)
        inverted = self._gan.encoder(batch.pictures[batch.dreamt :])
        latents = torch.cat([dreams[: batch.dreamt], inverted])
        return self._gan.synthesis(latents), dreams, inverted

    def _changed(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        changed = augment(pictures, self._recipe.differentiable_augmentation, generator)
        return changed.to(self._at.dtype, memory_format=torch.channels_last)
