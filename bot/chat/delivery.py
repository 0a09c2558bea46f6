"""Keeps each job's message true: queued, drawing, the result.

A message is only ever *edited* to its next state, and an edit is idempotent, so whatever was lost
in a crash is repaired by editing again, and nothing is posted twice. Young messages are edited
through their interaction (it needs no permission), older ones with the bot's own token.
"""

import asyncio
import datetime as dt
import io
import itertools
import logging
import time
from collections.abc import Callable, Sequence

import discord

from bot.chat.base import EditableMessage
from bot.chat.failures import DISCORD_FAILURES
from bot.chat.presses import Press
from bot.chat.views import result as views
from bot.messages import ASKED
from bot.studio.drawing import now
from generation.work.jobs import Image, Job, JobState, Place
from generation.work.results import StepDone
from generation.work.tickets import Wait
from storage.store import Store

log = logging.getLogger(__name__)

TOKEN_LIFE_S = 14 * 60.0  # Discord keeps an interaction's token for 15 minutes
RETRY_AFTER_S = (5.0, 30.0, 120.0, 600.0)
UNREACHABLE = {10003, 10008, 50001, 50013}  # channel gone, message gone, no access, no permission
TOKEN_DEAD = {10015, 50027}  # unknown webhook, invalid webhook token
SEARCHED_MESSAGES = 200
CLOCK_SKEW = dt.timedelta(minutes=1)  # between Discord's clock and ours


class Unreachable(Exception):
    """Nobody can see this job's message any more; Discord's reason is the message."""


class Delivery:
    """Edits the messages of jobs.

    Args:
        store: Where jobs and pictures are.
        client: The logged-in client.
        progress_interval_s: Shortest time between two progress edits of one message; all messages
            together get no more than `progress_budget` edits in that time.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        store: Store,
        client: discord.Client,
        *,
        progress_interval_s: float = 2.0,
        progress_budget: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._client = client
        self._interval_s = progress_interval_s
        self._budget = progress_budget
        self._clock = clock
        self._young: dict[int, tuple[EditableMessage, float]] = {}
        self._last_edit: dict[int, float] = {}
        self._recent: list[float] = []
        self._locks: dict[int, asyncio.Lock] = {}

    def remember(self, job_id: int, message: EditableMessage) -> None:
        """Keep a job's message as the interaction's answer, while that token lives."""
        self._young[job_id] = (message, self._clock() + TOKEN_LIFE_S)

    async def show_progress(self, job: Job, event: StepDone) -> None:
        """Show a step, if the last edit is long enough ago; otherwise do nothing."""
        files = []
        if event.preview:
            files = [discord.File(io.BytesIO(event.preview), "preview.png")]
        status = views.drawing_status(event.step, event.num_inference_steps)
        view = views.placeholder(job, status=status, preview="preview.png" if files else None)
        await self._show_now_and_then(job, JobState.RUNNING, view, files)

    async def show_place(self, job: Job, wait: Wait) -> None:
        """Show how far a waiting job has come, if the last edit is long enough ago."""
        view = views.placeholder(job, status=views.queued_status(wait))
        await self._show_now_and_then(job, JobState.QUEUED, view, [])

    async def _show_now_and_then(
        self,
        job: Job,
        state: JobState,
        view: discord.ui.LayoutView,
        files: Sequence[discord.File],
    ) -> None:
        """Edit a message while the job is in a state; an edit that is not made is no loss."""
        moment = self._clock()
        self._recent = [then for then in self._recent if moment - then < self._interval_s]
        last = self._last_edit.get(job.id, -self._interval_s)
        if moment - last < self._interval_s or len(self._recent) >= self._budget:
            return
        self._last_edit[job.id] = moment
        self._recent.append(moment)
        async with self._lock(job.id):
            job = await self._store.jobs.get(job.id)
            if job.state is not state:
                return  # a slow edit must not overtake the result
            try:
                await self._edit(job, view, files)
            except (Unreachable, *DISCORD_FAILURES) as missed:
                log.info("progress_not_shown", extra={"job_id": job.id, "cause": str(missed)})

    async def post(self, job: Job) -> Job:
        """Show a rendered job's pictures and move it to posted.

        Discord's failures are retried until it takes the message, or this life of the bot ends;
        the next one then goes on.
        """
        async with self._lock(job.id):
            for pause_s in itertools.chain(RETRY_AFTER_S, itertools.repeat(RETRY_AFTER_S[-1])):
                job = await self._store.jobs.get(job.id)
                if job.state is not JobState.RENDERED:
                    return job
                try:
                    await self._show_pictures(job)
                except Unreachable as gone:
                    log.warning("delivered_to_nobody", extra={"job_id": job.id, "cause": str(gone)})
                    return await self._posted(job, f"delivered to nobody: {gone}")
                except DISCORD_FAILURES as failure:
                    log.warning("post_failed", extra={"job_id": job.id, "cause": str(failure)})
                    await asyncio.sleep(pause_s)
                else:
                    return await self._posted(job, None)
        return job

    async def refresh(self, job: Job) -> None:
        """Draw the message of a posted job again, after a vote, a removal or a take-down.

        Raises:
            Unreachable: The message or its channel is gone.
            discord.HTTPException: Discord would not; or another of `DISCORD_FAILURES`.
        """
        async with self._lock(job.id):
            if job.state in {JobState.RENDERED, JobState.POSTED}:
                await self._show_pictures(job)
            else:
                await self._edit(job, views.ended(job), [])

    async def show_ended(self, job: Job) -> None:
        """Show that a job ended without pictures."""
        async with self._lock(job.id):
            try:
                await self._edit(job, views.ended(job), [])
            except (Unreachable, *DISCORD_FAILURES) as missed:
                log.warning("end_not_shown", extra={"job_id": job.id, "cause": str(missed)})
        self._forget(job.id)

    async def result_view(self, job: Job) -> discord.ui.LayoutView:
        """Return the message of a job with pictures, as it should stand now."""
        images = await self._store.images.of_job(job.id)
        consent = await self._store.consents.current(job.member_id, ASKED) or {}
        return views.result(
            job,
            images,
            await self._store.votes.counts(job.id),
            may_remix=any(given for scope, given in consent.items() if scope == "remix"),
        )

    async def _posted(self, job: Job, reason: str | None) -> Job:
        self._forget(job.id)
        return await self._store.jobs.move(
            job.id, expected=JobState.RENDERED, to=JobState.POSTED, now=now(), reason=reason
        )

    async def _show_pictures(self, job: Job) -> None:
        images = await self._store.images.of_job(job.id)
        files = [await self._file(image) for image in images if image.is_shown]
        await self._edit(job, await self.result_view(job), files)

    async def _file(self, image: Image) -> discord.File:
        content = await asyncio.to_thread(self._store.files.read, image.sha256)
        return discord.File(io.BytesIO(content), views.file_name(image))

    async def _edit(
        self, job: Job, view: discord.ui.LayoutView, files: Sequence[discord.File]
    ) -> None:
        """Edit the job's message, or send it if it never stood there.

        Raises:
            Unreachable: It can never be edited again.
            discord.HTTPException: It could not be edited this time.
        """
        young = self._young.get(job.id)
        if young and young[1] > self._clock():
            try:
                await young[0].edit(view=view, attachments=list(files))
            except discord.HTTPException as failure:
                if failure.status != 401 and failure.code not in TOKEN_DEAD:
                    raise _final(failure) from failure
                self._young.pop(job.id)  # the token died early: the bot's own will do
                for file in files:
                    file.reset()
            else:
                return
        try:
            message = await self._message(job)
            if message is None:
                await self._send(job, view, files)
            else:
                await message.edit(
                    view=view,
                    attachments=list(files),
                    allowed_mentions=discord.AllowedMentions.none(),
                )
        except discord.HTTPException as failure:
            raise _final(failure) from failure

    async def _message(self, job: Job) -> discord.PartialMessage | None:
        channel = self._client.get_partial_messageable(
            job.place.channel_id, guild_id=job.place.guild_id
        )
        if job.place.message_id is not None:
            return channel.get_partial_message(job.place.message_id)
        # An answer of Discord's can get lost, in this life of the bot or with an earlier one: look
        # where the message would stand before sending one.
        since = job.created_at - CLOCK_SKEW
        async for message in channel.history(
            limit=SEARCHED_MESSAGES, after=since, oldest_first=True
        ):
            if _stands_on(message, job.id):
                await self._place(job, message.id)
                return channel.get_partial_message(message.id)
        return None

    async def _send(
        self, job: Job, view: discord.ui.LayoutView, files: Sequence[discord.File]
    ) -> None:
        channel = self._client.get_partial_messageable(
            job.place.channel_id, guild_id=job.place.guild_id
        )
        message = await channel.send(
            view=view,
            files=list(files),
            nonce=f"atelier-{job.id}",  # Discord drops a second message with the same nonce
            allowed_mentions=discord.AllowedMentions.none(),
        )
        await self._place(job, message.id)

    async def _place(self, job: Job, message_id: int) -> None:
        place = Place(
            guild_id=job.place.guild_id, channel_id=job.place.channel_id, message_id=message_id
        )
        await self._store.jobs.set_place(job.id, place)

    def _lock(self, job_id: int) -> asyncio.Lock:
        return self._locks.setdefault(job_id, asyncio.Lock())

    def _forget(self, job_id: int) -> None:
        for kept in (self._last_edit, self._locks, self._young):
            kept.pop(job_id, None)


def _final(failure: discord.HTTPException) -> Exception:
    """Return what to raise: `Unreachable` where trying again can never help."""
    if failure.code in UNREACHABLE or failure.status in {400, 404}:
        return Unreachable(failure.text or str(failure.code))
    return failure


def _stands_on(message: discord.Message, job_id: int) -> bool:
    """Whether this message is the job's: one of its buttons carries the job's number."""
    if message.author.id != (message._state.self_id or 0):
        return False
    presses = (
        Press.parse(custom_id)
        for item in discord.ui.LayoutView.from_message(message, timeout=None).walk_children()
        if (custom_id := getattr(item, "custom_id", None))
    )
    return any(
        press and press.numbers[:1] == (job_id,) and press.action != "vote" for press in presses
    )
