"""Decide what each picture may be used for, by lots that a new source does not draw again."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from generation.learning.dataset.stored import Split

Pair = tuple[str, str]
MOST_SHARE = 0.5
# A thing seen in one look only would teach that the look belongs to the thing.
LEAST_KNOWN_LOOKS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """How much is held back; the default holds back nothing.

    Attributes:
        unseen_pairs: Share of (concept, look) pairs of known concepts hidden from the generators.
        unseen_concepts: Share of concepts hidden from the generators in every look.
        scorer_pairs: Share of (concept, look) pairs hidden from the scorer.
        salt: Another salt draws other lots.
    """

    unseen_pairs: float = 0.0
    unseen_concepts: float = 0.0
    scorer_pairs: float = 0.0
    salt: str = "atelier"

    def __post_init__(self) -> None:
        for name in ("unseen_pairs", "unseen_concepts", "scorer_pairs"):
            if not 0 <= getattr(self, name) <= MOST_SHARE:
                raise ValueError(f"{name} must be from 0 to {MOST_SHARE}")


def assign(
    concepts: Sequence[str], looks: Sequence[str], settings: Splitting
) -> tuple[list[Split], list[bool]]:
    """Say of each picture what the generators may use it for, and whether the scorer must not.

    A lot depends on nothing but the salt, the concept and the look, so a picture keeps its split
    when sources come or go, except that a concept with fewer than three looks, and a look with
    nothing else to learn from, hide none of their pairs.

    Args:
        concepts: What each picture shows.
        looks: Its look, as many.
    """
    pairs = list(zip(concepts, looks, strict=True))
    hidden = {
        concept
        for concept in set(concepts)
        if _lot(settings.salt, "concept", concept) < settings.unseen_concepts
    }
    known = {pair for pair in pairs if pair[0] not in hidden}
    unseen = _draw(known, settings.unseen_pairs, f"{settings.salt} generators")
    unknown_looks = {look for _, look in known} - {look for _, look in known - unseen}
    splits = {
        pair: Split.UNSEEN_CONCEPT
        if pair[0] in hidden
        else Split.UNSEEN_PAIR
        if pair in unseen and pair[1] not in unknown_looks
        else Split.TRAIN
        for pair in pairs
    }
    unseen_by_scorer = _draw(set(pairs), settings.scorer_pairs, f"{settings.salt} scorer")
    return [splits[pair] for pair in pairs], [pair in unseen_by_scorer for pair in pairs]


def _draw(pairs: set[Pair], share: float, salt: str) -> set[Pair]:
    """Draw pairs, leaving each concept at least two looks."""
    lots: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for concept, look in pairs:
        lots[concept].append((_lot(salt, concept, look), look))
    drawn: set[Pair] = set()
    for concept, of_concept in lots.items():
        spare = max(0, len(of_concept) - LEAST_KNOWN_LOOKS)
        drawn.update((concept, look) for lot, look in sorted(of_concept)[:spare] if lot < share)
    return drawn


def _lot(*words: str) -> float:
    """Return a number even in [0, 1) that only the words decide."""
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
