"""Where pixels land on the canvas."""

import numpy as np
import pytest
from PIL import Image

from generation.training.raster import place, rasterise_svg
from generation.training.recipe import Variant

BLACK = (0, 0, 0, 255)


def black_square(side_px: int) -> Image.Image:
    return Image.new("RGBA", (side_px, side_px), BLACK)


def half_black(side_px: int) -> Image.Image:
    picture = Image.new("RGBA", (side_px, side_px), (0, 0, 0, 0))
    picture.paste(BLACK, (0, 0, side_px // 2, side_px))
    return picture


def test_scale_is_a_share_of_the_canvas() -> None:
    pixels = place(black_square, Variant(scale=0.5), (64, 64))
    assert (pixels == 0).all(axis=2).sum() == 32 * 32
    assert (pixels[0] == 255).all()


def test_shift_moves_right_and_down() -> None:
    pixels = place(black_square, Variant(scale=0.5, shift_x=0.25, shift_y=0.25), (64, 64))
    assert (pixels[32:, 32:] == 0).all()
    assert (pixels[:32] == 255).all()


def test_mirror_swaps_left_and_right() -> None:
    plain = place(half_black, Variant(scale=1.0), (64, 64))
    mirrored = place(half_black, Variant(scale=1.0, mirror=True), (64, 64))
    assert not np.array_equal(plain, mirrored)
    np.testing.assert_array_equal(plain[:, ::-1], mirrored)


def test_transparency_becomes_white() -> None:
    pixels = place(lambda side: Image.new("RGBA", (side, side)), Variant(scale=1.0), (32, 32))
    assert (pixels == 255).all()


def test_svg_is_rendered_at_its_declared_size() -> None:
    pytest.importorskip("resvg_py")
    picture = rasterise_svg(
        '<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24" viewBox="0 0 8 8">'
        '<rect width="8" height="8" fill="#f00"/></svg>'
    )
    assert picture.size == (24, 24)
    assert picture.getpixel((12, 12)) == (255, 0, 0, 255)
