"""One server's part of the line: its members, what each has waiting, and in which order.

The theory stands in `generation.work.queue`; this is its lower level.
"""

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterable

from sortedcontainers import SortedList

from generation.work.ranking import Entry, Ranking
from generation.work.tickets import Ticket

MANY = 1024  # idle members that are kept before the forgettable ones are forgotten


class ServerLine:
    """A server's members, their lines and tags, and the server's own tag."""

    def __init__(self, start_us: int) -> None:
        self.start_us = start_us  # its tag: when its next ticket begins, among servers
        self.virtual_us = 0  # the present, among its members
        self.lines: dict[int, OrderedDict[int, Ticket]] = {}  # by member, none empty
        self.tags_us: dict[int, int] = {}  # by job, among its members
        self.ranking = Ranking()
        self.heads: SortedList = SortedList()  # tag, job number, member
        self.heads_alike: dict[Hashable, SortedList] = {}  # the same by what may share a batch
        # Tags of members without a line, as far as they lie ahead of the present.
        self._finishes_us: dict[int, int] = {}
        self._forget_above = MANY

    def push(self, ticket: Ticket) -> None:
        """Put a ticket at the end of its member's line."""
        line = self.lines.get(ticket.member_id)
        if line is None:
            finish_us = self._finishes_us.pop(ticket.member_id, 0)
            self._open(ticket, max(self.virtual_us, finish_us))
        else:
            last = next(reversed(line.values()))
            line[ticket.job_id] = ticket
            self._tag([ticket], self.tags_us[last.job_id] + last.cost_us)

    def put_back(self, ticket: Ticket, returned: set[int]) -> None:
        """Put a ticket at the front of its member's line, behind older ones that came back too."""
        line = self.lines.get(ticket.member_id)
        if line is None:
            finish_us = self._finishes_us.pop(ticket.member_id, self.virtual_us)
            self._open(ticket, finish_us - ticket.cost_us)
            return
        self._unlist(line)
        start_us = self.tags_us[next(iter(line))] - ticket.cost_us
        older = list(itertools.takewhile(returned.__contains__, line))
        line[ticket.job_id] = ticket
        for job_id in sorted([ticket.job_id, *older], reverse=True):
            line.move_to_end(job_id, last=False)
        for job_id in older:  # all anew: only the tags behind them stay as they are
            self.ranking.remove(Entry(self.tags_us.pop(job_id), job_id))
        self._tag(line.values(), start_us)
        self._list(line)

    def take_out(self, ticket: Ticket, *, is_charged: bool) -> None:
        """Take a ticket out of its line; uncharged, those behind it move up."""
        line = self.lines[ticket.member_id]
        self._unlist(line)
        tag_us = self.tags_us.pop(ticket.job_id)
        self.ranking.remove(Entry(tag_us, ticket.job_id))
        following: Iterable[Ticket] = line.values()
        if next(iter(line)) != ticket.job_id:
            behind = itertools.dropwhile(ticket.job_id.__ne__, line)
            following = [line[job_id] for job_id in itertools.islice(behind, 1, None)]
        del line[ticket.job_id]
        if is_charged:  # from the present on: being held back by a cap earns no credit
            tag_us = max(tag_us, self.virtual_us) + ticket.cost_us
        self._tag(following, tag_us)
        if line:
            self._list(line)
        else:
            del self.lines[ticket.member_id]
            self._remember(ticket.member_id, tag_us)

    def settle(self, member_id: int, owed_us: int) -> None:
        """Move everything that a member has in line, or will have, by what it still owes."""
        line = self.lines.get(member_id)
        if line is None:
            finish_us = self._finishes_us.get(member_id, self.virtual_us)
            self._remember(member_id, finish_us + owed_us)
        else:
            self._unlist(line)
            self._tag(line.values(), self.tags_us[next(iter(line))] + owed_us)
            self._list(line)

    def _open(self, ticket: Ticket, tag_us: int) -> None:
        """Open a line for a member who has none."""
        line = self.lines[ticket.member_id] = OrderedDict({ticket.job_id: ticket})
        self._tag([ticket], tag_us)
        self._list(line)

    def _tag(self, tickets: Iterable[Ticket], tag_us: int) -> None:
        """Let successive tickets of a line begin where the one before ends, the first at a tag."""
        for ticket in tickets:
            had_us = self.tags_us.get(ticket.job_id)
            if had_us == tag_us:
                return  # and so have all behind it
            if had_us is not None:
                self.ranking.remove(Entry(had_us, ticket.job_id))
            self.tags_us[ticket.job_id] = tag_us
            self.ranking.add(
                Entry(tag_us, ticket.job_id), cost_us=ticket.cost_us, shared_us=ticket.shared_us
            )
            tag_us += ticket.cost_us

    def _list(self, line: OrderedDict[int, Ticket]) -> None:
        head = next(iter(line.values()))
        key = self.tags_us[head.job_id], head.job_id, head.member_id
        self.heads.add(key)
        self.heads_alike.setdefault(head.alike, SortedList()).add(key)

    def _unlist(self, line: OrderedDict[int, Ticket]) -> None:
        head = next(iter(line.values()))
        key = self.tags_us[head.job_id], head.job_id, head.member_id
        self.heads.remove(key)
        alike = self.heads_alike[head.alike]
        alike.remove(key)
        if not alike:
            del self.heads_alike[head.alike]

    def _remember(self, member_id: int, finish_us: int) -> None:
        """Keep the tag of a member who has left, as long as it can matter."""
        finishes_us = self._finishes_us
        finishes_us[member_id] = finish_us
        if len(finishes_us) > self._forget_above:
            now_us = self.virtual_us
            self._finishes_us = {own: tag for own, tag in finishes_us.items() if tag > now_us}
            self._forget_above = max(2 * len(self._finishes_us), MANY)
