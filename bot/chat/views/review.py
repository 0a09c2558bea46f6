"""The moderators' buttons and forms: turn the log's pages, open a record, act on it; and reports."""

import asyncio
import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import discord

from bot.chat.actors import actor_of
from bot.chat.answers import acknowledge, open_form, replace, reply, think
from bot.chat.base import FormHandler, Interaction, PressHandler
from bot.chat.failures import is_too_large
from bot.chat.presses import Action, Press
from bot.chat.views.asking import outcome
from bot.chat.views.press import Form
from bot.chat.views.record import (
    DONE,
    json_name,
    numbers_of,
    page_view,
    record_view,
    search_of,
)
from bot.chat.views.result import file_name
from bot.messages import plain
from bot.studio.actors import Actor
from bot.studio.records import Record, find_page, read_record
from bot.studio.refusals import Refused
from bot.studio.searches import Search
from bot.studio.studio import Studio
from generation.work.jobs import Image
from storage.errors import StorageError
from storage.moderation import Action as ModerationAction

log = logging.getLogger(__name__)

MAX_REASON = 300
TITLES = {
    Action.MOD_TAKE_DOWN: "Take down these pictures",
    Action.MOD_RESTORE: "Show these pictures again",
    Action.MOD_SUSPEND: "Keep this member from drawing here",
    Action.MOD_LIFT: "Let this member draw here again",
    Action.MOD_CLOSE: "Close the open reports",
    Action.REPORT: "Report to this server's moderators",
}


# Reading


async def send_page(interaction: Interaction, search: Search) -> None:
    """Answer a command with the newest page of a search."""
    page = await find_page(interaction.client.studio, await actor_of(interaction), search, 0)
    await reply(interaction, page_view(search, 0, page), ephemeral=True)


async def turn_page(interaction: Interaction, press: Press) -> None:
    """Show another page of the log."""
    search, before_id = search_of(press)
    actor = await actor_of(interaction)
    page = await find_page(interaction.client.studio, actor, search, before_id)
    await replace(interaction, page_view(search, before_id, page))


async def open_record(interaction: Interaction, press: Press) -> None:
    """Show one whole record to the moderator who pressed."""
    await send_record(interaction, press.numbers[0])


async def send_record(interaction: Interaction, job_id: int) -> None:
    """Answer a command or button with the whole record of a job."""
    studio = interaction.client.studio
    record = await read_record(studio, await actor_of(interaction), job_id)
    # Sending up to eight pictures may take longer than the three seconds an answer may.
    await think(interaction, ephemeral=True)
    await _show_record(interaction, studio, record)


async def _show_record(interaction: Interaction, studio: Studio, record: Record) -> None:
    files, attached = [], []
    for image in record.images:
        if (content := await _content(studio, image)) is not None:
            files.append(discord.File(io.BytesIO(content), file_name(image)))
            attached.append(image)
    try:
        shown = record_view(record, attached)
        await replace(interaction, shown, attachments=[*files, _whole(record)])
    except discord.HTTPException as failure:
        if not is_too_large(failure) or not attached:
            raise
        # What can be done about the pictures matters more than to see them here.
        await replace(interaction, record_view(record, []), attachments=[_whole(record)])


def _whole(record: Record) -> discord.File:
    return discord.File(io.BytesIO(record.to_json().encode()), json_name(record.job))


async def _content(studio: Studio, image: Image) -> bytes | None:
    """Return a picture's file, also of one taken down; None if it was deleted or is unreadable."""
    if image.removed_at is not None:
        return None
    try:
        return await asyncio.to_thread(studio.store.files.read, image.sha256)
    except StorageError:  # lost or damaged: what can be done about the others must not wait for it
        log.exception("picture_unreadable", extra={"image_id": image.id})
        return None


# Acting


async def ask_reason(interaction: Interaction, press: Press) -> None:
    """Ask a moderator why, before anything is done."""
    job_id, actor = press.numbers[0], await actor_of(interaction)
    await interaction.client.studio.oversight.record_of(actor, job_id)
    if press.action in {Action.MOD_SUSPEND, Action.MOD_LIFT}:
        actor.require_moderator()  # these hold on the whole server
    await send_form(interaction, press.action, job_id)


async def send_form(interaction: Interaction, action: Action, job_id: int) -> None:
    """Answer with a form that asks for a reason."""
    reason: discord.ui.TextInput[Any] = discord.ui.TextInput(
        style=discord.TextStyle.paragraph,
        custom_id="reason",
        min_length=1,
        max_length=MAX_REASON,
        required=True,
    )
    form = Form(
        Press(action, (job_id, interaction.id)),
        title=TITLES[action],
        fields=[discord.ui.Label(text="Reason", component=reason)],
    )
    await open_form(interaction, form)


async def act(interaction: Interaction, press: Press, values: Mapping[str, str]) -> None:
    """Do what the form is for, show it everywhere, and confirm it with its audit number."""
    await acknowledge(interaction)
    studio, actor = interaction.client.studio, await actor_of(interaction)
    job_id, reason = press.numbers[0], _reason(values)
    entries = await _do(studio, actor, press.action, job_id, reason)
    job = await studio.job(job_id)
    said = f"{DONE[entries[0].kind]}. Audit {numbers_of(entries)}."
    if press.action in {Action.MOD_TAKE_DOWN, Action.MOD_RESTORE}:
        said += await outcome(interaction, job)
    said += await _told(interaction)
    await reply(interaction, said, ephemeral=True)  # first: whatever fails now, it is done
    await _show_record(interaction, studio, await read_record(studio, actor, job_id))


async def _do(
    studio: Studio, actor: Actor, what: Action, job_id: int, reason: str
) -> Sequence[ModerationAction]:
    match what:
        case Action.MOD_TAKE_DOWN:
            return await studio.oversight.take_down(actor, job_id, reason)
        case Action.MOD_RESTORE:
            return await studio.oversight.restore(actor, job_id, reason)
        case Action.MOD_SUSPEND:
            return [await studio.oversight.suspend(actor, job_id, reason)]
        case Action.MOD_LIFT:
            return [await studio.oversight.suspend(actor, job_id, reason, lift=True)]
        case _:
            return [await studio.oversight.close_reports(actor, job_id, reason)]


async def _told(interaction: Interaction) -> str:
    """Return what the moderator must know if the log channel could not be told."""
    outbox = interaction.client.studio.store.outbox
    line = await outbox.last_told(interaction.guild_id or 0)
    line = await interaction.client.messages.settled(line)
    if line is None or line.wanted == line.shown:
        return ""
    why = plain(line.reason or "Discord is slow")
    return f" I could not tell <#{line.channel_id}> yet: {why}."


async def send_report(interaction: Interaction, press: Press, values: Mapping[str, str]) -> None:
    """Record a member's report and tell the moderators."""
    await think(interaction, ephemeral=True)
    studio, actor = interaction.client.studio, await actor_of(interaction)
    await studio.oversight.report(actor, press.numbers[0], _reason(values))
    await replace(interaction, "Thank you. The moderators can see your report.")


def _reason(values: Mapping[str, str]) -> str:
    reason = values.get("reason", "").strip()
    if not 1 <= len(reason) <= MAX_REASON:
        raise Refused(f"Please give a reason of 1 to {MAX_REASON} characters.")
    return reason


PRESSES: dict[Action, PressHandler] = {
    Action.LOG_PAGE: turn_page,
    Action.LOG_OPEN: open_record,
    Action.MOD_TAKE_DOWN: ask_reason,
    Action.MOD_RESTORE: ask_reason,
    Action.MOD_SUSPEND: ask_reason,
    Action.MOD_LIFT: ask_reason,
    Action.MOD_CLOSE: ask_reason,
}
FORMS: dict[Action, FormHandler] = {
    Action.MOD_TAKE_DOWN: act,
    Action.MOD_RESTORE: act,
    Action.MOD_SUSPEND: act,
    Action.MOD_LIFT: act,
    Action.MOD_CLOSE: act,
    Action.REPORT: send_report,
}
