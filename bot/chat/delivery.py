"""The only writer of messages: keeps each as the record wants it, whatever happens on the way.

The record counts, for every message, how often what it should show has changed (`wanted`), and up
to which of those changes it stands there (`shown`). One loop takes the messages where the two
differ, draws each from the record as it is now, edits it, and notes the count that it had read
before. So the order of edits does not matter, a lost one is made again, and a message that fails
holds up no other: it is tried again later by itself. Recovery after a crash is that same query.

Commands and buttons acknowledge and change the record; they never edit a job's message. Only the
first answer to a command is sent by them, through `open`, because it needs their token. Progress is
no part of the record: it is shown now and then, while nothing else is due.
"""

import asyncio
import collections
import contextlib
import datetime as dt
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any

import aiohttp
import discord

from bot.chat.base import EditableMessage
from bot.chat.drafts import Draft, Drafts, Size
from bot.chat.failures import is_too_large
from bot.chat.posts import ARCHIVED, Posts
from bot.chat.views import result as views
from bot.studio.drawing import now
from generation.work.jobs import Job, JobState
from generation.work.outside import Outside, just_wait
from generation.work.results import StepDone
from generation.work.tickets import Wait
from storage.errors import StorageError
from storage.outbox import Message, MessageKind, MessageState
from storage.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 16  # messages that are drawn at the same time
IN_ONE_CHANNEL = 4  # of them: a channel that Discord slows down keeps no other waiting
RETRY_AFTER_S = (5.0, 30.0, 120.0, *[600.0] * 140, 21_600.0)  # for a day often, then now and then
MAX_TRIES = 260  # a month of trying
GONE = {10003, 10008}  # unknown channel, unknown message
OLD_EDITS = 30046  # a message of more than an hour was edited too often
SUSPICIOUS_S = 1.0  # an answer that took this long may have been sent twice by discord.py
SETTLED_WITHIN_S = 8.0  # as long as somebody who acted waits to be told how it went


class Delivery:
    """Draws every message that people see.

    Args:
        store: The record.
        client: The logged-in client.
        estimate: How long a waiting job still has to wait.
        progress_interval_s: Shortest time between two progress edits of one message; all messages
            together get no more than `progress_budget` edits in that time.
        retry_after_s: Pauses after the first, second … failure of a message; the last one stays.
        clock: Seconds, monotonic.
        outside: How a wait for something outside this program is declared.
    """

    def __init__(
        self,
        store: Store,
        client: discord.Client,
        *,
        estimate: Callable[[Job], Awaitable[Wait]],
        progress_interval_s: float = 2.0,
        progress_budget: int = 4,
        retry_after_s: Sequence[float] = RETRY_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
        outside: Outside = just_wait,
    ) -> None:
        self._store = store
        self._drafts = Drafts(store, estimate)
        self._posts = Posts(store.outbox, client, clock)
        self._interval_s = progress_interval_s
        self._budget = progress_budget
        self._retry_after_s = retry_after_s
        self._clock = clock
        self._outside = outside
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._due_at: dt.datetime | None = None  # what the timer is set for
        self._opening: set[int] = set()  # jobs whose command is being answered
        self._under_way: dict[int, tuple[Message, asyncio.Task[None]]] = {}
        self._ends: dict[int, asyncio.Event] = {}  # of messages that somebody waits for
        self._last_edit: dict[int, float] = {}
        self._recent: list[float] = []
        store.database.when_committed(self._wake.set)

    # The loop

    async def run(self) -> None:
        """Show what is due, for ever; ends only by cancellation."""
        try:
            with contextlib.suppress(StorageError):  # the loop will find the record unreadable, too
                await self._store.outbox.bring_forward(now())
            while True:
                self._wake.clear()
                self._wake_at(await self._start_due())
                await self._outside(self._wake.wait(), "something to show")
        finally:
            tasks = [task for _, task in self._under_way.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._timer is not None:
                self._timer.cancel()

    async def _start_due(self) -> dt.datetime | None:
        """Begin with what is due and return when the next will be, as far as that is known."""
        if len(self._under_way) >= AT_ONCE:
            return None  # the end of one wakes us
        moment = max(now(), self._due_at or now())
        try:
            due = await self._store.outbox.due(
                moment,
                2 * AT_ONCE,
                share=IN_ONE_CHANNEL,
                but=self._under_way,
                but_of=self._opening,
            )
            next_at = await self._store.outbox.next_due_at(moment)
        except StorageError as failure:
            log.warning("outbox_unreadable", extra={"cause": str(failure)})
            return moment + dt.timedelta(seconds=self._retry_after_s[0])
        busy = collections.Counter(_channel_of(message) for message, _ in self._under_way.values())
        for message in due:
            if message.id in self._under_way or message.job_id in self._opening:
                continue  # its end wakes us
            if len(self._under_way) < AT_ONCE and busy[_channel_of(message)] < IN_ONE_CHANNEL:
                busy[_channel_of(message)] += 1
                self._start(message, self._show(message))
        return next_at

    def _start(self, message: Message, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"message-{message.id}")
        self._under_way[message.id] = (message, task)
        task.add_done_callback(lambda done: self._ended(message, done))

    def _ended(self, message: Message, task: asyncio.Task[None]) -> None:
        del self._under_way[message.id]
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            log.error("message_not_shown", exc_info=error, extra={"number": message.id})
            self._start(message, self._later(message, error))  # not at once, and not for ever
            return
        if end := self._ends.pop(message.id, None):
            end.set()
        self._wake.set()

    def _wake_at(self, moment: dt.datetime | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due_at = None
        if moment is None:
            return
        delay_s = max((moment - now()).total_seconds(), 0.05)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring, moment)

    def _ring(self, moment: dt.datetime) -> None:
        # The event loop's clock may be another than the record's, as in a test on virtual time.
        self._due_at = moment
        self._wake.set()

    # One message

    async def _show(self, message: Message) -> None:
        """Let a message show what the record says, or note when to try again."""
        try:
            # What the loop read may be of before the last time that it was drawn.
            message = await self._store.outbox.get(message.id)
            if not message.is_due:
                return
            await self._draw(message)
            await self._store.outbox.shown(message.id, message.wanted, now())
        except discord.HTTPException as failure:
            await self._failed(message, failure)
        except (aiohttp.ClientError, OSError, StorageError) as failure:
            await self._later(message, failure)
        finally:
            self._last_edit.pop(message.id, None)

    async def _draw(self, message: Message) -> None:
        """Draw a message with its pictures, or with less of them where Discord wants less."""
        sizes = list(Size)
        if any(name.endswith(".webp") for name in self._posts.attached(message.id)):
            sizes.remove(Size.WHOLE)  # it was too large before
        for size in sizes:
            draft = await self._drafts.of(message, size)
            if draft is None:
                return
            try:
                await self._posts.put(message, draft)
            except discord.HTTPException as failure:
                if not is_too_large(failure) or size is Size.NONE:
                    raise
                log.warning("pictures_too_large", extra={"job_id": message.job_id, "size": size})
            else:
                return

    async def _failed(self, message: Message, failure: discord.HTTPException) -> None:
        """Try again later what may pass, and give up what cannot; each says why in the record."""
        if _may_pass(message, failure):
            await self._later(message, failure)
            is_new = not message.tries or message.reason != failure.text
            if is_new and (failure.status == 403 or failure.code == ARCHIVED):
                await self._tell_stuck(message)
            return
        state = MessageState.GONE if failure.code in GONE else MessageState.UNDELIVERABLE
        reason = failure.text or f"error {failure.code or failure.status}"
        level = logging.ERROR if failure.status == 400 else logging.WARNING  # a fault of ours
        log.log(level, "message_given_up", extra={"number": message.id, "cause": str(failure)})
        await self._store.outbox.give_up(message.id, reason=reason, now=now(), state=state)
        if state is MessageState.UNDELIVERABLE:
            await self._tell_stuck(message)

    async def _later(self, message: Message, failure: Exception) -> None:
        """Try again after a pause, but not for ever."""
        outbox, moment = self._store.outbox, now()
        pause_s = self._retry_after_s[min(message.tries, len(self._retry_after_s) - 1)]
        cause = failure.text if isinstance(failure, discord.HTTPException) else ""
        reason = cause or "the connection or the record failed"
        log.warning("message_delayed", extra={"number": message.id, "cause": str(failure)})
        try:
            if message.tries < MAX_TRIES:
                next_try_at = moment + dt.timedelta(seconds=pause_s)
                await outbox.failed(message.id, next_try_at=next_try_at, reason=reason, now=moment)
            else:
                await outbox.give_up(message.id, reason=reason, now=moment)
        except StorageError:  # then it is due as before
            await asyncio.sleep(self._retry_after_s[0])

    async def _tell_stuck(self, message: Message) -> None:
        """Tell whom it concerns that a job's message cannot be shown as it should."""
        if message.kind is not MessageKind.JOB or message.job_id is None:
            return
        job = await self._store.jobs.get(message.job_id)
        images = await self._store.images.of_job(job.id)
        if message.message_id is not None and any(not image.is_shown for image in images):
            await self._store.outbox.announce(
                message.guild_id, {"stuck": message.id, "job_id": job.id}, now=now()
            )
        elif any(image.is_shown for image in images):
            # One notice for all of a command's jobs: forty of them would be no help.
            about = {"job_id": job.submission}
            await self._store.outbox.notify(job.member_id, about, now=now())

    # What commands and buttons need

    @contextlib.asynccontextmanager
    async def opening(self, jobs: Collection[Job]) -> AsyncIterator[None]:
        """Leave the first messages of jobs to the body, which answers their command."""
        numbers = {job.id for job in jobs} - self._opening  # or they are left to a body around it
        self._opening |= numbers
        try:
            tasks = [task for it, task in self._under_way.values() if it.job_id in numbers]
            if tasks:  # the body begins late
                await asyncio.wait(tasks)
            yield
        finally:
            self._opening -= numbers
            self._wake.set()

    async def open(
        self, job: Job, send: Callable[[discord.ui.LayoutView], Awaitable[EditableMessage]]
    ) -> None:
        """Send a job's first message as the answer to its command, unless it stands already.

        Raises:
            discord.HTTPException: Discord would not; then the loop sends it with the bot's own
                token, after looking whether it stands there all the same.
            aiohttp.ClientError: The connection broke; likewise.
        """
        message = await self._store.outbox.of_job(job.id)
        if message is None or message.message_id is not None:
            return
        fresh = await self._store.jobs.get(job.id)
        is_over = fresh.state not in {JobState.QUEUED, JobState.RUNNING}
        draft = None if is_over else await self._drafts.of_job(fresh)
        view = draft.view if draft else views.placeholder(fresh, status="Drawing …")
        self._posts.doubt(message.id)
        began_at_s = self._clock()
        sent = await send(view)
        await self._posts.remember(message, sent)
        if draft:
            await self._store.outbox.shown(message.id, message.wanted, now())
        if self._clock() - began_at_s > SUSPICIOUS_S:
            with contextlib.suppress(discord.HTTPException, aiohttp.ClientError):
                await self._posts.remove_doubles(await self._store.outbox.get(message.id))

    async def settled(self, message: Message | None) -> Message | None:
        """Return a message once it shows what it should, or once that was tried."""
        if message is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_WITHIN_S):
                while message.is_due and not message.tries:
                    end = self._ends.setdefault(message.id, asyncio.Event())
                    await end.wait()
                    message = await self._store.outbox.get(message.id)
        return message

    # Progress

    async def show_progress(self, job: Job, event: StepDone) -> None:
        """Show a step, if the last edit is long enough ago; otherwise do nothing."""
        name = f"preview-{event.step}.png"  # another name than the last one's, which is kept
        files = ((name, event.preview),) if event.preview else ()
        status = views.drawing_status(event.step, event.num_inference_steps)
        view = views.placeholder(job, status=status, preview=name if files else None)
        await self._show_now_and_then(job, JobState.RUNNING, Draft(view, files))

    async def show_place(self, job: Job, wait: Wait) -> None:
        """Show how far a waiting job has come, if the last edit is long enough ago."""
        view = views.placeholder(job, status=views.queued_status(wait))
        await self._show_now_and_then(job, JobState.QUEUED, Draft(view))

    async def _show_now_and_then(self, job: Job, state: JobState, draft: Draft) -> None:
        """Edit a message while the job is in a state; an edit that is not made is no loss."""
        message = await self._store.outbox.of_job(job.id)
        if message is None or message.message_id is None:
            return
        if message.is_due or message.state is not MessageState.OPEN:
            return
        moment = self._clock()
        self._recent = [then for then in self._recent if moment - then < self._interval_s]
        last = self._last_edit.get(message.id, -self._interval_s)
        if moment - last < self._interval_s or len(self._recent) >= self._budget:
            return
        fresh = await self._store.jobs.get(job.id)
        is_over = fresh.state is not state or fresh.cancel_wanted_at is not None
        if is_over or message.id in self._under_way or job.id in self._opening:
            return
        self._last_edit[message.id] = moment
        self._recent.append(moment)
        self._start(message, self._show_briefly(message, draft))

    async def _show_briefly(self, message: Message, draft: Draft) -> None:
        try:
            await self._posts.put(message, draft)
        except (discord.HTTPException, aiohttp.ClientError, OSError) as missed:
            log.info("progress_not_shown", extra={"number": message.id, "cause": str(missed)})


def _channel_of(message: Message) -> int | None:
    """Return what Discord counts its limits by."""
    return message.channel_id or message.recipient


def _may_pass(message: Message, failure: discord.HTTPException) -> bool:
    """Return whether the same request may be taken later: a permission is given, Discord is well.

    Who does not take direct messages is not asked again.
    """
    if failure.code in GONE:
        return False
    if failure.status == 403:
        return message.kind is not MessageKind.DIRECT
    return (
        failure.status in {401, 408, 429}
        or failure.status >= 500
        or failure.code in {ARCHIVED, OLD_EDITS}
    )
