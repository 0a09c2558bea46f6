"""`/log` for moderators, and what anybody can do on a message: Show record, Report.

Discord lists the moderators' commands for Manage Messages only. It does not know a server's own
moderator role, whose members are let in under Server Settings → Integrations; the right is checked
whenever a command is used.
"""

import io

import discord
from discord import app_commands

from bot.chat.actors import actor_of
from bot.chat.answers import replace, think
from bot.chat.base import Interaction
from bot.chat.presses import Action
from bot.chat.views.review import send_form, send_page, send_record
from bot.studio.drawing import now
from bot.studio.records import export_csv
from bot.studio.refusals import Refused
from bot.studio.searches import MAX_TEXT, STATES, search_from
from generation.work.jobs import Job

STATE_CHOICES = [app_commands.Choice(name=state.value, value=state.value) for state in STATES]

log = app_commands.Group(
    name="log",
    description="For moderators: what was drawn here",
    default_permissions=discord.Permissions(manage_messages=True),
)


@log.command(name="search", description="For moderators: find jobs, newest first")
@app_commands.describe(
    member="Whose",
    text="Words of the prompt",
    since="A span such as 24h or 7d, or a UTC date such as 2026-03-31",
    state="Where they stand",
)
@app_commands.choices(state=STATE_CHOICES)
async def search(
    interaction: Interaction,
    member: discord.User | None = None,
    text: app_commands.Range[str, 1, MAX_TEXT] | None = None,
    since: app_commands.Range[str, 1, 40] | None = None,
    state: str | None = None,
) -> None:
    """Show the newest page of what was found."""
    (await actor_of(interaction)).require_moderator()
    wanted = search_from(
        member_id=member.id if member else None, text=text, since=since, state=state, now=now()
    )
    await send_page(interaction, wanted)


@log.command(name="export", description="For moderators: the log as a table (CSV)")
@app_commands.describe(
    member="Whose",
    text="Words of the prompt",
    since="A span such as 24h or 7d, or a UTC date such as 2026-03-31",
    state="Where they stand",
)
@app_commands.choices(state=STATE_CHOICES)
async def export(
    interaction: Interaction,
    member: discord.User | None = None,
    text: app_commands.Range[str, 1, MAX_TEXT] | None = None,
    since: app_commands.Range[str, 1, 40] | None = None,
    state: str | None = None,
) -> None:
    """Send what was found as a file."""
    actor = await actor_of(interaction)
    actor.require_moderator()
    wanted = search_from(
        member_id=member.id if member else None, text=text, since=since, state=state, now=now()
    )
    await think(interaction, ephemeral=True)
    content, count, is_whole = await export_csv(
        interaction.client.studio, actor, wanted, interaction.filesize_limit
    )
    said = f"{count:,} {'job' if count == 1 else 'jobs'}, newest first."
    if not is_whole:
        said += " There are older ones, which do not fit: narrow the search."
    file = discord.File(io.BytesIO(content), "atelier-log.csv")
    await replace(interaction, said, attachments=[file])


@app_commands.context_menu(name="Show record")
@app_commands.default_permissions(manage_messages=True)
async def show_record(interaction: Interaction, message: discord.Message) -> None:
    """Show moderators the whole record of a message's job."""
    await send_record(interaction, (await _job_of(interaction, message)).id)


@app_commands.context_menu(name="Report")
async def report(interaction: Interaction, message: discord.Message) -> None:
    """Let anybody tell the moderators about a picture."""
    await send_form(interaction, Action.REPORT, (await _job_of(interaction, message)).id)


async def _job_of(interaction: Interaction, message: discord.Message) -> Job:
    found = await interaction.client.studio.store.jobs.by_message(message.channel.id, message.id)
    if found is None:
        raise Refused("That message is not one of my pictures.")
    return found


COMMANDS: tuple[app_commands.Group | app_commands.ContextMenu, ...] = (log, show_record, report)
