"""The guarded child: one picture in on stdin, one line of JSON and its pixels out on stdout.

It imports Pillow and nothing heavy, gives up its rights before it reads, and answers every damage
with one name. What kills it is answered by its parent.
"""

import contextlib
import dataclasses
import io
import json
import struct
import sys
import warnings
import zlib

from PIL import (
    Image,
    ImageCms,
    ImageFile,
    ImagePalette,
    MpoImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from generation.judging.safety import png_chunks
from generation.judging.safety.answers import Change, Refusal
from generation.judging.safety.guards import give_up_rights

# Pillow imports these when it first needs them, and by then no file opens.
PRELOADED = (ImagePalette, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)
BEGINNINGS = (png_chunks.SIGNATURE, b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
WIDE = 2**16  # values of a sample of 16 bits
BYTES_IN_WIDE = (WIDE - 1) / 255
ORIENTATION = 0x0112
# EXIF 2.32, orientation: how the stored picture is turned to stand upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DISPLAY_GAMMA = 2.2
SAME_GAMMA = 0.05  # libpng's threshold: a smaller correction is not worth rounding
SQUEEZE_SEEN = 0.1  # relative change of the shape
# What decoders raise on damaged files, beside what Pillow documents.
DECODER_ERRORS = (
    *(OSError, ValueError, SyntaxError, LookupError, ArithmeticError),
    *(TypeError, AttributeError, EOFError, struct.error, zlib.error),
    *(AssertionError, RuntimeError),
)


@dataclasses.dataclass(slots=True)
class Opened:
    """A picture as it came out of its file: not yet upright, in its own colours.

    Args:
        image: Of mode L, LA, RGB, RGBA or CMYK, at most the longest side long.
        exif: As stored, or empty.
        profile: ICC profile, or empty.
        gamma: Of its samples; 1/2.2 is usual.
        changes: What was lost on the way.
    """

    image: Image.Image
    exif: bytes
    profile: bytes
    gamma: float
    changes: list[Change]


def main() -> None:
    """Decode stdin under the limits of the first argument."""
    limits = json.loads(sys.argv[1])
    Image.preinit()
    Image.MAX_IMAGE_PIXELS = limits["max_pixels"]
    warnings.simplefilter("ignore")  # about metadata; nobody reads them
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    guards = give_up_rights(memory_bytes=limits["memory_bytes"], cpu_s=limits["cpu_s"])
    head: dict[str, object] = {"guards": guards}
    pixels = b""
    content = sys.stdin.buffer.read()
    try:
        picture, changes = decode(content, limits["max_side_px"], srgb)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        head["refused"] = Refusal.TOO_MANY_PIXELS.name
    except UnidentifiedImageError:
        begins_like_one = content.startswith(BEGINNINGS) or content[8:12] == b"WEBP"
        refusal = Refusal.DAMAGED if begins_like_one else Refusal.NOT_A_PICTURE
        head["refused"] = refusal.name
    except MemoryError:
        head["refused"] = Refusal.TOO_MUCH_MEMORY.name
    except DECODER_ERRORS:
        head["refused"] = Refusal.DAMAGED.name
    else:
        head |= {"width": picture.width, "height": picture.height}
        head["changes"] = [change.name for change in changes]
        pixels = picture.tobytes()
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + pixels)
    sys.stdout.buffer.flush()


def decode(
    content: bytes, max_side_px: int, srgb: ImageCms.ImageCmsProfile
) -> tuple[Image.Image, list[Change]]:
    """Return the first frame, upright, in sRGB, on white, and what it no longer shows.

    Args:
        content: The file as it came.
        max_side_px: Longest side of the result.
        srgb: The profile to convert to.

    Raises:
        DecompressionBombError: It has more pixels than `Image.MAX_IMAGE_PIXELS`.
        UnidentifiedImageError: It is none of the accepted formats.
        MemoryError: It does not fit.
        Exception: Whatever a decoder raises on a damaged file.
    """
    opened = _open(content, max_side_px)
    image, changes = _upright(opened.image, opened.exif), opened.changes
    colours = image.convert("L" if image.mode == "LA" else "RGB" if image.mode == "RGBA" else None)
    try:
        clean = _in_srgb(colours, opened.profile, opened.gamma, srgb)
    except (ImageCms.PyCMSError, *DECODER_ERRORS):
        changes.append(Change.COLOURS)
        clean = colours.convert("RGB")
    if image.mode in {"LA", "RGBA"}:
        alpha = image.getchannel("A")
        if alpha.getextrema() != (255, 255):
            changes.append(Change.ON_WHITE)
            clean = Image.composite(clean, Image.new("RGB", clean.size, "white"), alpha)
    return clean, changes


def _open(content: bytes, max_side_px: int) -> Opened:
    parts = png_chunks.take_apart(content)
    with Image.open(io.BytesIO(parts.pixels if parts else content), formats=FORMATS) as opened:
        size = opened.size
        if parts is not None:
            _rescale_key(opened, parts.bit_depth)
        changes = [Change.FIRST_FRAME] if _is_animated(opened, content, parts) else []
        opened.draft("RGB", (max_side_px, max_side_px))
        opened.load()
        image = _with_bytes_as_samples(opened)
        exif, profile = opened.info.get("exif", b""), opened.info.get("icc_profile", b"")
    image.thumbnail((max_side_px, max_side_px))
    if abs(image.width / image.height * size[1] / size[0] - 1) > SQUEEZE_SEEN:
        changes.append(Change.SQUEEZED)
    if parts is None:
        return Opened(image, exif, profile or b"", 1 / DISPLAY_GAMMA, changes)
    if parts.is_colour_unknown:
        changes.append(Change.COLOURS)
    return Opened(image, parts.exif, parts.profile, parts.gamma, changes)


def _is_animated(opened: Image.Image, content: bytes, parts: png_chunks.PngParts | None) -> bool:
    """Return whether there are frames beside the first; a photo's second picture is none."""
    if parts is not None:
        return parts.is_animated
    if opened.format != "GIF":
        return opened.format == "WEBP" and getattr(opened, "n_frames", 1) > 1
    # Looked for in a second reading: it moves the place from which the first frame is decoded.
    with (
        contextlib.suppress(*DECODER_ERRORS),
        Image.open(io.BytesIO(content), formats=("GIF",)) as again,
    ):
        return bool(getattr(again, "is_animated", False))
    return False


def _rescale_key(opened: Image.Image, bit_depth: int) -> None:
    """Put the transparent grey or colour on the scale to which Pillow brings the samples."""
    key = opened.info.get("transparency")
    if opened.mode in {"1", "L"} and isinstance(key, int) and bit_depth < 8:
        opened.info["transparency"] = key * 255 // (2**bit_depth - 1)
    elif opened.mode == "RGB" and isinstance(key, tuple) and bit_depth == 16:
        opened.info["transparency"] = tuple(sample >> 8 for sample in key)


def _with_bytes_as_samples(image: Image.Image) -> Image.Image:
    """Return it as L, LA, RGB, RGBA or CMYK, which scale without loss of meaning."""
    if image.mode.startswith("I"):
        return _narrowed(image)
    is_grey = image.mode in {"1", "L", "LA"}
    if image.has_transparency_data:
        return image.convert("LA" if is_grey else "RGBA")
    return image if image.mode == "CMYK" else image.convert("L" if is_grey else "RGB")


def _narrowed(image: Image.Image) -> Image.Image:
    """Return 16-bit grey as L or LA: divided, where a plain conversion would clip it to white."""
    wide = image.convert("I")  # whose samples alone can be looked up in a table
    grey = wide.point([round(sample / BYTES_IN_WIDE) for sample in range(WIDE)], "L")
    if (key := image.info.get("transparency")) is None:
        return grey
    alpha = wide.point([255 * (sample != key) for sample in range(WIDE)], "L")
    return Image.merge("LA", (grey, alpha))


def _upright(image: Image.Image, exif: bytes) -> Image.Image:
    """Turn the picture as its EXIF says; damaged EXIF says nothing."""
    orientation = 1
    with contextlib.suppress(*DECODER_ERRORS):
        read = Image.Exif()
        read.load(exif)
        orientation = read.get(ORIENTATION, 1)
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _in_srgb(
    colours: Image.Image, profile: bytes, gamma: float, srgb: ImageCms.ImageCmsProfile
) -> Image.Image:
    """Return L, RGB or CMYK as RGB in sRGB.

    Raises:
        PyCMSError: The profile is damaged or of other colours than the picture.
    """
    if profile:
        own = ImageCms.getOpenProfile(io.BytesIO(profile))
        if colours.mode == "L" and own.profile.xcolor_space.strip() == "RGB":
            colours = colours.convert("RGB")
        converted = ImageCms.profileToProfile(colours, own, srgb, outputMode="RGB")
        return converted if converted is not None else colours.convert("RGB")
    exponent = 1 / (DISPLAY_GAMMA * gamma)
    if abs(exponent - 1) > SAME_GAMMA:
        table = [round(255 * (sample / 255) ** exponent) for sample in range(256)]
        colours = colours.point(table * len(colours.getbands()))
    return colours.convert("RGB")


if __name__ == "__main__":
    main()
