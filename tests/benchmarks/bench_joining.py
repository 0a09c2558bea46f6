"""What joining a running batch gains over waiting for its end, on the same arrivals.

Simulated: a device with a few places takes the same time for a step however many are taken, as one
that pads its batches does. Who begins and who joins is the real line's answer.
"""

import random
import statistics
from collections import Counter
from collections.abc import Iterator

from generation.work.queue import FairQueue
from generation.work.tickets import Ticket

PLACES = 4
STEP_S = 0.1
STEPS = (4, 12, 28, 50)
JOBS = 2_000
LOAD = 0.7  # of the device, if every place were always taken
Row = tuple[str, float, str]


def _arrivals() -> list[tuple[float, Ticket, int]]:
    """Return when each job is asked for, the job and its steps: Poisson, by many members."""
    chance = random.Random(5)
    per_job_s = statistics.mean(STEPS) * STEP_S * statistics.mean((1, 2, 4)) / PLACES
    now_s, made = 0.0, []
    for job_id in range(JOBS):
        now_s += chance.expovariate(LOAD / per_job_s)
        steps, num_images = chance.choice(STEPS), chance.choice((1, 2, 4))
        ticket = Ticket(
            job_id=job_id,
            member_id=chance.randrange(200),
            guild_id=1,
            cost_s=steps * STEP_S,
            shared_s=steps * STEP_S * num_images / PLACES,
            alike="a",
            model="a",
            num_images=num_images,
        )
        made.append((now_s, ticket, steps))
    return made


def waits_s(*, is_joined: bool) -> list[float]:
    """Return the seconds from asking to the picture of every job."""
    queue = FairQueue()
    arrivals = _arrivals()
    asked_at_s = {ticket.job_id: at_s for at_s, ticket, _ in arrivals}
    steps = {ticket.job_id: count for _, ticket, count in arrivals}
    coming = iter(arrivals)
    nearest = next(coming, None)
    left: dict[int, int] = {}  # steps of what is being drawn
    drawn: dict[int, Ticket] = {}
    paid_s: Counter[int] = Counter()
    now_s, waited_s = 0.0, []
    while nearest or left or len(queue):
        if not left and not len(queue) and nearest:
            now_s = max(now_s, nearest[0])
        while nearest and nearest[0] <= now_s:
            queue.push(nearest[1])
            nearest = next(coming, None)
        at_work = Counter(ticket.member_id for ticket in drawn.values())
        room = PLACES - sum(ticket.num_images for ticket in drawn.values())
        begun: tuple[Ticket, ...] = ()
        if not left:
            begun = queue.next_batch(loaded_model="a", running={}, max_images={"a": PLACES})
        elif is_joined:
            begun = queue.fit("a", room=room, running=at_work)
        for ticket in begun:
            drawn[ticket.job_id], left[ticket.job_id] = ticket, steps[ticket.job_id]
        taken = sum(ticket.num_images for ticket in drawn.values())
        now_s += STEP_S
        for job_id in list(left):
            paid_s[job_id] += STEP_S * drawn[job_id].num_images / taken
            left[job_id] -= 1
            if not left[job_id]:
                del left[job_id]
                queue.settle(drawn.pop(job_id), paid_s[job_id])
                waited_s.append(now_s - asked_at_s[job_id])
    return waited_s


def run() -> Iterator[Row]:
    """Yield rows of name, value and unit."""
    scene = f"{LOAD:.0%} load, {STEPS[0]} to {STEPS[-1]} steps, 1 to {PLACES} pictures (simulated)"
    joined_s, alone_s = waits_s(is_joined=True), waits_s(is_joined=False)
    for name, percent in (("median", 50), ("p95", 95)):
        one_s, other_s = (
            statistics.quantiles(each, n=100)[percent - 1] for each in (joined_s, alone_s)
        )
        yield f"joining: wait {name}, {scene}", one_s, "s"
        yield f"joining: the same if a batch is waited for, {name}", other_s, "s"
        yield f"joining: waited for / joined, {name}", other_s / one_s, "x"
