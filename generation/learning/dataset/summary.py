"""What a build left on disk, in figures and in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from generation.learning.dataset.shards import DAMAGED

DROPPED = "dropped.json"
PAGE = "report.html"
NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """What a build left on disk.

    Attributes:
        looks: Look to how many pictures it has.
        splits: Split to how many pictures it has.
        dropped: Key to reason of every picture that was collected and is not in the dataset.
        report: The page that shows it.
        seconds: The build took, on the clock.
        was_cached: Nothing had to be done.
        fingerprint: SHA-256 of everything the pictures and captions depend on.
    """

    directory: Path
    pictures: int
    concepts: int
    phrasings: int
    looks: Mapping[str, int]
    splits: Mapping[str, int]
    dropped: Mapping[str, str]
    report: Path
    seconds: float
    was_cached: bool
    fingerprint: str

    @property
    def damaged(self) -> Mapping[str, str]:
        """Those of the dropped whose file could not be read."""
        return {key: why for key, why in self.dropped.items() if why.startswith(DAMAGED)}

    def sentence(self) -> str:
        """Say what there is, what was left out and where to look."""
        looks = ", ".join(f"{look} {count}" for look, count in self.looks.items())
        splits = ", ".join(f"{count} {split}" for split, count in self.splits.items())
        took = "was already there" if self.was_cached else f"took {self.seconds:.0f} s"
        text = (
            f"{self.directory}: {self.pictures} pictures of {self.concepts} concepts ({splits}) in"
            f" the looks {looks}, with {self.phrasings} captions; {took}.\n"
        )
        if self.dropped:
            text += f"Left out {len(self.dropped)}, see {self.directory / DROPPED}"
            some = [f"{key} ({why})" for key, why in list(self.damaged.items())[:NAMED]]
            text += f"; {len(self.damaged)} damaged: {', '.join(some)}" if some else ""
            text += ", ...\n" if len(self.damaged) > NAMED else ".\n"
        return text + f"Look at it: {self.report}"
