"""What the discriminator sees changes by chance alone, and gradients find the way back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from generation.learning.training.differentiable_augmentation import POLICIES, augment


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, side: int = 16) -> torch.Tensor:
    return torch.rand((count, 3, side, side), generator=chance(1)) * 2 - 1


def test_without_policy_nothing_changes() -> None:
    assert torch.equal(augment(pictures(), (), chance()), pictures())


@given(st.integers(0, 2**31), st.sampled_from(POLICIES))
def test_same_generator_same_change(seed: int, policy: str) -> None:
    first = augment(pictures(), (policy,), chance(seed))
    assert torch.equal(first, augment(pictures(), (policy,), chance(seed)))
    assert first.shape == (4, 3, 16, 16)


@given(st.integers(0, 2**31))
def test_translation_moves_whole_pixels_and_never_further_than_an_eighth(seed: int) -> None:
    shown = pictures(1)
    moved = augment(shown, ("translation",), chance(seed))
    padded = torch.nn.functional.pad(shown, (2, 2, 2, 2))
    places = [padded[:, :, y : y + 16, x : x + 16] for y in range(5) for x in range(5)]
    assert sum(torch.equal(moved, place) for place in places) == 1


@given(st.integers(0, 2**31))
def test_cutout_empties_at_most_a_quarter_and_keeps_the_rest(seed: int) -> None:
    shown = pictures(1)
    cut = augment(shown, ("cutout",), chance(seed))
    is_empty = (cut == 0).all(1)
    assert 1 / 16 <= is_empty.float().mean() <= 1 / 4
    assert torch.equal(cut, shown * ~is_empty[:, None])


def test_colour_keeps_shapes() -> None:
    """A recoloured grey picture is the same picture in another contrast and brightness."""
    grey = pictures()[:, :1].expand(-1, 3, -1, -1)
    changed = augment(grey, ("colour",), chance())
    for before, after in zip(grey.flatten(1), changed.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([before, after]))[0, 1] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_reach_the_pictures(policy: str) -> None:
    shown = pictures().requires_grad_()
    augment(shown, (policy,), chance()).square().sum().backward()
    assert (shown.grad.abs().sum((1, 2, 3)) > 0).all()


def test_a_picture_is_changed_the_same_whatever_else_is_in_the_policy() -> None:
    alone = augment(pictures(), ("cutout",), chance())
    both = augment(pictures(), ("translation", "cutout"), chance())
    assert torch.equal((alone == 0).all(1), (both == 0).all(1) & (alone == 0).all(1))
