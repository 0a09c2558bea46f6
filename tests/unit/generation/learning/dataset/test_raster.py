"""Drawings become square pixels with honest edges, and damaged ones say why."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generation.learning.dataset import raster
from generation.learning.dataset.raster import Picture, UnreadablePicture, rasterise, rasterise_many

RED = (255, 0, 0, 255)
NS = 'xmlns="http://www.w3.org/2000/svg"'


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def svg(attributes: str, body: str) -> Picture:
    return Picture(f"<svg {NS} {attributes}>{body}</svg>")


def test_every_size_is_square() -> None:
    wide = encoded(Image.new("RGB", (60, 20), "red"))
    small, large = rasterise(Picture(wide), (15, 30))
    assert (small.shape, large.shape) == ((15, 15, 4), (30, 30, 4))
    assert large[15, 15].tolist() == [*RED]


def test_wide_picture_keeps_its_proportions() -> None:
    (pixels,) = rasterise(Picture(encoded(Image.new("RGB", (60, 20), "red"))), (30,))
    is_drawn = pixels[..., 3] > 0
    assert is_drawn.any(axis=1).sum() == 10
    assert is_drawn.any(axis=0).sum() == 30


def test_edges_do_not_darken() -> None:
    """Clear black beside opaque red: averaged without regard to alpha, the edge would be brown."""
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    picture.paste(RED, (0, 0, 33, 64))
    (pixels,) = rasterise(Picture(encoded(picture)), (16,))
    edge = pixels[(pixels[..., 3] > 20) & (pixels[..., 3] < 250)]
    assert len(edge)
    assert (edge[:, 0] > 250).all()


def test_photograph_is_turned_upright() -> None:
    picture = Image.new("RGB", (20, 20), "red")
    picture.paste((0, 0, 255), (0, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    (pixels,) = rasterise(Picture(encoded(picture, "JPEG", exif=exif)), (20,))
    assert pixels[15, 10, 2] > 200
    assert pixels[5, 10, 0] > 200


def test_svg_fills_the_square_it_is_asked_for() -> None:
    square = svg('width="8" height="8"', '<rect width="8" height="8" fill="#f00"/>')
    for pixels in rasterise(square, (16, 50)):
        assert (pixels == RED).all()


def test_svg_may_say_its_size_in_millimetres() -> None:
    half = svg('width="25.4mm" height="25.4mm"', '<rect width="48" height="96" fill="#f00"/>')
    (pixels,) = rasterise(half, (20,))
    assert (pixels[:, :10] == RED).all()
    assert (pixels[:, 10:, 3] == 0).all()


def test_old_svg_without_a_namespace_is_drawn() -> None:
    old = '<svg width="8" height="8"><rect width="8" height="8" fill="#f00"/></svg>'
    (pixels,) = rasterise(Picture(old), (4,))
    assert (pixels == RED).all()


def test_trimming_cuts_off_the_empty_page() -> None:
    page = svg('viewBox="0 0 400 300"', '<rect x="300" y="10" width="40" height="40" fill="#f00"/>')
    (whole,) = rasterise(page, (64,))
    (trimmed,) = rasterise(Picture(page.content, is_trimmed=True), (64,))
    assert (whole[..., 3] > 0).mean() < 0.02
    assert (trimmed[..., 3] > 0).mean() > 0.6
    assert trimmed[32, 32].tolist() == [*RED]


def bomb(side_px: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("side_px", [10_000, 60_000])
def test_decompression_bomb_is_refused_by_its_header(side_px: int) -> None:
    with pytest.raises(UnreadablePicture, match="pixels"):
        rasterise(Picture(bomb(side_px)), (16,))


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense",
        b"",
        encoded(Image.effect_noise((64, 64), 90))[:-400],
        encoded(Image.effect_noise((64, 64), 90), "JPEG")[:300],
        encoded(Image.new("RGB", (8, 8)), "GIF"),
    ],
    ids=["nonsense", "empty", "half PNG", "half JPEG", "other kind"],
)
def test_damaged_bitmap_says_so(content: bytes) -> None:
    with pytest.raises(UnreadablePicture):
        rasterise(Picture(content), (16,))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<svg", "broken SVG"),
        ("<html/>", "its root is html"),
        (f"<svg {NS}><rect width='5' height='5'/></svg>", "no size"),
        (f"<svg {NS} width='0' height='5'/>", "no size"),
        (f"<svg {NS} viewBox='0 0 -5 5'/>", "no size"),
        ("\0", "broken SVG"),
    ],
)
def test_broken_svg_says_so(content: str, said: str) -> None:
    with pytest.raises(UnreadablePicture, match=said):
        rasterise(Picture(content), (16,))


def test_one_damaged_picture_does_not_stop_the_others() -> None:
    good = Picture(encoded(Image.new("RGB", (8, 8), "red")))
    first, second, third = rasterise_many([good, Picture(b"nonsense"), good], (4,))
    assert second == "it is no PNG, WebP or JPEG"
    assert isinstance(first, list)
    assert isinstance(third, list)
    np.testing.assert_array_equal(first[0], third[0])


def test_process_draws_what_is_laid_ready_and_leaves_nothing(tmp_path: Path) -> None:
    pictures = [Picture(encoded(Image.new("RGB", (8, 8), (i, 0, 0)))) for i in range(3)]
    pictures.insert(1, Picture(b"nonsense"))
    part = tmp_path / "part"
    raster.write_part(part, pictures)
    with raster.pool(1) as pool:
        reasons = pool.submit(raster.draw_part, part, (4, 8)).result(timeout=60)
    drawn, here = raster.take_part(part, (4, 8), reasons), rasterise_many(pictures, (4, 8))
    assert drawn[1] == here[1] == "it is no PNG, WebP or JPEG"
    for number in (0, 2, 3):
        for elsewhere, expected in zip(drawn[number], here[number], strict=True):
            np.testing.assert_array_equal(elsewhere, expected)
    assert list(tmp_path.iterdir()) == []
