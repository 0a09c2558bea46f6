"""The buttons under a picture: vote, Again, Remix, Details, Cancel, Delete."""

from collections.abc import Mapping
from typing import Any

import discord

from bot.chat.actors import actor_of
from bot.chat.answers import acknowledge, open_form, patiently, reply
from bot.chat.base import FormHandler, Interaction, PressHandler
from bot.chat.presses import Action, Press, number_of
from bot.chat.views import result as views
from bot.chat.views.asking import note_instead, outcome, proceed
from bot.chat.views.press import Form, PressButton
from bot.grammar.remixing import asked_again, with_settings
from bot.messages import mention, plain, without_links
from bot.studio.asking import Ask
from bot.studio.refusals import Gone
from generation.work.jobs import Job

MAX_FIELD = 4_000  # characters of a form's field, Discord's limit; twice what a prompt may have


async def vote(interaction: Interaction, press: Press) -> None:
    """Give or take back a vote; the message counts it."""
    await acknowledge(interaction)
    await interaction.client.studio.vote(await actor_of(interaction), press.numbers[0])


async def again(interaction: Interaction, press: Press) -> None:
    """Draw the same prompt with new seeds."""
    studio = interaction.client.studio
    async with patiently(interaction):
        submission = await studio.again(
            await actor_of(interaction),
            press.numbers[0],
            interaction.channel_id or 0,
            interaction_id=interaction.id,
        )
        await proceed(interaction, submission)


async def open_remix(interaction: Interaction, press: Press) -> None:
    """Show the form that starts a remix."""
    studio = interaction.client.studio
    actor = await actor_of(interaction)
    job = await studio.job_here(actor, press.numbers[0])
    shown = [image for image in await studio.store.images.of_job(job.id) if image.is_shown]
    if not shown:
        raise Gone("Those pictures were removed, so they cannot be remixed.")
    await studio.gate.check_remix(actor, shown[0])
    asked = asked_again(job.typed, job.request, studio.checkpoints)
    prompt: discord.ui.TextInput[Any] = discord.ui.TextInput(
        style=discord.TextStyle.paragraph,
        custom_id="prompt",
        default=asked.words,
        max_length=MAX_FIELD,
    )
    settings: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id="settings", default=asked.settings, max_length=MAX_FIELD, required=False
    )
    choice: discord.ui.Select[Any] = discord.ui.Select(
        custom_id="image",
        options=[
            discord.SelectOption(
                label=f"Picture {image.index + 1}", value=str(image.id), default=image is shown[0]
            )
            for image in shown
        ],
    )
    fields = [
        discord.ui.Label(
            text="What to draw now",
            component=prompt,
        ),
        discord.ui.Label(
            text="Settings", description="Flags as in `/help prompts`", component=settings
        ),
        discord.ui.Label(text="Starting from", component=choice),
    ]
    form = Form(Press(Action.REMIX, (job.id, interaction.id)), title="Remix", fields=fields)
    await open_form(interaction, form)


async def send_remix(interaction: Interaction, press: Press, values: Mapping[str, str]) -> None:
    """Start a remix; the new job remembers the picture it came from."""
    studio = interaction.client.studio
    async with patiently(interaction):
        parent = await studio.image(number_of(values.get("image", "")) or 0)
        if parent.job_id != press.numbers[0]:
            raise Gone("That picture does not belong to this message.")
        text = with_settings(values.get("prompt", ""), values.get("settings", ""))
        ask = Ask(
            text=text,
            channel_id=interaction.channel_id or 0,
            parent=parent,
            interaction_id=interaction.id,
        )
        await proceed(interaction, await studio.submit(await actor_of(interaction), ask))


async def details(interaction: Interaction, press: Press) -> None:
    """Show, to one person, everything needed to redraw, and what else they may do."""
    studio, actor = interaction.client.studio, await actor_of(interaction)
    job = await studio.job_here(actor, press.numbers[0])
    is_theirs = job.member_id == actor.member_id
    images = await studio.store.images.of_job(job.id)
    if any(image.taken_down_at for image in images) and not (is_theirs or actor.moderates(job)):
        raise Gone("A moderator has taken these pictures down.")
    shown = [image for image in images if image.is_shown]
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.TextDisplay(_recipe(job)))
    buttons = []
    if shown:
        lines = [f"`{i.index + 1}` seed `{i.seed}` sha256 `{i.sha256[:16]}…`" for i in shown]
        view.add_item(discord.ui.TextDisplay("\n".join(lines)))
    if shown and is_theirs:
        buttons.append(PressButton(Press(Action.REMIX, (job.id,)), label="Remix", emoji="🎨"))
    if shown and (is_theirs or actor.moderates(job)):
        delete = Press(Action.DELETE, (job.id,))
        buttons.append(PressButton(delete, label="Delete", style=discord.ButtonStyle.danger))
    if buttons:
        view.add_item(views.Row(*buttons))
    await reply(interaction, view, ephemeral=True)


def _recipe(job: Job) -> str:
    facts = {
        "Asked by": mention(job.member_id),
        "Typed": plain(without_links(job.typed), 600),
        **{name: plain(value, 600) for name, value in job.request.facts() if value},
        "State": job.state.value,
        "Asked": views.stamp(job.created_at),
    }
    if job.elapsed_s is not None:
        facts["Drawn in"] = f"{job.elapsed_s:.1f} s"
    lines = [f"### Job {job.id}", *(f"**{name}:** {value}" for name, value in facts.items())]
    return "\n".join(lines)


async def cancel(interaction: Interaction, press: Press) -> None:
    """Cancel a job that waits or draws; its message says so."""
    await acknowledge(interaction)
    await interaction.client.studio.cancel(await actor_of(interaction), press.numbers[0])


async def ask_delete(interaction: Interaction, press: Press) -> None:
    """Ask before pictures are removed for good."""
    studio, actor = interaction.client.studio, await actor_of(interaction)
    job = await studio.job(press.numbers[0])
    actor.require_owner_of(job)
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(
        discord.ui.TextDisplay("Remove these pictures for good? The record of the job stays.")
    )
    sure = PressButton(
        Press(Action.DELETE_SURE, (job.id,)),
        label="Remove them",
        style=discord.ButtonStyle.danger,
    )
    view.add_item(discord.ui.ActionRow(sure))
    await reply(interaction, view, ephemeral=True)


async def delete(interaction: Interaction, press: Press) -> None:
    """Remove pictures and files, and clear the message."""
    await acknowledge(interaction)
    studio = interaction.client.studio
    job = await studio.delete(await actor_of(interaction), press.numbers[0])
    said = "Removed. The record of the job stays."
    await note_instead(interaction, said + await outcome(interaction, job))


PRESSES: dict[Action, PressHandler] = {
    Action.VOTE: vote,
    Action.AGAIN: again,
    Action.REMIX: open_remix,
    Action.DETAILS: details,
    Action.CANCEL: cancel,
    Action.DELETE: ask_delete,
    Action.DELETE_SURE: delete,
}
FORMS: dict[Action, FormHandler] = {Action.REMIX: send_remix}
