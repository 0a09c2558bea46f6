"""Turn drawings into pixels on a white canvas."""

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable

    from generation.training.recipe import Variant

WHITE = (255, 255, 255, 255)


def rasterise_svg(svg: str) -> Image.Image:
    """Render one SVG at the size it declares.

    Args:
        svg: A complete document with width and height in pixels.

    Returns:
        RGBA picture.
    """
    # Imported here: only building a dataset needs the renderer, drawing pictures does not.
    import resvg_py

    with Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))) as picture:
        return picture.convert("RGBA")


def place(
    render: "Callable[[int], Image.Image]", variant: "Variant", size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Put a drawing on a white canvas, as the variant says.

    Args:
        render: Draws the picture at a given side in pixels, RGBA.
        variant: Scale, shift and mirroring.
        size: Canvas width and height in pixels.

    Returns:
        Array uint8 of shape (height, width, 3).
    """
    width, height = size
    side = max(1, round(variant.scale * min(width, height)))
    drawing = render(side)
    if variant.mirror:
        drawing = ImageOps.mirror(drawing)
    left = round((width - side) / 2 + variant.shift_x * width)
    top = round((height - side) / 2 + variant.shift_y * height)
    layer = Image.new("RGBA", size, (255, 255, 255, 0))
    layer.paste(drawing, (left, top))
    canvas = Image.alpha_composite(Image.new("RGBA", size, WHITE), layer)
    return np.asarray(canvas.convert("RGB"), dtype=np.uint8)
