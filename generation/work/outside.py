"""Waiting for other processes without the event loop's clock: standard library only.

A test may run the event loop on virtual time, where `asyncio.timeout` says nothing about a real
process. Deadlines are therefore kept by a thread that kills, and the loop waits only for pipes.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

Outside = Callable[[Awaitable[Any], str], Awaitable[Any]]


async def just_wait(awaitable: Awaitable[Any], what: str) -> Any:
    """Wait for something outside the event loop's own work; `what` says for whom it matters."""
    return await awaitable


@contextlib.contextmanager
def killed_after(
    process: asyncio.subprocess.Process, timeout_s: float
) -> Iterator[threading.Event]:
    """Kill the process if the body takes longer than `timeout_s` real seconds.

    Yields:
        An event that is set if it was killed.
    """
    was_killed = threading.Event()

    def kill() -> None:
        was_killed.set()
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    timer = threading.Timer(timeout_s, kill)
    timer.daemon = True
    timer.start()
    try:
        yield was_killed
    finally:
        timer.cancel()


async def pause(seconds: float) -> None:
    """Wait so many real seconds."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    timer = threading.Timer(seconds, lambda: loop.call_soon_threadsafe(end))
    timer.daemon = True
    timer.start()
    try:
        await over
    finally:
        timer.cancel()


async def at_most(awaitable: Awaitable[Any], timeout_s: float) -> Any:
    """Wait at most so many real seconds.

    Raises:
        TimeoutError: They passed.
    """
    loop = asyncio.get_running_loop()
    expired = loop.create_future()

    def expire() -> None:
        if not expired.done():
            expired.set_result(None)

    timer = threading.Timer(timeout_s, lambda: loop.call_soon_threadsafe(expire))
    timer.daemon = True
    waiting = asyncio.ensure_future(awaitable)
    timer.start()
    try:
        await asyncio.wait({waiting, expired}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise TimeoutError(f"not within {timeout_s:g} s")
        return waiting.result()
    finally:
        timer.cancel()
        waiting.cancel()
