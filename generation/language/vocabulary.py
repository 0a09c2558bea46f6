"""What a checkpoint knows: which words it cannot know, what comes nearest, what are its things.

A checkpoint with a vocabulary draws what it was taught, whatever it is asked for. A word counts as
known if it stands in the vocabulary, in the singular or the plural, or means nearly the same as
something that does. What is neither is told to whoever asked, with the nearest entries.
"""

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from generation.language import meanings
from generation.language.prompt_words import fold, forms, words_of
from generation.language.text_encoder import tokenizer
from generation.work.checkpoints import MEANINGS, Checkpoint
from generation.work.remarks import UnknownWord

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
MAX_NAME_LENGTH = 40

# What is suggested is put into a sentence as it is, so it must be free of markup.
_NAME = re.compile(r"[^\W\d_](?:[^\W_]|[ '’-])*")
# What puts two things into one picture. A thing of another (a slice of pizza) is one.
_JOINED = re.compile(
    r"\b(?:and|with|in|on|under|over|behind|beside|near|next to|in front of|inside|holding|wearing"
    r"|riding|eating|carrying|chasing)\b|&|\+|,(?= (?:an?|the|one|two|three) )",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=4)
def _opened(entries: tuple[str, ...], num_things: int, folder: str) -> "Vocabulary":
    return Vocabulary(entries, num_things, folder)


def vocabulary_of(checkpoint: Checkpoint) -> "Vocabulary":
    """Return what a checkpoint knows."""
    count = checkpoint.num_things or len(checkpoint.vocabulary)
    # Only what was compared with its record is read.
    folder = checkpoint.source if MEANINGS in checkpoint.sha256 else ""
    return _opened(checkpoint.vocabulary, count, folder)


def names_in(vocabulary: Iterable[str]) -> list[str]:
    """Return the entries that can be put into a sentence, whose meanings are compared."""
    return [entry for entry in vocabulary if _is_name(entry)]


class Vocabulary:
    """What a checkpoint knows, by its letters and, as soon as that is needed, by its meanings.

    Args:
        entries: Of the vocabulary.
        num_things: How many of the first entries may be suggested.
        folder: Where the entries' meanings lie; empty if they must be encoded.
    """

    def __init__(self, entries: tuple[str, ...], num_things: int, folder: str) -> None:
        self._folder = folder
        self._entries = entries
        self._names = names_in(entries)
        things = set(entries[:num_things])
        self._is_thing = torch.tensor([entry in things for entry in self._names])
        # The shortest entry speaks for a word: `cat` rather than `cat face`.
        self._by_form = {
            form: entry
            for entry in sorted(entries, key=len, reverse=True)
            for word in words_of(entry)
            for form in forms(word)
        }

    def holds(self, word: str) -> bool:
        """Return whether a word stands in the vocabulary."""
        return not forms(word).isdisjoint(self._by_form)

    @torch.inference_mode()
    def unlike(self, words: Sequence[str]) -> list[UnknownWord]:
        """Return the words that mean nothing in the vocabulary, with what comes nearest."""
        if not self._names:
            return [UnknownWord(word, ()) for word in words]
        found = []
        for word in words:
            row = (meanings.of(_readings(word)) @ self._meanings.T).amax(0)
            # The encoder has one token for all emoji, so a prompt with one says nothing to it.
            if not word.isalpha() or row.max() < KNOWN_FROM:
                spelt = [*self._spelt_like(word)]
                # A tag such as "annelid" means the worm, but tells nobody what can be drawn.
                row = row.where(self._is_thing, -1)
                nearest = row.argsort(descending=True).tolist()
                enough = [i for i in nearest if row[i] >= NEAR_FROM] or nearest[: not spelt]
                near = _varied([*spelt, *(self._names[i] for i in enough)])
                found.append(UnknownWord(word, near))
        return found

    @functools.cached_property
    def _meanings(self) -> Tensor:
        """Of the names, float32 (names, 384)."""
        kept = meanings.read(Path(self._folder), self._names) if self._folder else None
        return meanings.of(self._names) if kept is None else kept

    def things_in(self, text: str) -> Iterator[str]:
        """Yield the words of a text that name things here, where several are put together.

        A text whose words all stand in one entry names one thing: a bow and arrow.
        """
        words = [word for word in words_of(text) if word.isalpha()]
        own = [forms(word) for word in words]
        if any(all(not each.isdisjoint(entry) for each in own) for entry in self._wordings):
            return
        for part in _JOINED.split(text):
            named = [word for word in words_of(part) if not forms(word).isdisjoint(self._heads)]
            yield from named[-1:]

    @functools.cached_property
    def _wordings(self) -> list[set[str]]:
        """Of the entries of several words, all forms of these words."""
        wordings = [[*words_of(entry)] for entry in self._entries]
        return [
            {form for word in words for form in forms(word)} for words in wordings if len(words) > 1
        ]

    @functools.cached_property
    def _heads(self) -> set[str]:
        """Forms of the words that name an entry: `pie` of "pie", "a pie with cream"."""
        named = (_JOINED.split(entry, 1)[0] for entry in self._entries)
        return {form for name in named for word in [*words_of(name)][-1:] for form in forms(word)}

    def _spelt_like(self, word: str) -> Iterator[str]:
        """Yield the entry that was meant if the word looks misspelt.

        The encoder's tokenizer has nearly every common word whole and takes misspelt ones apart.
        """
        if len(tokenizer().tokenize(word)) > 1:
            for found in difflib.get_close_matches(
                fold(word)[:MAX_NAME_LENGTH], self._by_form, 1, SPELT_ALIKE
            ):
                if _is_name(self._by_form[found]):
                    yield self._by_form[found]


def _is_name(entry: str) -> bool:
    is_plain = len(entry) <= MAX_NAME_LENGTH and _NAME.fullmatch(entry) is not None
    return is_plain and any(True for _ in words_of(entry))


def _readings(word: str) -> list[str]:
    """Return what to measure: a word also in the singular, an emoji by its name in Unicode."""
    return sorted(forms(word)) if word.isalpha() else [unicodedata.name(word, word).lower()]


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
