"""Text as typed, made safe to read, with every character's place kept for error messages."""

import dataclasses
import unicodedata
from collections.abc import Sequence

from generation.work.requests.imagine import MAX_PROMPT_LENGTH

MAX_TYPED_LENGTH = 20_000  # longer input is refused unread
# Combining marks on one letter; Vietnamese needs two, "zalgo" stacks dozens.
MAX_MARKS = 2
MAX_SCRIPT_MARKS = 4  # that belong to one script: Burmese needs three, Hebrew with vowels four
WINDOW = 60  # characters of context in PromptError.pointer

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


class PromptError(ValueError):
    """A prompt that cannot be understood.

    The message holds none of the person's own words except flag, style and model names made of
    letters, digits, dots and dashes; `pointer` shows the rest, unescaped.

    Args:
        message: One or two sentences: what is wrong and how to put it right.
        text: The prompt as typed; empty if the error is not about a place in it.
        position: Offset in `text` of the first offending code point.
        length: How many code points offend; 0 if something is missing.
        suggestion: What was probably meant, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        text: str = "",
        position: int = 0,
        length: int = 0,
        suggestion: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.text = text
        self.position = position
        self.length = length
        self.suggestion = suggestion

    def pointer(self) -> str:
        """Return two lines, a window of the text and carets under what offends.

        Columns are counted in code points, and whatever has no column of its own is shown as a
        space. Empty if the error is not about a place in the text.
        """
        if not self.text:
            return ""
        shown = min(max(self.length, 1), WINDOW // 2)
        start = max(0, min(self.position - WINDOW // 3, len(self.text) - WINDOW))
        window = self.text[start : start + WINDOW]
        line = "".join(
            letter if letter.isprintable() and not _is_mark(letter) else " " for letter in window
        )
        return f"{line}\n{' ' * (self.position - start)}{'^' * shown}"


@dataclasses.dataclass(frozen=True, slots=True)
class Marked:
    """Text whose every character knows where it stood in what was typed.

    Args:
        text: The characters.
        offsets: For each of them, its offset in `typed`; ascending.
        typed: The whole prompt as typed.
    """

    text: str
    offsets: Sequence[int]
    typed: str

    @classmethod
    def of(cls, typed: str) -> "Marked":
        """Return the whole of `typed`."""
        return cls(typed, range(len(typed)), typed)

    def __getitem__(self, part: slice) -> "Marked":
        return Marked(self.text[part], self.offsets[part], self.typed)

    def pick(self, indices: Sequence[int]) -> "Marked":
        """Return the characters at `indices`, which ascend."""
        text = "".join(self.text[index] for index in indices)
        return Marked(text, [self.offsets[index] for index in indices], self.typed)

    def span(self, start: int = 0, end: int | None = None) -> tuple[int, int]:
        """Return offset and length in `typed` of the characters from `start` to `end`."""
        if not self.offsets:
            return 0, 0
        end = len(self.text) if end is None else end
        if start >= len(self.text):
            return self.offsets[-1] + 1, 0
        first = self.offsets[start]
        return first, self.offsets[end - 1] + 1 - first if end > start else 0

    def error(
        self, message: str, start: int = 0, end: int | None = None, suggestion: str | None = None
    ) -> PromptError:
        """Return a `PromptError` that points at the characters from `start` to `end`."""
        position, length = self.span(start, end)
        return PromptError(
            message, text=self.typed, position=position, length=length, suggestion=suggestion
        )


def read(typed: str) -> Marked:
    """Return what was typed, cleaned.

    Raises:
        PromptError: Nothing visible is left, or too much.
    """
    if len(typed) > MAX_TYPED_LENGTH:
        raise _too_long(typed, MAX_PROMPT_LENGTH)
    source = clean(Marked.of(typed))
    if not source.text:
        raise PromptError("The prompt is empty. Write what you want to see.", text=typed)
    if len(source.text) > MAX_PROMPT_LENGTH:
        raise _too_long(typed, source.offsets[MAX_PROMPT_LENGTH])
    return source


def _too_long(typed: str, position: int) -> PromptError:
    return PromptError(
        f"The prompt is longer than {MAX_PROMPT_LENGTH:,} characters. Shorten it.",
        text=typed,
        position=position,
        length=len(typed) - position,
    )


def clean(source: Marked) -> Marked:
    """Return `source` without what cannot be seen; applied twice it changes nothing more.

    Control, format, zero-width and bidirectional characters go (a joiner stays inside an emoji and
    where it is spelling), combining marks stop at `MAX_MARKS` a letter, or at `MAX_SCRIPT_MARKS`,
    white space becomes single spaces.
    """
    text = source.text
    if text.isascii() and text.isprintable() and "  " not in text and text == text.strip():
        return source
    kept: list[int] = []
    letters: list[str] = []
    # None at the start of a word: they would have no letter to stand on.
    marks = MAX_SCRIPT_MARKS
    for index, letter in enumerate(text):
        replacement = _visible(letter)
        if letter in {_ZERO_WIDTH_JOINER, _ZERO_WIDTH_NON_JOINER}:
            before, after = "".join(letters[-1:]), text[index + 1 : index + 2]
            replacement = letter if _is_needed(letter, before, after) else ""
        if replacement == "" or (replacement == " " and (not letters or letters[-1] == " ")):
            continue
        if replacement == " ":
            marks = MAX_SCRIPT_MARKS
        elif _is_mark(replacement):
            is_general = _is_within(replacement, _GENERAL_MARKS)
            if marks >= (MAX_MARKS if is_general else MAX_SCRIPT_MARKS):
                continue
            marks += 1
        else:
            marks = 0
        kept.append(source.offsets[index])
        letters.append(replacement)
    if letters and letters[-1] == " ":
        letters.pop()
        kept.pop()
    return Marked("".join(letters), kept, source.typed)


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


def _is_mark(letter: str) -> bool:
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
