"""What joining a running batch gains over waiting for its end, on the same arrivals.

The real line, worker process and engine's loop; the model is the test pattern, which takes its time
for each step however many pictures share it, as a device does that pads its batches.
"""

import asyncio
import dataclasses
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from generation.engine.supervisor import Supervisor
from generation.work.checkpoints import PATTERN
from generation.work.orders import Order
from generation.work.queue import FairQueue
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone
from generation.work.tickets import Ticket

STEP_S = 0.03
PLACES = 8  # of the pattern
STEPS = (4, 12, 28, 50)
PICTURES = (1, 2, 4)
JOBS = 120
LOAD = 0.7  # of the device, if every place were always taken
MODEL = dataclasses.replace(PATTERN, source=f"pattern:{STEP_S}")
Row = tuple[str, float, str]
Arrival = tuple[float, Ticket, Imagine]


def _arrivals() -> list[Arrival]:
    """Return when each job is asked for, and what: Poisson, by many members."""
    chance = random.Random(5)
    job_s = statistics.mean(STEPS) * STEP_S * statistics.mean(PICTURES) / PLACES
    at_s, made = 0.0, []
    for job_id in range(1, JOBS + 1):
        at_s += chance.expovariate(LOAD / job_s)
        request = Imagine(
            prompts=(WeightedPrompt("a fox"),),
            model=MODEL.name,
            seed=job_id,
            width=MODEL.width,
            height=MODEL.height,
            num_inference_steps=chance.choice(STEPS),
            guidance_scale=2.0,
            num_images=chance.choice(PICTURES),
        )
        cost_s = request.num_inference_steps * STEP_S
        ticket = Ticket(
            job_id=job_id,
            member_id=job_id,
            guild_id=1,
            cost_s=cost_s,
            shared_s=cost_s * request.num_images / PLACES,
            alike=request.alike(),
            model=MODEL.name,
            num_images=request.num_images,
        )
        made.append((at_s, ticket, request))
    return made


async def _waits_s(arrivals: Sequence[Arrival], *, is_joined: bool) -> list[float]:
    """Return the seconds from asking to the pictures, of every job."""
    supervisor = Supervisor(checkpoints={MODEL.name: MODEL})
    await supervisor.load(MODEL.name)
    queue, wake = FairQueue(), asyncio.Event()
    requests = {ticket.job_id: request for _, ticket, request in arrivals}
    drawn: dict[int, Ticket] = {}
    asked_at_s: dict[int, float] = {}
    waited_s: list[float] = []

    async def ask() -> None:
        started_s = time.monotonic()
        for at_s, ticket, _ in arrivals:
            await asyncio.sleep(max(0.0, started_s + at_s - time.monotonic()))
            asked_at_s[ticket.job_id] = time.monotonic()
            queue.push(ticket)
            wake.set()

    async def listen() -> None:
        async for event in supervisor.events():
            if isinstance(event, ImagesDone):
                queue.settle(drawn.pop(event.job_id), event.elapsed_s)
                waited_s.append(time.monotonic() - asked_at_s[event.job_id])
                wake.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask())
        tasks.create_task(listen())
        while len(waited_s) < len(arrivals):
            wake.clear()
            for ticket in _begun(queue, drawn, is_joined=is_joined):
                drawn[ticket.job_id] = ticket
                await supervisor.admit(Order(ticket.job_id, requests[ticket.job_id]))
            await wake.wait()
        await supervisor.stop()
    return waited_s


def _begun(queue: FairQueue, drawn: dict[int, Ticket], *, is_joined: bool) -> tuple[Ticket, ...]:
    if not drawn:
        places = {MODEL.name: PLACES}
        return queue.next_batch(loaded_model=MODEL.name, running={}, max_images=places)
    if not is_joined:
        return ()
    now = list(drawn.values())
    room = PLACES - sum(ticket.num_images for ticket in now)
    return queue.fit(now[0].alike, room=room, running=Counter(t.member_id for t in now))


async def run() -> AsyncIterator[Row]:
    """Yield rows of name, value and unit."""
    arrivals = _arrivals()
    scene = f"{LOAD:.0%} load, {STEPS[0]} to {STEPS[-1]} steps, 1 to {PICTURES[-1]} pictures"
    joined_s = await _waits_s(arrivals, is_joined=True)
    alone_s = await _waits_s(arrivals, is_joined=False)
    for name, percent in (("median", 50), ("p95", 95)):
        one_s, other_s = (
            statistics.quantiles(each, n=100)[percent - 1] for each in (joined_s, alone_s)
        )
        yield f"joining: wait {name}, {scene}", one_s, "s"
        yield f"joining: the same if a batch is waited for, {name}", other_s, "s"
        yield f"joining: waited for / joined, {name}", other_s / one_s, "x"
