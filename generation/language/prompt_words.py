"""The words of a text that say what is to be drawn, and when two of them are the same (pure)."""

import re
import unicodedata
from collections.abc import Iterator

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|\S")
_PLURALS = (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe"))
_SMALL = """
a an the this that these those my your his her its our their some any no not and or but nor as at
by for from in into of off on onto out over to under up down with without within near next beside
besides behind before after above below between among around across through inside outside against
along front back side left right top bottom middle very so too just only also more most much less
other another each every all both it he she they them him me you we us i who which what where when
while is are was were be been being am has have had having do does did doing can could will would
should may might must there here like than then if please wearing holding carrying
"""
_NUMBERS = """
one two three four five six seven eight nine ten eleven twelve dozen hundred thousand first second
third pair couple several many few lots bunch group piece
"""
_SIZES = "big bigger small smaller little tiny large huge giant tall short long wide old young new"
_COLOURS = """
red orange yellow green blue purple violet pink brown black white grey gray gold golden silver
turquoise teal cyan magenta beige navy crimson scarlet dark light bright pale color colour colors
colours colored coloured colorful colourful
"""
_PICTURES = """
drawing image painting photo photograph picture illustration icon emoji sticker logo sketch render
rendering portrait artwork art style styled look version background scene draw paint show make
create want
"""
_PRAISE = """
beautiful pretty nice lovely cool awesome amazing great good best perfect high quality detailed
realistic simple
"""
_ASIDE = frozenset(" ".join((_SMALL, _NUMBERS, _SIZES, _COLOURS, _PICTURES, _PRAISE)).split())


def words_of(text: str) -> Iterator[str]:
    """Yield the words of a text that say what to draw; an emoji is one.

    A word with a digit is passed over, as is what follows an apostrophe.
    """
    for found in _WORD.findall(text):
        word = re.split(r"['’]", found)[0]
        is_letters = word.isalpha() and not (word.isascii() and len(word) == 1)
        if is_letters and not is_aside(found):
            yield word
        elif unicodedata.category(found[0]) == "So":
            yield found


def is_aside(word: str) -> bool:
    """Return whether a word says nothing of what is to be drawn."""
    return fold(word) in _ASIDE or word.lower().endswith(("n't", "n’t"))


def fold(word: str) -> str:
    """Return a word without case and accents, as the text encoder reads it."""
    parts = unicodedata.normalize("NFKD", word.lower())
    return "".join(char for char in parts if unicodedata.category(char) != "Mn")


def forms(word: str) -> set[str]:
    """Return a word, folded, and whatever it may be the plural of."""
    folded = fold(word)
    return {folded} | {
        folded.removesuffix(ending) + singular
        for ending, singular in _PLURALS
        if folded.endswith(ending) and len(folded) > len(ending) + 1
    }
