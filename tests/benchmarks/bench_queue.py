"""How long the queue takes to choose, and to say how long a wait is, among a hundred thousand jobs.

Beside them stands who gains by it: the same arrivals, served by it and by a plain line.
"""

import itertools
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator

from generation.work.queue import FairQueue
from generation.work.tickets import Ticket, Wait

WAITING = 100_000
TURNS = 500
ESTIMATES = 500
CAPPED = 1_000
MODELS = ("a", "b", "c")
ROOM = dict.fromkeys(MODELS, 8)
# Members and servers. A bot that Discord has not verified is in a hundred servers at most.
SHAPES = ((2_500, 1), (2_500, 50), (WAITING, 1), (WAITING, 100))
MANY_SERVERS = (WAITING, 1_000)
Row = tuple[str, float, str]

JOB_S = 4.0  # one job of four pictures
GREEDY = 40  # jobs of one member at once
CROWD = 200  # accounts of another server, a job each at once
ASKERS = 200  # members who ask once, at random
LOAD = 0.7  # of the device, by those who ask once


def _ticket(job_id: int, member_id: int, guild_id: int) -> Ticket:
    model = MODELS[job_id % len(MODELS)]
    return Ticket(
        job_id=job_id,
        member_id=member_id,
        guild_id=guild_id,
        cost_s=0.5 + job_id % 7,
        shared_s=0.5,
        alike=f"{model}/{128 + 32 * (job_id % 5)}",
        model=model,
        num_images=1 + job_id % 4,
    )


def _timed_ms(work: Callable[[], object]) -> float:
    started_s = time.thread_time()  # other work on the machine is not the queue's
    work()
    return (time.thread_time() - started_s) * 1e3


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def _turns_ms(queue: FairQueue, running: dict[int, int]) -> list[float]:
    def turn() -> None:
        if not queue.next_batch(loaded_model="a", running=running, max_images=ROOM):
            raise RuntimeError("the queue had nothing to draw")

    return [_timed_ms(turn) for _ in range(TURNS)]


def _walked(queue: FairQueue, job_id: int) -> Wait:
    """Return the wait by walking through all that is ahead, as it was once done."""
    ahead = list(itertools.takewhile(lambda ticket: ticket.job_id != job_id, queue.in_order()))
    shared_us, alone_us = (sum(getattr(t, n) for t in ahead) for n in ("shared_us", "cost_us"))
    return Wait(1 + len(ahead), shared_us / 1e6, alone_us / 1e6)


def _estimates_ms(queue: FairQueue) -> list[float]:
    """Time estimates for newcomers: each is put in line, asked for and taken out again."""
    job_ids = itertools.count(2 * WAITING)

    def estimate() -> None:
        job_id = next(job_ids)
        queue.push(_ticket(job_id, job_id % 977, job_id % 7))
        queue.wait(job_id)
        queue.remove(job_id)

    return [_timed_ms(estimate) for _ in range(ESTIMATES)]


def _tickets(members: int, servers: int) -> list[Ticket]:
    return [_ticket(n, n % members, n % members % servers) for n in range(WAITING)]


def _shape(members: int, servers: int) -> Iterator[Row]:
    shape = f"{WAITING:,} jobs, {members:,} members, {servers:,} servers"
    queue = FairQueue()
    tickets = _tickets(members, servers)
    started_s = time.thread_time()
    for ticket in tickets:
        queue.push(ticket)
    yield f"queue: push, {shape}", (time.thread_time() - started_s) / WAITING * 1e6, "us"
    turns_ms = _turns_ms(queue, {})
    yield f"queue: next turn p50, {shape}", _percentile(turns_ms, 50), "ms"
    yield f"queue: next turn p99, {shape} (≤ 1)", _percentile(turns_ms, 99), "ms"
    if members > CAPPED and servers == 1:
        capped = {next(queue.in_order()).member_id: 1}
        capped |= dict.fromkeys(range(CAPPED * 2, CAPPED * 3), 1)
        name = f"queue: next turn p99, {CAPPED:,} members at their cap"
        yield name, _percentile(_turns_ms(queue, capped), 99), "ms"
    waiting = sorted(ticket.job_id for ticket in queue.in_order())
    asked = random.Random(7).sample(waiting, ESTIMATES)
    waits_ms = [_timed_ms(lambda job_id=job_id: queue.wait(job_id)) for job_id in asked]
    yield f"queue: estimate p99, {shape} (≤ 1)", _percentile(waits_ms, 99), "ms"
    name = f"queue: estimate for a newcomer p99, {shape} (≤ 1)"
    yield name, _percentile(_estimates_ms(queue), 99), "ms"
    last = asked[-1]
    walked_ms = _timed_ms(lambda: _walked(queue, last))
    if _walked(queue, last) != queue.wait(last):
        raise RuntimeError("the quick estimate is not the one that walking gives")
    yield "queue: walking for one estimate / asking for it", walked_ms / waits_ms[-1], "x"
    settled_ms = [_timed_ms(lambda t=t: queue.settle(t, 1.0)) for t in tickets[:TURNS]]
    yield f"queue: settle p99, {shape}", _percentile(settled_ms, 99), "ms"


def _ticket_of(job_id: int, member_id: int, guild_id: int) -> Ticket:
    return Ticket(
        job_id=job_id,
        member_id=member_id,
        guild_id=guild_id,
        cost_s=JOB_S,
        alike="a",
        model="a",
        num_images=4,
    )


def _arrivals(first: list[Ticket], guild_id: int) -> list[tuple[float, Ticket]]:
    """Return when each job is asked for: some at once, then at random by those who ask once."""
    chance = random.Random(3)
    asked = [(0.0, ticket) for ticket in first]
    now_s = 0.0
    for number in range(ASKERS):
        now_s += chance.expovariate(LOAD / JOB_S)
        asked.append((now_s, _ticket_of(len(asked), 10_000 + number, guild_id)))
    return asked


def _waits_s(
    arrivals: list[tuple[float, Ticket]],
    take: Callable[[], Ticket | None],
    push: Callable[[Ticket], None],
) -> list[float]:
    """Return how long each member who asks once waits until its pictures are there."""
    coming = deque(arrivals)
    asked_at_s = {ticket.job_id: at_s for at_s, ticket in coming}
    now_s, waits_s = 0.0, []
    while True:
        while coming and coming[0][0] <= now_s:
            push(coming.popleft()[1])
        ticket = take()
        if ticket is None:
            if not coming:
                return waits_s
            now_s = coming[0][0]
            continue
        now_s += JOB_S
        if ticket.member_id >= 10_000:
            waits_s.append(now_s - asked_at_s[ticket.job_id])


def _fairness(scene: str, arrivals: list[tuple[float, Ticket]]) -> Iterator[Row]:
    queue = FairQueue()
    line: deque[Ticket] = deque()

    def fair() -> Ticket | None:
        batch = queue.next_batch(loaded_model="a", running={}, max_images={"a": 4})
        return batch[0] if batch else None

    fair_s = _waits_s(arrivals, fair, queue.push)
    plain_s = _waits_s(arrivals, lambda: line.popleft() if line else None, line.append)
    for percent in (50, 95):
        one_s, other_s = _percentile(fair_s, percent), _percentile(plain_s, percent)
        yield f"fairness: wait p{percent} of who asks once, {scene} (simulated)", one_s, "s"
        yield f"fairness: the same in a plain line, p{percent}", other_s, "s"
        yield f"fairness: plain / fair, p{percent}", other_s / one_s, "x"


def run() -> Iterator[Row]:
    """Yield rows of name, value and unit."""
    for members, servers in SHAPES:
        yield from _shape(members, servers)
    queue = FairQueue()
    for ticket in _tickets(*MANY_SERVERS):
        queue.push(ticket)
    shape = "{:,} members, {:,} servers".format(*MANY_SERVERS)
    yield (
        f"queue: estimate for a newcomer p99, {shape}",
        _percentile(_estimates_ms(queue), 99),
        "ms",
    )
    greedy = [_ticket_of(n, 1, guild_id=1) for n in range(GREEDY)]
    yield from _fairness(f"one member has {GREEDY} jobs", _arrivals(greedy, guild_id=1))
    crowd = [_ticket_of(n, n, guild_id=1) for n in range(CROWD)]
    scene = f"another server has {CROWD} accounts"
    yield from _fairness(scene, _arrivals(crowd, guild_id=2))
