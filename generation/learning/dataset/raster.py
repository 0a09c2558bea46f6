"""Turn drawings into square RGBA pixels, in several sizes and on several cores."""

import io
import pickle
import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 40_000_000
FORMATS = ("PNG", "WEBP", "JPEG")
PROBE_PX = 128
SVG = "http://www.w3.org/2000/svg"
PX_PER_UNIT = {"": 1, "px": 1, "pt": 4 / 3, "pc": 16, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96}
LENGTH = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([a-z]*)\s*")
# What Pillow's decoders raise on damaged files.
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, zlib.error)

Pixels = npt.NDArray[np.uint8]
# One array a size, or what is wrong with the picture.
Drawn = list[Pixels] | str


class UnreadablePicture(ValueError):
    """The file is damaged, or is no picture of the kinds that are read."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing's file.

    Attributes:
        content: An SVG document, or an encoded PNG, WebP or JPEG.
        is_trimmed: Its empty margins are cut off first.
    """

    content: str | bytes
    is_trimmed: bool = False


def rasterise(picture: Picture, sizes_px: Sequence[int]) -> list[Pixels]:
    """Draw one picture in every size, whole and centred on a transparent square.

    Returns:
        One array a size: uint8 of shape (side, side, 4), straight alpha.

    Raises:
        UnreadablePicture: The file is damaged, too large, or empty.
    """
    if isinstance(picture.content, bytes):
        return [_fitted(_open(picture.content), side) for side in sizes_px]
    document = _Document(picture.content)
    if picture.is_trimmed:
        document.trim()
    return [np.asarray(document.rendered(side), np.uint8) for side in sizes_px]


def rasterise_many(pictures: Sequence[Picture], sizes_px: Sequence[int]) -> list[Drawn]:
    """Draw several pictures; in the place of a damaged one stands what is wrong with it."""
    drawn: list[Drawn] = []
    for picture in pictures:
        try:
            drawn.append(rasterise(picture, sizes_px))
        except UnreadablePicture as error:
            drawn.append(str(error))
    return drawn


def pool(processes: int) -> ProcessPoolExecutor:
    """Start drawing processes; processes, because the renderer holds on to the interpreter."""
    # spawn: a fork would copy torch's threads and their locks from whoever called.
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


def write_part(part: Path, pictures: Sequence[Picture]) -> None:
    """Lay pictures ready for a drawing process.

    Pictures travel in files, and nothing but names and reasons through the pool: a process that is
    killed half through a long message leaves the executor waiting for the rest forever.
    """
    part.write_bytes(pickle.dumps(pictures))


def draw_part(part: Path, sizes_px: Sequence[int]) -> list[str]:
    """Draw what `write_part` wrote; runs in a drawing process.

    Returns:
        For each picture what is wrong with it; empty where nothing is.
    """
    pictures = pickle.loads(part.read_bytes())  # noqa: S301 - written by this very build
    drawn = rasterise_many(pictures, sizes_px)
    for number, side_px in enumerate(sizes_px):
        blank = np.zeros((side_px, side_px, 4), np.uint8)
        pixels = [blank if isinstance(each, str) else each[number] for each in drawn]
        np.save(_drawn_file(part, side_px), np.stack(pixels))
    return [each if isinstance(each, str) else "" for each in drawn]


def take_part(part: Path, sizes_px: Sequence[int], reasons: Sequence[str]) -> list[Drawn]:
    """Return what `draw_part` drew, as `rasterise_many` does, and clear it away."""
    files = [_drawn_file(part, side_px) for side_px in sizes_px]
    arrays = [np.load(file) for file in files]
    for file in (part, *files):
        file.unlink()
    return [reason or [array[number] for array in arrays] for number, reason in enumerate(reasons)]


def _drawn_file(part: Path, side_px: int) -> Path:
    return part.with_name(f"{part.name}-{side_px}.npy")


def _open(encoded: bytes) -> Image.Image:
    """Decode a bitmap; its size is read from the header before a pixel is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise UnreadablePicture(
                        f"{picture.width} x {picture.height} is over {MAX_PIXELS / 1e6:.0f} M pixels"
                    )
                return ImageOps.exif_transpose(picture).convert("RGBA")
    except UnreadablePicture:
        raise
    except (Image.DecompressionBombError, *DAMAGED) as error:
        reason = str(error) if not isinstance(error, UnidentifiedImageError) else ""
        raise UnreadablePicture(reason or "it is no PNG, WebP or JPEG") from error


def _fitted(picture: Image.Image, side_px: int) -> Pixels:
    """Scale to fit and centre; Pillow premultiplies RGBA itself, so no dark rims appear."""
    scale = side_px / max(picture.size)
    size = [max(1, round(length * scale)) for length in picture.size]
    scaled = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (side_px, side_px))
    canvas.paste(scaled, ((side_px - size[0]) // 2, (side_px - size[1]) // 2))
    return np.asarray(canvas, np.uint8)


class _Document:
    """An SVG document that can be told how large to be."""

    def __init__(self, text: str) -> None:
        try:
            self._root = ElementTree.fromstring(text)  # noqa: S314 - expat stops entity bombs
            if self._root.tag == "svg":  # of old, without the namespace that the renderer wants
                named = text.replace("<svg", f'<svg xmlns="{SVG}"', 1)
                self._root = ElementTree.fromstring(named)  # noqa: S314
        except (ElementTree.ParseError, ValueError) as error:
            raise UnreadablePicture(f"broken SVG: {error}") from error
        if self._root.tag != f"{{{SVG}}}svg":
            raise UnreadablePicture(f"broken SVG: its root is {self._root.tag}")
        self._box = self._declared_box()

    def _declared_box(self) -> tuple[float, float, float, float]:
        """Return left, top, width and height in the document's own units."""
        numbers = re.split(r"[\s,]+", self._root.get("viewBox", "").strip())
        try:
            left, top, width, height = (float(number) for number in numbers)
        except ValueError:
            left, top = 0.0, 0.0
            width, height = (_length(self._root.get(key, "")) for key in ("width", "height"))
        if width <= 0 or height <= 0:
            raise UnreadablePicture("broken SVG: it says no size")
        return left, top, width, height

    def trim(self) -> None:
        """Cut off empty margins; clip art often fills a corner of a page."""
        drawn = self.rendered(PROBE_PX).getchannel("A").getbbox()
        if drawn is None:
            raise UnreadablePicture("it draws nothing")
        left, top, width, height = self._box
        unit = max(width, height) / PROBE_PX
        left -= (max(width, height) - width) / 2
        top -= (max(width, height) - height) / 2
        # A pixel more on every side: the edge lies somewhere within it.
        self._box = (
            left + (drawn[0] - 1) * unit,
            top + (drawn[1] - 1) * unit,
            (drawn[2] - drawn[0] + 2) * unit,
            (drawn[3] - drawn[1] + 2) * unit,
        )

    def rendered(self, side_px: int) -> Image.Image:
        """Draw it in a square; what does not fill the square stays transparent."""
        # Imported here: only building a dataset needs the renderer, drawing pictures does not.
        import resvg_py

        self._root.set("viewBox", " ".join(str(number) for number in self._box))
        # resvg ignores the size it is asked for unless the SVG itself declares one.
        self._root.set("width", str(side_px))
        self._root.set("height", str(side_px))
        self._root.attrib.pop("preserveAspectRatio", None)
        text = ElementTree.tostring(self._root, encoding="unicode")
        try:
            # Without system fonts: the same pixels on every machine.
            encoded = resvg_py.svg_to_bytes(svg_string=text, skip_system_fonts=True)
        except ValueError as error:
            raise UnreadablePicture(f"broken SVG: {error}") from error
        with Image.open(io.BytesIO(bytes(encoded)), formats=("PNG",)) as picture:
            return picture.convert("RGBA")


def _length(text: str) -> float:
    match = LENGTH.fullmatch(text)
    if match is None or match[2] not in PX_PER_UNIT or float(match[1]) == 0:
        raise UnreadablePicture("broken SVG: it says no size")
    return float(match[1]) * PX_PER_UNIT[match[2]]
