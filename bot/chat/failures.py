"""From an exception to the sentence a person reads.

Three readers, three voices: what a person can fix says how; what passes says when to retry; what
only the operator can fix apologises with a reference and logs the traceback.
"""

import aiohttp
import discord

from bot.grammar.prompt_text import PromptError
from bot.messages import plain
from bot.studio.refusals import BotError
from generation.work.errors import ImageRefused, InvalidRequest, UnknownCheckpoint
from storage.errors import NotFound, TransitionRefused

DISCORD_ERRORS = {
    10003: "That channel is gone.",
    10008: "That message is gone.",
    50001: "I cannot see that channel. A moderator can give me *View Channel* there.",
    50013: "I lack a permission here: *View Channel*, *Send Messages* and *Attach Files*.",
}
# What any request to Discord may end with, its own refusals and cut connections alike. aiohttp's
# errors are no OSError, and neither it nor discord.py repeats a PATCH that lost its connection.
DISCORD_FAILURES = (discord.HTTPException, aiohttp.ClientError, OSError)
BUSY = "Discord is busy. Please try again in a minute; nothing was lost."

TOO_LARGE = 40005


def is_too_large(failure: discord.HTTPException) -> bool:
    """Return whether Discord wants less in one message."""
    return failure.status == 413 or failure.code == TOO_LARGE


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
    return _of_discord(error)


def _of_discord(error: BaseException) -> str | None:
    match error:
        case discord.app_commands.CheckFailure():
            return "You are not allowed to use this command here."
        case discord.HTTPException(code=code) if code in DISCORD_ERRORS:
            return DISCORD_ERRORS[code]
        case discord.HTTPException(status=status) if status == 429 or status >= 500:
            return BUSY
        case aiohttp.ClientError() | TimeoutError() | ConnectionError():
            return BUSY
    return None


def _pointed(error: PromptError) -> str:
    """Return the sentence, and below it the place it is about."""
    if not (pointer := error.pointer()):
        return error.message
    # A look-alike, because a real backtick could end the code block.
    return f"{error.message}\n```\n{pointer.replace('`', 'ˋ')}\n```"
