"""What stands between asking and the queue: the consent question, the confirmation, the message."""

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import discord

from bot.chat.actors import actor_of
from bot.chat.answers import acknowledge, replace, reply, stop_thinking
from bot.chat.base import EditableMessage, Interaction, PressHandler
from bot.chat.drafts import link
from bot.chat.failures import DISCORD_FAILURES
from bot.chat.permissions import missing_for_sending
from bot.chat.presses import Action, Press
from bot.chat.views import result as views
from bot.chat.views.press import PressButton
from bot.messages import CONSENT, plain
from bot.studio.asking import Submission
from generation.work.jobs import Job
from storage.consent import Scope
from storage.outbox import MessageState

log = logging.getLogger(__name__)

SCOPES = tuple(Scope)  # a scope's place is its bit in a custom_id, also in messages of last year
Section = discord.ui.Section[Any]
SHOWN_AT_ONCE = 5  # Discord allows five answers in two seconds


async def proceed(interaction: Interaction, submission: Submission) -> None:
    """Ask what must be asked first; otherwise show the jobs and put them in line.

    Args:
        interaction: The command, button or form.
        submission: What the studio recorded for it.
    """
    span = (submission.jobs[0].id, submission.jobs[-1].id)
    if not submission.needs_consent and not submission.needs_confirmation:
        actor = await actor_of(interaction)
        jobs = await interaction.client.studio.claim(actor, submission.jobs)
        await stand(interaction, jobs)
        return
    if submission.needs_consent:
        question = consent_view(*span, answers=0)
    else:
        question = _confirmation(interaction, len(submission.jobs), *span)
    await reply(interaction, question, ephemeral=True)


async def stand(interaction: Interaction, jobs: Sequence[Job]) -> None:
    """Send the messages of queued jobs and put them in line.

    The first message is the answer to the interaction. What Discord does not take is sent by the
    delivery, like the messages of all further jobs: so that is no failure to tell anybody of.
    """
    studio, messages = interaction.client.studio, interaction.client.messages

    async def answer(view: discord.ui.LayoutView) -> EditableMessage:
        return await reply(interaction, view)

    async with messages.opening(jobs):
        await studio.line_up(jobs)
        for job in jobs[:SHOWN_AT_ONCE]:
            try:
                await messages.open(job, answer)
            except DISCORD_FAILURES as missed:
                log.warning("answer_not_given", extra={"job_id": job.id, "cause": str(missed)})
        await stop_thinking(interaction)  # before anybody else sends what was not answered


# Consent


def consent_view(first_id: int, last_id: int, *, answers: int) -> discord.ui.LayoutView:
    """Return the question with its switches.

    Args:
        first_id: First job that waits for the answer, or 0.
        last_id: Last such job, or 0.
        answers: Bit i is set where `SCOPES[i]` is on.
    """
    items: list[views.Item] = [discord.ui.TextDisplay(CONSENT.text)]
    for scope, label in CONSENT.choices:
        place = SCOPES.index(Scope(scope))
        is_on = bool(answers >> place & 1)
        flip = PressButton(
            Press(Action.CONSENT_FLIP, (first_id, last_id, answers, place)),
            label="On" if is_on else "Off",
            style=discord.ButtonStyle.success if is_on else discord.ButtonStyle.secondary,
        )
        items.append(Section(discord.ui.TextDisplay(label), accessory=flip))
    save = PressButton(
        Press(Action.CONSENT_SAVE, (first_id, last_id, answers)),
        label="Save and draw" if first_id else "Save",
        style=discord.ButtonStyle.primary,
    )
    items.append(views.Row(save))
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.Container(*items))
    return view


async def flip_consent(interaction: Interaction, press: Press) -> None:
    """Turn one choice on or off; nothing is recorded before Save."""
    first_id, last_id, answers, place = press.numbers
    await replace(interaction, consent_view(first_id, last_id, answers=answers ^ 1 << place))


async def save_consent(interaction: Interaction, press: Press) -> None:
    """Record the answers and go on with what waited for them."""
    first_id, _, answers = press.numbers
    await acknowledge(interaction)
    studio, actor = interaction.client.studio, await actor_of(interaction)
    asked = {Scope(scope): label for scope, label in CONSENT.choices}
    given = {scope: bool(answers >> SCOPES.index(scope) & 1) for scope in asked}
    await studio.answer_consent(actor, given, interaction.id)
    submission = None
    async with contextlib.AsyncExitStack() as stack:
        try:
            if first_id:
                submission = studio.confirmed(await studio.held(actor, first_id))
                opening = interaction.client.messages.opening(submission.jobs)
                await stack.enter_async_context(opening)
                if not submission.needs_confirmation:
                    # Queued before it is said: whatever cuts us off now, "Saved" comes with
                    # pictures.
                    queued = await studio.claim(actor, submission.jobs)
                    submission = dataclasses.replace(submission, jobs=queued)
        finally:
            chosen = "; ".join(label for scope, label in asked.items() if given[scope])
            said = f"Saved: {chosen or 'all of them are off'}. Change it any time: `/consent`."
            await note_instead(interaction, said)
        if submission is not None:
            await proceed(interaction, submission)


# Confirmation of many jobs


def _confirmation(
    interaction: Interaction, count: int, first_id: int, last_id: int
) -> discord.ui.LayoutView:
    view = discord.ui.LayoutView(timeout=None)
    text = f"This makes **{count} jobs**. They wait in line like everyone's."
    in_thread = isinstance(interaction.channel, discord.Thread)
    if lacking := missing_for_sending(interaction.app_permissions, in_thread=in_thread):
        text += (
            f"\nI lack *{lacking}* here, so only the first {SHOWN_AT_ONCE} are shown for now; the "
            "others are kept, and posted once a moderator gives me that."
        )
    draw = PressButton(
        Press(Action.CONFIRM, (first_id, last_id)),
        label=f"Draw {count}",
        style=discord.ButtonStyle.primary,
    )
    dismiss = PressButton(Press(Action.DISMISS, (first_id, last_id)), label="Never mind")
    view.add_item(discord.ui.TextDisplay(text))
    view.add_item(views.Row(draw, dismiss))
    return view


async def confirm(interaction: Interaction, press: Press) -> None:
    """Draw the many jobs that waited for a yes."""
    await acknowledge(interaction)
    studio = interaction.client.studio
    actor = await actor_of(interaction)
    held = await studio.held(actor, press.numbers[0])
    async with interaction.client.messages.opening(held):
        jobs = await studio.claim(actor, held)
        await note_instead(interaction, f"{len(jobs)} jobs are on their way.")
        await stand(interaction, jobs)


async def dismiss(interaction: Interaction, press: Press) -> None:
    """Drop the many jobs that waited for a yes."""
    await acknowledge(interaction)
    studio = interaction.client.studio
    jobs = await studio.held(await actor_of(interaction), press.numbers[0])
    await studio.dismiss(jobs, "withdrawn before the start")
    await note_instead(interaction, "Nothing was drawn.")


async def note_instead(interaction: Interaction, text: str) -> None:
    """Replace a question by what became of it; what was decided holds even if Discord will not."""
    try:
        await replace(interaction, note(text))
    except DISCORD_FAILURES as missed:
        log.warning("answer_not_shown", extra={"cause": str(missed)})


async def outcome(interaction: Interaction, job: Job) -> str:
    """Return what whoever had pictures hidden must know of their message; empty if all is well."""
    message = await interaction.client.studio.store.outbox.of_job(job.id)
    message = await interaction.client.messages.settled(message)
    if message is None or message.state is MessageState.GONE:
        return " Its message is gone."
    if message.wanted == message.shown:
        return ""
    where = link(message)
    if message.reason is None:
        return f" Its message changes in a moment: {where}"
    why = plain(message.reason)
    if message.is_due:
        return f" Its message still shows them ({why}); I keep trying: {where}"
    return f" Its message still shows them ({why}); please delete it by hand: {where}"


def note(text: str) -> discord.ui.LayoutView:
    """Return a message that only says something."""
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.TextDisplay(text))
    return view


PRESSES: dict[Action, PressHandler] = {
    Action.CONSENT_FLIP: flip_consent,
    Action.CONSENT_SAVE: save_consent,
    Action.CONFIRM: confirm,
    Action.DISMISS: dismiss,
}
