"""Train the conditional UNet by flow matching on cached latents."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from diffusers import UNet2DConditionModel
from torch import Tensor

from generation.training import conditions
from generation.training.autoencoder import LATENTS
from generation.training.conditions import Conditions
from generation.training.dataset import Dataset
from generation.training.stage import (
    COMPUTE_DTYPE,
    MasterWeights,
    Stage,
    generator_at,
    trapezoid,
)
from generation.training.recipe import Recipe
from generation.training.sources import Progress

SNAPSHOT = "denoiser.pt"
NUM_TRAIN_TIMESTEPS = 1000
TEXT_FEATURES = 384
PIXELS_PER_LATENT = 8


def create(recipe: Recipe) -> UNet2DConditionModel:
    """Return an untrained UNet.

    A caption enters twice: word by word through cross-attention at the coarse levels, and pooled
    into the time embedding (`addition_embed_type="text"`), which modulates every block. Without
    the second path the fine levels, which have no attention, would not know what they draw.
    """
    shape = recipe.denoiser
    down = ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in shape.attention]
    up = ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(shape.attention)]
    with torch.random.fork_rng():
        torch.random.manual_seed(recipe.schedule.seed)  # initial weights only, forked
        return UNet2DConditionModel(
            sample_size=recipe.model.height // PIXELS_PER_LATENT,
            in_channels=recipe.autoencoder.latent_channels,
            out_channels=recipe.autoencoder.latent_channels,
            block_out_channels=shape.block_out_channels,
            layers_per_block=shape.layers_per_block,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            norm_num_groups=shape.norm_num_groups,
            cross_attention_dim=TEXT_FEATURES,
            # The argument is misnamed in diffusers: for this class it counts the heads.
            attention_head_dim=shape.heads,
            addition_embed_type="text",
            addition_embed_type_num_heads=shape.heads,
            resnet_time_scale_shift="scale_shift",
        )


def train(
    directory: Path,
    recipe: Recipe,
    dataset: Dataset,
    captions: Conditions,
    report: Progress,
    on_save: Callable[[UNet2DConditionModel, int], None] | None = None,
) -> tuple[UNet2DConditionModel, list[float]]:
    """Train, or take up training, until the recipe's last step.

    Args:
        directory: Holds `latents.npy`; keeps the snapshot.
        captions: States of every caption.
        on_save: Given the averaged weights so far and the step, after every snapshot.

    Returns:
        The UNet with averaged weights, float32, in evaluation mode; and the loss curve.
    """
    shape = recipe.denoiser
    latents = torch.from_numpy(np.load(directory / LATENTS))
    row_weights = torch.tensor([row.weight for row in dataset.rows])
    unet = create(recipe).train()
    weights = MasterWeights(unet, shape.learning_rate, shape.ema_decay)

    def loss_at(step: int) -> Tensor:
        generator = generator_at(recipe.schedule.seed + 2, step)
        rows = torch.multinomial(
            row_weights, shape.batch_size, replacement=True, generator=generator
        )
        chosen = conditions.choose(captions, recipe, rows.tolist(), generator)
        sigmas = noise_levels(shape.batch_size, shape.time_mean, shape.time_std, generator)
        clean = latents[rows].float()
        noise = torch.randn(clean.shape, generator=generator)
        predicted = unet(
            add_noise(clean, noise, sigmas).to(COMPUTE_DTYPE, memory_format=torch.channels_last),
            timesteps_of(sigmas),
            encoder_hidden_states=captions.states[chosen].to(COMPUTE_DTYPE),
        ).sample
        return F.mse_loss(predicted.float(), flow_target(clean, noise))

    def averaged() -> UNet2DConditionModel:
        copy = create(recipe).eval()
        weights.write_best_into(copy)
        return copy

    stage = Stage(
        name="denoiser",
        weights=weights,
        loss_at=loss_at,
        steps=shape.steps,
        snapshot=directory / SNAPSHOT,
        factor_at=trapezoid(shape.steps, shape.warmup, shape.decay),
        save_every_s=recipe.schedule.save_every_s,
        on_save=(lambda step: on_save(averaged(), step)) if on_save else None,
    )
    stage.run(report)
    return averaged(), stage.losses


def noise_levels(count: int, mean: float, std: float, generator: torch.Generator) -> Tensor:
    """Draw noise levels whose logit is normal.

    Source: Esser et al., Scaling Rectified Flow Transformers, arXiv 2403.03206, section 3.1.

    Returns:
        float32 of shape (count,), strictly between 0 (clean) and 1 (noise).
    """
    return torch.sigmoid(mean + std * torch.randn(count, generator=generator))


def timesteps_of(sigmas: Tensor) -> Tensor:
    """Return the integer time the scheduler will name a noise level by: it truncates.

    Source: diffusers 0.42.1, DPMSolverMultistepScheduler.set_timesteps with `use_flow_sigmas`.
    """
    return (sigmas * NUM_TRAIN_TIMESTEPS).long().clamp(max=NUM_TRAIN_TIMESTEPS - 1)


def add_noise(clean: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Return the point on the straight line from picture to noise.

    Source: Liu et al., Flow Straight and Fast, arXiv 2209.03003, equation 1.

    Args:
        clean: Latents, shape (batch, channels, height, width).
        noise: Standard normal, same shape.
        sigmas: Position on the line, shape (batch,): 0 is the picture, 1 the noise.
    """
    share = sigmas.view(-1, 1, 1, 1)
    return (1 - share) * clean + share * noise


def flow_target(clean: Tensor, noise: Tensor) -> Tensor:
    """Return the velocity of that line; the scheduler recovers `clean = noisy - sigma * flow`."""
    return noise - clean
