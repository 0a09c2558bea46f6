"""Keeps one worker process drawing, whatever happens to it: standard library only.

Nothing here uses the event loop's clock: deadlines are kept by threads that kill the process, and
back-off is waited for inside the new process. So it behaves alike under a test's virtual time, and
the event loop only ever waits for a pipe.
"""

import asyncio
import itertools
import json
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from generation.engine import wire
from generation.work import errors
from generation.work.checkpoints import Checkpoint
from generation.work.errors import GenerationError, WorkerCrashed
from generation.work.orders import Order, WorkerReady, batch_key
from generation.work.outside import Outside, just_wait, killed_after
from generation.work.results import StepDone, WorkerEvent

__all__ = ["Order", "Outside", "Supervisor", "WorkerReady", "batch_key", "just_wait"]

log = logging.getLogger(__name__)

WHAT = "the drawing worker"
READ_BYTES = 2**20
STOP_TIMEOUT_S = 5.0
MAX_DELAY_S = 30.0


class Supervisor:
    """Starts, feeds, watches and replaces the worker of one device.

    Not for concurrent use, except that `cancel` and `stop` may be called at any time.

    Args:
        checkpoints: Name to description; the first is loaded when the worker starts.
        device: As `generation.techniques.device.choose` takes it.
        dtype: As `generation.techniques.device.choose` takes it.
        threads: CPU cores to use; 0 for all.
        previews: Whether slow steps come with a preview.
        start_timeout_s: Longest start, and longest load of another checkpoint.
        step_timeout_s: Longest silence while drawing; then the worker counts as hung.
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
        outside: Outside = just_wait,
    ) -> None:
        self._checkpoints = tuple(checkpoints.values())
        self._device, self._dtype, self._threads = device, dtype, threads
        self._previews = previews
        self._start_timeout_s, self._step_timeout_s = start_timeout_s, step_timeout_s
        self._outside = outside
        self._process: asyncio.subprocess.Process | None = None
        self._ready: WorkerReady | None = None
        self._decoder = wire.Decoder()
        self._received: deque[wire.Message] = deque()
        self._batches = itertools.count(1)
        self._batch = 0  # being drawn; 0 for none
        self._crashes = 0  # in a row
        self._is_stopping = False

    @property
    def pid(self) -> int | None:
        """Process number of the worker; None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def max_images(self) -> int:
        """Pictures that are drawn at once; 1 while no worker is there to say."""
        return 1 if self._ready is None else self._ready.max_images

    @property
    def max_images_by_model(self) -> dict[str, int]:
        """Pictures that each checkpoint draws at once; a whole pipeline draws one by one."""
        return {
            checkpoint.name: 1 if checkpoint.family == "pipeline" else self.max_images
            for checkpoint in self._checkpoints
        }

    async def start(self) -> WorkerReady:
        """Start the worker unless it runs, and return what it said when it was ready.

        Raises:
            WorkerCrashed: It died or took longer than `start_timeout_s`.
            CheckpointCorrupt: The first checkpoint's files are not the recorded ones.
            GenerationError: It could not start for another reason, which the message says.
        """
        if self._ready is not None and not self._has_ended():
            return self._ready
        if self._process is not None:
            await self._bury("it died while idle" if self._ready else "its start was given up")
        delay_s = 0.0 if self._crashes < 2 else min(2.0 ** (self._crashes - 2), MAX_DELAY_S)
        self._is_stopping = False
        process = self._process = await self._outside(_spawn(), WHAT)
        self._decoder, self._received = wire.Decoder(), deque()
        log.info("worker.started", extra={"pid": process.pid, "delay_s": delay_s})
        await self._send(
            wire.Setup(
                checkpoints=self._checkpoints,
                device=self._device,
                dtype=self._dtype,
                threads=self._threads,
                previews=self._previews,
                delay_s=delay_s,
            )
        )
        message = await self._receive(self._start_timeout_s + delay_s)
        if isinstance(message, wire.StartFailed):
            await self._bury(f"{message.kind} at its start")
            raise _error(message.kind, message.message)
        if not isinstance(message, WorkerReady):
            raise await self._crashed(f"it said {type(message).__name__} at its start")
        self._ready = message
        return message

    async def render(self, orders: Sequence[Order]) -> AsyncIterator[WorkerEvent]:
        """Draw orders of one `batch_key` and yield what happens until every one has ended.

        A consumer that stops early cancels what is left.

        Args:
            orders: At least one; each `job_id` once.

        Raises:
            WorkerCrashed: The worker died or hung; orders without an end may be given again. The
                next call starts a fresh worker.
            GenerationError: It could not start.
        """
        if self._batch:
            raise RuntimeError("one batch at a time")
        batch = self._batch = next(self._batches)
        waiting = {order.job_id for order in orders}
        try:
            await self.start()
            await self._send(wire.Draw(batch, tuple(orders)))
            timeout_s = self._step_timeout_s
            while waiting:
                message = await self._receive(timeout_s)
                timeout_s = self._step_timeout_s
                # Events of a batch that nobody waits for any more are passed over.
                if isinstance(message, wire.Loading):
                    timeout_s = max(self._start_timeout_s, self._step_timeout_s)
                elif isinstance(message, wire.Happened) and message.batch == batch:
                    if not isinstance(message.event, StepDone):
                        waiting.discard(message.event.job_id)
                        self._crashes = 0
                    yield message.event
        finally:
            self._batch = 0
            for job_id in waiting:
                self._write(wire.Cancel(batch, job_id))

    async def cancel(self, job_id: int) -> None:
        """Stop a job at its next step; nothing happens if it is not being drawn."""
        if self._batch:
            self._write(wire.Cancel(self._batch, job_id))

    async def stop(self) -> None:
        """End the worker, whatever it is doing."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return
        self._is_stopping = True
        process.stdin.close()
        if self._batch:  # then `render` reads to the end and buries it
            with killed_after(process, STOP_TIMEOUT_S):
                await self._outside(process.wait(), WHAT)
        else:
            await self._bury("it was stopped")

    def _has_ended(self) -> bool:
        process = self._process
        if process is None or process.stdout is None or process.stdin is None:
            return True
        return process.stdout.at_eof() or process.stdin.is_closing()

    def _write(self, message: wire.Message) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        process.stdin.write(wire.encode(message))

    async def _send(self, message: wire.Message) -> None:
        self._write(message)
        process = self._process
        if process is None or process.stdin is None:
            raise await self._crashed("it is gone")
        try:
            with killed_after(process, self._step_timeout_s):
                await self._outside(process.stdin.drain(), WHAT)
        except ConnectionError as error:
            raise await self._crashed("it closed its pipe") from error

    async def _receive(self, timeout_s: float) -> wire.Message:
        """Return the next message, or end the worker after `timeout_s` seconds without one."""
        process = self._process
        if process is None or process.stdout is None:
            raise await self._crashed("it is gone")
        with killed_after(process, timeout_s) as was_killed:
            while not self._received:
                piece = await self._outside(process.stdout.read(READ_BYTES), WHAT)
                if not piece:
                    break
                try:
                    self._received.extend(self._decoder.feed(piece))
                except wire.WireError as error:
                    process.kill()
                    raise await self._crashed(str(error)) from error
        if self._received:
            return self._received.popleft()
        hung = f"it said nothing for {timeout_s:g} s and was killed"
        died = "it was stopped" if self._is_stopping else "it died"
        raise await self._crashed(hung if was_killed.is_set() else died)

    async def _crashed(self, reason: str) -> WorkerCrashed:
        status = await self._bury(reason)
        return WorkerCrashed(f"the drawing worker stopped: {reason} (status {status})")

    async def _bury(self, reason: str) -> int | None:
        """Wait until the process is gone and forget it; return its exit status."""
        process, self._process, self._ready = self._process, None, None
        if process is None or process.stdin is None or process.stdout is None:
            return None
        process.stdin.close()
        with killed_after(process, STOP_TIMEOUT_S):
            while await self._outside(process.stdout.read(READ_BYTES), WHAT):
                pass  # asyncio lets go of a process only when its pipes are read to their ends
            status: int = await self._outside(process.wait(), WHAT)
        fields = {"pid": process.pid, "status": status, "reason": reason}
        if self._is_stopping:
            log.info("worker.stopped", extra=fields)
        else:
            self._crashes += 1
            log.warning("worker.crashed", extra={**fields, "crashes_in_a_row": self._crashes})
        return status


async def _spawn() -> asyncio.subprocess.Process:
    """Start a worker in a session of its own, where the terminal's Ctrl-C does not reach it."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    log_end, child_end = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "generation.engine.worker", str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=child_end,
            start_new_session=True,
            limit=READ_BYTES,
            env={
                **{name: value for name, value in os.environ.items() if "TOKEN" not in name},
                "PYTHONPATH": os.pathsep.join(paths),
                "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # must stand before CUDA starts
            },
        )
    except BaseException:
        os.close(log_end)
        raise
    finally:
        os.close(child_end)
    threading.Thread(target=_forward_log, args=(log_end,), name="worker-log", daemon=True).start()
    return process


def _forward_log(log_end: int) -> None:
    """Pass the worker's log on until its last line."""
    worker_log = logging.getLogger("generation.engine.worker")
    with os.fdopen(log_end, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
                worker_log.log(entry["level"], entry["event"], extra=entry["extra"])
            except (ValueError, KeyError, TypeError):
                # Something that a library printed; it may quote a prompt, so never above DEBUG.
                worker_log.debug("worker.printed", extra={"line": line.rstrip()})


def _error(kind: str, message: str) -> GenerationError:
    """Return the error that a worker named."""
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, GenerationError):
        error = found.__new__(found)
        Exception.__init__(error, message)  # InvalidRequest's own arguments stayed behind
        return error
    return errors.DrawingFailed(message)
