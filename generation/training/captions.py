"""Put concepts into words: the phrasings people type, and the look's template."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PLURAL_ENDINGS = ("s",)
SINGULAR_ENDINGS = ("ss", "us", "cactus", "compass", "glass")
MASS_NOUNS = frozenset({
    "bacon", "bread", "broccoli", "butter", "fire", "garlic", "ginger", "honey", "ice", "lightning",
    "popcorn", "rain", "salt", "snow", "spaghetti", "sushi", "wood", "yarn", "santa claus",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """What a word list calls one emoji."""

    label: str
    tags: tuple[str, ...] = ()


def with_article(name: str) -> str:
    """Return the name with the article a person would type, or none.

    >>> with_article("owl"), with_article("grapes"), with_article("red apple")
    ('an owl', 'grapes', 'a red apple')
    """
    last_word = name.rsplit(maxsplit=1)[-1].lower()
    is_plural = last_word.endswith(PLURAL_ENDINGS) and not last_word.endswith(SINGULAR_ENDINGS)
    if is_plural or name.lower() in MASS_NOUNS or name[0].isdigit():
        return name
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def unambiguous_tags(names: Mapping[str, Names], limit: int) -> dict[str, tuple[str, ...]]:
    """Return, for each concept, tags that no other concept of the recipe carries.

    "fruit" would teach that any fruit may be drawn; "hog" can only mean the boar.

    Args:
        names: Concept name to its word-list entry.
        limit: Most tags to keep for one concept.
    """
    count = Counter(tag for entry in names.values() for tag in entry.tags)
    words = {word for concept in names for word in concept.lower().split()}
    return {
        concept: tuple(tag for tag in entry.tags if count[tag] == 1 and tag not in words)[:limit]
        for concept, entry in names.items()
    }


def phrasings(
    concept: str, synonyms: Sequence[str] = (), tags: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return ways to ask for a concept, the plainest first and without repetition.

    Args:
        concept: The recipe's name for it.
        synonyms: Other words for exactly the same thing.
        tags: Words that go with it and nothing else; used bare, "a driving" is not English.
    """
    named = with_article(concept)
    texts = [concept, named, f"a picture of {named}", f"a drawing of {named}", f"{concept} emoji"]
    for synonym in synonyms:
        texts += [synonym, with_article(synonym)]
    return tuple(dict.fromkeys(text.lower() for text in [*texts, *tags]))


def styled(prompt: str, look: str, template: str) -> str:
    """Name the look the way the checkpoint was taught to hear it.

    >>> styled("a fox", "3d", "{prompt}, {look} style")
    'a fox, 3d style'
    """
    return template.replace("{look}", look).replace("{prompt}", prompt)
