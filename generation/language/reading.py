"""How much of a text a model reads, and cutting it so that what is left out is never its look.

Text encoders read so many tokens and drop the rest without a word. A look's words stand around the
prompt, mostly behind it, so they would be what is dropped. Here the person's own words are cut
instead, at the end of a word, and where that is can be told.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from generation.work.checkpoints import Checkpoint
from generation.work.remarks import Cut, Field
from generation.work.requests.imagine import Imagine, WeightedPrompt

SHOWN_WORDS = 3
SHOWN_LENGTH = 40

# Where a text may end: after a word, in one without spaces (Chinese, emoji) after any character.
_PIECE = re.compile(r"[^\s\u2e80-\U0010ffff]+|[\u2e80-\U0010ffff]")


@dataclasses.dataclass(frozen=True, slots=True)
class Reader:
    """One text encoder, as far as the length of a text goes.

    Args:
        count: Tokens of a text, special ones included, nothing cut off.
        max_tokens: How many it reads.
    """

    count: Callable[[str], int]
    max_tokens: int

    def reads(self, text: str) -> bool:
        """Return whether it reads the whole text."""
        return self.count(text) <= self.max_tokens


def beginning(text: str, caption: Callable[[str], str], readers: Sequence[Reader]) -> str:
    """Return as much of a text as is read whole once the look's words stand around it.

    Args:
        text: Comes back as it is, to the letter, if all of it is read.
        caption: Puts the look's words around it.
        readers: All that must read it.

    Returns:
        Its first words, at least one: a look that is too long by itself is not ours to cut.
    """

    def is_read(end: int) -> bool:
        shown = caption(text[:end].rstrip(" ,;"))
        return all(reader.reads(shown) for reader in readers)

    if all(reader.reads(caption(text)) for reader in readers):
        return text
    ends = [piece.end() for piece in _PIECE.finditer(text)]
    low, high = 0, len(ends) - 1  # the last end that is read lies in low .. high - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_read(ends[middle]) else (low, middle)
    return text[: ends[low]].rstrip(" ,;")


def captions(
    checkpoint: Checkpoint, request: Imagine, readers: Sequence[Reader]
) -> list[WeightedPrompt]:
    """Return the parts of a prompt in the words of its look, each cut to what is read."""
    caption = functools.partial(checkpoint.caption, request)
    return [
        WeightedPrompt(caption(beginning(part.text, caption, readers)), part.weight)
        for part in request.prompts
    ]


def negative_prompt(request: Imagine, readers: Sequence[Reader]) -> str:
    """Return what to avoid, cut to what is read."""
    return beginning(request.negative_prompt, str, readers)


def cuts(checkpoint: Checkpoint, request: Imagine, readers: Sequence[Reader]) -> tuple[Cut, ...]:
    """Return where a request's texts were cut, in their order; nothing where all was read."""
    caption = functools.partial(checkpoint.caption, request)
    found = itertools.chain(
        *(
            cut("prompt", part.text, beginning(part.text, caption, readers))
            for part in request.prompts
        ),
        cut("negative_prompt", request.negative_prompt, negative_prompt(request, readers)),
    )
    return tuple(found)


def cut(field: Field, text: str, kept: str) -> Iterator[Cut]:
    """Yield the remark on a text of which only the beginning was kept."""
    if kept != text:
        words = kept.split()[-SHOWN_WORDS:]
        yield Cut(field, " ".join(words)[-SHOWN_LENGTH:])
