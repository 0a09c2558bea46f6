"""A font for whatever people wrote: Pillow's own where it has the letters, else one of the system's.

Pillow brings one font, of Latin letters. Which font of a machine has which letters is what
fontconfig knows; where it is absent, or knows none, letters come out as boxes, and `undrawable`
says which.

Source: https://www.freedesktop.org/software/fontconfig/fontconfig-user.html (charset patterns).
"""

import functools
import shutil
import subprocess
import unicodedata
from collections.abc import Iterable

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont | ImageFont.TransposedFont

SIZE_PX = 10  # of Pillow's own
TIMEOUT_S = 5.0
NO_GLYPH = "\U0010fffe"  # a noncharacter: what a font draws for it, it draws for all it lacks
UNSEEN = frozenset({"Cc", "Cf", "Mn", "Me", "Zs", "Zl", "Zp"})  # a font need not have these


@functools.lru_cache(maxsize=256)
def font_for(text: str) -> Font:
    """Return the font in which the fewest letters of a text are missing; Pillow's own if it can."""
    own = _own()
    missing = _missing(own, text)
    if not missing:
        return own
    other = _of_the_system("".join(sorted(missing)))
    if other is None or len(_missing(other, text)) >= len(missing):
        return own
    return other


def undrawable(texts: Iterable[str]) -> list[str]:
    """Return the letters, sorted, that no font of this machine can draw beside the others."""
    return sorted(set().union(*(_missing(font_for(text), text) for text in texts)))


@functools.cache
def _own() -> Font:
    return ImageFont.load_default(SIZE_PX)


@functools.lru_cache(maxsize=256)
def _of_the_system(letters: str) -> Font | None:
    program = shutil.which("fc-match")
    if program is None:
        return None
    charset = " ".join(f"{ord(letter):x}" for letter in letters)
    try:
        found = subprocess.run(
            [program, "--format=%{file}", f":charset={charset}:scalable=true:color=false"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        return ImageFont.truetype(found.stdout, SIZE_PX)
    except (subprocess.SubprocessError, OSError):
        return None


def _missing(font: Font, text: str) -> set[str]:
    nothing = _drawn(font, NO_GLYPH)
    letters = {letter for letter in text if unicodedata.category(letter) not in UNSEEN}
    return {letter for letter in letters if _drawn(font, letter) == nothing}


def _drawn(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
