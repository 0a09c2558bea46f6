"""What of a text can be seen: foreign text is read, shown and judged without the rest. Pure."""

import unicodedata
from collections.abc import Sequence

# Combining marks on one letter; Vietnamese needs two, "zalgo" stacks dozens.
MAX_MARKS = 2
MAX_SCRIPT_MARKS = 4  # that belong to one script: Burmese needs three, Hebrew with vowels four

_ZERO_WIDTH_JOINER = "\u200d"
_ZERO_WIDTH_NON_JOINER = "\u200c"
_VIRAMA = 9  # the combining class of the sign that kills a vowel, behind which a joiner is spelling
# Arabic to Sinhala, Burmese, Khmer and Mongolian: there a joiner or a non-joiner is spelling.
_JOINING = ((0x0600, 0x0DFF), (0x1000, 0x109F), (0x1780, 0x18AF))
# Marks that any script may use, and Cyrillic's; the others each belong to one script.
_GENERAL_MARKS = (
    (0x0300, 0x0489), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE00, 0xFE2F),
)  # fmt: skip
_EMOJI_STYLE = "\ufe0f"  # variation selector 16
_GRAPHEME_JOINER = "\u034f"
# Letters and symbols by category, but blank on the screen.
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_WHITE_CONTROLS = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x1f\x85")


def visible(text: str) -> list[tuple[int, str]] | None:
    """Return what can be seen of a text, each letter with its place in it; None if all of it can.

    Control, format, zero-width and bidirectional characters go (a joiner stays inside an emoji and
    where it is spelling), combining marks stop at `MAX_MARKS` a letter, or at `MAX_SCRIPT_MARKS`,
    white space becomes single spaces.
    """
    if text.isascii() and text.isprintable() and "  " not in text and text == text.strip():
        return None
    kept: list[tuple[int, str]] = []
    # None at the start of a word: they would have no letter to stand on.
    marks = MAX_SCRIPT_MARKS
    for index, letter in enumerate(text):
        before = kept[-1][1] if kept else ""
        replacement = _visible(letter)
        if letter in {_ZERO_WIDTH_JOINER, _ZERO_WIDTH_NON_JOINER}:
            after = text[index + 1 : index + 2]
            replacement = letter if _is_needed(letter, before, after) else ""
        if replacement == "" or (replacement == " " and before in {"", " "}):
            continue
        if replacement == " ":
            marks = MAX_SCRIPT_MARKS
        elif is_mark(replacement):
            is_general = _is_within(replacement, _GENERAL_MARKS)
            if marks >= (MAX_MARKS if is_general else MAX_SCRIPT_MARKS):
                continue
            marks += 1
        else:
            marks = 0
        kept.append((index, replacement))
    if kept and kept[-1][1] == " ":
        kept.pop()
    return kept


def _visible(letter: str) -> str:
    """Return the letter itself, a space for anything blank, or nothing."""
    if letter in _WHITE_CONTROLS or letter in _BLANK_LETTERS:
        return " "
    category = unicodedata.category(letter)
    if category[0] == "Z":
        return " "
    code = ord(letter)
    is_noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    # The supplementary variation selectors hide whole messages in one visible letter.
    is_hidden = letter == _GRAPHEME_JOINER or 0xE0100 <= code <= 0xE01EF
    if category in {"Cc", "Cf", "Cs"} or is_noncharacter or is_hidden:
        return ""
    return letter


def is_mark(letter: str) -> bool:
    """Whether it is drawn on top of the letter before it."""
    return unicodedata.category(letter) in {"Mn", "Me"}


def _is_within(letter: str, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(first <= ord(letter) <= last for first, last in ranges)


def _is_needed(joiner: str, before: str, after: str) -> bool:
    """Whether a joiner or a non-joiner holds an emoji together, or is how a word is spelt."""
    if joiner == _ZERO_WIDTH_JOINER and (before == _EMOJI_STYLE or _is_pictorial(before)):
        return _is_pictorial(after)
    if (
        not before
        or not _is_within(before, _JOINING)
        or unicodedata.category(before)[0] not in "LM"
    ):
        return False
    is_letter = (
        bool(after) and _is_within(after, _JOINING) and unicodedata.category(after)[0] == "L"
    )
    return is_letter or unicodedata.combining(before) == _VIRAMA


def _is_pictorial(letter: str) -> bool:
    """Whether a zero-width joiner beside it can be part of an emoji."""
    if not letter or _visible(letter) != letter:
        return False
    # Emoji newer than this Python's Unicode have no category yet, only their block.
    is_symbol = unicodedata.category(letter) in {"So", "Sk"} or letter in "\u2194\u2195"
    return is_symbol or 0x1F000 <= ord(letter) <= 0x1FAFF
