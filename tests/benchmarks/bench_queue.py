"""How long the queue takes to choose when a hundred thousand jobs wait."""

import statistics
import time
from collections.abc import Iterable

from generation.work.queue import FairQueue, Ticket

WAITING = 100_000
TURNS = 500
CAPPED = 1_000
MODELS = ("a", "b", "c")


def _ticket(job_id: int, member_id: int) -> Ticket:
    model = MODELS[job_id % len(MODELS)]
    return Ticket(
        job_id=job_id,
        member_id=member_id,
        guild_id=1,
        cost_s=0.5 + job_id % 7,
        batch_key=f"{model}/{128 + 32 * (job_id % 5)}",
        model=model,
        num_images=1 + job_id % 4,
    )


def _percentile_ms(durations_s: Iterable[float], percent: int) -> float:
    return statistics.quantiles(durations_s, n=100)[percent - 1] * 1e3


def _turns_s(queue: FairQueue, running: dict[int, int]) -> list[float]:
    durations_s = []
    for _ in range(TURNS):
        started = time.thread_time()  # other work on the machine is not the queue's
        batch = queue.next_batch(loaded_model="a", running=running, max_images=8)
        durations_s.append(time.thread_time() - started)
        if not batch:
            raise RuntimeError("the queue had nothing to draw")
    return durations_s


def run() -> list[tuple[str, float, str]]:
    """Return rows of name, value and unit."""
    rows = []
    for members in (100, WAITING):
        queue = FairQueue()
        tickets = [_ticket(job_id, job_id % members) for job_id in range(WAITING)]
        started = time.perf_counter()
        for ticket in tickets:
            queue.push(ticket)
        push_us = (time.perf_counter() - started) / WAITING * 1e6
        shape = f"{WAITING:,} jobs of {members:,} members"
        rows.append((f"queue: push, {shape}", push_us, "us"))
        turns_s = _turns_s(queue, {})
        rows.append((f"queue: next turn p50, {shape}", _percentile_ms(turns_s, 50), "ms"))
        rows.append((f"queue: next turn p99, {shape} (≤ 1)", _percentile_ms(turns_s, 99), "ms"))
        if members > CAPPED:
            capped = {next(queue.in_order()).member_id: 1}
            capped |= dict.fromkeys(range(CAPPED * 2, CAPPED * 3), 1)
            turns_s = _turns_s(queue, capped)
            for percent in (50, 99):
                name = f"queue: next turn p{percent}, {CAPPED:,} members at their cap"
                rows.append((name, _percentile_ms(turns_s, percent), "ms"))
        started = time.perf_counter()
        queue.wait_s(WAITING - 1)
        rows.append((f"queue: honest wait, {shape}", (time.perf_counter() - started) * 1e3, "ms"))
    return rows


if __name__ == "__main__":
    for name, value, unit in run():
        print(f"{name:64} {value:9.3f} {unit}")  # noqa: T201
