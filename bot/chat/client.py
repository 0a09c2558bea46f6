"""The discord.py client: commands, buttons and forms lead to the studio, errors to one place."""

import asyncio
import collections
import itertools
import logging
from typing import Any

import discord
from discord import app_commands

from bot.chat.answers import explain, is_answered
from bot.chat.base import Client, Interaction
from bot.chat.commands import consent, imagine, information, moderate, preferences
from bot.chat.failures import DISCORD_FAILURES
from bot.chat.handling import Handling
from bot.chat.presses import Press
from bot.chat.views import asking, picture, review
from bot.chat.views.press import PressButton, form_values, guarded, unknown
from bot.studio.refusals import Refused

log = logging.getLogger(__name__)

AREAS = (imagine, consent, preferences, information, moderate)
REMEMBERED_FORMS = 1_000
SYNC_AGAIN_S = (10.0, 60.0, 600.0)


class Tree(app_commands.CommandTree[Client]):
    """The command tree with our error handler: one of the three borders for any exception."""

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Note that a command begins; its completion, or its error, notes the end."""
        if interaction.type is discord.InteractionType.application_command:
            try:
                interaction.client.handling.begin(interaction.id)
            except Refused as refused:
                try:
                    await explain(interaction, refused)
                finally:
                    interaction.client.handling.end(interaction.id)
                return False
        return True

    async def on_error(
        self,
        interaction: Interaction,
        error: app_commands.AppCommandError,
        /,
    ) -> None:
        """Answer the person and log for the operator."""
        if interaction.type is discord.InteractionType.autocomplete:
            log.warning("autocomplete_failed", exc_info=error)
            return
        try:
            await explain(interaction, error)
        finally:
            interaction.client.handling.end(interaction.id)


class AtelierClient(Client):
    """Needs no privileged intent: slash commands, buttons and forms only."""

    def __init__(self) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
        )
        self.tree = Tree(
            self,
            # On a server, and put there by those who manage it: rules and moderators are a server's.
            allowed_contexts=app_commands.AppCommandContext(guild=True),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )
        for area in AREAS:
            for command in area.COMMANDS:
                self.tree.add_command(command)
        self.presses = {**asking.PRESSES, **picture.PRESSES, **review.PRESSES}
        self.forms = {**picture.FORMS, **review.FORMS}
        self.handling = Handling()
        self._sent_forms: collections.deque[str] = collections.deque(maxlen=REMEMBERED_FORMS)
        self._tasks: list[asyncio.Task[None]] = []

    async def setup_hook(self) -> None:
        """Register buttons and commands, take up old jobs, start drawing and showing."""
        self.add_dynamic_items(PressButton)
        await self.studio.dispatcher.recover()
        self._tasks = [
            asyncio.create_task(self._register_commands(), name="commands"),
            asyncio.create_task(self.studio.dispatcher.run(), name="dispatcher"),
            asyncio.create_task(self.messages.run(), name="delivery"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._loop_ended)

    async def _register_commands(self) -> None:
        """Register the commands; those of an earlier start are there until Discord takes ours."""
        for pause_s in itertools.chain(SYNC_AGAIN_S, itertools.repeat(SYNC_AGAIN_S[-1])):
            try:
                await self.tree.sync()
            except DISCORD_FAILURES as failure:
                is_final = (
                    isinstance(failure, discord.HTTPException) and 400 <= failure.status < 429
                )
                log.log(
                    logging.ERROR if is_final else logging.WARNING,
                    "commands_not_registered",
                    extra={"cause": str(failure)},
                )
                if is_final:
                    return  # what Discord says no to, it says no to again
                await asyncio.sleep(pause_s)
            else:
                return

    async def on_app_command_completion(
        self, interaction: Interaction, _command: app_commands.Command[Any, ..., Any]
    ) -> None:
        """Note that a command has been handled."""
        self.handling.end(interaction.id)

    async def close(self) -> None:
        """Stop drawing and showing first, so that nothing is edited through a closed session."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await self.studio.dispatcher.close()
        await super().close()

    async def on_interaction(self, interaction: Interaction) -> None:
        """Hand a sent form to its handler, from whichever life of the bot the form is."""
        if interaction.type is not discord.InteractionType.modal_submit or not interaction.data:
            return
        custom_id = str(interaction.data.get("custom_id", ""))
        press = Press.parse(custom_id)
        handler = self.forms.get(press.action) if press and len(press.numbers) == 2 else None
        if press is None or handler is None:
            await guarded(interaction, unknown)
            return
        if custom_id in self._sent_forms:
            await explain(interaction, Refused("You have already sent this form."))
            return
        self._sent_forms.append(custom_id)
        values = form_values(interaction.data.get("components", []))  # type: ignore[arg-type]
        is_done = await guarded(interaction, lambda: handler(interaction, press, values))
        if not is_done and not is_answered(interaction):
            self._sent_forms.remove(custom_id)  # it still stands open, to be sent again

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("loop_stopped", exc_info=error, extra={"loop": task.get_name()})
            # Better to end and be started again than to take commands that nobody draws.
            asyncio.get_running_loop().create_task(self.close())
