"""Who was preferred to whom: plain comparisons, and how the bot's votes become some."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WIN, TIE, LOSS = 1.0, 0.5, 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One person's answer to one question: which of two is better?

    Attributes:
        first: Name of one checkpoint.
        second: Name of another.
        score: What `first` gets of the one point: `WIN`, `TIE` or `LOSS`.
    """

    first: str
    second: str
    score: float

    def __post_init__(self) -> None:
        if self.first == self.second:
            raise ValueError(f"{self.first!r} cannot be compared with itself")
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score is from 0 to 1, not {self.score}")


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """One picture that members could vote for.

    Attributes:
        occasion: Equal for pictures that answer the same words in the same place.
        checkpoint: Name of the model that drew it.
        drawn_for: The member who asked for it, and so cannot vote for it.
        voters: The members who voted for it.
    """

    occasion: str
    checkpoint: str
    drawn_for: int
    voters: frozenset[int]


def from_votes(pictures: Iterable[ShownPicture]) -> list[Comparison]:
    """Return what votes say about checkpoints, which is less than how many there are.

    A vote says "I like this one" and nothing about what the member did not see. Used is therefore
    only an occasion on which different checkpoints answered the same words in the same channel.
    There, each member who voted for at least one of the pictures is one judge with one answer a
    pair of checkpoints, however many pictures they voted for: the checkpoint of which they liked
    the larger *share* of the pictures shown wins, equal shares are a tie.

    Ignored are votes among pictures of one checkpoint, which rank seeds; prompts that only one
    checkpoint drew, whose difficulty would count as the checkpoint's; and votes of a member for
    whom one of the occasion's pictures was drawn, for they could not vote for their own.

    Not corrected: a picture that stood there first was seen by more people, and answers of one
    member on several occasions are not independent, so the intervals are somewhat too narrow.
    """
    occasions = defaultdict(list)
    for picture in pictures:
        occasions[picture.occasion].append(picture)
    return [answer for shown in occasions.values() for answer in _answers_on(shown)]


def _answers_on(shown: list[ShownPicture]) -> Iterator[Comparison]:
    by_checkpoint = defaultdict(list)
    for picture in shown:
        by_checkpoint[picture.checkpoint].append(picture.voters)
    judges = frozenset[int]().union(*(picture.voters for picture in shown))
    judges -= {picture.drawn_for for picture in shown}
    for first, second in itertools.combinations(sorted(by_checkpoint), 2):
        for judge in sorted(judges):
            ours = _share_liked(judge, by_checkpoint[first])
            theirs = _share_liked(judge, by_checkpoint[second])
            if ours or theirs:
                score = TIE if ours == theirs else WIN if ours > theirs else LOSS
                yield Comparison(first, second, score)


def _share_liked(judge: int, voters: list[frozenset[int]]) -> float:
    return sum(judge in each for each in voters) / len(voters)
