"""What a message should show, drawn from the record at this moment and from nothing else."""

import asyncio
import dataclasses
import enum
import io
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import discord
from PIL import Image as Pillow

from bot.chat.presses import Action, Press
from bot.chat.views import result as views
from bot.chat.views.press import PressButton
from bot.chat.views.record import action_lines
from bot.messages import ASKED, mention, plain, trouble
from generation.work.jobs import Image, Job, JobState
from generation.work.tickets import Wait
from storage.consent import Scope
from storage.errors import StorageError
from storage.outbox import Message, MessageKind
from storage.store import Store

log = logging.getLogger(__name__)

SMALL_SIDE_PX = 2048
SMALL_QUALITY = 90
MAX_REASON = 300


class Size(enum.Enum):
    """How much of the pictures goes along; the next smaller is tried where Discord wants less."""

    WHOLE = "whole"  # the files as they are in the record
    SMALL = "small"  # WebP of at most `SMALL_SIDE_PX` a side
    NONE = "none"  # a sentence instead


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """A message as it should stand.

    Args:
        view: Its text, gallery and buttons.
        files: Name and content of what the gallery shows.
    """

    view: discord.ui.LayoutView
    files: tuple[tuple[str, bytes], ...] = ()


class Drafts:
    """Draws messages from the record.

    Args:
        store: The record.
        estimate: How long a waiting job still has to wait.
    """

    def __init__(self, store: Store, estimate: Callable[[Job], Awaitable[Wait]]) -> None:
        self._store = store
        self._estimate = estimate

    async def of(self, message: Message, size: Size = Size.WHOLE) -> Draft | None:
        """Return what a message should show now; None where that is nothing.

        Raises:
            StorageError: The record cannot be read.
        """
        match message.kind:
            case MessageKind.JOB:
                return await self.of_job(await self._store.jobs.get(message.job_id or 0), size)
            case MessageKind.LOG:
                return await self._of_log(message)
            case MessageKind.DIRECT:
                return await self._of_direct(message)

    async def of_job(self, job: Job, size: Size = Size.WHOLE) -> Draft | None:
        """Return the message of a job; None while its owner has not answered a question."""
        match job.state:
            case JobState.HELD:
                return None
            case JobState.QUEUED:
                status = views.queued_status(await self._estimate(job))
                return Draft(views.placeholder(job, status=status))
            case JobState.RUNNING:
                return Draft(views.placeholder(job, status=views.running_status(job)))
            case JobState.RENDERED | JobState.POSTED:
                return await self._with_pictures(job, size)
            case _:
                return Draft(views.ended(job))

    async def _with_pictures(self, job: Job, size: Size) -> Draft:
        images = await self._store.images.of_job(job.id)
        shown = [] if any(image.taken_down_at for image in images) else images
        files, lost = await self._files([image for image in shown if image.is_shown], size)
        consent = await self._store.consents.current(job.member_id, ASKED) or {}
        view = views.result(
            job,
            images,
            await self._store.votes.counts(job.id),
            may_remix=consent.get(Scope.REMIX, False),
            names={image_id: name for image_id, name, _ in files},
            missing=_missing(size, lost),
        )
        return Draft(view, tuple((name, content) for _, name, content in files))

    async def _files(
        self, shown: Sequence[Image], size: Size
    ) -> tuple[list[tuple[int, str, bytes]], int]:
        """Return number, name and content of each file that can be read, and how many cannot."""
        if size is Size.NONE:
            return [], 0
        files, lost = [], 0
        for image in shown:
            try:
                content = await asyncio.to_thread(self._store.files.read, image.sha256)
            except StorageError:
                log.exception("picture_unreadable", extra={"image_id": image.id})
                lost += 1
                continue
            if size is Size.SMALL:
                content = await asyncio.to_thread(smaller, content)
            ending = "png" if size is Size.WHOLE else "webp"
            files.append((image.id, views.file_name(image, ending), content))
        return files, lost

    async def _of_log(self, message: Message) -> Draft | None:
        about = message.about
        if "report_id" in about:
            report = await self._store.moderation.get_report(int(about["report_id"]))
            job = await self._store.jobs.get(report.job_id)
            text = (
                f"🚩 **Report** of job {job.id}, asked for by {mention(job.member_id)}\n"
                f"By {mention(report.reporter_id)}: {plain(report.reason, MAX_REASON)}"
            )
            return Draft(_line(text, job.id))
        if "stuck" in about:
            return await self._of_stuck(int(about["stuck"]))
        if "paused" in about:
            return Draft(_line(f"⚠️ {trouble(about['paused'])} My log says more.", None))
        entries = [await self._store.moderation.get(int(each)) for each in about["action_ids"]]
        text = "\n".join(action_lines(entries, MAX_REASON))
        job_id = about.get("job_id")
        if job_id is None:
            return Draft(_line(text, None))
        job = await self._store.jobs.get(int(job_id))
        return Draft(
            _line(f"{text}\n-# Job {job.id}, asked for by {mention(job.member_id)}", job.id)
        )

    async def _of_stuck(self, number: int) -> Draft | None:
        stuck = await self._store.outbox.get(number)
        if stuck.wanted == stuck.shown:
            return None  # by now it shows what it should
        reason = plain(stuck.reason or "Discord would not let me change it", MAX_REASON)
        text = (
            f"⚠️ A message of job {stuck.job_id} still shows what it should not any more: {reason}. "
            f"I keep trying; please delete it by hand: {link(stuck)}"
        )
        return Draft(_line(text, stuck.job_id))

    async def _of_direct(self, message: Message) -> Draft | None:
        """Return the notice that pictures of one command cannot be shown; None if they are."""
        jobs = await self._store.jobs.of_submission(int(message.about["job_id"]))
        for job in jobs:
            stuck = await self._store.outbox.of_job(job.id)
            if job.elapsed_s is not None and stuck and stuck.wanted > stuck.shown:
                reason = plain(stuck.reason or "Discord would not take them", MAX_REASON)
                hope = ", and posted there as soon as that changes" if stuck.is_due else ""
                where = f"<#{stuck.channel_id}>"
                text = (
                    f"I cannot show all of your pictures in {where}: {reason}. They are kept{hope}."
                )
                return Draft(_line(text, None))
        return None


def link(message: Message) -> str:
    """Return the address of a message, or of its channel."""
    guild = message.guild_id or "@me"
    rest = "" if message.message_id is None else f"/{message.message_id}"
    return f"https://discord.com/channels/{guild}/{message.channel_id}{rest}"


def smaller(png: bytes) -> bytes:
    """Return a picture of ours as WebP of at most `SMALL_SIDE_PX` a side."""
    with Pillow.open(io.BytesIO(png), formats=("PNG",)) as image:
        picture = image.convert("RGB")
    picture.thumbnail((SMALL_SIDE_PX, SMALL_SIDE_PX), Pillow.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=SMALL_QUALITY)
    return file.getvalue()


def _missing(size: Size, lost: int) -> str:
    if size is Size.NONE:
        return "The pictures are kept, but they are too large for Discord to show."
    if lost:
        return (
            f"{lost} of the pictures cannot be read any more; the operator can see why in the log."
        )
    return ""


def _line(text: str, job_id: int | None) -> discord.ui.LayoutView:
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.TextDisplay(text))
    if job_id is not None:
        opener: discord.ui.Item[Any] = PressButton(
            Press(Action.LOG_OPEN, (job_id,)), label="Open record"
        )
        view.add_item(discord.ui.ActionRow(opener))
    return view
