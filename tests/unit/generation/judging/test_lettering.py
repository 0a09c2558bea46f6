"""Labels come out in the letters they were typed in, or those that cannot are named."""

import shutil
import subprocess

import pytest
from PIL import Image, ImageDraw

from generation.judging.contact_sheet import LEAST_CELL_PX, _lines
from generation.judging.lettering import font_for, undrawable


def has_font(letters: str) -> bool:
    """Whether this machine's fontconfig knows a font with these letters."""
    if shutil.which("fc-list") is None:
        return False
    charset = " ".join(f"{ord(letter):x}" for letter in letters)
    found = subprocess.run(
        ["fc-list", f":charset={charset}:scalable=true:color=false"],
        capture_output=True,
        check=True,
    )
    return bool(found.stdout)


def test_latin_is_drawn_by_the_font_that_is_always_there() -> None:
    assert undrawable(["a red apple, 3d"]) == []
    assert font_for("a red apple") is font_for("3d")


@pytest.mark.parametrize("text", ["яблоко", "تفاحة", "μήλο", "白い猫", "사과", "แอปเปิล", "תפוח"])
def test_letters_are_drawn_where_a_font_has_them_and_named_where_none_has(text: str) -> None:
    letters = "".join(sorted(set(text)))
    if has_font(letters):
        assert undrawable([text]) == []
    else:
        assert set(undrawable([text])) <= set(letters)


def test_a_letter_that_no_font_has_is_named() -> None:
    assert undrawable(["a fox", "a \U0010fffd fox"]) == ["\U0010fffd"]
    assert undrawable(["a\u200dfox\u0301 \n"]) == []  # what has no shape of its own is not missing


def test_a_sentence_without_spaces_goes_on_in_a_second_line() -> None:
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    first, second = _lines("m" * 100, LEAST_CELL_PX, pen)
    for line in (first, second):
        assert 1 <= pen.textlength(line) <= LEAST_CELL_PX
