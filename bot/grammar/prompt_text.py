"""Text as typed, made safe to read, with every character's place kept for error messages."""

import dataclasses
from collections.abc import Sequence

from bot.visible import is_mark, visible
from generation.work.requests.imagine import MAX_PROMPT_LENGTH

MAX_TYPED_LENGTH = 20_000  # longer input is refused unread
WINDOW = 60  # characters of context in PromptError.pointer


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
            letter if letter.isprintable() and not is_mark(letter) else " " for letter in window
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
    """Return `source` without what cannot be seen; applied twice it changes nothing more."""
    kept = visible(source.text)
    if kept is None:
        return source
    offsets = [source.offsets[index] for index, _ in kept]
    return Marked("".join(letter for _, letter in kept), offsets, source.typed)
