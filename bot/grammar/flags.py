"""The flags of the prompt grammar: names, ranges, and how each value is read and written."""

import dataclasses
import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from generation.work.checkpoints import MAX_RATIO, is_name
from generation.work.requests.imagine import MAX_SEED

MAX_JOBS = 40
QUALITIES = (0.25, 0.5, 1.0, 2.0)
MAX_IMAGE_WEIGHT = 3.0

_RATIO = re.compile(r"([0-9]{1,4}):([0-9]{1,4})", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,12}", re.ASCII)
_DECIMAL = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{0,4})?|\.[0-9]{1,4})", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Args:
        field: The field of `ParsedPrompt` it fills.
        spellings: What may follow the dashes; the first is the one we write.
        value: Its value as the documentation writes it; empty if it takes none.
        allowed: The allowed values, in words.
        example: One correct use.
        meaning: One sentence.
        read: Turns a value into the field's; raises ValueError if it is not allowed.
        write: The inverse of `read`.
    """

    field: str
    spellings: tuple[str, ...]
    value: str
    allowed: str
    example: str
    meaning: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = str


def decimal_text(number: float) -> str:
    """Return a number of at most four decimals as people write it, without an exponent."""
    return f"{number:.4f}".rstrip("0").rstrip(".")


def near(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, or None.

    People get the first letter right: `stile` is `style`, although `tile` shares more letters.
    """
    by_folded = {folded(name): name for name in known}
    found = difflib.get_close_matches(folded(word[:40]), by_folded, n=5)
    found.sort(key=lambda name: name[0] != folded(word)[0])  # the nearest first among equals
    return by_folded[found[0]] if found else None


def folded(name: str) -> str:
    """Return a name in the form in which two spellings of it are equal: any case, any keyboard."""
    return unicodedata.normalize("NFC", name.casefold())


def _read_ratio(text: str) -> tuple[int, int]:
    match = _RATIO.fullmatch(text)
    if not match:
        raise ValueError
    width, height = int(match[1]), int(match[2])
    if min(width, height) < 1 or max(width, height) > MAX_RATIO * min(width, height):
        raise ValueError
    return width, height


def _integer_up_to(largest: int, smallest: int = 0) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _INTEGER.fullmatch(text) or not smallest <= int(text) <= largest:
            raise ValueError
        return int(text)

    return read


def _read_decimal(text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise ValueError
    return float(text)


def _read_quality(text: str) -> float:
    quality = _read_decimal(text)
    if quality not in QUALITIES:
        raise ValueError
    return quality


def _read_image_weight(text: str) -> float:
    weight = _read_decimal(text)
    if weight > MAX_IMAGE_WEIGHT:
        raise ValueError
    return weight


def _read_name(text: str) -> str:
    if not is_name(text):
        raise ValueError
    return text


FLAGS = (
    Flag(
        field="aspect",
        spellings=("ar", "aspect"),
        value="W:H",
        allowed="two whole numbers, from 1:3 to 3:1",
        example="--ar 3:2",
        meaning="Width to height; the area stays the one the model was trained at.",
        read=_read_ratio,
        write=lambda ratio: f"{ratio[0]}:{ratio[1]}",
    ),
    Flag(
        field="seed",
        spellings=("seed",),
        value="N",
        allowed=f"a whole number from 0 to {MAX_SEED}",
        example="--seed 7",
        meaning="The chance the first image starts from; the next ones count up.",
        read=_integer_up_to(MAX_SEED),
    ),
    Flag(
        field="negative",
        spellings=("no",),
        value="A, B, ...",
        allowed="words, up to the next flag",
        example="--no text, frame",
        meaning="What to keep away from; may be given more than once.",
        read=lambda text: (text,),
        write=", ".join,
    ),
    Flag(
        field="style",
        spellings=("style",),
        value="NAME",
        allowed="a style of the model, one word",
        example="--style 3d",
        meaning="The look.",
        read=_read_name,
    ),
    Flag(
        field="stylize",
        spellings=("s", "stylize"),
        value="N",
        allowed="a whole number from 0 to 1000",
        example="--s 250",
        meaning="How hard the words pull (guidance): 0 off, 100 as the model likes it, 1000 twice.",
        read=_integer_up_to(1000),
    ),
    Flag(
        field="chaos",
        spellings=("c", "chaos"),
        value="N",
        allowed="a whole number from 0 to 100",
        example="--c 30",
        meaning="How far the images of one job differ.",
        read=_integer_up_to(100),
    ),
    Flag(
        field="quality",
        spellings=("q", "quality"),
        value="N",
        allowed=".25, .5, 1 or 2",
        example="--q .5",
        meaning="Multiplies the number of steps.",
        read=_read_quality,
        write=decimal_text,
    ),
    Flag(
        field="image_weight",
        spellings=("iw",),
        value="N",
        allowed="a number from 0 to 3",
        example="--iw 1.5",
        meaning="How closely to keep to the picture given.",
        read=_read_image_weight,
        write=decimal_text,
    ),
    Flag(
        field="tile",
        spellings=("tile",),
        value="",
        allowed="no value",
        example="--tile",
        meaning="A picture that repeats without seams.",
        read=bool,
        write=lambda _: "",
    ),
    Flag(
        field="repeat",
        spellings=("r", "repeat"),
        value="N",
        allowed=f"a whole number from 1 to {MAX_JOBS}",
        example="--r 3",
        meaning="Draws the job this many times; not together with `--seed`.",
        read=_integer_up_to(MAX_JOBS, smallest=1),
    ),
    Flag(
        field="model",
        spellings=("model", "m"),
        value="NAME",
        allowed="one of the models here, one word",
        example="--model atelier-emoji",
        meaning="Which model draws.",
        read=_read_name,
    ),
)
BY_SPELLING = {spelling: flag for flag in FLAGS for spelling in flag.spellings}


def flag_table() -> str:
    """Return the table of flags as Markdown, as it stands in `docs/prompts.md`."""
    rows = ["| flag | value | allowed | meaning |", "|---|---|---|---|"]
    for flag in FLAGS:
        spellings = ", ".join(f"`--{spelling}`" for spelling in flag.spellings)
        value = f"`{flag.value}`" if flag.value else "none"
        rows.append(f"| {spellings} | {value} | {flag.allowed} | {flag.meaning} |")
    return "\n".join(rows)
