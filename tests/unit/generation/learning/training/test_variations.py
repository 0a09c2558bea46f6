"""Variations go from the picture itself to something else, and blends from one to another."""

import pytest
import torch

from generation.learning.training import variations


def identity(values: torch.Tensor) -> torch.Tensor:
    return values


def chance(values: torch.Tensor) -> torch.Tensor:
    return torch.randn(values.shape, generator=torch.Generator().manual_seed(1))


def test_no_strength_changes_nothing_and_all_of_it_leaves_only_noise() -> None:
    latents = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(variations.varied(latents, chance(latents), 0.0), latents)
    assert torch.equal(variations.varied(latents, chance(latents), 1.0), chance(latents))


@pytest.mark.parametrize("strength", [variations.SUBTLE, variations.STRONG])
def test_variation_keeps_the_variance(strength: float) -> None:
    latents = torch.randn(1, 100_000, generator=torch.Generator().manual_seed(0))
    assert variations.varied(latents, chance(latents), strength).std() == pytest.approx(1, abs=0.01)


def test_rows_are_originals_rebuilt_varied_more_and_more_and_blended_from_first_to_last() -> None:
    pictures = torch.linspace(-0.5, 0.5, 4).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    drawn, labels = variations.rows(list("abcd"), pictures, identity, identity, chance)
    original, rebuilt, subtle, strong, blended = drawn.split(4)
    assert labels[:5] == ["a", "b", "c", "d", "rebuilt"]
    assert len(labels) == len(drawn) == 20
    assert torch.equal(original, pictures)
    assert torch.equal(rebuilt, pictures)
    near, far = ((each - pictures).square().mean() for each in (subtle, strong))
    assert 0 < near < far
    assert torch.equal(blended[0], pictures[0])
    assert torch.equal(blended[-1], pictures[-1])
    assert (drawn.abs() <= 1).all()
