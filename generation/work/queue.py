"""Whose turn it is: fair by cost, first between servers, then between their members.

Start-time fair queueing, in two levels. Every server has a *start tag*, the virtual time at which
its next job would begin on a device shared equally by all servers that wait; within a server,
every member has a tag of the same kind. The server with the smallest tag is next, and in it the
member with the smallest. Both tags then grow by what the job costs. Whoever comes back after a
pause starts at the present virtual time: waiting earns no credit. So forty jobs in one line delay
another's first job by no more than one of them, and two hundred accounts of one server delay
another server by no more than one of theirs.

A loaded model is worth something, and so is a full batch: others may go before the one whose turn
it is, in all or in its server, but each lets that happen a bounded number of times. Both are
needed: a server pays for whoever went first, so its front could otherwise wait for ever.

A job is charged its estimated cost when it is taken, and when it has ended, the difference to
what it really cost is *settled*: tags move by it, and with them everything of that member that
still waits. Who estimates too cheaply therefore gains one job at most.

Where a ticket stands follows from two sums. Within its server, tickets are ranked by their tags,
so a ticket's tag among servers is its server's tag plus the cost of what is ranked ahead of it;
of another server, the tickets that begin before that moment are ahead. `Ranking` answers both in
microseconds, exactly. The *place* is therefore exact, as long as nobody comes, goes or is held by
a cap; the *time* is a range: a job that finds a batch to share costs less than one drawn alone.

Everything is counted in whole microseconds, because sums of those do not depend on their order.

Source: P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queueing", SIGCOMM 1996: equations 4 and 5
for one level, and its hierarchical link sharing for several.

Pure and deterministic: no clock, no chance, no I/O. Ties go to the smaller job number.
"""

import contextlib
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from sortedcontainers import SortedList

from generation.work.ranking import Entry
from generation.work.server_line import ServerLine
from generation.work.tickets import Ticket, Wait, microseconds

LOOKAHEAD_TICKETS = 8  # how far behind the fair next one a loaded model is looked for
LOOKAHEAD_S = 60.0  # and how much virtual device time behind it
MAX_PASSES = 3  # how often the fair next one lets others go first
FILL_MISSES = 64  # compatible tickets that do not fit, before a batch is left as it is
MANY = 1024  # idle servers that are kept before the forgettable ones are forgotten


class FairQueue:
    """The jobs that wait, in the order in which servers and members deserve their turns."""

    def __init__(self) -> None:
        self._tickets: dict[int, Ticket] = {}
        self._servers: dict[int | None, ServerLine] = {}
        self._order: SortedList = SortedList()  # of those with tickets: tag, first job, server
        self._virtual_us = 0  # the present, among servers
        self._forget_above = MANY
        self._waiting_us = 0
        self._passes: dict[int, int] = {}  # job number to how often it let others go first
        self._returned: set[int] = set()  # job numbers put back by `requeue`

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._tickets

    @property
    def total_cost_s(self) -> float:
        """Device-seconds of everything that waits."""
        return self._waiting_us / 1e6

    def push(self, ticket: Ticket) -> None:
        """Put a ticket at the end of its member's line.

        Raises:
            ValueError: The job already waits.
        """
        self._add(ticket)
        with self._reordering(ticket.guild_id) as server:
            if not server.lines:
                server.start_us = max(server.start_us, self._virtual_us)
            server.push(ticket)

    def requeue(self, ticket: Ticket) -> None:
        """Put an interrupted ticket back at the front of its member's line, uncharged.

        Several of one member keep their order, however they come back.

        Raises:
            ValueError: The job already waits.
        """
        self._add(ticket)
        with self._reordering(ticket.guild_id) as server:
            server.start_us -= ticket.cost_us
            server.put_back(ticket, self._returned)
        self._returned.add(ticket.job_id)

    def remove(self, job_id: int) -> Ticket | None:
        """Take a ticket out and return it, or None if it does not wait; nobody is charged."""
        ticket = self._tickets.get(job_id)
        if ticket is not None:
            self._take_out(ticket, is_charged=False)
        return ticket

    def settle(self, ticket: Ticket, real_s: float) -> None:
        """Charge for a ticket that was drawn what it really cost, instead of its estimate.

        Args:
            ticket: As it was taken out; it no longer waits, nor will it again.
            real_s: Device-seconds, 0 or more, also of a job that failed or was stopped midway.

        Raises:
            ValueError: The number is out of its range.
        """
        if not (math.isfinite(real_s) and real_s >= 0):
            raise ValueError(f"real_s must be 0 or more and finite, not {real_s}")
        owed_us = microseconds(real_s) - ticket.cost_us
        with self._reordering(ticket.guild_id) as server:
            server.start_us += owed_us
            server.settle(ticket.member_id, owed_us)

    def next_batch(
        self,
        *,
        loaded_model: str | None,
        running: Mapping[int, int],
        max_images: Mapping[str, int],
    ) -> tuple[Ticket, ...]:
        """Take out and return what is drawn next: the fair next ticket and those that fit with it.

        Empty only if every waiting ticket's member has reached its cap.

        Args:
            loaded_model: The checkpoint on the device. One of the next `LOOKAHEAD_TICKETS`
                tickets that needs it may go first, if neither its server nor its member is more
                than `LOOKAHEAD_S` behind; the ticket in front lets that happen `MAX_PASSES`
                times.
            running: Member to number of jobs being drawn.
            max_images: Checkpoint to images in a batch; one that is missing draws one by one. A
                single ticket may have more.
        """
        first = self._choose(loaded_model, running)
        if first is None:
            return ()
        self._take_out(first, is_charged=True)
        room = max_images.get(first.model, 1) - first.num_images
        at_work = Counter(running)
        at_work[first.member_id] += 1
        return (first, *self._fill(first.alike, room, at_work))

    def fit(self, alike: Hashable, *, room: int, running: Mapping[int, int]) -> tuple[Ticket, ...]:
        """Take out and return who joins a batch that is being drawn: tickets of its kind, that fit.

        They may overtake the fair next ticket, if that is of another kind or too large, but only
        by `LOOKAHEAD_S`, and it lets that happen `MAX_PASSES` times; then the batch runs empty.

        Args:
            alike: What is being drawn.
            room: How many more images it can take.
            running: Member to number of jobs being drawn.
        """
        tag_us, fair = self._fair_next(running)
        if fair is None or room < 1:
            return ()
        is_in_turn = fair.alike == alike and fair.num_images <= room
        if not is_in_turn and not self._is_patient(fair.job_id):
            return ()
        return tuple(self._fill(alike, room, Counter(running), fair=(tag_us, fair.job_id)))

    def in_order(self) -> Iterator[Ticket]:
        """Yield every waiting ticket in fair order, as it stands now."""
        lines = ((tag_us, iter(self._servers[key].ranking)) for tag_us, _, key in self._order)
        heap = [(tag_us, next(line).job_id, line) for tag_us, line in lines]  # sorted: a heap
        while heap:
            tag_us, job_id, line = heap[0]
            ticket = self._tickets[job_id]
            yield ticket
            following = next(line, None)
            if following is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (tag_us + ticket.cost_us, following.job_id, line))

    def wait(self, job_id: int) -> Wait:
        """Return what is ahead of a ticket in fair order.

        Takes microseconds for each server that waits, however many tickets it has.

        Raises:
            KeyError: The job does not wait.
        """
        ticket = self._tickets[job_id]
        own = self._servers[ticket.guild_id]
        ahead = own.ranking.ahead_of(Entry(own.tags_us[job_id], job_id))
        place, alone_us, shared_us = 1 + ahead.tickets, ahead.cost_us, ahead.shared_us
        tag_us = own.start_us + alone_us
        for start_us, _, guild_id in self._order:
            if start_us > tag_us:
                break  # and so do all behind this server
            if guild_id != ticket.guild_id:
                moment = Entry(tag_us - start_us, job_id)
                ahead = self._servers[guild_id].ranking.begun_by(moment)
                place += ahead.tickets
                alone_us += ahead.cost_us
                shared_us += ahead.shared_us
        return Wait(place, shared_us / 1e6, alone_us / 1e6)

    def _choose(self, loaded_model: str | None, running: Mapping[int, int]) -> Ticket | None:
        """Return the ticket to begin with: the fair next one, or one for the loaded model."""
        fair_tag_us, fair = self._fair_next(running)
        if fair is None:
            return None
        if loaded_model in {None, fair.model} or not self._is_patient(fair.job_id):
            return fair
        for tag_us, ticket in itertools.islice(self._walk(running), 1, LOOKAHEAD_TICKETS):
            if ticket.model == loaded_model and self._is_near(ticket, tag_us, fair_tag_us):
                front = self._front(ticket, running)
                if front == ticket.job_id or self._is_patient(front):
                    self._let_pass({fair.job_id, front} - {ticket.job_id})
                    return ticket
        return fair

    def _fair_next(self, running: Mapping[int, int]) -> tuple[int, Ticket | None]:
        """Return the ticket whose turn it is and its tag, which is the present from now on."""
        tag_us, fair = next(self._walk(running), (0, None))
        if fair is not None:
            self._virtual_us = max(self._virtual_us, tag_us)
            server = self._servers[fair.guild_id]
            server.virtual_us = max(server.virtual_us, server.tags_us[fair.job_id])
        return tag_us, fair

    def _is_near(self, ticket: Ticket, tag_us: int, fair_tag_us: int) -> bool:
        """Return whether neither its server nor its member is too far ahead of its turn."""
        server = self._servers[ticket.guild_id]
        present_us = max(server.virtual_us, server.heads[0][0])
        ahead_us: int = max(tag_us - fair_tag_us, server.tags_us[ticket.job_id] - present_us)
        return ahead_us <= microseconds(LOOKAHEAD_S)

    def _fill(
        self,
        alike: Hashable,
        room: int,
        at_work: Counter[int],
        *,
        fair: tuple[int, int] | None = None,
    ) -> list[Ticket]:
        """Take out tickets of one kind, in fair order, that fit.

        With a tag and job of the fair next one, only those near to it, which may overtake it. Their
        server is charged for them, so one whose turn it is in that server, but which cannot
        come along, lets them go first a bounded number of times only.
        """
        taken: list[Ticket] = []
        overtaken = set() if fair is None else {fair[1]}
        while room > 0:
            for tag_us, ticket in itertools.islice(self._walk(at_work, alike), FILL_MISSES):
                front = self._front(ticket, at_work)
                is_let = front == ticket.job_id or self._is_patient(front)
                is_near = fair is None or self._is_near(ticket, tag_us, fair[0])
                if ticket.num_images <= room and is_near and is_let:
                    break
            else:
                break
            overtaken.add(front)
            self._take_out(ticket, is_charged=True)
            taken.append(ticket)
            room -= ticket.num_images
            at_work[ticket.member_id] += 1
        if taken:
            self._let_pass(overtaken & self._tickets.keys())
        return taken

    def _front(self, ticket: Ticket, running: Mapping[int, int]) -> int:
        """Return the job whose turn it is in the ticket's server: its own, or one it overtakes."""
        heads = (self._tickets[job_id] for _, job_id, _ in self._servers[ticket.guild_id].heads)
        free = (head for head in heads if running.get(head.member_id, 0) < head.max_concurrent)
        return next(free).job_id

    def _is_patient(self, job_id: int) -> bool:
        """Return whether a job still lets others go first."""
        return self._passes.get(job_id, 0) < MAX_PASSES

    def _let_pass(self, job_ids: AbstractSet[int]) -> None:
        """Note that others went before these jobs."""
        for job_id in job_ids:
            self._passes[job_id] = self._passes.get(job_id, 0) + 1

    def _walk(
        self, running: Mapping[int, int], alike: Hashable | None = None
    ) -> Iterator[tuple[int, Ticket]]:
        """Yield each line's first ticket and its tag among servers, in fair order.

        Left out are lines whose member has reached its cap and, if something is given that all must
        share, tickets of another kind. A server's tag grows by what was yielded of it.
        """
        servers = self._openings(running, alike)
        near = list(itertools.islice(servers, 1))  # a heap; read no further than needed
        while near:
            tag_us, job_id, is_opening, line = heapq.heappop(near)
            ticket = self._tickets[job_id]
            yield tag_us, ticket
            if is_opening:
                for opening in itertools.islice(servers, 1):
                    heapq.heappush(near, opening)
            following = next(line, None)
            if following is not None:
                heapq.heappush(near, (tag_us + ticket.cost_us, following.job_id, False, line))

    def _openings(
        self, running: Mapping[int, int], alike: Hashable | None
    ) -> Iterator[tuple[int, int, bool, Iterator[Ticket]]]:
        """Yield for each server, by its tag, its first ticket that may begin, and the others."""
        for start_us, _, guild_id in self._order:
            server = self._servers[guild_id]
            heads = server.heads if alike is None else server.heads_alike.get(alike, ())
            line = (
                ticket
                for ticket in (self._tickets[job_id] for _, job_id, _ in heads)
                if running.get(ticket.member_id, 0) < ticket.max_concurrent
            )
            first = next(line, None)
            if first is not None:
                yield start_us, first.job_id, True, line

    def _add(self, ticket: Ticket) -> None:
        if ticket.job_id in self._tickets:
            raise ValueError(f"job {ticket.job_id} already waits")
        self._tickets[ticket.job_id] = ticket
        self._waiting_us += ticket.cost_us

    def _take_out(self, ticket: Ticket, *, is_charged: bool) -> None:
        del self._tickets[ticket.job_id]
        self._passes.pop(ticket.job_id, None)
        self._returned.discard(ticket.job_id)
        self._waiting_us -= ticket.cost_us
        with self._reordering(ticket.guild_id) as server:
            if is_charged:
                server.start_us = max(server.start_us, self._virtual_us) + ticket.cost_us
            server.take_out(ticket, is_charged=is_charged)

    @contextlib.contextmanager
    def _reordering(self, guild_id: int | None) -> Iterator[ServerLine]:
        """Give a server to be changed, and put it in its new place among the others."""
        server = self._servers.get(guild_id)
        if server is None:
            server = self._servers[guild_id] = ServerLine(self._virtual_us)
        if server.ranking:
            self._order.remove((server.start_us, server.ranking.first.job_id, guild_id))
        yield server
        if server.ranking:
            self._order.add((server.start_us, server.ranking.first.job_id, guild_id))
        elif len(self._servers) > self._forget_above:
            self._forget()

    def _forget(self) -> None:
        """Drop the servers that have nothing in line and owe nothing."""
        self._servers = {
            guild_id: server
            for guild_id, server in self._servers.items()
            if server.ranking or server.start_us > self._virtual_us
        }
        self._forget_above = max(2 * len(self._servers), MANY)
