"""Whose turn it is: fair by cost over members, with a little patience for a loaded model.

Start-time fair queueing. Every member has a line of their own and a *start tag*, the virtual time
at which their next job would begin on a device shared equally by everyone who waits. The smallest
tag is next; its member's tag then grows by what the job costs. A member who comes back after a
pause starts at the present virtual time: waiting earns no credit, and forty jobs in one line
delay another's first job by no more than one of them.

Source: P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queueing", SIGCOMM 1996, equations 4 and 5.

Pure and deterministic: no clock, no chance, no I/O. Ties go to the smaller job number.
"""

import dataclasses
import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from sortedcontainers import SortedList

LOOKAHEAD_TICKETS = 8  # how far behind the fair next one a loaded model is looked for
LOOKAHEAD_S = 60.0  # and how much virtual device time behind it
MAX_PASSES = 3  # how often the fair next one lets another go first
FILL_MISSES = 64  # compatible tickets that do not fit, before a batch is left as it is


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What the queue needs to know of a job.

    Args:
        job_id: The job; ascending with the time of asking.
        member_id: Whose turn it uses.
        guild_id: Where it was asked for; None outside of servers.
        cost_s: Estimated device-seconds, above 0.
        batch_key: Tickets of equal keys can be drawn in one batch.
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
    batch_key: str
    model: str
    num_images: int
    max_concurrent: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cost_s) and self.cost_s > 0):
            raise ValueError(f"cost_s must be above 0 and finite, not {self.cost_s}")
        if self.num_images < 1 or self.max_concurrent < 1:
            raise ValueError("num_images and max_concurrent must be at least 1")


@dataclasses.dataclass(slots=True)
class _Member:
    """A member's line, never empty, and the start tag of its first ticket."""

    line: OrderedDict[int, Ticket]
    start: float

    @property
    def head(self) -> Ticket:
        return next(iter(self.line.values()))

    @property
    def key(self) -> "_Key":
        head = self.head
        return self.start, head.job_id, head.member_id


_Key = tuple[float, int, int]  # start tag, job number, member


class FairQueue:
    """The jobs that wait, in the order in which members deserve their turns."""

    def __init__(self) -> None:
        self._tickets: dict[int, Ticket] = {}
        self._members: dict[int, _Member] = {}
        self._heads: SortedList = SortedList()
        self._heads_by_batch: dict[str, SortedList] = {}
        self._virtual_s = 0.0
        # Start tags of members without a line, as far as they lie ahead of the virtual time.
        self._finishes: dict[int, float] = {}
        self._forget_above = 1024
        self._passes: dict[int, int] = {}  # job number to how often it let another go first
        self._returned: set[int] = set()  # job numbers put back by `requeue`

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._tickets

    @property
    def total_cost_s(self) -> float:
        """Device-seconds of everything that waits."""
        return math.fsum(ticket.cost_s for ticket in self._tickets.values())

    def push(self, ticket: Ticket) -> None:
        """Put a ticket at the end of its member's line.

        Raises:
            ValueError: The job already waits.
        """
        self._add(ticket)
        member = self._members.get(ticket.member_id)
        if member:
            member.line[ticket.job_id] = ticket
            return
        start = max(self._virtual_s, self._finishes.pop(ticket.member_id, 0.0))
        self._open(ticket, start)

    def requeue(self, ticket: Ticket) -> None:
        """Put an interrupted ticket back at the front of its member's line, uncharged.

        Several of one member keep their order, however they come back.

        Raises:
            ValueError: The job already waits.
        """
        self._add(ticket)
        member = self._members.get(ticket.member_id)
        if member is None:
            finish = self._finishes.pop(ticket.member_id, self._virtual_s)
            self._open(ticket, finish - ticket.cost_s)
        else:
            self._unlist(member)
            member.start -= ticket.cost_s
            member.line[ticket.job_id] = ticket
            older = itertools.takewhile(self._returned.__contains__, member.line)
            first = sorted([ticket.job_id, *(job_id for job_id in older if job_id < ticket.job_id)])
            for job_id in reversed(first):
                member.line.move_to_end(job_id, last=False)
            self._list(member)
        self._returned.add(ticket.job_id)

    def remove(self, job_id: int) -> Ticket | None:
        """Take a ticket out and return it, or None if it does not wait; nobody is charged."""
        ticket = self._tickets.get(job_id)
        if ticket is None:
            return None
        self._drop(ticket)
        return ticket

    def next_batch(
        self, *, loaded_model: str | None, running: Mapping[int, int], max_images: int
    ) -> tuple[Ticket, ...]:
        """Take out and return what is drawn next: the fair next ticket and those that fit with it.

        Empty only if every waiting ticket's member has reached its cap.

        Args:
            loaded_model: The checkpoint on the device. One of the next `LOOKAHEAD_TICKETS`
                tickets that needs it may go first, if it is at most `LOOKAHEAD_S` behind; the
                ticket in front lets that happen `MAX_PASSES` times.
            running: Member to number of jobs being drawn.
            max_images: Images in a batch; a single ticket may have more.
        """
        first = self._choose(loaded_model, running)
        if first is None:
            return ()
        batch = self._fill(first, running, max_images)
        for ticket in batch:
            self._drop(ticket, is_charged=True)
        return tuple(batch)

    def in_order(self) -> Iterator[Ticket]:
        """Yield every waiting ticket in fair order, as it stands now."""
        lines = {owner: iter(member.line.values()) for owner, member in self._members.items()}
        heads = [(member.start, next(lines[owner])) for owner, member in self._members.items()]
        heap = [(start, ticket.job_id, ticket) for start, ticket in heads]
        heapq.heapify(heap)
        while heap:
            start, _, ticket = heap[0]
            yield ticket
            following = next(lines[ticket.member_id], None)
            if following is None:
                heapq.heappop(heap)
            else:
                entry = (self._after(start, ticket), following.job_id, following)
                heapq.heapreplace(heap, entry)

    def place(self, job_id: int) -> int:
        """Return the ticket's place in fair order, from 1.

        Raises:
            KeyError: The job does not wait.
        """
        return 1 + len(self._ahead(job_id))

    def wait_s(self, job_id: int) -> float:
        """Return the device-seconds of everything ahead in fair order.

        Raises:
            KeyError: The job does not wait.
        """
        return math.fsum(self._ahead(job_id))

    def _ahead(self, job_id: int) -> list[float]:
        """Return the cost of each ticket ahead; no sorting, so a long queue is one pass."""
        ticket = self._tickets[job_id]
        costs_s: list[float] = []
        tag = self._members[ticket.member_id].start
        for own in self._members[ticket.member_id].line.values():
            if own is ticket:
                break
            tag = self._after(tag, own)
            costs_s.append(own.cost_s)
        place = (tag, job_id)
        for start, head_id, owner in self._heads:
            if (start, head_id) > place:
                break  # and so are all behind this head
            if owner == ticket.member_id:
                continue
            tag = start
            for other in self._members[owner].line.values():
                if (tag, other.job_id) > place:
                    break
                tag = self._after(tag, other)
                costs_s.append(other.cost_s)
        return costs_s

    def _choose(self, loaded_model: str | None, running: Mapping[int, int]) -> Ticket | None:
        """Return the ticket to begin with, and move the virtual time to the fair next one."""
        tickets = self._tickets
        eligible = (
            (start, tickets[job_id])
            for start, job_id, member_id in self._heads
            if member_id not in running or running[member_id] < tickets[job_id].max_concurrent
        )
        fair_start, fair = next(eligible, (0.0, None))
        if fair is None:
            return None
        self._virtual_s = max(self._virtual_s, fair_start)
        passes = self._passes.get(fair.job_id, 0)
        if loaded_model in {None, fair.model} or passes >= MAX_PASSES:
            return fair
        for start, ticket in itertools.islice(eligible, LOOKAHEAD_TICKETS - 1):
            if start > fair_start + LOOKAHEAD_S:
                break
            if ticket.model == loaded_model:
                self._passes[fair.job_id] = passes + 1
                return ticket
        return fair

    def _fill(self, first: Ticket, running: Mapping[int, int], max_images: int) -> list[Ticket]:
        """Return `first` and further tickets of its kind, in fair order, that fit in one batch."""
        batch: list[Ticket] = []
        room = max_images
        taken: dict[int, int] = {}
        heads = iter(self._heads_by_batch[first.batch_key])
        nearest = list(itertools.islice(heads, 1))  # a heap: the next head, and followers
        misses = 0
        while nearest and misses < FILL_MISSES and (room > 0 or not batch):
            ticket = self._tickets[heapq.heappop(nearest)[1]]
            owner = ticket.member_id
            if ticket is self._members[owner].head:
                for head in itertools.islice(heads, 1):
                    heapq.heappush(nearest, head)
            if running.get(owner, 0) + taken.get(owner, 0) >= ticket.max_concurrent:
                continue
            if ticket.num_images > room and ticket is not first:
                misses += 1
                continue
            batch.append(ticket)
            room -= ticket.num_images
            taken[owner] = taken.get(owner, 0) + 1
            self._follow(ticket, nearest)
        return batch

    def _follow(self, ticket: Ticket, nearest: list[_Key]) -> None:
        """Add the ticket behind `ticket` in its member's line, if it can join the same batch."""
        member = self._members[ticket.member_id]
        start = member.start
        line = iter(member.line.values())
        for own in line:
            start = self._after(start, own)
            if own is ticket:
                break
        following = next(line, None)
        if following and following.batch_key == ticket.batch_key:
            heapq.heappush(nearest, (start, following.job_id, ticket.member_id))

    def _after(self, start: float, ticket: Ticket) -> float:
        """Return the start tag that follows a ticket which began at `start`.

        It counts from the present virtual time at least: being held back by a cap earns no credit.
        """
        return max(start, self._virtual_s) + ticket.cost_s

    def _add(self, ticket: Ticket) -> None:
        if ticket.job_id in self._tickets:
            raise ValueError(f"job {ticket.job_id} already waits")
        self._tickets[ticket.job_id] = ticket

    def _drop(self, ticket: Ticket, *, is_charged: bool = False) -> None:
        """Take a ticket out of its line."""
        del self._tickets[ticket.job_id]
        self._passes.pop(ticket.job_id, None)
        self._returned.discard(ticket.job_id)
        member = self._members[ticket.member_id]
        self._unlist(member)
        del member.line[ticket.job_id]
        if is_charged:
            member.start = self._after(member.start, ticket)
        if member.line:
            self._list(member)
        else:
            del self._members[ticket.member_id]
            self._remember(ticket.member_id, member.start)

    def _open(self, ticket: Ticket, start: float) -> None:
        """Open a line for a member who has none."""
        member = _Member(OrderedDict({ticket.job_id: ticket}), start)
        self._members[ticket.member_id] = member
        self._list(member)

    def _list(self, member: _Member) -> None:
        key = member.key
        self._heads.add(key)
        self._heads_by_batch.setdefault(member.head.batch_key, SortedList()).add(key)

    def _unlist(self, member: _Member) -> None:
        key, batch_key = member.key, member.head.batch_key
        self._heads.remove(key)
        of_batch = self._heads_by_batch[batch_key]
        of_batch.remove(key)
        if not of_batch:
            del self._heads_by_batch[batch_key]

    def _remember(self, member_id: int, finish: float) -> None:
        """Keep the tag of a member who has left, as long as it can matter."""
        self._finishes[member_id] = finish
        if len(self._finishes) > self._forget_above:
            now = self._virtual_s
            self._finishes = {owner: tag for owner, tag in self._finishes.items() if tag > now}
            self._forget_above = max(2 * len(self._finishes), 1024)
