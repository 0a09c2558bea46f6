"""What is done now and then: leases, unanswered questions, files that nothing names."""

import logging
from collections.abc import Awaitable, Callable

from generation.work.outside import Outside, pause
from storage.errors import StorageError

log = logging.getLogger(__name__)


async def every(
    seconds: float,
    work: Callable[[], Awaitable[object]],
    outside: Outside,
    *,
    first_s: float | None = None,
) -> None:
    """Do something for ever; when the record refuses, the next time is soon enough.

    Args:
        seconds: Between two times, real ones: leases are kept by the clock of the record, and a
            simulated Discord may skip a year.
        work: What.
        outside: How the wait between is declared.
        first_s: Before the first time, if that is another.
    """
    pause_s = seconds if first_s is None else first_s
    while True:
        await outside(pause(pause_s), "the next look")
        pause_s = seconds
        try:
            await work()
        except StorageError:
            log.exception("left_undone", extra={"work": work.__name__})
