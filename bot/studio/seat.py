"""The seat at the terminal: whose jobs `atelier imagine` draws, and what becomes of abandoned ones.

A job that was asked for at the terminal is drawn by the process that recorded it and by nobody
else: it stands in no channel, so a bot that took it up would draw it for nobody. While such a
process lives it holds a shared lock on a file beside the record, and a lock goes when its process
ends, however it ends. Whoever gets that lock alone knows that these jobs have nobody left.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from bot.studio.drawing import now
from generation.work.jobs import JobState, Place
from storage.store import Store

LOCK = "terminal.lock"
NOBODY = 0  # the member id of whoever sits at the terminal
TERMINAL = Place(guild_id=None, channel_id=0)
STOPPED = "stopped at the terminal"


@contextlib.contextmanager
def seat(folder: Path) -> Iterator[None]:
    """Say, while it is open, that this process draws what it records.

    Args:
        folder: The data folder.
    """
    with (folder / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


async def clear_abandoned(store: Store) -> None:
    """Cancel the terminal's jobs that a killed process left, unless somebody still draws there."""
    with (store.database.path.parent / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        await cancel(store, [job.id for job in await store.jobs.open_of_terminals()])


async def cancel(store: Store, job_ids: list[int]) -> None:
    """Cancel those of the terminal's jobs that have not ended."""
    for job_id in job_ids:
        job = await store.jobs.get(job_id)
        if not job.state.is_final:
            await store.jobs.move(
                job_id, expected=job.state, to=JobState.CANCELLED, now=now(), reason=STOPPED
            )
