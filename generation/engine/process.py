"""A worker's process: how it is started, watched and seen off. Standard library only.

Deadlines are kept by a thread that kills, and by `time.perf_counter`: the event loop's clock, and
`time.monotonic` with it, may be a test's virtual one.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

READ_BYTES = 2**20
GIVE_UP_S = 5.0  # after a kill: what is gone by then has no end that could be waited for

COMMAND = (sys.executable, "-P", "-m", "generation.engine.worker")

# The bot's own, however it is spelt: a worker draws, and what it draws with needs tokens of others.
SECRETS = frozenset({"DISCORD_TOKEN", "ATELIER_DISCORD_TOKEN"})


async def spawn() -> asyncio.subprocess.Process:
    """Start a worker in a session of its own, where the terminal's Ctrl-C does not reach it."""
    log_end, child_end = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=child_end,
            start_new_session=True,
            limit=READ_BYTES,
            env=environment(os.environ),
        )
    except BaseException:
        os.close(log_end)
        raise
    finally:
        os.close(child_end)
    threading.Thread(target=_forward_log, args=(log_end,), name="worker-log", daemon=True).start()
    return process


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a worker: all but the bot's secrets, and what it needs besides."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [own.get("PYTHONPATH")])]
    return {
        **{name: value for name, value in own.items() if name.upper() not in SECRETS},
        "PYTHONPATH": os.pathsep.join(paths),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # must stand before CUDA starts
    }


class Watch:
    """Kills a process that says nothing for too long.

    Args:
        process: Which.
        give_up: Called in another thread if it does not even end after that: a process that waits
            for a broken driver cannot be killed, and nobody may wait for it.
    """

    def __init__(self, process: asyncio.subprocess.Process, give_up: Callable[[], None]) -> None:
        self._process = process
        self._give_up = give_up
        self._changed = threading.Condition()
        self._deadline_s: float | None = None
        self._limit_s = 0.0
        self._is_closed = False
        self.was_silent_s: float | None = None
        threading.Thread(target=self._run, name="worker-watch", daemon=True).start()

    @property
    def is_set(self) -> bool:
        """Whether it is waiting for something to be said."""
        return self._deadline_s is not None

    def expect(self, limit_s: float | None) -> None:
        """Kill the process if this is not called again within so many seconds; None: never."""
        with self._changed:
            self._limit_s = limit_s or 0.0
            old, self._deadline_s = self._deadline_s, None
            if limit_s is not None:
                self._deadline_s = time.perf_counter() + limit_s
                if old is None or self._deadline_s < old:
                    self._changed.notify()  # later ones are found when the old one comes

    def close(self) -> None:
        """Stop watching."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._is_closed:
                left_s = None
                if self._deadline_s is not None:
                    left_s = self._deadline_s - time.perf_counter()
                if left_s is not None and left_s <= 0:
                    break
                self._changed.wait(left_s)
            if self._is_closed:
                return
            self.was_silent_s = self._limit_s
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._changed.wait_for(lambda: self._is_closed, GIVE_UP_S)
            if self._is_closed:
                return
        self._give_up()


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill a worker that nobody has given anything to do, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


def let_go(process: asyncio.subprocess.Process) -> None:
    """Kill a process and close its pipes without waiting for it."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process._transport.close()  # type: ignore[attr-defined]  # asyncio has no other word for it


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
