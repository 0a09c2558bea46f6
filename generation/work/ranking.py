"""A long line that is asked at once who stands where and what stands before them.

Entries lie in buckets of a few hundred. What stands before each bucket, and before each entry
within its bucket, is summed when it is first asked for and kept until something changes there. An
answer is then two searches by halves: a few microseconds for a hundred thousand entries, where
walking over all that is ahead takes a tenth of a second.

Source: the layout is that of G. Jenks' `sortedcontainers`, which keeps no sums.
"""

import bisect
import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

FULL = 256  # entries in a bucket, which splits at twice as many


class Entry(NamedTuple):
    """A ticket's place; the tag counts, then the job number, which no two share."""

    tag_us: int
    job_id: int


class Ahead(NamedTuple):
    """What stands before a place.

    Args:
        tickets: How many.
        cost_us: Device-microseconds of them all, each drawn on its own.
        shared_us: The same if every batch is full.
    """

    tickets: int = 0
    cost_us: int = 0
    shared_us: int = 0


@dataclasses.dataclass(slots=True)
class _Bucket:
    """Neighbouring entries, what each costs, and, once it was asked for, what is before each."""

    entries: list[Entry]
    costs_us: list[int]
    shared_us: list[int]
    sums: tuple[list[int], list[int]] | None = None  # one longer than the lists

    def before(self) -> tuple[list[int], list[int]]:
        """Return the cost before each entry and in all, drawn alone and shared."""
        if self.sums is None:
            columns = self.costs_us, self.shared_us
            costs_us, shared_us = (list(itertools.accumulate(c, initial=0)) for c in columns)
            self.sums = costs_us, shared_us
        return self.sums

    def split(self) -> "_Bucket":
        """Take out and return the second half."""
        rest = _Bucket(self.entries[FULL:], self.costs_us[FULL:], self.shared_us[FULL:])
        del self.entries[FULL:], self.costs_us[FULL:], self.shared_us[FULL:]
        return rest


class Ranking:
    """Entries in order, with the sums of what they cost. Whole numbers, so sums are exact."""

    def __init__(self) -> None:
        self._buckets: list[_Bucket] = []  # none empty
        self._last: list[Entry] = []  # of each bucket
        self._sums: tuple[list[int], list[int], list[int]] | None = None  # one longer

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def __iter__(self) -> Iterator[Entry]:
        for bucket in self._buckets:
            yield from bucket.entries

    @property
    def first(self) -> Entry:
        """The entry in front; only if there is one."""
        return self._buckets[0].entries[0]

    def add(self, entry: Entry, *, cost_us: int, shared_us: int) -> None:
        """Put an entry in its place; it is not in here yet."""
        self._sums = None
        if not self._buckets:
            self._buckets.append(_Bucket([entry], [cost_us], [shared_us]))
            self._last.append(entry)
            return
        at = min(bisect.bisect_left(self._last, entry), len(self._buckets) - 1)
        bucket = self._buckets[at]
        index = bisect.bisect_left(bucket.entries, entry)
        bucket.entries.insert(index, entry)
        bucket.costs_us.insert(index, cost_us)
        bucket.shared_us.insert(index, shared_us)
        bucket.sums = None
        if len(bucket.entries) > 2 * FULL:
            self._buckets.insert(at + 1, bucket.split())
            self._last.insert(at + 1, self._buckets[at + 1].entries[-1])
        self._last[at] = bucket.entries[-1]

    def remove(self, entry: Entry) -> None:
        """Take out an entry that is in here."""
        self._sums = None
        at = bisect.bisect_left(self._last, entry)
        bucket = self._buckets[at]
        index = bisect.bisect_left(bucket.entries, entry)
        del bucket.entries[index], bucket.costs_us[index], bucket.shared_us[index]
        bucket.sums = None
        if bucket.entries:
            self._last[at] = bucket.entries[-1]
        else:
            del self._buckets[at], self._last[at]

    def ahead_of(self, entry: Entry) -> Ahead:
        """Return the sums of the entries before this one, whether it is in here or not."""
        at = bisect.bisect_left(self._last, entry)
        if at == len(self._buckets):
            return self._ahead(at, 0)
        return self._ahead(at, bisect.bisect_left(self._buckets[at].entries, entry))

    def begun_by(self, moment: Entry) -> Ahead:
        """Return the sums of the entries that have begun before a moment, one after the other.

        Args:
            moment: Its tag is device-microseconds after the first one begins; where two begin at
                once, the smaller job number is first.
        """
        begins_us = self._before()[1]
        # The last bucket that begins before the moment, or at it.
        at = bisect.bisect_right(begins_us, moment.tag_us, hi=len(self._buckets)) - 1
        if at < 0:
            return Ahead()
        bucket = self._buckets[at]
        within_us = moment.tag_us - begins_us[at]
        index = bisect.bisect_left(bucket.before()[0], within_us, hi=len(bucket.entries))
        is_at_once = index < len(bucket.entries) and bucket.before()[0][index] == within_us
        if is_at_once and bucket.entries[index].job_id < moment.job_id:
            index += 1
        return self._ahead(at, index)

    def _ahead(self, at: int, index: int) -> Ahead:
        """Return the sums of the buckets before one, and of so many of its entries."""
        counts, costs_us, shared_us = self._before()
        if not index:
            return Ahead(counts[at], costs_us[at], shared_us[at])
        own_us, own_shared_us = self._buckets[at].before()
        return Ahead(
            counts[at] + index, costs_us[at] + own_us[index], shared_us[at] + own_shared_us[index]
        )

    def _before(self) -> tuple[list[int], list[int], list[int]]:
        """Return the number of entries before each bucket and in all, and what they cost."""
        if self._sums is None:
            counts = (len(bucket.entries) for bucket in self._buckets)
            costs_us = (bucket.before()[0][-1] for bucket in self._buckets)
            shared_us = (bucket.before()[1][-1] for bucket in self._buckets)
            sums = [list(itertools.accumulate(c, initial=0)) for c in (counts, costs_us, shared_us)]
            self._sums = sums[0], sums[1], sums[2]
        return self._sums
