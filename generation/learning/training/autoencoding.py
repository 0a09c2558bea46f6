"""The mathematics of the autoencoder: first weights, posterior, losses, scale, figures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL_START = 0.2


def create(
    width: int,
    latent_channels: int,
    encoder_blocks: tuple[int, ...],
    decoder_blocks: tuple[int, ...],
    seed: int,
) -> AutoencoderTiny:
    """Return an untrained autoencoder."""
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)  # initial weights only, forked
        vae = AutoencoderTiny(
            encoder_block_out_channels=(width,) * len(encoder_blocks),
            decoder_block_out_channels=(width,) * len(decoder_blocks),
            num_encoder_blocks=encoder_blocks,
            num_decoder_blocks=decoder_blocks,
            latent_channels=latent_channels,
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
    # Most backgrounds are white: 1 before the decoder maps [0, 1] to [-1, 1].
    nn.init.ones_(vae.decoder.layers[-1].bias)


class Posterior(nn.Module):
    """Gaussians about the encoder's means, with one learned deviation for each channel.

    Diffusers' small autoencoder has no second output for deviations; one a channel is enough to
    keep the latents from hiding detail in tiny differences.

    Args:
        deviation: To start from.
    """

    def __init__(self, channels: int, deviation: float) -> None:
        super().__init__()
        self.log_deviations = nn.Parameter(torch.full((channels,), deviation).log())

    @property
    def deviations(self) -> Tensor:
        """Standard deviation of each channel, float32 (channels,)."""
        return self.log_deviations.float().exp()

    def forward(self, means: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents and their divergence from the standard normal distribution.

        Args:
            means: Shape (n, channels, height, width).
            noise: Standard normal, of the same shape.
        """
        deviations = self.deviations.view(1, -1, 1, 1)
        return means + (deviations * noise).to(means.dtype), kl_divergence(means, deviations)


def kl_divergence(means: Tensor, deviations: Tensor) -> Tensor:
    """Return KL(N(mean, deviation^2) || N(0, 1)), the mean over all latents, float32.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes, arXiv 1312.6114, appendix B.
    """
    means = means.float()
    return 0.5 * (means.square() + deviations.square() - 1 - 2 * deviations.log()).mean()


def picture_losses(decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return the squared error of `pixels` and of `edges`, the slopes between neighbours.

    Squared rather than absolute: on drawings with a plain background the absolute error has the
    background alone as a resting place, and learns several times slower.

    Args:
        decoded: Shape (n, 3, height, width), range [-1, 1].
        target: The same.

    Returns:
        float32 means.
    """
    error = decoded.float() - target.float()
    across, down = error.diff(dim=-1), error.diff(dim=-2)
    return {
        "pixels": error.square().mean(),
        "edges": (across.square().mean() + down.square().mean()) / 2,
    }


@torch.no_grad()
def channel_statistics(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel over all parts, shape (channels,).

    Args:
        parts: Latents, each (n, channels, height, width).
    """
    values = torch.cat([part.double().transpose(0, 1).flatten(1) for part in parts], 1)
    return values.mean(1).float(), values.std(1, correction=0).float()


def standardised(latents: Tensor) -> Tensor:
    """Return latents with zero mean and unit variance in each channel of this batch, float32.

    The decoder then learns on the scale at which it will draw, whatever the encoder does.

    Args:
        latents: Shape (n, channels, height, width).
    """
    return functional.batch_norm(latents.float(), None, None, training=True, eps=1e-8)


def scale_encoder(vae: AutoencoderTiny, mean: Tensor, std: Tensor) -> None:
    """Fold `(latents - mean) / std` into the encoder's last layer.

    Args:
        vae: Changed in place.
        mean: Shape (latent channels,).
        std: Shape (latent channels,).
    """
    last = vae.encoder.layers[-1]
    with torch.no_grad():
        last.weight.div_(std.view(-1, 1, 1, 1))
        last.bias.sub_(mean).div_(std)


def normalise(vae: AutoencoderTiny, mean: Tensor, std: Tensor) -> None:
    """Fold `(latents - mean) / std` into the encoder, and undo it in the decoder.

    The encoder's part is exact. The decoder pads with zeros and squashes large latents, so a small
    error is left that grows with the change; training the decoder on removes it.

    Args:
        vae: Changed in place.
        mean: Shape (latent channels,).
        std: Shape (latent channels,).
    """
    scale_encoder(vae, mean, std)
    first = vae.decoder.layers[0]
    with torch.no_grad():
        first.bias.add_((first.weight * mean.view(1, -1, 1, 1)).sum(dim=(1, 2, 3)))
        first.weight.mul_(std.view(1, -1, 1, 1))


@dataclass(frozen=True, slots=True)
class VaeFigures:
    """How well pictures survive the way there and back.

    Attributes:
        psnr_db: Mean peak signal-to-noise ratio.
        sharpness: Energy of the rebuilt pictures' slopes, by that of the originals; 1 is as sharp,
            below is blurred, above is ringing or noise.
    """

    psnr_db: float
    sharpness: float


@torch.no_grad()
def measure(rebuilt: Callable[[Tensor], Tensor], parts: Iterable[Tensor]) -> VaeFigures:
    """Send pictures through an autoencoder and compare.

    Args:
        rebuilt: Encodes and decodes a batch.
        parts: Batches (n, 3, height, width) in [-1, 1].
    """
    ratios, energies = [], torch.zeros(2, dtype=torch.float64)
    for target in parts:
        decoded = rebuilt(target).clamp(-1, 1)
        ratios.append(psnr(decoded, target))
        energies += torch.stack([slope_energy(decoded), slope_energy(target)])
    drawn, original = energies.tolist()
    return VaeFigures(torch.cat(ratios).mean().item(), drawn / original)


def rebuild(vae: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Return pictures after encoding and decoding, float32."""
    return vae.decoder(encode(vae, pictures)).float()


def encode(vae: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Return latents in the format that the encoder computes in."""
    return vae.encoder(pictures.to(vae.encoder.layers[0].weight.dtype))


def psnr(pictures: Tensor, targets: Tensor) -> Tensor:
    """Return each picture's peak signal-to-noise ratio in dB; infinite for equal pictures.

    Args:
        pictures: Shape (n, 3, height, width) in [-1, 1].
        targets: The same.
    """
    error = (pictures - targets).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4 / error)  # the range [-1, 1] has a peak of 2


def slope_energy(pictures: Tensor) -> Tensor:
    """Return the sum of squared differences between neighbours, float64 on the CPU."""
    across, down = pictures.double().diff(dim=-1), pictures.double().diff(dim=-2)
    return (across.square().sum() + down.square().sum()).cpu()
