r"""Permutations: `{red, green} {fox, owl}` stands for four prompts.

Braces may be nested and may stand anywhere, also in a flag's value. `\{`, `\}` and, between
braces, `\,` mean the character itself; any other backslash is a backslash.

Source: the permutation prompts of Midjourney's documentation.
"""

import dataclasses
import math

from bot.grammar.prompt_text import Marked

MAX_DEPTH = 8


@dataclasses.dataclass(frozen=True, slots=True)
class _Choice:
    """One pair of braces: sequences of character indices and further choices."""

    start: int
    end: int
    options: "list[list[int | _Choice]]"


_Sequence = list[int | _Choice]


def expand(source: Marked, limit: int) -> list[Marked]:
    """Return every combination, the leftmost braces changing slowest.

    Raises:
        PromptError: Braces are unbalanced, empty or nested too deeply, or there are more than
            `limit` combinations.
    """
    sequence = _Reader(source).read()
    count = _count(sequence)
    if count > limit:
        choices = [piece for piece in sequence if isinstance(piece, _Choice)]
        asked = f"{count:,}" if count < 1_000_000 else "millions of"
        raise source.error(
            f"These braces ask for {asked} jobs; {limit} is the most.",
            choices[0].start,
            choices[-1].end,
        )
    return [source.pick(indices) for indices in _combinations(sequence)]


def _count(sequence: _Sequence) -> int:
    choices = (piece for piece in sequence if isinstance(piece, _Choice))
    return math.prod(sum(map(_count, choice.options)) for choice in choices)


def _combinations(sequence: _Sequence) -> list[list[int]]:
    combinations: list[list[int]] = [[]]
    for piece in sequence:
        if isinstance(piece, int):
            for indices in combinations:
                indices.append(piece)
        else:
            tails = [tail for option in piece.options for tail in _combinations(option)]
            combinations = [indices + tail for indices in combinations for tail in tails]
    return combinations


class _Reader:
    """Reads the braces of one text from left to right."""

    def __init__(self, source: Marked) -> None:
        self._source = source
        self._text = source.text
        self._at = 0

    def read(self) -> _Sequence:
        sequence = self._read_sequence(depth=0)
        if self._at < len(self._text):
            raise self._source.error(
                "This brace closes nothing. Write `\\}` for the character itself.",
                self._at,
                self._at + 1,
            )
        return sequence

    def _read_sequence(self, depth: int) -> _Sequence:
        """Read up to the brace or comma that ends this part, and stop in front of it."""
        sequence: _Sequence = []
        escapable = "{},"[: 3 if depth else 2]
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter == "}" or (letter == "," and depth):
                break
            if letter == "{":
                sequence.append(self._read_choice(depth + 1))
                continue
            following = self._text[self._at + 1 : self._at + 2]
            if letter == "\\" and following and following in escapable:
                self._at += 1
            sequence.append(self._at)
            self._at += 1
        return sequence

    def _read_choice(self, depth: int) -> _Choice:
        start = self._at
        if depth > MAX_DEPTH:
            raise self._source.error(
                f"Braces are nested more than {MAX_DEPTH} deep.", start, start + 1
            )
        options = []
        while self._at < len(self._text) and (self._at == start or self._text[self._at] == ","):
            self._at += 1
            options.append(self._trimmed(self._read_sequence(depth)))
        if self._at == len(self._text):
            raise self._source.error(
                "This brace is never closed. Write `\\{` for the character itself.",
                start,
                start + 1,
            )
        self._at += 1
        if options == [[]]:
            raise self._source.error("There is nothing between these braces.", start, self._at)
        return _Choice(start, self._at, options)

    def _trimmed(self, option: _Sequence) -> _Sequence:
        first, last = 0, len(option)
        while first < last and self._is_space(option[first]):
            first += 1
        while last > first and self._is_space(option[last - 1]):
            last -= 1
        return option[first:last]

    def _is_space(self, piece: int | _Choice) -> bool:
        return isinstance(piece, int) and self._text[piece] == " "
