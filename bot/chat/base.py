"""What every command, button and form sees of the client: the studio, the messages, the tables.

In a file of its own that imports no command, so that commands can name the client they run on.
"""

import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

import discord

from bot.chat.handling import Handling
from bot.chat.presses import Action, Press
from bot.chat.uploads import Uploads
from bot.studio.studio import Studio
from generation.work.jobs import Job
from storage.outbox import Message

# What answering an interaction gives: edited with its token, not with the bot's rights.
EditableMessage = discord.InteractionMessage | discord.WebhookMessage


class Messages(Protocol):
    """The messages of jobs, as commands and buttons use them."""

    async def run(self) -> None:
        """Show what is due, for ever."""

    def opening(self, jobs: Collection[Job]) -> contextlib.AbstractAsyncContextManager[None]:
        """Leave the first messages of jobs to the body, which answers their command."""

    async def open(
        self, job: Job, send: Callable[[discord.ui.LayoutView], Awaitable[EditableMessage]]
    ) -> None:
        """Send a job's first message as the answer to its command."""

    async def settled(self, message: Message | None) -> Message | None:
        """Return a message once it shows what it should, or once that was tried."""


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
