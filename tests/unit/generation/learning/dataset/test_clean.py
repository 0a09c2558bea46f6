"""Cleaning: what is dropped deserves it, what is kept is a drawing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from generation.learning.dataset.clean import Cleaning, examine, measure, noise, sharpness
from generation.work.progress import silent

SIDE = 64
RED, BLUE = (220, 40, 40, 255), (40, 60, 220, 255)


def drawing(fill: tuple[int, ...] = RED, corners: int = 4, *, turn: int = 0) -> np.ndarray:
    canvas = Image.new("RGBA", (4 * SIDE, 4 * SIDE))
    pen = ImageDraw.Draw(canvas)
    pen.regular_polygon((128, 128, 110), corners, rotation=turn, fill=fill)
    pen.ellipse((100, 60, 150, 110), fill=(250, 240, 230, 255))
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX))


def smiling(mouth: tuple[int, int]) -> np.ndarray:
    face = Image.fromarray(drawing((250, 200, 60, 255), 12))
    ImageDraw.Draw(face).arc((20, 20, 44, 44), *mouth, fill=(80, 40, 0), width=3)
    return np.asarray(face)


def verdict(pictures: list[np.ndarray], keys: list[str], **settings: float) -> dict[str, str]:
    return examine(np.stack(pictures), keys, Cleaning(**settings), silent).reasons  # type: ignore[arg-type]


def test_good_drawings_all_stay_in_order() -> None:
    pictures = [drawing(RED, corners) for corners in (3, 4, 5, 6)]
    verdicts = examine(np.stack(pictures), list("abcd"), Cleaning(), silent)
    assert verdicts.kept.tolist() == [0, 1, 2, 3]
    assert verdicts.kept.dtype == np.int64
    assert not verdicts.reasons


def test_blank_frames_go_whether_empty_white_or_one_dot() -> None:
    empty = np.zeros((SIDE, SIDE, 4), np.uint8)
    white = np.full((SIDE, SIDE, 4), 255, np.uint8)
    dot = empty.copy()
    dot[30:33, 30:33] = RED
    full = np.full((SIDE, SIDE, 4), RED, np.uint8)
    reasons = verdict([empty, white, dot, full], ["flat/a", "flat/b", "flat/c", "flat/d"])
    assert len(reasons) == 4
    assert all(reason.startswith("blank") for reason in reasons.values())


def test_noise_and_blur_go_and_say_so() -> None:
    chance = np.random.default_rng(0)
    sharp = drawing(corners=5)
    dirty = sharp.astype(np.float64)
    dirty[..., :3] += chance.normal(0, 60, (SIDE, SIDE, 1))
    dirty = dirty.clip(0, 255).astype(np.uint8)
    soft = np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(4)))
    reasons = verdict([sharp, dirty, soft], ["flat/sharp", "flat/dirty", "flat/soft"])
    assert set(reasons) == {"flat/dirty", "flat/soft"}
    assert reasons["flat/dirty"].startswith("noise")
    assert reasons["flat/soft"].startswith("blur")


@given(sigma=st.floats(0.01, 0.1), seed=st.integers(0, 999))
def test_noise_is_estimated_in_its_own_unit(sigma: float, seed: int) -> None:
    chance = np.random.default_rng(seed)
    grey = np.full((1, SIDE, SIDE), 0.5) + chance.normal(0, sigma, (1, SIDE, SIDE))
    found = noise(grey.astype(np.float32), np.ones((1, SIDE, SIDE), bool))
    assert found[0] == pytest.approx(sigma, rel=0.1)


def test_noise_does_not_see_slopes_and_edges() -> None:
    slope = np.linspace(0, 1, SIDE, dtype=np.float32) + np.zeros((1, SIDE, 1), np.float32)
    step = (slope > 0.5).astype(np.float32)
    everywhere = np.ones((1, SIDE, SIDE), bool)
    assert noise(slope, everywhere)[0] < 1e-6
    assert noise(step, everywhere)[0] == 0


def test_sharpness_falls_with_blur_and_ignores_contrast() -> None:
    grey = Image.fromarray(drawing()).convert("L")
    blurred = [grey.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 1, 2, 4)]
    stack = np.stack([np.asarray(picture, np.float32) / 255 for picture in blurred])
    found = sharpness(stack)
    assert (np.diff(found) < 0).all()
    assert sharpness(0.9 + 0.05 * stack) == pytest.approx(found, rel=1e-3)


def test_of_twins_in_one_look_the_shortest_name_stays() -> None:
    twin = drawing().copy()
    twin[..., 0] = np.where(twin[..., 3] == 255, twin[..., 0] - 2, twin[..., 0])
    reasons = verdict([drawing(), twin], ["flat/small square", "flat/square"])
    assert reasons == {"flat/small square": "twin of flat/square"}


def test_the_same_drawing_in_another_look_stays() -> None:
    assert not verdict([drawing(), drawing()], ["flat/square", "noto/square"])


def test_colour_and_expression_make_no_twins() -> None:
    pictures = [drawing(RED), drawing(BLUE), smiling((0, 180)), smiling((180, 360))]
    assert not verdict(pictures, ["flat/red", "flat/blue", "flat/happy", "flat/sad"])


def test_a_chain_of_twins_keeps_one_that_all_were_compared_with() -> None:
    reasons = verdict([drawing()] * 3, ["flat/ccc", "flat/a", "flat/bb"])
    assert reasons == {"flat/ccc": "twin of flat/a", "flat/bb": "twin of flat/a"}


def test_a_blank_frame_has_no_twins() -> None:
    empty = np.zeros((SIDE, SIDE, 4), np.uint8)
    reasons = verdict([empty, empty], ["flat/a", "flat/b"])
    assert all(reason.startswith("blank") for reason in reasons.values())


def test_switched_off_everything_stays() -> None:
    empty = np.zeros((2, SIDE, SIDE, 4), np.uint8)
    verdicts = examine(empty, ["flat/a", "flat/b"], Cleaning(is_on=False), silent)
    assert verdicts.kept.tolist() == [0, 1]


def test_blocks_do_not_show() -> None:
    chance = np.random.default_rng(0)
    pictures = chance.integers(0, 256, (70, SIDE, SIDE, 4), dtype=np.uint8)
    together = measure(pictures, silent)
    alone = measure(pictures[66:67], silent)
    assert together.noise[66] == alone.noise[0]
    assert together.hashes[66] == alone.hashes[0]
    assert (together.thumbnails[66] == alone.thumbnails[0]).all()


def test_a_size_that_cannot_be_shrunk_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        examine(np.zeros((1, 48, 48, 4), np.uint8), ["flat/a"], Cleaning(), silent)
