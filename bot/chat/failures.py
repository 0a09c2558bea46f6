"""From an exception to the sentence a person reads.

Three readers, three voices: what a person can fix says how; what passes says when to retry; what
only the operator can fix apologises with a reference and logs the traceback.
"""

import logging

import discord

from bot.grammar.prompt_text import PromptError
from bot.messages import plain
from bot.studio.refusals import BotError
from generation.work.errors import ImageRefused, InvalidRequest, UnknownCheckpoint
from storage.errors import NotFound, TransitionRefused

log = logging.getLogger(__name__)

DISCORD_ERRORS = {
    10003: "That channel is gone.",
    10008: "That message is gone.",
    50001: "I cannot see that channel. A moderator can give me *View Channel* there.",
    50013: "I lack a permission here: *View Channel*, *Send Messages* and *Attach Files*.",
}
ALREADY_ANSWERED = 40060


def sentence(error: BaseException) -> str | None:
    """Return what the person should read, or None where only the operator can help."""
    match error:
        case BotError() | ImageRefused():
            return str(error)
        case PromptError():
            return _pointed(error)
        case InvalidRequest():
            return f"{plain(str(error))}."
        case UnknownCheckpoint():
            return plain(str(error))
        case NotFound():
            return "I cannot find that any more; it may have been deleted."
        case TransitionRefused():
            return "That has already happened; nothing was changed."
        case discord.app_commands.CheckFailure():
            return "You are not allowed to use this command here."
        case discord.HTTPException(code=code) if code in DISCORD_ERRORS:
            return DISCORD_ERRORS[code]
        case discord.HTTPException(status=status) if status == 429 or status >= 500:
            return "Discord is busy. Please try again in a minute; nothing was lost."
    return None


def _pointed(error: PromptError) -> str:
    """Return the sentence, and below it the place it is about."""
    if not (pointer := error.pointer()):
        return error.message
    # A look-alike, because a real backtick could end the code block.
    return f"{error.message}\n```\n{pointer.replace('`', 'ˋ')}\n```"


async def answer(interaction: discord.Interaction, error: BaseException) -> None:
    """Tell the person who acted what went wrong, and the log what the operator needs.

    Args:
        interaction: Not necessarily answered yet.
        error: What was raised; discord.py's wrapper is opened.
    """
    if isinstance(error, discord.app_commands.CommandInvokeError):
        error = error.original
    if isinstance(error, discord.HTTPException) and error.code == ALREADY_ANSWERED:
        # Our answer arrived and was tried again because Discord's word of it got lost.
        log.warning("answered_twice", extra={"interaction_id": interaction.id})
        return
    text = sentence(error)
    if text is None:
        reference = f"{interaction.id % 10**8:08d}"
        log.error("interaction_failed", exc_info=error, extra={"reference": reference})
        text = (
            f"Something went wrong on my side; the operator can find it as **{reference}** "
            "in the log. Nothing of yours was lost."
        )
    try:
        await _say(interaction, text)
    except discord.HTTPException as unreachable:
        # The token may be dead (3 s, 15 min): then there is nobody left to tell.
        log.warning("answer_not_delivered", extra={"status": unreachable.status})


async def _say(interaction: discord.Interaction, text: str) -> None:
    mentions = discord.AllowedMentions.none()
    if interaction.response.is_done():
        await interaction.followup.send(text, ephemeral=True, allowed_mentions=mentions)
    else:
        await interaction.response.send_message(text, ephemeral=True, allowed_mentions=mentions)
