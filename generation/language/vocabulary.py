"""Which words of a prompt a checkpoint cannot know, and what it knows that comes nearest.

A checkpoint with a vocabulary draws what it was taught, whatever it is asked for. A word counts as
known if it stands in the vocabulary, in the singular or the plural, or means nearly the same as
something that does. What is neither is told to whoever asked, with the nearest entries.
"""

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from generation.language import sentences
from generation.language.prompt_words import fold, forms, words_of
from generation.language.text_encoder import tokenizer
from generation.work.checkpoints import Checkpoint
from generation.work.remarks import UnknownWord
from generation.work.requests.imagine import WeightedPrompt

KNOWN_FROM = 0.7
"""Cosine to the nearest entry from which a word counts as known.

Measured on 1,626 entries for 754 things: of 117 everyday plurals, synonyms and pet names of them
74 % count as known (38 by their letters, 48 by this), of 105 things that are not among them 6 %,
such as the trampoline that passes for a tram. From 0.65 it were 80 % and 14 %: more kind words, and
more that cannot be drawn and nobody is told.
"""
SPELT_ALIKE = 0.8
"""difflib's ratio from which an unknown word may be a known one misspelt."""
NEAR_FROM = 0.45
"""Cosine from which an entry is suggested behind a better one."""
MAX_NEAR = 3
MAX_WORDS = 32
"""Words looked up for one prompt; the text encoder reads no more."""
MAX_NAME_LENGTH = 40

# What is suggested is put into a sentence as it is, so it must be free of markup.
_NAME = re.compile(r"[^\W\d_](?:[^\W_]|[ '’-])*")


@torch.inference_mode()
def unknown_words(
    checkpoint: Checkpoint, prompts: Sequence[WeightedPrompt]
) -> tuple[UnknownWord, ...]:
    """Return the words to draw that the checkpoint cannot know, in their order.

    Articles, numbers, colours, sizes and the checkpoint's own looks are passed over.

    The first word that does not stand in the vocabulary has all of it encoded, once a process:
    1,600 entries take about two seconds of one core. Loading a checkpoint does not wait for that.
    """
    looks = {fold(word) for pair in checkpoint.styles.items() for word in words_of(" ".join(pair))}
    text = " ".join(part.text for part in prompts if part.weight > 0)
    asked = {fold(word): word for word in words_of(text) if fold(word) not in looks}
    known = _known(checkpoint.vocabulary, checkpoint.num_things or len(checkpoint.vocabulary))
    foreign = [word for word in asked.values() if not known.holds(word)]
    return tuple(known.unlike(foreign[:MAX_WORDS])) if foreign else ()


@functools.lru_cache(maxsize=4)
def _known(vocabulary: tuple[str, ...], num_things: int) -> "_Known":
    return _Known(vocabulary, num_things)


class _Known:
    """A vocabulary, by its letters and, as soon as that is needed, by its meanings.

    Args:
        num_things: How many of the first entries may be suggested.
    """

    def __init__(self, vocabulary: tuple[str, ...], num_things: int) -> None:
        self._names = [entry for entry in vocabulary if _is_name(entry)]
        things = set(vocabulary[:num_things])
        self._is_thing = torch.tensor([entry in things for entry in self._names])
        # The shortest entry speaks for a word: `cat` rather than `cat face`.
        self._entries = {
            form: entry
            for entry in sorted(vocabulary, key=len, reverse=True)
            for word in words_of(entry)
            for form in forms(word)
        }

    def holds(self, word: str) -> bool:
        """Return whether a word stands in the vocabulary."""
        return not forms(word).isdisjoint(self._entries)

    def unlike(self, words: Sequence[str]) -> Iterator[UnknownWord]:
        """Yield the words that mean nothing in the vocabulary, with what comes nearest."""
        if not self._names:
            yield from (UnknownWord(word, ()) for word in words)
            return
        for word in words:
            row = (_meanings(_readings(word)) @ self._meanings.T).amax(0)
            # The encoder has one token for all emoji, so a prompt with one says nothing to it.
            if not word.isalpha() or row.max() < KNOWN_FROM:
                spelt = [*self._spelt_like(word)]
                # A tag such as "annelid" means the worm, but tells nobody what can be drawn.
                row = row.where(self._is_thing, -1)
                nearest = row.argsort(descending=True).tolist()
                enough = [i for i in nearest if row[i] >= NEAR_FROM] or nearest[: not spelt]
                yield UnknownWord(word, _varied([*spelt, *(self._names[i] for i in enough)]))

    @functools.cached_property
    def _meanings(self) -> Tensor:
        """Of the names, float32 (names, 384)."""
        return _meanings(self._names)

    def _spelt_like(self, word: str) -> Iterator[str]:
        """Yield the entry that was meant if the word looks misspelt.

        The encoder's tokenizer has nearly every common word whole and takes misspelt ones apart.
        """
        if len(tokenizer().tokenize(word)) > 1:
            for found in difflib.get_close_matches(
                fold(word)[:MAX_NAME_LENGTH], self._entries, 1, SPELT_ALIKE
            ):
                if _is_name(self._entries[found]):
                    yield self._entries[found]


def _is_name(entry: str) -> bool:
    is_plain = len(entry) <= MAX_NAME_LENGTH and _NAME.fullmatch(entry) is not None
    return is_plain and any(True for _ in words_of(entry))


def _readings(word: str) -> list[str]:
    """Return what to measure: a word also in the singular, an emoji by its name in Unicode."""
    return sorted(forms(word)) if word.isalpha() else [unicodedata.name(word, word).lower()]


def _meanings(texts: Sequence[str]) -> Tensor:
    return normalize(sentences.encode(texts), dim=1)


def _varied(entries: Iterable[str]) -> tuple[str, ...]:
    """Return the first entries that share no word: not `cat`, `cat face`, `cats`."""
    chosen: dict[str, set[str]] = {}
    for entry in entries:
        own = {form for word in words_of(entry) for form in forms(word)}
        if all(own.isdisjoint(others) for others in chosen.values()):
            chosen[entry] = own
        if len(chosen) == MAX_NEAR:
            break
    return tuple(chosen)
