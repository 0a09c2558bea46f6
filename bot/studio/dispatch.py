"""From the line to the executor and back: one loop a device.

    line ──> begin ──> admit ──> events ──> record
      ^        │ gate     │         │ gate
      └────────┴──────────┴─────────┘  given back: a stop, a dead worker, nothing can be saved

Jobs are taken from the line as room is made: the fair next ones while nothing is drawn, and those
that are like what is drawn while something is. Each is begun under a lease that a timer renews, and
ends by an event. What is no job's own fault (an orderly stop, a worker that cannot start, a full
disk) gives it back uncharged; a worker that dies is charged to what it was drawing.
"""

import asyncio
import dataclasses
import functools
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import Any

from bot.messages import remarks
from bot.studio.drawing import LEASE, Begun, begin, end, finish, interrupted, learn_price, now
from bot.studio.gate import Gate
from bot.studio.line import Line
from bot.studio.screen import Screen
from bot.studio.seat import clear_abandoned
from bot.studio.trouble import Breaker, Trouble
from bot.studio.upkeep import every
from generation.engine.supervisor import Supervisor
from generation.work.checkpoints import Checkpoint
from generation.work.errors import GenerationError
from generation.work.jobs import Job, JobState
from generation.work.outside import Outside
from generation.work.queue import FairQueue
from generation.work.results import (
    ImagesDone,
    OrderCancelled,
    OrderFailed,
    OrderLost,
    Remarked,
    StepDone,
    WorkerEvent,
)
from generation.work.tickets import Ticket, Wait
from storage.errors import StorageError, TransitionRefused
from storage.steps import Outcome
from storage.store import Store

log = logging.getLogger(__name__)

BOT = "bot"  # one process holds a record's `run.lock`, so this name's earlier lives are over
RENEW_S = LEASE.total_seconds() / 3
DROP_S = 60.0  # between two looks for questions that nobody answered
SWEEP_S = 600.0  # between two looks for files that nothing names and jobs that stand in no line
FIRST_SWEEP_S = 5.0
HANGS_AFTER_S = 900.0  # longer than a silent worker is let live
MAX_LOSSES = 3  # workers that die in a row before drawing pauses
TOLD = 3  # waiting members who are told their new place when a batch starts
BROKEN = "Something went wrong on my side. The operator can see what in the log."


@dataclasses.dataclass(slots=True)
class Drawing:
    """A ticket that was taken out of the line and whose pictures have not come.

    Args:
        ticket: As it was taken.
        job: As it was begun; None before that.
        left: The share that is still to be done.
        is_cancelled: Whether somebody wished so since it was taken.
    """

    ticket: Ticket
    job: Job | None = None
    left: float = 1.0
    is_cancelled: bool = False


class Dispatcher:
    """Chooses whose turn it is, has it drawn, and records what comes of it.

    Args:
        store: Where jobs are recorded; the queue in memory is rebuilt from it at every start.
        supervisor: The executor: whatever can be offered an order and says what happened.
        checkpoints: By name.
        screen: Shows how far jobs are.
        gate: Whether a job may go on.
        outside: How a wait for something outside this program is declared.
    """

    def __init__(
        self,
        store: Store,
        supervisor: Supervisor,
        checkpoints: Mapping[str, Checkpoint],
        screen: Screen,
        gate: Gate,
        outside: Outside,
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._checkpoints = checkpoints
        self._screen = screen
        self._gate = gate
        self._outside = outside
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()  # what is shown, and may be left undone
        self._handling: dict[int, asyncio.Task[None]] = {}  # by job: its last event, in order
        self._drawing: dict[int, Drawing] = {}
        self._stranded: dict[int, Ticket] = {}  # could not even be given back
        self._losses = 0  # workers in a row that died while they had something to draw
        self._has_begun = False  # since the last of them
        self._turned_at_s = time.monotonic()
        self._last_model: str | None = None
        self.line = Line(store, supervisor)
        self._breaker = Breaker(store, self.line)

    @property
    def max_images(self) -> Mapping[str, int]:
        """Pictures that each checkpoint draws at once."""
        return self.line.max_images

    @property
    def queue(self) -> FairQueue:
        """Whose turn it is."""
        return self.line.queue

    @property
    def running(self) -> Mapping[int, Job]:
        """The jobs that are drawn now, by their numbers."""
        return {each: d.job for each, d in self._drawing.items() if d.job is not None}

    # The line

    async def recover(self) -> None:
        """Take up what an earlier life of the bot left behind."""
        await self._store.jobs.drop_unanswered(now())
        await clear_abandoned(self._store)
        for job in await self._store.attempts.recoverable(worker=BOT, now=now()):
            again = await interrupted(self._store, job)
            log.info("job_interrupted", extra={"job_id": job.id, "state": again.state.value})
        await self._line_up_waiting()

    async def push(self, job: Job) -> None:
        """Put a queued job in line, unless it stands there already."""
        ticket = await self.line.ticket(job)
        if job.id not in self.queue and job.id not in self._taken:
            self.queue.push(ticket)
            self._wake.set()

    async def estimate(self, job: Job) -> Wait:
        """Return the place a job has, or would have, in line, and when its pictures are there."""
        drawn = [(each.ticket, each.left) for each in self._drawing.values()]
        wait = await self.line.estimate(job, drawn)
        return dataclasses.replace(wait, trouble=self._breaker.trouble or "")

    def cancel(self, job: Job) -> None:
        """Take a job whose cancel is recorded out of the line, or stop it at its next step."""
        if self.queue.remove(job.id) is None and (drawing := self._drawing.get(job.id)):
            drawing.is_cancelled = True
            self._supervisor.cancel(job.id)

    @property
    def _taken(self) -> set[int]:
        return {*self._drawing, *self._stranded, *self._handling}

    # The loop

    async def run(self) -> None:
        """Draw for ever; ends only by cancellation."""
        loops = [
            asyncio.create_task(self._listen(), name="events"),
            asyncio.create_task(self._fill(), name="line"),
            asyncio.create_task(self._warm_up(), name="warm-up"),
            asyncio.create_task(every(RENEW_S, self._renew, self._outside), name="leases"),
            asyncio.create_task(every(DROP_S, self._drop_unanswered, self._outside), name="held"),
            asyncio.create_task(
                every(SWEEP_S, self._sweep, self._outside, first_s=FIRST_SWEEP_S), name="sweep"
            ),
        ]
        try:
            ended, _ = await self._outside(
                asyncio.wait(loops, return_when=asyncio.FIRST_EXCEPTION), "drawing"
            )
            for each in ended:
                each.result()
        finally:
            for each in loops:
                each.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    def is_turning(self) -> bool:
        """Whether nothing is drawn, or something has happened to it of late."""
        return not self._drawing or time.monotonic() - self._turned_at_s < HANGS_AFTER_S

    async def close(self) -> None:
        """Give what is being drawn back to the line, uncharged; call it after `run` has ended."""
        await asyncio.gather(*self._handling.values(), return_exceptions=True)  # it is short
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for job_id in [*self._drawing, *self._stranded]:
            try:
                await self._store.attempts.end(job_id, Outcome.STOPPED, now=now())
            except TransitionRefused:
                continue  # it was not begun, or has ended
            except StorageError:  # the next start finds it running and takes it for interrupted
                log.exception("not_given_back", extra={"job_id": job_id})

    async def _warm_up(self) -> None:
        """Load the first model before anybody asks."""
        try:
            await self._supervisor.load(next(iter(self._checkpoints)))
        except GenerationError:
            log.exception("model_not_loaded")  # its jobs try again, and say what failed

    async def _fill(self) -> None:
        """Take tickets as there is room, and sleep while there is none."""
        while True:
            self._wake.clear()
            tickets = self._next()
            if not tickets:
                await self._outside(self._wake.wait(), "a job to draw")
                continue
            self._turned_at_s = time.monotonic()
            self._last_model = tickets[0].model
            self._drawing |= {ticket.job_id: Drawing(ticket) for ticket in tickets}
            for ticket in tickets:
                await self._by_itself(ticket, self._begin(ticket))
            self._in_background(self._tell_waiting())

    def _next(self) -> tuple[Ticket, ...]:
        """Take out whose turn it is, or who may join what is being drawn."""
        if self._breaker.is_open:
            return ()
        drawn = [each.ticket for each in self._drawing.values()]
        running = Counter(ticket.member_id for ticket in drawn)
        if not drawn:
            return self.queue.next_batch(
                loaded_model=self._last_model, running=running, max_images=self.max_images
            )
        room = self.max_images.get(drawn[0].model, 1) - sum(ticket.num_images for ticket in drawn)
        return self.queue.fit(drawn[0].alike, room=room, running=running)

    async def _begin(self, ticket: Ticket) -> None:
        """Begin a job's attempt and hand it to the executor."""
        if self._breaker.is_open:  # one of its batch found that nothing goes on
            self._put_back(ticket)
            return
        drawing = self._drawing[ticket.job_id]
        try:
            taken = await begin(self._store, self._gate, ticket.job_id, worker=BOT)
        except StorageError as failure:
            self._put_back(ticket)
            self._trip(Trouble.STORAGE, failure, ticket)
            return
        if not isinstance(taken, Begun):
            self._settle(ticket, 0.0)
            return
        drawing.job = taken.job
        log.info("drawing", extra={"job_id": ticket.job_id})
        try:
            await self._supervisor.admit(taken.order)
        except GenerationError as failure:
            self._trip(Trouble.WORKER, failure, ticket)
            await self._give_back(ticket)
            return
        self._has_begun = True
        if drawing.is_cancelled:  # before it was admitted
            self._supervisor.cancel(ticket.job_id)

    # What happens to what is drawn

    async def _listen(self) -> None:
        """Handle what the executor says: the events of one job in their order."""
        async for event in self._supervisor.events():
            self._turned_at_s = time.monotonic()
            if isinstance(event, StepDone):
                self._step(event)
                continue
            if isinstance(event, OrderLost) and self._has_begun:  # the first of its worker's
                self._losses, self._has_begun = self._losses + 1, False
            before = self._handling.get(event.job_id)
            task = asyncio.create_task(self._handle(event, before), name=f"job-{event.job_id}")
            self._handling[event.job_id] = task
            task.add_done_callback(functools.partial(self._handled, event.job_id))

    def _step(self, event: StepDone) -> None:
        drawing = self._drawing.get(event.job_id)
        if drawing is None or drawing.job is None:
            return
        if drawing.left == 1.0:
            self._wake.set()  # by now it is known how many its checkpoint draws at once
        drawing.left = 1 - event.step / event.num_inference_steps
        self._in_background(self._screen.show_progress(drawing.job, event))

    async def _handle(self, event: WorkerEvent, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await self._outside(asyncio.wait({before}), "its pictures")
        if isinstance(event, Remarked):
            await self._remark(event)
            return
        drawing = self._drawing.pop(event.job_id, None)
        self._wake.set()
        if drawing is None or drawing.job is None:
            return
        match event:
            case ImagesDone():
                work = self._drawn(drawing, drawing.job, event)
            case OrderLost():
                work = self._lost(drawing, drawing.job, event)
            case OrderFailed() | OrderCancelled():
                work = self._ended(drawing, event)
            case _:
                return
        await self._by_itself(drawing.ticket, work)
        self._wake.set()

    def _handled(self, job_id: int, task: asyncio.Task[None]) -> None:
        if self._handling.get(job_id) is task:
            del self._handling[job_id]
        if not task.cancelled() and (error := task.exception()):
            log.error("event_not_handled", exc_info=error, extra={"job_id": job_id})

    async def _drawn(self, drawing: Drawing, job: Job, done: ImagesDone) -> None:
        """Record pictures, if the job may still show them."""
        ticket = drawing.ticket
        try:
            job = await finish(self._store, self._gate, job, done)
        except TransitionRefused:  # it was ended from outside
            self._settle(ticket, done.elapsed_s)
            return
        except StorageError as failure:
            self._trip(Trouble.STORAGE, failure, ticket)
            await self._give_back(ticket)
            return
        self._settle(ticket, done.elapsed_s)
        self._losses = 0
        fields = {"job_id": job.id, "state": job.state.value, "elapsed_s": done.elapsed_s}
        log.info("rendered", extra=fields)
        self._in_background(self._breaker.succeeded())
        max_images = self.max_images.get(job.request.model, 1)
        await learn_price(self._store, job, done.elapsed_s, max_images)

    async def _remark(self, event: Remarked) -> None:
        """Add to a drawn job's message what is to be said of its words."""
        if event.remarks:
            job = await self._store.jobs.get(event.job_id)
            notes = remarks(job.request.model, event.remarks)
            await self._store.jobs.add_notes(job.id, notes, now=now())

    async def _ended(self, drawing: Drawing, event: OrderFailed | OrderCancelled) -> None:
        ticket = drawing.ticket
        try:
            await end(self._store, event.job_id, event)
        except TransitionRefused:
            pass
        except StorageError as failure:
            self._trip(Trouble.STORAGE, failure, ticket)
            await self._give_back(ticket)
            return
        self._settle(ticket, ticket.cost_s * (1 - drawing.left))

    async def _lost(self, drawing: Drawing, job: Job, event: OrderLost) -> None:
        """Draw a job once more, and alone, after its worker died; or set it aside."""
        ticket = drawing.ticket
        log.warning("worker_lost", extra={"job_id": job.id, "cause": event.reason})
        if self._losses >= MAX_LOSSES:
            self._trip(Trouble.WORKER, WorkerLost(event.reason), ticket)
        try:
            again = await interrupted(self._store, job)
        except TransitionRefused:
            again = await self._store.jobs.get(job.id)
        except StorageError as failure:
            self._trip(Trouble.STORAGE, failure, ticket)
            self._stranded[job.id] = ticket
            return
        if again.state is JobState.QUEUED:
            self.queue.requeue(await self.line.ticket(again))
        else:
            self._settle(ticket, ticket.cost_s * (1 - drawing.left))

    # Giving back

    def _settle(self, ticket: Ticket, real_s: float) -> None:
        """Charge for a ticket that has come to its end."""
        self._drawing.pop(ticket.job_id, None)
        self._stranded.pop(ticket.job_id, None)
        self.queue.settle(ticket, real_s)

    def _put_back(self, ticket: Ticket) -> None:
        """Put a ticket whose job still waits to the front of its line."""
        self._drawing.pop(ticket.job_id, None)
        self._stranded.pop(ticket.job_id, None)
        self.queue.requeue(ticket)

    async def _give_back(self, ticket: Ticket) -> None:
        """Let a running job wait again, as if it had not been begun."""
        try:
            job = await self._store.attempts.end(ticket.job_id, Outcome.STOPPED, now=now())
        except TransitionRefused:
            self._settle(ticket, 0.0)
            return
        except StorageError as failure:
            self._drawing.pop(ticket.job_id, None)
            self._stranded[ticket.job_id] = ticket
            self._trip(Trouble.STORAGE, failure, ticket)  # after the pause it is tried again
            return
        if job.state is JobState.QUEUED:
            self._put_back(ticket)
        else:  # somebody wished it cancelled
            self._settle(ticket, 0.0)

    async def _by_itself(self, ticket: Ticket, work: Coroutine[Any, Any, None]) -> None:
        """Do one job's work; what nobody thought of ends that job and no other."""
        task = asyncio.create_task(work)
        try:
            await self._outside(asyncio.wait({task}), "a job")
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("job_broke", exc_info=error, extra={"job_id": ticket.job_id})
        self._supervisor.cancel(ticket.job_id)
        self._settle(ticket, 0.0)
        try:
            job = await self._store.jobs.get(ticket.job_id)
            if job.state in {JobState.QUEUED, JobState.RUNNING}:
                await self._store.jobs.move(
                    job.id, expected=job.state, to=JobState.FAILED, now=now(), reason=BROKEN
                )
        except StorageError:
            log.exception("not_ended", extra={"job_id": ticket.job_id})

    def _trip(self, trouble: Trouble, failure: Exception, ticket: Ticket) -> None:
        """Take nothing more from the line for a while, and tell whom it concerns.

        Args:
            trouble: What kind it is.
            failure: By which it was met.
            ticket: In which it was met; it need not stand in line again yet.
        """
        pause_s = self._breaker.trip(trouble, failure)
        if pause_s is not None:
            self._in_background(self._pause(pause_s))
            self._in_background(self._breaker.tell(ticket.guild_id))

    async def _pause(self, pause_s: float) -> None:
        await self._outside(asyncio.sleep(pause_s), "better times")
        self._breaker.try_again()
        for ticket in [*self._stranded.values()]:
            await self._give_back(ticket)
        self._wake.set()

    # On a timer

    async def _renew(self) -> None:
        if self._drawing:
            await self._store.attempts.renew(BOT, now() + LEASE)

    async def _drop_unanswered(self) -> None:
        await self._store.jobs.drop_unanswered(now())

    async def _sweep(self) -> None:
        await self._store.files.sweep(now())
        await self._line_up_waiting()

    async def _line_up_waiting(self) -> None:
        await self.line.line_up_waiting(lambda: self._taken)
        self._wake.set()

    async def _tell_waiting(self) -> None:
        """Tell those at the front of the line how far they have come."""
        for ticket in self.line.front(TOLD):
            job = await self._store.jobs.get(ticket.job_id)
            await self._screen.show_place(job, await self.estimate(job))

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("not_shown", exc_info=error)


class WorkerLost(Exception):
    """Workers die one after the other, whatever they draw."""
