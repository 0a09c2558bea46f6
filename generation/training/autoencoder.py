"""Train the small picture autoencoder and encode the training set with it."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from torch import Tensor, nn

from generation.training.dataset import Dataset
from generation.training.stage import (
    COMPUTE_DTYPE,
    MasterWeights,
    Stage,
    cosine,
    generator_at,
)
from generation.training.recipe import Recipe
from generation.training.sources import Progress

JOINT = "autoencoder.pt"
DECODER = "decoder.pt"
LATENTS = "latents.npy"
ENCODE_BATCH = 32
LATENT_PENALTY = 0.002
RESIDUAL_START = 0.2


def create(recipe: Recipe) -> AutoencoderTiny:
    """Return an untrained autoencoder: 8 pixels a latent side, unit-variance latents."""
    shape = recipe.autoencoder
    with torch.random.fork_rng():
        torch.random.manual_seed(recipe.schedule.seed)  # initial weights only, forked
        vae = AutoencoderTiny(
            encoder_block_out_channels=(shape.width,) * len(shape.encoder_blocks),
            decoder_block_out_channels=(shape.width,) * len(shape.decoder_blocks),
            num_encoder_blocks=shape.encoder_blocks,
            num_decoder_blocks=shape.decoder_blocks,
            latent_channels=shape.latent_channels,
        )
        initialise(vae)
    return vae


def initialise(vae: AutoencoderTiny) -> None:
    """Start from weights that keep the signal's variance; the class has no normalisation.

    With torch's defaults the signal shrinks layer by layer and the first minutes go to waste.

    Source: He et al., Delving Deep into Rectifiers, arXiv 1502.01852, equation 10; residual
    branches start small as in Zhang et al., Fixup Initialization, arXiv 1901.09321.
    """
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in vae.modules():
        if isinstance(module, AutoencoderTinyBlock):
            nn.init.kaiming_normal_(module.conv[-1].weight, nonlinearity="linear")
            module.conv[-1].weight.data.mul_(RESIDUAL_START)
    for last in (vae.encoder.layers[-1], vae.decoder.layers[-1]):
        nn.init.kaiming_normal_(last.weight, nonlinearity="linear")
    vae.decoder.layers[-1].weight.data.mul_(RESIDUAL_START)
    # The background is white: 1 before the decoder maps [0, 1] to [-1, 1].
    nn.init.ones_(vae.decoder.layers[-1].bias)


def train(directory: Path, recipe: Recipe, dataset: Dataset, report: Progress) -> AutoencoderTiny:
    """Train encoder and decoder together on crops, then scale the latents to unit variance.

    Args:
        directory: Keeps the snapshot and `latents.npy`.

    Returns:
        The autoencoder in float32 with normalised latents, in evaluation mode.
    """
    shape = recipe.autoencoder
    vae = create(recipe)
    weights = MasterWeights(vae, shape.learning_rate)

    def loss_at(step: int) -> Tensor:
        generator = generator_at(recipe.schedule.seed, step)
        target = random_crops(dataset, shape.crop, shape.batch_size, generator)
        latents = vae.encoder(target)
        noisy = latents + shape.latent_noise * torch.randn(
            latents.shape, generator=generator, dtype=latents.dtype
        )
        decoded = vae.decoder(noisy)
        return picture_loss(decoded, target) + LATENT_PENALTY * spread_penalty(latents)

    Stage(
        name="autoencoder",
        weights=weights,
        loss_at=loss_at,
        steps=shape.steps,
        snapshot=directory / JOINT,
        factor_at=cosine(shape.steps),
        save_every_s=recipe.schedule.save_every_s,
    ).run(report)
    vae.float()
    weights.write_best_into(vae)
    vae.eval()
    # One pass in float32 over the unmirrored pictures gives the statistics; then they are fixed.
    mean, std = channel_statistics(encode(vae, dataset, report, recipe))
    normalise(vae, mean, std)
    np.save(directory / LATENTS, encode(vae, dataset, report, recipe).numpy().astype(np.float16))
    return vae


def train_decoder(
    directory: Path, recipe: Recipe, dataset: Dataset, vae: AutoencoderTiny, report: Progress
) -> None:
    """Sharpen the decoder on whole pictures while the encoder stays as it is.

    The denoiser only depends on the encoder, so this can run beside or after its training.

    Args:
        directory: Holds `latents.npy`; keeps the snapshot.
        vae: Result of `train`; its decoder is changed in place, float32 again afterwards.
    """
    shape = recipe.autoencoder
    if shape.decoder_steps == 0:
        return
    latents = torch.from_numpy(np.load(directory / LATENTS))
    decoder = vae.decoder
    weights = MasterWeights(decoder, shape.learning_rate / 2)

    def loss_at(step: int) -> Tensor:
        generator = generator_at(recipe.schedule.seed + 1, step)
        rows = torch.randint(len(latents), (shape.decoder_batch_size,), generator=generator)
        clean = latents[rows].to(COMPUTE_DTYPE).contiguous(memory_format=torch.channels_last)
        strength = torch.rand((len(rows), 1, 1, 1), generator=generator) * shape.latent_noise
        noise = torch.randn(clean.shape, generator=generator) * strength
        return picture_loss(decoder(clean + noise.to(COMPUTE_DTYPE)), pictures_at(dataset, rows))

    Stage(
        name="decoder",
        weights=weights,
        loss_at=loss_at,
        steps=shape.decoder_steps,
        snapshot=directory / DECODER,
        factor_at=cosine(shape.decoder_steps),
        save_every_s=recipe.schedule.save_every_s,
    ).run(report)
    decoder.float()
    weights.write_best_into(decoder)


def picture_loss(decoded: Tensor, target: Tensor) -> Tensor:
    """Return absolute error plus the error of the edges, in float32.

    Args:
        decoded: Shape (batch, 3, height, width), range [-1, 1].
        target: The same.
    """
    error = decoded.float() - target.float()
    edges = (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()) / 2
    coarse = F.avg_pool2d(error, 4).abs().mean()
    return error.abs().mean() + edges + 0.5 * coarse


def spread_penalty(latents: Tensor) -> Tensor:
    """Return how far each channel is from zero mean and unit variance.

    Args:
        latents: Shape (batch, channels, height, width).
    """
    per_channel = latents.float().transpose(0, 1).flatten(1)
    variance, mean = torch.var_mean(per_channel, dim=1)
    return (mean.square() + (variance + 1e-6).log().square()).mean()


def channel_statistics(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, shape (channels,)."""
    per_channel = latents.transpose(0, 1).flatten(1)
    return per_channel.mean(dim=1), per_channel.std(dim=1)


def normalise(vae: AutoencoderTiny, mean: Tensor, std: Tensor) -> None:
    """Fold `(latents - mean) / std` into the encoder's last layer, and undo it in the decoder.

    The encoder's part is exact. The decoder's first convolution pads with zeros, so its border
    pixels keep a small error where the mean is not zero; training the decoder on removes it.

    Args:
        vae: Changed in place.
        mean: Shape (latent channels,).
        std: Shape (latent channels,).
    """
    last, first = vae.encoder.layers[-1], vae.decoder.layers[0]
    with torch.no_grad():
        last.weight.div_(std.view(-1, 1, 1, 1))
        last.bias.sub_(mean).div_(std)
        first.bias.add_((first.weight * mean.view(1, -1, 1, 1)).sum(dim=(1, 2, 3)))
        first.weight.mul_(std.view(1, -1, 1, 1))


@torch.no_grad()
def encode(vae: AutoencoderTiny, dataset: Dataset, report: Progress, recipe: Recipe) -> Tensor:
    """Return the latents of every picture, float32 of shape (rows, channels, h / 8, w / 8)."""
    total = len(dataset.rows)
    parts = []
    for start in range(0, total, ENCODE_BATCH):
        rows = torch.arange(start, min(start + ENCODE_BATCH, total))
        parts.append(vae.encoder(pictures_at(dataset, rows, torch.float32)))
        report("encode", int(rows[-1]) + 1, total, recipe.model.name)
    return torch.cat(parts)


@torch.no_grad()
def psnr(vae: AutoencoderTiny, dataset: Dataset, rows: Tensor) -> float:
    """Return the mean peak signal-to-noise ratio of reconstructions in dB.

    Args:
        rows: Which pictures, int64 of shape (n,).
    """
    values = []
    for part in rows.split(ENCODE_BATCH):
        target = pictures_at(dataset, part, torch.float32)
        decoded = vae.decoder(vae.encoder(target)).clamp(-1, 1)
        # The range [-1, 1] has a peak of 2, hence 4 over the mean square.
        error = (decoded - target).square().mean(dim=(1, 2, 3))
        values.append(10 * torch.log10(4 / error))
    return torch.cat(values).mean().item()


def pictures_at(dataset: Dataset, rows: Tensor, dtype: torch.dtype = COMPUTE_DTYPE) -> Tensor:
    """Return pictures in [-1, 1], shape (batch, 3, height, width), channels last."""
    pixels = torch.from_numpy(dataset.pictures[rows.numpy()])
    return pixels.permute(0, 3, 1, 2).to(dtype).div(127.5).sub(1)


def random_crops(dataset: Dataset, side: int, count: int, generator: torch.Generator) -> Tensor:
    """Return random square crops of random pictures in [-1, 1].

    Args:
        side: In pixels.

    Returns:
        bfloat16 of shape (count, 3, side, side), channels last.
    """
    _, height, width, _ = dataset.pictures.shape
    rows = torch.randint(len(dataset.pictures), (count,), generator=generator)
    tops = torch.randint(height - side + 1, (count,), generator=generator)
    lefts = torch.randint(width - side + 1, (count,), generator=generator)
    places = zip(rows.tolist(), tops.tolist(), lefts.tolist(), strict=True)
    crops = [
        dataset.pictures[row, top : top + side, left : left + side] for row, top, left in places
    ]
    pixels = torch.from_numpy(np.stack(crops))
    return pixels.permute(0, 3, 1, 2).to(COMPUTE_DTYPE).div(127.5).sub(1)
