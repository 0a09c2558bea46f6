"""What a supervisor holds: a living worker, and the orders that it has taken."""

import asyncio
import dataclasses

from generation.engine import wire
from generation.engine.process import Watch
from generation.work.orders import Order, WorkerReady
from generation.work.results import EngineFingerprint


@dataclasses.dataclass(slots=True)
class Admitted:
    """An order that was taken and has not ended.

    Args:
        order: Which.
        is_sent: Whether a worker has it.
        is_cancelled: Whether it was cancelled before that.
        is_drawn: Whether its pictures came.
    """

    order: Order
    is_sent: bool = False
    is_cancelled: bool = False
    is_drawn: bool = False


@dataclasses.dataclass(slots=True, eq=False)
class Worker:
    """A living worker process.

    Args:
        process: Started by `generation.engine.process.spawn`.
        watch: Kills it when it is silent for too long.
        ready: What it said when it was ready, or why it never was.
        loads: Checkpoints that are waited for.
        reading: The task that reads what it says, until its end.
        loading_until_s: When the load that it tells of must be over, on the clock of `time.perf_counter`.
    """

    process: asyncio.subprocess.Process
    watch: Watch
    ready: "asyncio.Future[WorkerReady]"
    loads: dict[str, "asyncio.Future[EngineFingerprint]"]
    reading: "asyncio.Task[None] | None" = None
    loading_until_s: float | None = None

    def write(self, message: wire.Message) -> None:
        """Send a message, if there is still somebody to read it."""
        stdin = self.process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(wire.encode(message))

    @property
    def is_alive(self) -> bool:
        """Whether it has not closed its pipe."""
        stdin, stdout = self.process.stdin, self.process.stdout
        is_open = stdin is not None and not stdin.is_closing()
        return is_open and stdout is not None and not stdout.at_eof()
