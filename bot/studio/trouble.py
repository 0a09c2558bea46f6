"""When nothing can be drawn for a reason that is no job's own: a circuit breaker, and who is told.

    closed ──trip──> open ──after a pause──> half open ──success──> closed
                       ^                         │
                       └──────────trip───────────┘

While it is open nothing is taken from the line, so nothing there is spent on a worker that cannot
start, or on pictures that cannot be saved. Each trip in a row doubles the pause. The operator finds
it in the log, each server that waits in its log channel, and whoever waits on the message.

Source: M. Nygard, "Release It!", 2nd edition, 2018, chapter 5, Circuit Breaker.
"""

import logging
import time
from enum import StrEnum

from bot.studio.drawing import now
from bot.studio.line import Line
from storage.store import Store

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 5.0
MAX_PAUSE_S = 300.0
TOLD_AGAIN_S = 3600.0  # the same trouble of the same servers is no news before
SHOWN = 20  # waiting messages that are drawn anew when drawing pauses or goes on


class Trouble(StrEnum):
    """Why nothing is drawn; `bot.messages` says it in words."""

    WORKER = "worker"  # it cannot start, or dies whatever it draws
    STORAGE = "storage"  # the disk is full or broken, or somebody holds the database


class Breaker:
    """Whether drawing goes on, and why not.

    Args:
        store: Where what is to be told is recorded.
        line: Who waits.
    """

    def __init__(self, store: Store, line: Line) -> None:
        self._store = store
        self._line = line
        self.trouble: Trouble | None = None  # until the first success after it
        self.is_open = False
        self._trips = 0
        self._told_at_s: dict[Trouble, float] = {}

    def trip(self, trouble: Trouble, failure: Exception) -> float | None:
        """Stop for a while and return for how many seconds; None if it has stopped already."""
        if self.is_open:
            return None
        self.trouble, self.is_open = trouble, True
        pause_s: float = min(FIRST_PAUSE_S * 2.0**self._trips, MAX_PAUSE_S)
        self._trips += 1
        log.error(
            "drawing_paused",
            exc_info=failure,
            extra={"trouble": trouble.value, "pause_s": pause_s},
        )
        return pause_s

    def try_again(self) -> None:
        """Let things go on; whether that holds is yet to be seen."""
        self.is_open = False

    async def succeeded(self) -> None:
        """Note that something was drawn and saved.

        Raises:
            StorageError: Those who wait could not be told.
        """
        if self.trouble is not None:
            log.info("drawing_resumed", extra={"trouble": self.trouble.value})
            self.trouble, self._trips = None, 0
            await self._show()

    async def tell(self, guild_id: int | None) -> None:
        """Tell the servers that wait, and the messages of those in front, what the trouble is.

        Args:
            guild_id: A server to be told even if nothing of it waits at this moment.

        Raises:
            StorageError: They could not be told; the next trip tells them.
        """
        trouble, moment_s = self.trouble, time.monotonic()
        if trouble is None:
            return
        told_at_s = self._told_at_s.get(trouble)
        if told_at_s is None or moment_s - told_at_s > TOLD_AGAIN_S:
            waiting = {ticket.guild_id for ticket in self._line.queue.in_order()}
            for each in waiting | {guild_id}:
                about = {"paused": trouble.value}
                await self._store.outbox.announce(each, about, now=now())
            self._told_at_s[trouble] = moment_s
        await self._show()

    async def _show(self) -> None:
        for ticket in self._line.front(SHOWN):
            await self._store.outbox.want(ticket.job_id, now())
