"""What the line knows of a job, and what it says of one that waits."""

import dataclasses
import math
from collections.abc import Hashable


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What the queue needs to know of a job.

    Args:
        job_id: The job; ascending with the time of asking.
        member_id: Whose turn it uses.
        guild_id: Whose turn its server uses; None outside of servers, which counts as one.
        cost_s: Estimated device-seconds if it is drawn alone, above 0; what is charged.
        shared_s: The same if its batch is full, at most `cost_s`; None if that is no less.
        alike: Tickets of equal ones can be drawn in one batch.
        model: The checkpoint it needs.
        num_images: How many images it adds to a batch.
        max_concurrent: How many jobs of its member may run at the same time, this one included.

    Raises:
        ValueError: A number is out of its range.
    """

    job_id: int
    member_id: int
    guild_id: int | None
    cost_s: float
    alike: Hashable
    model: str
    num_images: int
    shared_s: float | None = None
    max_concurrent: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cost_s) and self.cost_s > 0):
            raise ValueError(f"cost_s must be above 0 and finite, not {self.cost_s}")
        if self.shared_s is not None and not 0 < self.shared_s <= self.cost_s:
            raise ValueError(f"shared_s must be above 0 and at most cost_s, not {self.shared_s}")
        if self.num_images < 1 or self.max_concurrent < 1:
            raise ValueError("num_images and max_concurrent must be at least 1")

    @property
    def cost_us(self) -> int:
        """What is charged, in whole microseconds, at least one."""
        return max(1, microseconds(self.cost_s))

    @property
    def shared_us(self) -> int:
        """What it takes of a full batch, in whole microseconds."""
        return self.cost_us if self.shared_s is None else microseconds(self.shared_s)


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """What is ahead of a ticket, or what passes until a job's pictures are there.

    Args:
        place: Its place in fair order, from 1; exact.
        at_least_s: Device-seconds of everything ahead if every batch is full.
        at_most_s: The same if nothing ahead shares a batch.
        trouble: Why nothing is drawn at all just now, as one word; empty while all is well.
    """

    place: int
    at_least_s: float
    at_most_s: float
    trouble: str = ""


def microseconds(seconds: float) -> int:
    """Return a time as the whole number that the line counts in."""
    return round(seconds * 1e6)
