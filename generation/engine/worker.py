"""The process that holds the device: reads orders on stdin, writes events on stdout.

Started by `generation.engine.supervisor` and by nobody else. It ends when its stdin closes or when the
process that started it dies, however that died. While it draws, a thread goes on reading, so that
a job can be cancelled at its next step.
"""

import ctypes
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from typing import BinaryIO

from generation.engine import wire
from generation.engine.engine import Engine, is_final
from generation.work.errors import DrawingFailed, GenerationError
from generation.work.orders import WorkerReady
from generation.work.results import WorkerEvent, failed

log = logging.getLogger("generation.engine.worker")

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
READ_BYTES = 2**16


class Inbox:
    """What the bot sent: read by a thread, taken by the drawing loop."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._messages: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        self._cancelled: set[tuple[int, int]] = set()  # batch and job
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def take(self) -> wire.Message:
        """Return the next message that is not a cancellation; wait for one."""
        return self._messages.get()

    def is_cancelled(self, batch: int, job_id: int) -> bool:
        """Return whether this job of this batch was cancelled."""
        return (batch, job_id) in self._cancelled

    def _read(self) -> None:
        decoder = wire.Decoder()
        try:
            while piece := os.read(self._stream.fileno(), READ_BYTES):
                for message in decoder.feed(piece):
                    self._sort(message)
        except wire.WireError as error:
            _log_failure("worker.pipe_broken", error)
            os._exit(2)
        # The bot is gone or wants us gone; whatever is being drawn is nobody's any more.
        os._exit(0)

    def _sort(self, message: wire.Message) -> None:
        if isinstance(message, wire.Cancel):
            self._cancelled.add((message.batch, message.job_id))
        else:
            self._messages.put(message)


class Outbox:
    """Writes messages to the bot."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def send(self, message: wire.Message) -> None:
        """Write one message; end the process if nobody reads any more."""
        try:
            self._stream.write(wire.encode(message))
            self._stream.flush()
        except BrokenPipeError:
            os._exit(0)


def serve(inbox: Inbox, outbox: Outbox) -> int:
    """Start an engine and draw until the bot closes the pipe; return the exit status."""
    setup = inbox.take()
    if not isinstance(setup, wire.Setup):
        raise wire.WireError("the first message must be Setup")
    time.sleep(setup.delay_s)
    try:
        engine = Engine(
            {checkpoint.name: checkpoint for checkpoint in setup.checkpoints},
            device=setup.device,
            dtype=setup.dtype,
            threads=setup.threads,
            previews=setup.previews,
        )
        outbox.send(_ready(engine, setup.checkpoints[0].name))
    except Exception as error:  # noqa: BLE001 -- the worker's border: told to the bot
        _log_failure("worker.start_failed", error)
        outbox.send(wire.StartFailed(_kind(error), str(error)))
        return 1
    while True:
        draw = inbox.take()
        if not isinstance(draw, wire.Draw):
            raise wire.WireError(f"{type(draw).__name__} came when an order was due")
        _draw(engine, draw, inbox, outbox)


def _ready(engine: Engine, name: str) -> WorkerReady:
    technique = engine.load(name)
    fields = technique.fingerprint.fields
    log.info("worker.ready", extra={"checkpoint": name})
    return WorkerReady(
        device=fields.get("device", "cpu"),
        dtype=fields.get("dtype", "uint8"),
        fingerprint=technique.fingerprint,
        max_images=technique.max_images,
    )


def _draw(engine: Engine, draw: wire.Draw, inbox: Inbox, outbox: Outbox) -> None:
    """Draw one batch; whatever goes wrong ends its jobs and not the worker."""
    jobs = [order.job_id for order in draw.orders]
    unfinished = set(jobs)

    def report(event: WorkerEvent) -> None:
        if is_final(event):
            unfinished.discard(event.job_id)
        outbox.send(wire.Happened(draw.batch, event))

    name = draw.orders[0].request.model
    log.debug("worker.batch_started", extra={"jobs": jobs, "checkpoint": name})
    try:
        if not engine.is_loaded(name):
            outbox.send(wire.Loading(draw.batch))
            engine.load(name)
            outbox.send(wire.Loaded(draw.batch))
        engine.draw(draw.orders, report, lambda job_id: inbox.is_cancelled(draw.batch, job_id))
    except GenerationError as error:
        for job_id in sorted(unfinished):
            report(failed(job_id, error))
    except Exception as error:  # noqa: BLE001 -- the worker's border: told to the bot
        _log_failure("worker.batch_failed", error)
        for job_id in sorted(unfinished):
            report(failed(job_id, DrawingFailed(f"{type(error).__name__}: {error}")))
    log.debug("worker.batch_ended", extra={"jobs": jobs})


def _kind(error: Exception) -> str:
    known = isinstance(error, GenerationError)
    return type(error).__name__ if known else DrawingFailed.__name__


def _log_failure(event: str, error: Exception) -> None:
    """Log where an error came from, but not its message: libraries quote their input there."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error(event, extra={"error": type(error).__name__, "frames": frames})


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
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not land between our frames
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    log.setLevel(logging.DEBUG)
    return serve(Inbox(sys.stdin.buffer), Outbox(stdout))


if __name__ == "__main__":
    sys.exit(main())
