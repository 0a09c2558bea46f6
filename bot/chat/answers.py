"""The one answer to an interaction: given within three seconds, and known to have been given.

Discord takes one answer. Where its word of that gets lost (a 5xx after the effect, a connection
that is cut), the answer is sent again, and "already acknowledged" then says that it had arrived: go
on. Whoever changes the record acknowledges first and acts then, so that nothing is done of which the
person is told that it failed.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import discord

from bot.chat.base import EditableMessage
from bot.chat.failures import DISCORD_FAILURES, sentence

log = logging.getLogger(__name__)

ALREADY_ANSWERED = 40060
TOO_LATE = (
    10062  # the interaction is not known any more: its three seconds, or 15 minutes, are over
)
PATIENCE_S = 0.02
WITHDRAWAL_TRIES = 3
NO_FURTHER = "I got no further with this. If nothing follows, please ask again."
# In `interaction.extras`:
WAITS, SENDS, THINKS = "waits", "sends", "thinks"  # the three moments of a public "is thinking…"
ANSWERED = "answered"  # in `interaction.extras`, where discord.py itself does not know it

Given = TypeVar("Given")


def is_answered(interaction: discord.Interaction[Any]) -> bool:
    """Return whether Discord has taken an answer to this interaction."""
    return interaction.response.is_done() or ANSWERED in interaction.extras


async def acknowledge(interaction: discord.Interaction[Any]) -> None:
    """Answer a button or a form without changing anything that is seen."""
    await _first(interaction, interaction.response.defer)


async def think(interaction: discord.Interaction[Any], *, ephemeral: bool) -> None:
    """Answer with "is thinking…", to be replaced; Discord itself ends it after 15 minutes."""
    await _settled(interaction)
    if THINKS in interaction.extras:
        return
    await _first(
        interaction, lambda: interaction.response.defer(ephemeral=ephemeral, thinking=True)
    )
    if not ephemeral:
        interaction.extras[THINKS] = True


@contextlib.asynccontextmanager
async def patiently(interaction: discord.Interaction[Any]) -> AsyncIterator[None]:
    """Answer with a public "is thinking…" if the body has not answered in `PATIENCE_S`.

    On a machine that draws, the record may take its time; Discord and people do not wait for it.
    What the body answers then takes the place of that; if it is for one person only, or nothing, or
    an error, that is taken back.
    """

    async def lose_patience() -> None:
        await asyncio.sleep(PATIENCE_S)
        interaction.extras[SENDS] = True
        await _first(interaction, lambda: interaction.response.defer(thinking=True))
        interaction.extras[THINKS] = True

    interaction.extras[WAITS] = asyncio.create_task(lose_patience())
    try:
        yield
    finally:
        await stop_thinking(interaction)


async def stop_thinking(interaction: discord.Interaction[Any]) -> None:
    """Take back a public "is thinking…" that nothing has taken the place of."""
    await _settled(interaction)
    if interaction.extras.pop(THINKS, False):
        await withdraw(interaction)


async def _settled(interaction: discord.Interaction[Any]) -> None:
    """Let nothing be answered while "is thinking…" is on its way, nor it be sent any more."""
    waiting: asyncio.Task[None] | None = interaction.extras.pop(WAITS, None)
    if waiting is None:
        return
    if SENDS not in interaction.extras:
        waiting.cancel()
    await asyncio.wait({waiting})
    if not waiting.cancelled() and (failure := waiting.exception()):
        log.warning("answered_too_late", extra={"cause": str(failure)})  # so will be what follows


async def open_form(interaction: discord.Interaction[Any], form: discord.ui.Modal) -> None:
    """Answer with a form."""
    await _first(interaction, lambda: interaction.response.send_modal(form))


async def reply(
    interaction: discord.Interaction[Any],
    content: str | discord.ui.LayoutView,
    *,
    ephemeral: bool = False,
) -> EditableMessage:
    """Answer, or follow up if the interaction is answered already; return the message.

    A public "is thinking…" becomes the answer, or is taken back if that is for one person only.
    """
    shown: dict[str, Any] = {
        "view" if isinstance(content, discord.ui.LayoutView) else "content": content,
        "ephemeral": ephemeral,
        "allowed_mentions": discord.AllowedMentions.none(),
    }
    await _settled(interaction)
    if THINKS in interaction.extras and not ephemeral:
        del shown["ephemeral"]
        stands = await interaction.edit_original_response(**shown)
        del interaction.extras[THINKS]
        return stands
    await stop_thinking(interaction)
    if is_answered(interaction):
        return await interaction.followup.send(**shown, wait=True)
    sent = await _first(interaction, lambda: interaction.response.send_message(**shown))
    if sent is not None and isinstance(sent.resource, discord.InteractionMessage):
        return sent.resource
    return await interaction.original_response()


async def replace(
    interaction: discord.Interaction[Any],
    content: str | discord.ui.LayoutView,
    **kept: Any,
) -> None:
    """Replace what the interaction stands for: the button's message, or one's own answer.

    Args:
        interaction: Of a button, or answered already.
        content: To be shown.
        kept: Attachments, where they change or must stay.
    """
    shown: dict[str, Any] = {
        "view" if isinstance(content, discord.ui.LayoutView) else "content": content,
        "allowed_mentions": discord.AllowedMentions.none(),
        **kept,
    }
    if is_answered(interaction):
        await interaction.edit_original_response(**shown)
    else:
        await _first(interaction, lambda: interaction.response.edit_message(**shown))


async def withdraw(interaction: discord.Interaction[Any]) -> None:
    """Take back a public "is thinking…", since what follows is for one person only.

    It is completed first: until then Discord takes a follow-up for its edit, public as it is. Who
    dies between the two leaves a sentence that is true.
    """
    deeds = (
        lambda: interaction.edit_original_response(content=NO_FURTHER),
        interaction.delete_original_response,
    )
    for deed in deeds:
        for _ in range(WITHDRAWAL_TRIES):
            try:
                await deed()
            except discord.NotFound:  # an earlier try has deleted it without our being told
                break
            except DISCORD_FAILURES as missed:
                log.warning("answer_not_withdrawn", extra={"cause": str(missed)})
            else:
                break


async def explain(interaction: discord.Interaction[Any], error: BaseException) -> None:
    """Tell the person who acted what went wrong, and the log what the operator needs.

    Args:
        interaction: Not necessarily answered yet.
        error: What was raised; discord.py's wrapper is opened.
    """
    if isinstance(error, discord.app_commands.CommandInvokeError):
        error = error.original
    if isinstance(error, discord.HTTPException) and error.code == TOO_LATE:
        log.warning("answered_too_late", extra={"interaction_id": interaction.id})
        return  # Discord has told them that I did not respond
    text = sentence(error)
    if text is None:
        reference = f"{interaction.id % 10**8:08d}"
        log.error("interaction_failed", exc_info=error, extra={"reference": reference})
        text = (
            f"Something went wrong on my side; the operator can find it as **{reference}** "
            "in the log. Nothing of yours was lost."
        )
    try:
        await reply(interaction, text, ephemeral=True)
    except DISCORD_FAILURES as unreachable:
        # The token may be dead (3 s, 15 min): then there is nobody left to tell.
        log.warning("answer_not_delivered", extra={"cause": str(unreachable)})


async def _first(
    interaction: discord.Interaction[Any], send: Callable[[], Awaitable[Given]]
) -> Given | None:
    """Send the first answer; return None where it turned out to have arrived before."""
    for is_last_try in (False, True):
        try:
            return await send()
        except discord.HTTPException as refused:
            if refused.code != ALREADY_ANSWERED:
                raise
            log.info("answered_before", extra={"interaction_id": interaction.id})
            break
        except aiohttp.ClientError:
            if is_last_try:
                raise
    interaction.extras[ANSWERED] = True
    return None
