"""The latents' scale, and what the reconstruction loss punishes."""

import torch
from diffusers import AutoencoderTiny

from generation.training import autoencoder


def tiny() -> AutoencoderTiny:
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=3,
    )
    autoencoder.initialise(vae)
    return vae.eval()


def test_normalised_latents_have_zero_mean_and_unit_variance() -> None:
    vae = tiny()
    pictures = torch.rand((4, 3, 16, 16), generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        before = vae.encoder(pictures)
        mean, std = autoencoder.channel_statistics(before)
        autoencoder.normalise(vae, mean, std)
        after = vae.encoder(pictures)
    torch.testing.assert_close(after, (before - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1))
    mean, std = autoencoder.channel_statistics(after)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(3))


def test_picture_loss_is_zero_only_for_equal_pictures() -> None:
    target = torch.zeros((1, 3, 8, 8))
    assert autoencoder.picture_loss(target, target) == 0
    assert autoencoder.picture_loss(target + 0.1, target) > 0


def test_sharp_error_costs_more_than_an_even_one_of_the_same_size() -> None:
    target = torch.zeros((1, 3, 8, 8))
    stripes = target.clone()
    stripes[..., ::2] = 0.2
    even = torch.full_like(target, 0.1)
    assert autoencoder.picture_loss(stripes, target) > autoencoder.picture_loss(even, target)


def test_spread_penalty_vanishes_for_standard_latents() -> None:
    latents = torch.randn((64, 2, 16, 16), generator=torch.Generator().manual_seed(0))
    assert autoencoder.spread_penalty(latents) < 1e-3
    assert autoencoder.spread_penalty(3 * latents + 1) > 1
