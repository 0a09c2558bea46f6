"""Batches: the caption stays true, and the same chance gives the same bits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from generation.learning.dataset.augment import (
    BACKGROUNDS,
    LEAST_CONTRAST,
    WHITE,
    Augmentation,
    background_words,
    plain,
    varied,
)
from generation.learning.dataset.stored import Dataset, DatasetError, Row, Split, pictures_file

SIDE = 16
ROWS = torch.arange(6)
EVERYTHING = Augmentation(
    shrink=0.3, enlarge=0.2, shift=0.1, rotate_degrees=20, mirror=0.5,
    brightness=0.3, hue_degrees=10, background=0.7,
)  # fmt: skip


def dataset_of(directory: Path, pictures: np.ndarray, *, may_mirror: bool = True) -> Dataset:
    np.save(pictures_file(directory, SIDE), pictures)
    rows = tuple(
        Row(
            key=f"flat/{i}", concept=str(i), look="flat", group="", phrasings=(str(i),),
            split=Split.TRAIN, is_unseen_by_scorer=False, may_mirror=may_mirror, licence="MIT",
        )
        for i in range(len(pictures))
    )  # fmt: skip
    return Dataset(directory, "{prompt}, {look} style", ("flat",), (SIDE,), rows, "1")


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Any bytes at all: every colour with every alpha."""
    chance = np.random.default_rng(0)
    pictures = chance.integers(0, 256, (6, SIDE, SIDE, 4), dtype=np.uint8)
    return dataset_of(tmp_path_factory.mktemp("noise"), pictures)


def one(directory: Path, colour: tuple[int, int, int, int], size: int = SIDE) -> Dataset:
    """Return a centred square of one colour, six times."""
    pictures = np.zeros((6, SIDE, SIDE, 4), np.uint8)
    margin = (SIDE - size) // 2
    pictures[:, margin : margin + size, margin : margin + size] = colour
    return dataset_of(directory, pictures)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_plain_is_the_textbook_composite_on_white(noise: Dataset) -> None:
    stored = noise.pictures(SIDE).astype(np.float64) / 255
    expected = stored[..., :3] * stored[..., 3:] + 1 - stored[..., 3:]
    found = (plain(noise, ROWS, SIDE).permute(0, 2, 3, 1).numpy() + 1) / 2
    assert np.abs(found - expected).max() < 1e-6


def test_changing_nothing_gives_the_plain_bits(noise: Dataset) -> None:
    pictures, words = varied(noise, ROWS, SIDE, Augmentation(), chance())
    assert torch.equal(pictures, plain(noise, ROWS, SIDE))
    assert words == [""] * len(ROWS)


def test_pictures_outside_the_moved_share_keep_their_bits(noise: Dataset) -> None:
    still = Augmentation(share=0.5, shrink=0.5, rotate_degrees=30)
    pictures, _ = varied(noise, torch.zeros(64, dtype=torch.int64), SIDE, still, chance())
    is_same = (pictures == plain(noise, torch.tensor([0]), SIDE)).flatten(1).all(1)
    assert 0.3 < is_same.float().mean() < 0.7


@given(seed=st.integers(0, 2**31))
def test_same_chance_gives_same_bits_and_values_stay_in_range(noise: Dataset, seed: int) -> None:
    first, first_words = varied(noise, ROWS, SIDE, EVERYTHING, chance(seed))
    again, again_words = varied(noise, ROWS, SIDE, EVERYTHING, chance(seed))
    assert torch.equal(first, again)
    assert first_words == again_words
    assert first.abs().max() <= 1
    assert first.dtype == torch.float32
    assert first.shape == (6, 3, SIDE, SIDE)


@given(seed=st.integers(0, 2**31))
def test_words_name_the_colour_in_the_corner(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    dataset = one(tmp_path_factory.getbasetemp(), (0, 255, 255, 255), size=4)
    pictures, words = varied(dataset, ROWS, SIDE, EVERYTHING, chance(seed))
    palette = torch.tensor(list(BACKGROUNDS.values())) / 127.5 - 1
    for corner, text in zip(pictures[:, :, 0, 0], words, strict=True):
        nearest = int((palette - corner).square().sum(1).argmin())
        assert text == background_words(list(BACKGROUNDS)[nearest])
        assert torch.allclose(corner, palette[nearest], atol=1e-5)


def test_nothing_drawn_gives_exactly_the_background(tmp_path: Path) -> None:
    empty = one(tmp_path, (200, 100, 50, 0))
    every_time = Augmentation(background=1, backgrounds=("blue",), rotate_degrees=40, shrink=0.5)
    pictures, words = varied(empty, ROWS, SIDE, every_time, chance())
    blue = torch.tensor(BACKGROUNDS["blue"]) / 255 * 2 - 1
    assert torch.equal(pictures, blue.view(1, 3, 1, 1).expand_as(pictures))
    assert set(words) == {"on a blue background"}
    assert (plain(empty, ROWS, SIDE) == 1).all()


def test_a_drawing_that_would_drown_in_the_background_stays_on_white(tmp_path: Path) -> None:
    blue = one(tmp_path, (*BACKGROUNDS["blue"], 255), size=8)
    on_blue = Augmentation(background=1, backgrounds=("blue",))
    _, words = varied(blue, ROWS, SIDE, on_blue, chance())
    assert set(words) == {""}
    assert 0 < LEAST_CONTRAST < 1


def test_a_background_that_the_drawing_hides_is_not_named(tmp_path: Path) -> None:
    full = one(tmp_path, (250, 240, 20, 255))
    always = Augmentation(background=1, backgrounds=("blue",))
    pictures, words = varied(full, ROWS, SIDE, always, chance())
    assert set(words) == {""}
    assert torch.equal(pictures, plain(full, ROWS, SIDE))


@given(degrees=st.floats(0.5, 15), seed=st.integers(0, 99))
def test_hue_keeps_grey_and_brightness(
    tmp_path_factory: pytest.TempPathFactory, degrees: float, seed: int
) -> None:
    grey = one(tmp_path_factory.getbasetemp(), (90, 90, 90, 255))
    pictures, _ = varied(grey, ROWS, SIDE, Augmentation(hue_degrees=degrees), chance(seed))
    assert torch.allclose(pictures, plain(grey, ROWS, SIDE), atol=1e-5)


def test_mirroring_swaps_left_and_right_only_where_allowed(tmp_path: Path) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (6, SIDE, SIDE, 4), dtype=np.uint8)
    always = Augmentation(mirror=1)
    free = dataset_of(tmp_path, pictures)
    mirrored, _ = varied(free, ROWS, SIDE, always, chance())
    assert torch.equal(mirrored, plain(free, ROWS, SIDE).flip(3))
    text = dataset_of(tmp_path, pictures, may_mirror=False)
    kept, _ = varied(text, ROWS, SIDE, always, chance())
    assert torch.equal(kept, plain(text, ROWS, SIDE))


def test_shrinking_keeps_the_drawing_whole_and_edges_unfringed(tmp_path: Path) -> None:
    # Transparent pixels are stored black here; if their colour leaked, edges would darken.
    square = one(tmp_path, (255, 80, 80, 255), size=12)
    shrunk, _ = varied(square, ROWS, SIDE, Augmentation(shrink=0.4), chance())
    red = shrunk[:, 0]
    assert (red > 1 - 1e-5).all()
    ink = (1 - shrunk[:, 1]).sum((1, 2))
    full = (1 - plain(square, ROWS, SIDE)[:, 1]).sum((1, 2))
    assert (ink < full).all()
    assert (ink > 0.3 * full).all()


def test_a_size_that_was_not_built_says_how_to_get_it(noise: Dataset) -> None:
    with pytest.raises(DatasetError, match="sizes_px"):
        plain(noise, ROWS, 32)


@pytest.mark.parametrize(
    "wrong", [{"hue_degrees": 40}, {"share": 1.5}, {"shift": -0.1}, {"backgrounds": ("mauve",)}]
)
def test_a_setting_that_makes_captions_false_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).removesuffix("s")):
        Augmentation(**wrong)  # type: ignore[arg-type]


def test_white_is_silent() -> None:
    assert background_words(WHITE) == ""
    assert background_words("orange") == "on an orange background"
