"""Make pictures of pictures, for what people ask and no set draws: two things, other colours."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image

from generation.learning.dataset.captions import with_article
from generation.learning.dataset.stored import Row, Split

GROUP = "scenes"
PEOPLE = "people and body"
COLOURS: Mapping[str, float] = {
    "red": 0.0, "orange": 28.0, "yellow": 50.0, "green": 120.0, "blue": 215.0, "purple": 275.0,
    "pink": 335.0,
}  # fmt: skip
COLOUR_WORDS = frozenset({*COLOURS, "black", "white", "brown", "grey", "gold", "rainbow", "polar"})
GREY_SATURATION = 0.2
# Mean length of the hues as arrows, 0 to 1: below, a drawing has no one colour to change.
LEAST_ONE_COLOURED = 0.6
SAME_HUE_DEGREES = 18.0
MOST_SHARE = 10.0

Pixels = npt.NDArray[np.uint8]
Chance = np.random.Generator


class Arrangement(StrEnum):
    """How a scene is laid out."""

    BESIDE = "beside"
    WITH = "with"
    WORN = "worn"
    COLOURED = "coloured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """How many pictures to make of those of each look, as shares of them; the default makes none.

    Attributes:
        beside: Two things side by side, as in "a fox and a rocket".
        holding: A thing with a smaller one in front, as in "a bear with a balloon".
        wearing: A thing with one of `worn` on top, as in "a cat with a crown".
        coloured: A thing in a named colour, as in "a blue horse".
        worn: Concepts that others may wear.
        plain: Concepts that take no part, such as signs and shapes.
    """

    beside: float = 0.0
    holding: float = 0.0
    wearing: float = 0.0
    coloured: float = 0.0
    worn: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("beside", "holding", "wearing", "coloured"):
            if not 0 <= getattr(self, name) <= MOST_SHARE:
                raise ValueError(f"{name} must be from 0 to {MOST_SHARE}")


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture to make.

    Attributes:
        row: What it will be in the dataset.
        parts: Numbers of the rows that it is made of, the first named first.
        colour: One of `COLOURS`, where that is what changes.
    """

    row: Row
    arrangement: Arrangement
    parts: tuple[int, ...]
    colour: str = ""


def plan(
    rows: Sequence[Row],
    scenes: Scenes,
    synonyms: Mapping[str, Sequence[str]],
    picture: Callable[[int], Pixels],
) -> list[Scene]:
    """Choose what to make, by lots that another look does not draw again.

    Only training pictures that the scorer may see as well are used, so nothing held back leaks.

    Args:
        rows: The dataset so far, split up.
        synonyms: Other words for exactly the same concept.
        picture: Returns a row's picture in any size.
    """
    planned: list[Scene] = []
    for look in dict.fromkeys(row.look for row in rows):
        usable = [
            number
            for number, row in enumerate(rows)
            if row.look == look
            and row.split is Split.TRAIN
            and not row.is_unseen_by_scorer
            and row.concept not in scenes.plain
        ]
        seed = hashlib.sha256(f"scenes\0{look}".encode()).digest()
        chance = np.random.default_rng(list(seed))
        found = _of_look(rows, usable, scenes, synonyms, picture, chance)
        planned += (
            Scene(_row(rows[parts[0]], number, phrases, rows, parts), arrangement, parts, colour)
            for number, (arrangement, parts, colour, phrases) in enumerate(found)
        )
    return planned


Found = tuple[Arrangement, tuple[int, ...], str, tuple[str, ...]]


def _of_look(
    rows: Sequence[Row],
    usable: Sequence[int],
    scenes: Scenes,
    synonyms: Mapping[str, Sequence[str]],
    picture: Callable[[int], Pixels],
    chance: Chance,
) -> Iterator[Found]:
    def pick(numbers: Sequence[int]) -> int:
        return numbers[int(chance.integers(len(numbers)))]

    def name(number: int) -> str:
        names = (rows[number].concept, *synonyms.get(rows[number].concept, ()))
        return names[int(chance.integers(len(names)))]

    worn = [number for number in usable if rows[number].concept in scenes.worn]
    for share, arrangement, seconds in (
        (scenes.beside, Arrangement.BESIDE, usable),
        (scenes.holding, Arrangement.WITH, usable),
        (scenes.wearing, Arrangement.WORN, worn),
    ):
        for _ in range(round(share * len(usable)) if seconds else 0):
            first, second = pick(usable), pick(seconds)
            if rows[first].concept != rows[second].concept:
                phrases = _phrases(arrangement, name(first), name(second))
                yield arrangement, (first, second), "", phrases
    paintable = [number for number in usable if _is_paintable(rows[number])]
    wanted = round(scenes.coloured * len(usable)) if paintable else 0
    for number in (pick(paintable) for _ in range(wanted)):
        if _hue(picture(number)) is not None:
            colour = list(COLOURS)[int(chance.integers(len(COLOURS)))]
            words = f"{colour} {name(number)}"
            yield Arrangement.COLOURED, (number,), colour, (words, with_article(words))


def _is_paintable(row: Row) -> bool:
    """Say whether a colour may be put before its name: not twice, and never before people."""
    return row.group != PEOPLE and COLOUR_WORDS.isdisjoint(row.concept.split())


def _phrases(arrangement: Arrangement, first: str, second: str) -> tuple[str, ...]:
    one, other = with_article(first), with_article(second)
    if arrangement is Arrangement.BESIDE:
        return (f"{first} and {second}", f"{one} and {other}", f"{one} next to {other}")
    ways = [f"{first} with {other}", f"{one} with {other}"]
    if arrangement is Arrangement.WORN:
        ways.append(f"{one} wearing {other}")
    return tuple(ways)


def _row(
    first: Row, number: int, phrases: tuple[str, ...], rows: Sequence[Row], parts: Sequence[int]
) -> Row:
    return Row(
        key=f"{first.look}/{GROUP}/{number}",
        concept=phrases[0],
        look=first.look,
        group=GROUP,
        phrasings=phrases,
        split=Split.SCENE,
        is_unseen_by_scorer=False,
        may_mirror=all(rows[part].may_mirror for part in parts),
        licence=" AND ".join(sorted({rows[part].licence for part in parts})),
    )


def compose(scene: Scene, pictures: Sequence[Pixels]) -> Pixels:
    """Draw a scene.

    Args:
        pictures: Of its parts: uint8 (side, side, 4) with straight alpha.

    Returns:
        The same format.
    """
    if scene.arrangement is Arrangement.COLOURED:
        return recoloured(pictures[0], scene.colour)
    side = len(pictures[0])
    first, second = (Image.fromarray(each, "RGBA").convert("RGBa") for each in pictures)
    canvas = Image.new("RGBa", (side, side))
    if scene.arrangement is Arrangement.BESIDE:
        for left, each in ((0.02, first), (0.51, second)):
            _lay(canvas, each, (left, 0.15, left + 0.47, 0.85), (0.5, 1.0))
    elif scene.arrangement is Arrangement.WITH:
        _lay(canvas, first, (0.02, 0.04, 0.8, 0.96), (0.5, 0.5))
        _lay(canvas, second, (0.52, 0.5, 0.98, 0.98), (1.0, 1.0))
    else:
        _, top, _, _ = _lay(canvas, first, (0.1, 0.27, 0.9, 0.98), (0.5, 1.0))
        end = top / side + 0.07
        _lay(canvas, second, (0.25, max(0.01, end - 0.34), 0.75, end), (0.5, 1.0))
    return np.asarray(canvas.convert("RGBA"))


def _lay(
    canvas: Image.Image,
    drawing: Image.Image,
    box: tuple[float, float, float, float],
    gravity: tuple[float, float],
) -> tuple[int, int, int, int]:
    """Lay a drawing over the canvas, as large as fits into a box; return where it came to lie.

    Args:
        drawing: Colours multiplied by alpha; its empty margin is cut off.
        box: Left, top, right, bottom as shares of the side.
        gravity: Where in the box, across and down: 0 is its start, 1 its end.
    """
    side = canvas.width
    left, top, right, bottom = (edge * side for edge in box)
    drawing = drawing.crop(drawing.getchannel("a").getbbox() or (0, 0, side, side))
    scale = min((right - left) / drawing.width, (bottom - top) / drawing.height)
    size = (max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale)))
    drawing = drawing.resize(size, Image.Resampling.LANCZOS)
    x = round(left + gravity[0] * (right - left - size[0]))
    y = round(top + gravity[1] * (bottom - top - size[1]))
    # Pillow's own alpha_composite wants straight alpha, where resizing would bleed.
    below = canvas.crop((x, y, x + size[0], y + size[1]))
    over = np.asarray(drawing, np.uint16)
    under = np.asarray(below, np.uint16)
    mixed = over + under * (255 - over[..., 3:]) // 255
    canvas.paste(
        Image.frombytes("RGBa", size, mixed.clip(0, 255).astype(np.uint8).tobytes()), (x, y)
    )
    return x, y, x + size[0], y + size[1]


def _hsv(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Return hue, saturation and value in [0, 1], (side, side, 3)."""
    return np.asarray(Image.fromarray(pixels[..., :3], "RGB").convert("HSV"), np.float64) / 255


def _hue(pixels: Pixels) -> float | None:
    """Return a drawing's one hue in degrees, -1 for a grey one, None for one of many colours."""
    hue, saturation, value = np.moveaxis(_hsv(pixels), 2, 0)
    seen = pixels[..., 3] / 255
    if not seen.any():
        return None
    weights = seen * value * (saturation > GREY_SATURATION) * saturation
    if weights.sum() < GREY_SATURATION**2 * seen.sum():
        return -1.0
    mean = (weights * np.exp(2j * np.pi * hue)).sum() / weights.sum()
    if abs(mean) < LEAST_ONE_COLOURED:
        return None
    return float(np.degrees(np.angle(mean)) % 360)


def recoloured(pixels: Pixels, colour: str) -> Pixels:
    """Return a drawing in a named colour; lights, shadows and outlines stay.

    A grey drawing is tinted, of a coloured one only what has a colour; one that has this colour
    already stays as it is.

    Args:
        pixels: uint8 (side, side, 4), straight alpha.
        colour: One of `COLOURS`.
    """
    own = _hue(pixels)
    wanted = COLOURS[colour]
    if own is not None and own >= 0 and abs((own - wanted + 180) % 360 - 180) < SAME_HUE_DEGREES:
        return pixels
    hsv = _hsv(pixels)
    _, saturation, value = np.moveaxis(hsv, 2, 0)
    changed = np.ones_like(saturation, np.bool_) if own == -1 else saturation > GREY_SATURATION
    strong = np.maximum(saturation, 0.65)
    bright = value
    if colour == "pink":
        strong, bright = strong * 0.6, 1 - (1 - value) * 0.6
    elif colour in ("yellow", "orange"):
        bright = 1 - (1 - value) * 0.5
    painted = np.stack([np.full_like(value, wanted / 360), strong, bright], 2)
    mixed = np.where(changed[..., None], painted, hsv)
    as_bytes = np.round(mixed.clip(0, 1) * 255).astype(np.uint8)
    rgb = np.asarray(Image.fromarray(as_bytes, "HSV").convert("RGB"))
    return np.concatenate([rgb, pixels[..., 3:]], 2)
