"""The process that holds the device: reads orders on stdin, writes events on stdout.

Started by `generation.engine.supervisor` and by nobody else. It ends when its stdin closes or when the
process that started it dies, however that died. While it draws, a thread goes on reading, so that
an order can join or be cancelled at the next step.
"""

import contextlib
import ctypes
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from generation.engine import wire
from generation.engine.engine import Engine, log_failure
from generation.engine.fetch import Told
from generation.work.errors import DrawingFailed, GenerationError, WorkerCrashed
from generation.work.orders import Order, WorkerReady
from generation.work.results import ImagesDone, StepDone, WorkerEvent

log = logging.getLogger("generation.engine.worker")

NICENESS = 5  # whoever waits for an answer goes before whoever waits for a picture
PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
READ_BYTES = 2**16
SIGN_OF_LIFE_S = 1.0
BROKEN_DEVICE = 3  # exit status


class Inbox:
    """What the bot sent: read by a thread, taken by the drawing loop between its steps."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._messages: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def take(self) -> wire.Message:
        """Return the next message; wait for one."""
        return self._messages.get()

    def take_what_is_there(self) -> Iterator[wire.Message]:
        """Yield the messages that have come, without waiting."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._messages.get_nowait()

    def _read(self) -> None:
        decoder = wire.Decoder()
        try:
            while piece := os.read(self._stream.fileno(), READ_BYTES):
                for message in decoder.feed(piece):
                    self._messages.put(message)
        except wire.WireError as error:
            log_failure("worker.pipe_broken", error)
            os._exit(2)
        # The bot is gone or wants us gone; whatever is being drawn is nobody's any more.
        os._exit(0)


class Outbox:
    """Writes messages to the bot, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: wire.Message) -> None:
        """Write one message; end the process if nobody reads any more."""
        frame = wire.encode(message)
        try:
            with self._lock:
                self._stream.write(frame)
                self._stream.flush()
        except BrokenPipeError:
            os._exit(0)


class Server:
    """An engine at the ends of a pipe.

    Args:
        setup: What it may draw with.
        inbox: What the bot sends.
        outbox: What it is told.
    """

    def __init__(self, setup: wire.Setup, inbox: Inbox, outbox: Outbox) -> None:
        self._inbox, self._outbox = inbox, outbox
        self._orders: dict[int, Order] = {}
        self._resident: dict[str, int] = {}
        self._wanted: deque[str] = deque()  # to be loaded when there is nothing to draw
        self._engine = Engine(
            {checkpoint.name: checkpoint for checkpoint in setup.checkpoints},
            device=setup.device,
            dtype=setup.dtype,
            threads=setup.threads,
            previews=setup.previews,
            around_load=self._signs_of_life,
        )

    def serve(self) -> int:
        """Draw until the device breaks; return the exit status. The inbox ends the process."""
        while not self._engine.is_broken:
            if self._engine.is_idle and not self._wanted:
                self._heed(self._inbox.take())
            for message in self._inbox.take_what_is_there():
                self._heed(message)
            if self._engine.is_idle and self._wanted:
                self._load(self._wanted.popleft())
            self._engine.turn()
            self._tell_resident()
        self._engine.settle()
        log.error("worker.device_broken")
        return BROKEN_DEVICE

    def _heed(self, message: wire.Message) -> None:
        match message:
            case wire.Admit(ticket, order):
                self._orders[ticket] = order
                self._engine.admit(order, partial(self._report, ticket))
            case wire.Cancel(ticket):
                drawn = self._orders.get(ticket)  # another thread may be telling its end
                if drawn is not None:
                    self._engine.cancel(drawn)
            case wire.Load(model):
                self._wanted.append(model)
            case _:
                raise wire.WireError(f"{type(message).__name__} came when an order was due")

    def _report(self, ticket: int, event: WorkerEvent) -> None:
        if not isinstance(event, StepDone | ImagesDone):
            self._orders.pop(ticket, None)
        self._outbox.send(wire.Happened(ticket, event))

    def _load(self, model: str) -> None:
        fingerprint, problem = self._engine.load(model)
        self._tell_resident()
        if fingerprint is not None:
            log.info("worker.loaded", extra={"checkpoint": model})
            self._outbox.send(wire.Loaded(model, fingerprint))
        else:
            error = problem or DrawingFailed("it was not loaded")
            self._outbox.send(wire.LoadFailed(model, type(error).__name__, str(error)))

    def _tell_resident(self) -> None:
        if (now := self._engine.max_images) != self._resident:
            self._resident = now
            self._outbox.send(wire.Resident(now))

    @contextlib.contextmanager
    def _signs_of_life(self, model: str) -> Iterator[Told]:
        """Tell now and then that a checkpoint is being loaded, and how much of it has come."""
        is_over, started_at_s, come = threading.Event(), time.monotonic(), [0, 0]

        def note(done_bytes: int, total_bytes: int) -> None:
            come[:] = done_bytes, total_bytes

        def tell() -> None:
            while True:
                self._outbox.send(wire.Loading(model, time.monotonic() - started_at_s, *come))
                if is_over.wait(SIGN_OF_LIFE_S):
                    return

        teller = threading.Thread(target=tell, name="signs-of-life", daemon=True)
        teller.start()
        try:
            yield note
        finally:
            is_over.set()
            teller.join()


def serve(inbox: Inbox, outbox: Outbox) -> int:
    """Start an engine and draw until the bot closes the pipe; return the exit status."""
    setup = inbox.take()
    if not isinstance(setup, wire.Setup):
        raise wire.WireError("the first message must be Setup")
    time.sleep(setup.delay_s)
    try:
        check_setup(setup)
    except GenerationError as error:
        outbox.send(wire.StartFailed(type(error).__name__, str(error)))
        return 1
    outbox.send(WorkerReady(wire.VERSION))
    log.info("worker.ready")
    return Server(setup, inbox, outbox).serve()


def check_setup(setup: wire.Setup) -> None:
    """Refuse what no order could be drawn with.

    Raises:
        WorkerCrashed: The bot is of another version.
        InvalidRequest: The device that was asked for is not there.
    """
    if setup.version != wire.VERSION:
        raise WorkerCrashed("the bot was updated while it ran; start it again")
    if setup.device in {"cuda", "mps"}:  # to look takes seconds, and a CPU is always there
        from generation.techniques import device

        device.choose(setup.device, setup.dtype, setup.threads)


class JsonLines(logging.Formatter):
    """One JSON object a line, as `generation.engine.supervisor` reads it from stderr."""

    _STANDARD = frozenset(vars(logging.makeLogRecord({})))

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        extra = {name: v for name, v in vars(record).items() if name not in self._STANDARD}
        line = {"level": record.levelno, "event": record.getMessage(), "extra": extra}
        return json.dumps(line, default=str)


def die_with(parent_pid: int) -> None:
    """End this process when `parent_pid` ends, even by SIGKILL.

    On Linux the kernel sees to it; elsewhere the closed pipe does, as soon as the inbox reads it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before we asked
        os._exit(0)


def main() -> int:
    """Serve on this process's stdin and stdout."""
    die_with(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not land between our frames
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    log.setLevel(logging.DEBUG)
    return serve(Inbox(sys.stdin.buffer), Outbox(stdout))


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    os._exit(status)  # at once: the threads of a broken device may never end
