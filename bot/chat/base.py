"""What every command, button and form sees of the client: the studio, the messages, the tables.

In a file of its own that imports no command, so that commands can name the client they run on.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import discord

from bot.chat.handling import Handling
from bot.chat.presses import Action, Press
from bot.chat.uploads import Uploads
from bot.studio.studio import Studio
from generation.work.jobs import Job

# What answering an interaction gives: edited with its token, not with the bot's rights.
EditableMessage = discord.InteractionMessage | discord.WebhookMessage


class Messages(Protocol):
    """The messages of jobs, as commands and buttons use them."""

    def remember(self, job_id: int, message: EditableMessage) -> None:
        """Keep a job's message as the interaction's answer, while that token lives."""

    async def refresh(self, job: Job) -> None:
        """Draw the message of a job again."""

    async def result_view(self, job: Job) -> discord.ui.LayoutView:
        """Return the message of a job with pictures, as it should stand now."""


class Client(discord.Client):
    """A client with a studio; `bot.chat.client` fills its tables."""

    studio: Studio  # set by `bot.app` before the client starts, and so are the next two
    messages: Messages
    uploads: Uploads
    handling: Handling
    presses: Mapping[Action, "PressHandler"]
    forms: Mapping[Action, "FormHandler"]


Interaction = discord.Interaction[Client]
PressHandler = Callable[[Interaction, Press], Awaitable[None]]
FormHandler = Callable[[Interaction, Press, Mapping[str, str]], Awaitable[None]]
