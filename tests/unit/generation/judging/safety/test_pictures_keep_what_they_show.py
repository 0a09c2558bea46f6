"""A kept picture shows what viewers show of the file, or what changed is named."""

import itertools
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageCms, ImageDraw

from generation.judging.safety.answers import Change
from generation.judging.safety.decode_child import DECODER_ERRORS, decode
from tests.unit.generation.judging.safety.pictures import (
    COLOUR,
    COLOUR_ALPHA,
    DISPLAY_P3,
    GREY,
    GREY_ALPHA,
    animated,
    chunk,
    encoded,
    noise,
    png,
    profile_of,
    srgb_profile,
    text_of,
    with_chunks,
)

# Of Pillow about EXIF; the child has no one to tell.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

SUITE = Path(__file__).parents[6] / "shared" / "corpora" / "pngsuite" / "suite"
LENIENT = {"png_xcsn0g01.png"}  # a wrong checksum of pixels, which Pillow does not look at
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
ORIENTATION = 0x0112
# What a camera does to an upright picture that it marks so: the inverse of what a viewer does.
TURNED_BY_CAMERA = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
SILENT_EXIF = (
    b"b'Exif\\x00\\x00II*'",
    b"Exif\0\0nonsense from some editor",
    b"Exif\0\0II*\0\xff\xff\xff\x7f",
    b"Exif\0\0MM\0*",
    b"Exif\0\0",
    b"\0",
)


def shown(content: bytes, max_side_px: int = 1024) -> Image.Image:
    """The kept picture of a file of which nothing had to change."""
    picture, changes = decode(content, max_side_px, SRGB)
    assert changes == []
    assert picture.mode == "RGB"
    return picture


def changes_of(content: bytes, max_side_px: int = 1024) -> list[Change]:
    return decode(content, max_side_px, SRGB)[1]


def distance(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of a sample."""
    assert one.size == other.size
    return max(high for _, high in ImageChops.difference(one, other).getextrema())


def scene() -> Image.Image:
    """Of smooth shades and four corners that nothing confuses."""
    shades = Image.linear_gradient("L").resize((60, 40))
    picture = Image.merge("RGB", (shades, shades.rotate(180), Image.new("L", (60, 40), 90)))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 19, 15), fill="red")
    draw.rectangle((40, 0, 59, 15), fill="yellow")
    draw.rectangle((0, 24, 19, 39), fill="blue")
    return picture


@pytest.mark.parametrize(
    ("colour_type", "depth"),
    [
        *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
        *itertools.product((COLOUR, GREY_ALPHA, COLOUR_ALPHA), (8, 16)),
    ],
)
def test_samples_of_every_depth_keep_their_shade(colour_type, depth):
    top = 2**depth - 1
    shares = [place / 15 for place in range(16)]
    has_alpha = colour_type in {GREY_ALPHA, COLOUR_ALPHA}
    count = 1 if colour_type in {GREY, GREY_ALPHA} else 3
    row = [
        sample for share in shares for sample in ([round(share * top)] * count + [top] * has_alpha)
    ]
    picture = shown(png([row], depth, colour_type))
    for x, share in enumerate(shares):
        expected = round(share * top) / top * 255
        assert picture.getpixel((x, 0)) == pytest.approx((expected,) * 3, abs=1)


def test_sixteen_bit_grey_has_all_its_shades():
    picture = shown(png([[shade * 257 for shade in range(256)]], 16, GREY))
    assert [picture.getpixel((x, 0)) for x in range(256)] == [(x, x, x) for x in range(256)]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_found_at_every_depth(depth):
    top = 2**depth - 1
    key = top // 3
    row = [key, top, 0 if key else top]
    picture, changes = decode(
        png([row], depth, GREY, chunk(b"tRNS", struct.pack(">H", key))), 1024, SRGB
    )
    assert changes == [Change.ON_WHITE]
    expected = [255] + [round(255 * sample / top) for sample in row[1:]]
    assert [picture.getpixel((x, 0))[0] for x in range(3)] == expected


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour_is_found_at_every_depth(depth):
    key = [value << (depth - 8) for value in (0x80, 0x20, 0x10)]
    other = [value << (depth - 8) for value in (0x10, 0x20, 0x80)]
    content = png([key + other], depth, COLOUR, chunk(b"tRNS", struct.pack(">3H", *key)))
    picture, changes = decode(content, 1024, SRGB)
    assert changes == [Change.ON_WHITE]
    assert [picture.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (0x10, 0x20, 0x80)]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA"])
def test_every_mode_of_a_png_shows_what_it_shows(mode):
    image = scene().convert(mode)
    assert distance(shown(encoded(image, "PNG")), image.convert("RGB")) <= 1


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "WEBP"])
def test_what_is_transparent_is_white_and_said(file_format):
    image = Image.new("RGBA", (16, 16), (9, 9, 9, 0))
    image.paste((200, 0, 0, 255), (0, 0, 8, 16))
    options = {"lossless": True} if file_format == "WEBP" else {}
    picture, changes = decode(encoded(image, file_format, **options), 1024, SRGB)
    assert changes == [Change.ON_WHITE]
    assert picture.getpixel((2, 2)) == pytest.approx((200, 0, 0), abs=8)
    assert picture.getpixel((12, 2)) == (255, 255, 255)


def test_a_palette_with_degrees_of_transparency_is_laid_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 0, 0, 0])
    image.putpixel((1, 0), 1)
    picture, changes = decode(encoded(image, "PNG", transparency=bytes([255, 127])), 1024, SRGB)
    assert changes == [Change.ON_WHITE]
    assert [picture.getpixel((x, 0))[0] for x in range(2)] == [0, 128]


def test_the_inks_of_a_print_become_their_colours():
    inks = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    inks.paste((0, 255, 0, 128), (16, 0, 32, 32))
    picture = shown(encoded(inks, "JPEG", quality=95))
    assert picture.getpixel((4, 4)) == pytest.approx((0, 255, 255), abs=6)
    assert picture.getpixel((28, 4)) == pytest.approx((127, 0, 127), abs=6)


def test_inks_stored_as_lightness_and_tints_become_their_colours():
    """YCCK: Adobe's marker says that cyan, magenta and yellow were turned into YCbCr."""
    cyan, magenta, yellow, black = 200, 40, 90, 30
    tints = Image.new("RGB", (1, 1), (cyan, magenta, yellow)).convert("YCbCr").getpixel((0, 0))
    stored = Image.new("CMYK", (32, 32), (*(255 - tint for tint in tints), black))
    content = bytearray(encoded(stored, "JPEG", quality=98))
    content[content.index(b"Adobe") + 11] = 2  # the colour transform
    expected = Image.new("CMYK", (1, 1), (cyan, magenta, yellow, black)).convert("RGB")
    assert shown(bytes(content)).getpixel((9, 9)) == pytest.approx(expected.getpixel((0, 0)), abs=4)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_stands_upright(orientation, file_format):
    turn = TURNED_BY_CAMERA.get(orientation)
    stored = scene() if turn is None else scene().transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    picture = shown(encoded(stored, file_format, exif=exif, **options[file_format]))
    assert distance(picture, scene()) <= (90 if file_format == "JPEG" else 1)
    for corner in ((5, 5), (50, 5), (5, 34)):
        assert picture.getpixel(corner) == pytest.approx(scene().getpixel(corner), abs=12)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", SILENT_EXIF)
def test_exif_that_cannot_be_read_says_nothing(exif, file_format):
    content = encoded(scene(), file_format, exif=exif, **_exact(file_format))
    assert exif in content or exif.removeprefix(b"Exif\0\0") in content
    plain = encoded(scene(), file_format, **_exact(file_format))
    assert distance(shown(content), shown(plain)) == 0


def test_orientation_before_a_broken_entry_is_followed():
    """As phones write it: a resolution of 0/0."""
    entries = struct.pack("<HHII", ORIENTATION, 3, 1, 6) + struct.pack("<HHII", 0x011A, 5, 1, 38)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + bytes(4) + bytes(8)
    assert shown(encoded(noise(64, 48), "JPEG", exif=exif)).size == (48, 64)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_colours_of_a_wide_profile_become_those_of_srgb(file_format):
    image = Image.new("RGB", (16, 16), (40, 90, 200))
    content = encoded(image, file_format, icc_profile=profile_of(DISPLAY_P3), **_exact(file_format))
    # By the matrices of CSS Color 4, which no colour management made.
    assert shown(content).getpixel((8, 8)) == pytest.approx((10, 91, 207), abs=3)


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA"])
def test_a_profile_is_followed_in_every_mode_of_colours(mode):
    content = encoded(flat((220, 30, 30), mode), "PNG", icc_profile=exchanged_profile())
    assert shown(content).getpixel((8, 8)) == pytest.approx((30, 220, 30), abs=6)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_stays_grey_under_a_profile_of_colours(mode):
    content = encoded(flat((200, 200, 200), mode), "PNG", icc_profile=exchanged_profile())
    assert shown(content).getpixel((8, 8)) == pytest.approx((200, 200, 200), abs=2)


def flat(colour: tuple[int, int, int], mode: str) -> Image.Image:
    image = Image.new("RGB", (16, 16), colour)
    return image.quantize(2) if mode == "P" else image.convert(mode)


def exchanged_profile() -> bytes:
    """sRGB with red and green exchanged."""
    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    return profile_of((green, red, blue))


def test_a_profile_of_srgb_changes_nothing():
    picture = shown(encoded(scene(), "PNG", icc_profile=srgb_profile()))
    assert distance(picture, scene()) <= 1


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"no profile at all", id="nonsense"),
        pytest.param(srgb_profile()[:300], id="cut"),
        pytest.param(srgb_profile()[:16] + b"CMYK" + srgb_profile()[20:], id="of other colours"),
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_profile_that_cannot_be_followed_is_said(profile, file_format):
    content = encoded(scene(), file_format, icc_profile=profile, **_exact(file_format))
    picture, changes = decode(content, 1024, SRGB)
    assert changes == [Change.COLOURS]
    plain = encoded(scene(), file_format, **_exact(file_format))
    assert distance(picture, shown(plain)) == 0


def test_a_profile_that_is_packed_wrongly_or_too_large_is_said():
    plain = encoded(scene(), "PNG")
    for body in (b"name\0\0not packed", b"name\0\0" + zlib.compress(bytes(5 * 2**20)), b"name"):
        assert changes_of(with_chunks(plain, chunk(b"iCCP", body))) == [Change.COLOURS]


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_samples_of_another_gamma_get_the_usual_one(mode):
    linear = flat((55, 55, 55), mode)
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    expected = round(255 * (55 / 255) ** (1 / 2.2))
    picture = shown(with_chunks(encoded(linear, "PNG"), gamma))
    assert picture.getpixel((3, 3)) == pytest.approx((expected,) * 3, abs=1)


def test_srgb_is_believed_before_gamma_and_chromaticities():
    others = struct.pack(">8I", 31270, 32900, 73470, 26530, 11470, 82640, 15660, 1770)
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    chunks = (gamma, chunk(b"cHRM", others), chunk(b"sRGB", b"\0"))
    assert distance(shown(with_chunks(encoded(scene(), "PNG"), *chunks)), scene()) == 0


def test_the_usual_gamma_and_chromaticities_change_nothing():
    usual = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    chunks = (chunk(b"gAMA", struct.pack(">I", 45_455)), chunk(b"cHRM", usual))
    assert distance(shown(with_chunks(encoded(scene(), "PNG"), *chunks)), scene()) == 0


def test_colours_that_are_described_but_not_followed_are_said():
    others = struct.pack(">8I", 31270, 32900, 73470, 26530, 11470, 82640, 15660, 1770)
    chromaticities = (chunk(b"gAMA", struct.pack(">I", 45_455)), chunk(b"cHRM", others))
    high_dynamic_range = chunk(b"cICP", bytes([9, 16, 0, 1]))
    plain = encoded(scene(), "PNG")
    assert changes_of(with_chunks(plain, *chromaticities)) == [Change.COLOURS]
    assert changes_of(with_chunks(plain, high_dynamic_range)) == [Change.COLOURS]
    assert changes_of(with_chunks(plain, chunk(b"cICP", bytes([1, 13, 0, 1])))) == []


@pytest.mark.parametrize("size_bytes", [70_000, 1_000_000, 3_000_000])
def test_metadata_of_any_size_is_no_reason_to_refuse(size_bytes):
    text = b"x" * size_bytes
    packed = zlib.compress(text)
    plain = encoded(scene(), "PNG")
    for one in (
        chunk(b"zTXt", b"parameters\0\0" + packed),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text),
        chunk(b"caBX", text),
    ):
        assert distance(shown(with_chunks(plain, one)), scene()) == 0
        assert distance(shown(plain[:-12] + one + plain[-12:]), scene()) == 0
    assert distance(shown(encoded(scene(), "PNG", pnginfo=text_of(size_bytes))), scene()) == 0
    webp = encoded(scene(), "WEBP", xmp=text, lossless=True)
    assert distance(shown(webp), scene()) == 0
    comment = b"\xff\xfe" + struct.pack(">H", 60_002) + b"x" * 60_000
    jpeg = encoded(scene(), "JPEG")
    commented = jpeg[:2] + comment * (size_bytes // 60_000 + 1) + jpeg[2:]
    assert distance(shown(commented), shown(jpeg)) == 0


def test_damaged_metadata_is_no_reason_to_refuse():
    plain = encoded(scene(), "PNG")
    for kind in (b"tEXt", b"eXIf", b"iCCP", b"tRNS", b"gAMA", b"acTL"):
        broken = chunk(kind, bytes(9))[:-4] + b"oops"
        assert distance(shown(with_chunks(plain, broken)), scene()) == 0
    assert distance(shown(plain + b"and a long tail"), scene()) == 0


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_what_moves_is_its_first_frame_and_said(file_format):
    picture, changes = decode(animated(file_format), 1024, SRGB)
    assert changes == [Change.FIRST_FRAME]
    assert picture.getpixel((9, 9)) == pytest.approx((255, 0, 0), abs=1)


def test_an_animation_with_a_damaged_end_still_has_a_first_frame():
    content = animated("GIF")
    for cut in range(len(content) - 60, len(content), 7):
        assert decode(content[:cut], 1024, SRGB)[0].getpixel((3, 3)) == (255, 0, 0)


def test_a_still_gif_and_a_photo_with_a_second_picture_do_not_move():
    shown(encoded(scene(), "GIF"))
    second = encoded(scene(), "MPO", save_all=True, append_images=[noise(60, 40)], quality=95)
    assert shown(second).size == (60, 40)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (900, 1), (3, 2), (1024, 2)])
def test_small_and_thin_pictures_keep_their_shape(size):
    for file_format in ("PNG", "JPEG", "WEBP", "GIF"):
        assert shown(encoded(Image.new("RGB", size, "teal"), file_format)).size == size


def test_a_large_picture_is_scaled_to_the_longest_side():
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA"):
        content = encoded(Image.new("RGB", (600, 150), "white").convert(mode), "PNG")
        assert shown(content, max_side_px=100).size == (100, 25)


def test_what_is_too_thin_to_scale_is_said_to_change_its_shape():
    content = encoded(Image.new("RGB", (9000, 2)), "PNG")
    picture, changes = decode(content, 1024, SRGB)
    assert (picture.size, changes) == ((1024, 1), [Change.SQUEEZED])


def test_transparent_pixels_do_not_bleed_when_scaled():
    image = Image.new("RGBA", (400, 400), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 203, 400))
    picture, _ = decode(encoded(image, "PNG"), 100, SRGB)
    assert max(red - green for _, (red, green, _) in picture.getcolors(10_000)) <= 1


@pytest.mark.skipif(not SUITE.is_dir(), reason="no PngSuite beside the checkout")
def test_every_sound_png_of_the_suite_is_kept_and_no_corrupt_one():
    kept = 0
    for path in sorted(SUITE.glob("*.png")):
        is_corrupt = path.name.startswith(("png_x", "x"))
        try:
            decode(path.read_bytes(), 1024, SRGB)
        except (*DECODER_ERRORS, Image.UnidentifiedImageError):
            assert is_corrupt, path.name
        else:
            kept += 1
            assert not is_corrupt or path.name in LENIENT, path.name
    assert kept > 150


def _exact(file_format: str) -> dict[str, object]:
    """Options with which a format keeps colours as they are, or nearly."""
    return {
        "PNG": {},
        "JPEG": {"quality": 98, "subsampling": 0},
        "WEBP": {"lossless": True},
    }[file_format]
