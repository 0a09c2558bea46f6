"""Put concepts into words: the phrasings people type, and the look's template."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

PLURAL_ENDINGS = ("s",)
SINGULAR_ENDINGS = ("ss", "us", "is", "as", "cactus", "compass", "glass", "canvas")
MASS_NOUNS = frozenset({
    "bacon", "bread", "broccoli", "butter", "fire", "garlic", "ginger", "honey", "ice", "lightning",
    "popcorn", "rain", "rice", "salt", "snow", "spaghetti", "sushi", "wood", "yarn", "santa claus",
    "mrs. claus", "weather", "hair", "money", "music", "fog", "wind", "hail", "haze", "mist",
    "smoke", "sleet", "drizzle", "soap", "confetti", "sake", "tofu", "dust", "luggage", "clothing",
    "o'clock", "thirty",
})  # fmt: skip
# Word lists tie groups of people to things; asking for people must not draw a rainbow or a moon.
GROUPS_OF_PEOPLE = frozenset({
    "arab", "asian", "buddhist", "christian", "disabled", "gay", "gypsy", "hindu", "homosexual",
    "islam", "islamic", "jew", "jewish", "lesbian", "lgbt", "lgbtq", "muslim", "pride", "queer",
    "ramadan", "trans", "transgender",
})  # fmt: skip
VOWEL_SOUNDS = re.compile(r"(?!uni|use|ufo|euro|one\b|u-|u\b)[aeiou]|hour|honest", re.IGNORECASE)
HAS_ARTICLE = re.compile(r"(?:an?|the|some|my|your|two|three|many|several)\s", re.IGNORECASE)
# What follows one of these tells more about the thing and does not name it.
QUALIFIERS = re.compile(r"\s(?:with|without|of|in|on|at|and|over|behind|for|from|under)\s")


def with_article(name: str) -> str:
    """Return the name with the article a person would type, or none.

    >>> with_article("owl"), with_article("grapes"), with_article("unicorn")
    ('an owl', 'grapes', 'a unicorn')
    >>> with_article("man with sunglasses"), with_article("cooked rice")
    ('a man with sunglasses', 'cooked rice')
    """
    named = QUALIFIERS.split(name.lower(), maxsplit=1)[0]
    last_word = named.rsplit(maxsplit=1)[-1]
    is_plural = last_word.endswith(PLURAL_ENDINGS) and not last_word.endswith(SINGULAR_ENDINGS)
    is_mass = named in MASS_NOUNS or last_word in MASS_NOUNS
    if is_plural or is_mass or not name[0].isalpha() or HAS_ARTICLE.match(name):
        return name
    return f"{'an' if VOWEL_SOUNDS.match(name) else 'a'} {name}"


def unambiguous_tags(
    tags: Iterable[tuple[str, Sequence[str]]], limit: int
) -> dict[str, tuple[str, ...]]:
    """Return, for each concept, tags that no other concept carries and that name no people.

    "fruit" would teach that any fruit may be drawn; "hog" can only mean the boar.

    Args:
        tags: Each concept once, with its tags.
        limit: Most tags to keep for one concept.
    """
    of_concept = dict(tags)
    count = Counter(tag for each in of_concept.values() for tag in set(each))
    words = {word for concept in of_concept for word in concept.lower().split()}
    words |= GROUPS_OF_PEOPLE
    return {
        concept: tuple(tag for tag in each if count[tag] == 1 and tag not in words)[:limit]
        for concept, each in of_concept.items()
    }


def phrasings(
    concept: str,
    synonyms: Sequence[str] = (),
    tags: Sequence[str] = (),
    phrases: Sequence[str] = (),
    group: str = "",
    kind: str = "",
) -> tuple[str, ...]:
    """Return ways to ask for a concept, the plainest first and without repetition.

    Args:
        concept: The dataset's name for it.
        synonyms: Other words for exactly the same thing.
        tags: Words that go with it and nothing else; used bare, "a driving" is not English.
        phrases: Whole captions, kept as they are.
        group: Coarse kind of thing, added to the plain name; empty adds none.
        kind: What people call such a drawing, such as `emoji`; empty for none.
    """
    named = with_article(concept)
    texts = [concept, named, f"a picture of {named}", f"a drawing of {named}"]
    if kind:
        texts.append(f"{concept} {kind}")
    for synonym in synonyms:
        texts += [synonym, with_article(synonym)]
    if group:
        texts.append(f"{concept}, {group}")
    return tuple(dict.fromkeys(text.lower() for text in [*texts, *phrases, *tags]))
