"""From the queue to the worker: one loop a device, one batch at a time."""

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from bot.studio.drawing import BOT, Ended, Rendered, draw, interrupted, now
from bot.studio.screen import Screen
from bot.studio.seat import clear_abandoned
from generation.engine.supervisor import Supervisor
from generation.work.checkpoints import Checkpoint
from generation.work.errors import GenerationError
from generation.work.jobs import Job, JobState
from generation.work.outside import Outside
from generation.work.prices import padded
from generation.work.queue import FairQueue
from generation.work.results import StepDone
from generation.work.tickets import Ticket, Wait
from storage.store import Store

log = logging.getLogger(__name__)

HANGS_AFTER_S = 900.0  # longer than a silent worker is let live
TOLD = 3  # waiting members who are told their new place when a batch starts


class Dispatcher:
    """Chooses whose turn it is, has it drawn, and sees that the result is shown.

    Args:
        store: Where jobs are recorded; the queue in memory is rebuilt from it at every start.
        supervisor: The worker.
        checkpoints: By name.
        screen: Shows what happens.
        outside: How a wait for something outside this program is declared.
    """

    def __init__(
        self,
        store: Store,
        supervisor: Supervisor,
        checkpoints: Mapping[str, Checkpoint],
        screen: Screen,
        outside: Outside,
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._checkpoints = checkpoints
        self._screen = screen
        self._outside = outside
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.queue = FairQueue()
        self.running: dict[int, Job] = {}
        self._turned_at_s: float | None = None  # None while it waits for work
        self._left: dict[int, float] = {}  # of the jobs being drawn: the share still to be done

    @property
    def max_images(self) -> Mapping[str, int]:
        """Pictures that each checkpoint draws at once."""
        return self._supervisor.max_images_by_model

    async def recover(self) -> None:
        """Take up what an earlier life of the bot left behind."""
        await self._store.jobs.drop_unanswered(now())
        await clear_abandoned(self._store)
        for job in await self._store.attempts.recoverable(worker=BOT, now=now()):
            again = await interrupted(self._store, job)
            log.info("job_interrupted", extra={"job_id": job.id, "state": again.state.value})
        for job in await self._store.jobs.in_line():
            await self.push(job)

    async def push(self, job: Job) -> None:
        """Put a queued job in line."""
        self.queue.push(await self._ticket(job))
        self._wake.set()

    async def estimate(self, job: Job) -> Wait:
        """Return the place a job has, or would have, in line, and when its pictures are there."""
        ticket = await self._ticket(job)
        is_new = job.id not in self.queue
        if is_new:
            self.queue.push(ticket)
        try:
            wait = self.queue.wait(job.id)
        finally:
            if is_new:
                self.queue.remove(job.id)
        drawing_s = sum(
            running.cost_s * self._left[running.id] for running in self.running.values()
        )
        own_s = job.cost_s if ticket.shared_s is None else ticket.shared_s
        return Wait(
            wait.place,
            drawing_s + wait.at_least_s + own_s,
            drawing_s + wait.at_most_s + job.cost_s,
        )

    def cancel(self, job: Job) -> None:
        """Take a job out of the line, or stop it at its next step."""
        if self.queue.remove(job.id) is None and job.id in self.running:
            self._supervisor.cancel(job.id)

    async def run(self) -> None:
        """Draw for ever; ends only by cancellation."""
        await self._warm_up()
        loaded_model = None
        while True:
            self._turned_at_s = time.monotonic()
            batch = self.queue.next_batch(
                loaded_model=loaded_model,
                running=Counter(job.member_id for job in self.running.values()),
                max_images=self.max_images,
            )
            if not batch:
                self._turned_at_s = None
                await self._outside(self._wake.wait(), "a job to draw")
                self._wake.clear()
                continue
            loaded_model = batch[0].model
            tickets = {ticket.job_id: ticket for ticket in batch}
            jobs = [await self._store.jobs.get(job_id) for job_id in tickets]
            await self._draw([job for job in jobs if job.state is JobState.QUEUED], tickets)
            for ticket in tickets.values():  # not drawn after all
                self.queue.settle(ticket, 0.0)

    def is_turning(self) -> bool:
        """Whether the loop waits for work, or something has happened in it of late."""
        return self._turned_at_s is None or time.monotonic() - self._turned_at_s < HANGS_AFTER_S

    async def close(self) -> None:
        """Stop what still runs in the background; rendered jobs are posted at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _warm_up(self) -> None:
        """Load the first model before anybody asks."""
        try:
            await self._supervisor.load(next(iter(self._checkpoints)))
        except GenerationError:
            log.exception("model_not_loaded")  # each job tries again, and says what failed

    async def _draw(self, jobs: Sequence[Job], tickets: dict[int, Ticket]) -> None:
        """Draw the jobs together; the tickets of those that come to an end are taken out."""
        self.running = {job.id: job for job in jobs}
        self._left = dict.fromkeys(self.running, 1.0)
        log.info("drawing", extra={"jobs": sorted(self.running)})
        self._in_background(self._tell_waiting())
        try:
            async for event in draw(self._store, self._supervisor, jobs):
                self._turned_at_s = time.monotonic()
                match event:
                    case StepDone():
                        job = self.running[event.job_id]
                        self._left[job.id] = 1 - event.step / event.num_inference_steps
                        self._in_background(self._screen.show_progress(job, event))
                    case Rendered(job):
                        del self.running[job.id]
                        self.queue.settle(tickets.pop(job.id), job.elapsed_s or 0.0)
                        log.info("rendered", extra={"job_id": job.id, "elapsed_s": job.elapsed_s})
                    case Ended(job):
                        del self.running[job.id]
                        await self._after_end(job, tickets.pop(job.id))
        finally:
            self.running = {}

    async def _tell_waiting(self) -> None:
        """Tell the next few in line how far they have come."""
        for ticket in list(itertools.islice(self.queue.in_order(), TOLD)):
            job = await self._store.jobs.get(ticket.job_id)
            if job.id in self.queue:
                await self._screen.show_place(job, await self.estimate(job))

    async def _after_end(self, job: Job, ticket: Ticket) -> None:
        log.info("ended", extra={"job_id": job.id, "state": job.state.value})
        if job.state is JobState.QUEUED:  # its worker died: once more, and alone
            self.queue.requeue(await self._ticket(job))
        else:
            self.queue.settle(ticket, ticket.cost_s * (1 - self._left[job.id]))

    async def _ticket(self, job: Job) -> Ticket:
        guild = await self._store.settings.guild(job.place.guild_id)
        key = repr(job.request.alike())
        num_images = job.request.num_candidates
        places = padded(num_images, self.max_images.get(job.request.model, 1))
        return Ticket(
            job_id=job.id,
            member_id=job.member_id,
            guild_id=job.place.guild_id,
            cost_s=job.cost_s,
            shared_s=job.cost_s * num_images / places,
            # A job that may have killed a worker is drawn alone, so it takes nobody with it.
            alike=f"{key}/alone-{job.id}" if job.attempts else key,
            model=job.request.model,
            num_images=num_images,
            max_concurrent=guild.concurrent_jobs_per_member,
        )

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("delivery_failed", exc_info=error)
