"""Keeps one worker process drawing, whatever happens to it: standard library only.

    start ──> admit ──> events ──> admit ──> ... ──> stop
                │          │
                └─ cancel ─┘

Orders are admitted at any time; those that are alike are drawn together from the next step on.
What happens to them comes as one stream of events, in which every order has exactly one end. The
worker is started when it is needed and replaced when it dies; then its orders end as lost.

Nothing here uses the event loop's clock: see `generation.engine.process`. Back-off is waited for
inside the new process. So it behaves alike under a test's virtual time, and the event loop only
ever waits for a pipe.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from generation.engine import process as processes
from generation.engine import wire
from generation.engine.held import Admitted, Worker
from generation.engine.process import READ_BYTES, Watch
from generation.work import errors
from generation.work.checkpoints import Checkpoint
from generation.work.errors import GenerationError, WorkerCrashed
from generation.work.orders import Order, WorkerReady
from generation.work.outside import Outside, at_most, just_wait
from generation.work.results import (
    EngineFingerprint,
    ImagesDone,
    OrderCancelled,
    OrderFailed,
    OrderLost,
    Remarked,
    WorkerEvent,
)

log = logging.getLogger(__name__)

WHAT = "the drawing worker"
REAP_TIMEOUT_S = 1.0
STOP_TIMEOUT_S = 5.0
MAX_DELAY_S = 30.0
ENDS = (Remarked, OrderFailed, OrderCancelled, OrderLost)


class Supervisor:
    """Starts, feeds, watches and replaces the worker of one device.

    Args:
        checkpoints: Name to description of all that may be drawn with.
        device: As `generation.techniques.device.choose` takes it.
        dtype: As `generation.techniques.device.choose` takes it.
        threads: CPU cores to use; 0 for all.
        previews: Whether slow steps come with a preview.
        start_timeout_s: Longest start of the process; checkpoints are not loaded in it.
        step_timeout_s: Longest silence of a worker that has something to do; then it counts as
            hung. While it fetches or loads it tells signs of life.
        load_timeout_s: Longest load of a checkpoint with signs of life, its download included.
        outside: How a wait for the worker is declared to whoever runs the event loop.
    """

    def __init__(
        self,
        *,
        checkpoints: Mapping[str, Checkpoint],
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
        previews: bool = False,
        start_timeout_s: float = 120,
        step_timeout_s: float = 300,
        load_timeout_s: float = 3600,
        outside: Outside = just_wait,
    ) -> None:
        self._checkpoints = tuple(checkpoints.values())
        self._device, self._dtype, self._threads = device, dtype, threads
        self._previews = previews
        self._start_timeout_s, self._step_timeout_s = start_timeout_s, step_timeout_s
        self._load_timeout_s = load_timeout_s
        self._outside = outside
        self._worker: Worker | None = None
        self._starting = asyncio.Lock()
        self._admitted: dict[int, Admitted] = {}
        self._tickets = itertools.count(1)
        self._events: asyncio.Queue[WorkerEvent | None] = asyncio.Queue()
        self._has_consumer = False
        self._max_images = dict.fromkeys(checkpoints, 1)
        self._crashes = 0  # in a row
        self._is_stopping = False

    @property
    def pid(self) -> int | None:
        """Process number of the worker; None while there is none."""
        return None if self._worker is None else self._worker.process.pid

    @property
    def drawing(self) -> frozenset[int]:
        """Numbers of the jobs that were admitted and whose pictures have not come yet."""
        return frozenset(each.order.job_id for each in self._admitted.values() if not each.is_drawn)

    @property
    def max_images_by_model(self) -> Mapping[str, int]:
        """Pictures that each checkpoint draws at once; 1 for those that were never loaded."""
        return self._max_images

    async def start(self) -> WorkerReady:
        """Start the worker unless it runs, and return what it said when it was ready.

        Raises:
            WorkerCrashed: It died or took longer than `start_timeout_s`.
            GenerationError: It cannot start for another reason, which the message says.
        """
        async with self._starting:
            if self._worker is not None and not self._worker.is_alive:
                await self._wait_for_end(self._worker)
            if self._worker is None:
                self._worker = await self._start()
            ready = self._worker.ready
        await self._outside(asyncio.wait({ready}), WHAT)
        return ready.result()

    async def load(self, model: str) -> EngineFingerprint:
        """Load a checkpoint ahead of its first order.

        Returns:
            What its pictures' bits depend on.

        Raises:
            GenerationError: The worker cannot start, or this checkpoint cannot be loaded.
        """
        await self.start()
        worker = self._worker
        if worker is None:
            raise WorkerCrashed("the drawing worker stopped before it could load")
        if model not in worker.loads:
            worker.loads[model] = _future()
            worker.write(wire.Load(model))
            self._watch_over(worker)
        loaded = worker.loads[model]
        await self._outside(asyncio.wait({loaded}), WHAT)
        return loaded.result()

    async def admit(self, order: Order) -> None:
        """Have an order drawn, beside those that are being drawn if it is like them.

        Raises:
            GenerationError: No worker could be started; the order was not taken.
        """
        ticket, admitted = next(self._tickets), Admitted(order)
        self._admitted[ticket] = admitted
        try:
            await self.start()
        except BaseException:
            del self._admitted[ticket]
            raise
        worker = self._worker
        if admitted.is_cancelled:
            self._tell(ticket, OrderCancelled(order.job_id))
            return
        if worker is None or not worker.is_alive:
            del self._admitted[ticket]
            raise WorkerCrashed("the drawing worker stopped before it took the order")
        admitted.is_sent = True
        worker.write(wire.Admit(ticket, order))
        self._watch_over(worker)
        await self._drain(worker)

    def cancel(self, job_id: int) -> None:
        """Stop a job at its next step; nothing happens to one that was not admitted.

        Its end comes as an event: `OrderCancelled`, or its pictures if it was too late.
        """
        for ticket, admitted in self._admitted.items():
            if admitted.order.job_id != job_id:
                continue
            admitted.is_cancelled = True
            if admitted.is_sent and self._worker is not None:
                self._worker.write(wire.Cancel(ticket))

    async def events(self) -> AsyncIterator[WorkerEvent]:
        """Yield what happens to all orders, until `stop`; for one consumer.

        Each order ends with exactly one of `ImagesDone` and then `Remarked`, `OrderFailed`,
        `OrderCancelled`, and `OrderLost`, which means that it may be given again.
        """
        self._has_consumer = True
        try:
            while (event := await self._outside(self._events.get(), WHAT)) is not None:
                yield event
        finally:
            self._has_consumer = False

    async def render(self, orders: Sequence[Order]) -> AsyncIterator[WorkerEvent]:
        """Draw some orders and yield what happens until every one has ended.

        For whoever has nothing else to do; not beside `events`. A consumer that stops early
        cancels what is left.

        Args:
            orders: At least one; each `job_id` once.

        Raises:
            WorkerCrashed: The worker died or hung; orders without an end may be given again.
            GenerationError: It could not start.
        """
        waiting = {order.job_id for order in orders}
        first = next(self._tickets)
        try:
            for order in orders:
                await self.admit(order)
            while waiting:
                event: WorkerEvent = await self._outside(self._events.get(), WHAT)
                if isinstance(event, OrderLost):
                    raise WorkerCrashed(event.reason)
                if isinstance(event, ENDS):
                    waiting.discard(event.job_id)
                yield event
        finally:
            for ticket, admitted in list(self._admitted.items()):
                if ticket > first:
                    self.cancel(admitted.order.job_id)
                    del self._admitted[ticket]  # its events are nobody's any more
            self._events = asyncio.Queue()

    async def stop(self) -> None:
        """End the worker, whatever it is doing; its orders end as lost."""
        self._is_stopping = True
        worker = self._worker
        if worker is not None:
            if worker.process.stdin is not None:
                worker.process.stdin.close()
            worker.watch.expect(STOP_TIMEOUT_S)
            await self._wait_for_end(worker)
        if self._has_consumer:
            self._events.put_nowait(None)

    async def _start(self) -> Worker:
        delay_s = 0.0 if self._crashes < 2 else min(2.0 ** (self._crashes - 2), MAX_DELAY_S)
        self._is_stopping = False
        spawning = asyncio.ensure_future(processes.spawn())
        try:
            process = await self._outside(asyncio.shield(spawning), WHAT)
        except asyncio.CancelledError:
            await processes.end(await spawning)  # nobody else would know of it
            raise
        loop = asyncio.get_running_loop()

        def give_up() -> None:
            if worker.reading is not None:
                loop.call_soon_threadsafe(worker.reading.cancel)

        worker = Worker(process, Watch(process, give_up), _future(), {})
        worker.reading = asyncio.create_task(self._read(worker), name="worker-pipe")
        log.info("worker.started", extra={"pid": process.pid, "delay_s": delay_s})
        worker.write(
            wire.Setup(
                version=wire.VERSION,
                checkpoints=self._checkpoints,
                device=self._device,
                dtype=self._dtype,
                threads=self._threads,
                previews=self._previews,
                delay_s=delay_s,
            )
        )
        worker.watch.expect(self._start_timeout_s + delay_s)
        return worker

    async def _read(self, worker: Worker) -> None:
        """Take what a worker says until its end, and see it off."""
        process, reason = worker.process, "it died"
        try:
            await self._take_all(worker)
            await self._outside(at_most(process.wait(), STOP_TIMEOUT_S), WHAT)
        except wire.WireError as error:
            reason = str(error)
        except TimeoutError:
            reason = "it closed its pipe and went on"
        except asyncio.CancelledError:
            reason = "it did not end when it was killed"
        finally:
            processes.let_go(process)
            self._lost(worker, reason)
            with contextlib.suppress(TimeoutError):  # killed, it is gone in no time: see it off
                await at_most(process.wait(), REAP_TIMEOUT_S)

    async def _take_all(self, worker: Worker) -> None:
        decoder, stdin, stdout = wire.Decoder(), worker.process.stdin, worker.process.stdout
        if stdin is None or stdout is None:
            return
        while piece := await self._outside(stdout.read(READ_BYTES), WHAT):
            for message in decoder.feed(piece):
                self._take(worker, message)
        stdin.close()

    def _take(self, worker: Worker, message: wire.Message) -> None:
        """Do what one message asks for."""
        worker.loading_until_s = _loading_until_s(worker, message, self._load_timeout_s)
        match message:
            case WorkerReady(version) if version == wire.VERSION and not worker.ready.done():
                worker.ready.set_result(message)
            case wire.StartFailed(kind, text) if not worker.ready.done():
                worker.ready.set_exception(_error(kind, text))
            case wire.Loading():
                log.debug("worker.loading", extra=dataclasses.asdict(message))
            case wire.Resident(max_images):
                self._max_images.update(max_images)
            case wire.Loaded(model, fingerprint):
                worker.loads.pop(model, _future()).set_result(fingerprint)
            case wire.LoadFailed(model, kind, text):
                worker.loads.pop(model, _future()).set_exception(_error(kind, text))
            case wire.Happened(ticket, event):
                self._tell(ticket, event)
            case _:
                raise wire.WireError(f"it said {type(message).__name__} out of turn")
        self._watch_over(worker, was_heard=True)

    def _tell(self, ticket: int, event: WorkerEvent) -> None:
        """Pass on what happened to an order, unless nobody waits for it any more."""
        admitted = self._admitted.get(ticket)
        if admitted is None:
            return
        if isinstance(event, ImagesDone):
            admitted.is_drawn = True
        if isinstance(event, ENDS):
            del self._admitted[ticket]
            if not isinstance(event, OrderLost):
                self._crashes = 0
        self._events.put_nowait(event)

    def _watch_over(self, worker: Worker, *, was_heard: bool = False) -> None:
        """Wait for a word as long as it has something to do, from its last one on."""
        if not worker.loads and not any(each.is_sent for each in self._admitted.values()):
            worker.watch.expect(None)
        elif was_heard or not worker.watch.is_set:
            limit_s = self._step_timeout_s
            if worker.loading_until_s is not None:
                limit_s = min(limit_s, max(0.0, worker.loading_until_s - time.perf_counter()))
            worker.watch.expect(limit_s)

    async def _drain(self, worker: Worker) -> None:
        if worker.process.stdin is not None:
            with contextlib.suppress(ConnectionError):  # whoever reads finds that it is gone
                await self._outside(worker.process.stdin.drain(), WHAT)

    async def _wait_for_end(self, worker: Worker) -> None:
        if worker.reading is not None:
            await self._outside(asyncio.wait({worker.reading}), WHAT)

    def _lost(self, worker: Worker, reason: str) -> None:
        """Forget a worker that is gone and end what it held."""
        worker.watch.close()
        if worker.watch.was_silent_s is not None:
            reason = f"it said nothing for {worker.watch.was_silent_s:g} s and was killed"
        has_refused = worker.ready.done() and worker.ready.exception() is not None
        fields = {"pid": worker.process.pid, "status": worker.process.returncode, "reason": reason}
        if self._is_stopping or has_refused:  # what cannot start now will not for waiting
            log.info("worker.stopped", extra=fields)
            reason = "it was stopped" if self._is_stopping else reason
        else:
            self._crashes += 1
            log.warning("worker.crashed", extra={**fields, "crashes_in_a_row": self._crashes})
        if self._worker is worker:
            self._worker = None
        status = worker.process.returncode
        error = WorkerCrashed(f"the drawing worker stopped: {reason} (status {status})")
        waits: list[asyncio.Future[Any]] = [worker.ready, *worker.loads.values()]
        for waited in waits:
            if not waited.done():
                waited.set_exception(error)
        for ticket, admitted in list(self._admitted.items()):
            job_id = admitted.order.job_id
            if admitted.is_sent:
                lost = OrderLost(job_id, str(error))
                self._tell(ticket, Remarked(job_id) if admitted.is_drawn else lost)


def _future() -> "asyncio.Future[Any]":
    """Return a future whose error is nobody's duty to look at."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def _loading_until_s(worker: Worker, message: wire.Message, timeout_s: float) -> float | None:
    if not isinstance(message, wire.Loading):
        return None
    begun = worker.loading_until_s
    return time.perf_counter() + timeout_s if begun is None else begun


def _error(kind: str, message: str) -> GenerationError:
    """Return the error that a worker named."""
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, GenerationError):
        error = found.__new__(found)
        Exception.__init__(error, message)  # InvalidRequest's own arguments stayed behind
        return error
    return errors.DrawingFailed(message)
