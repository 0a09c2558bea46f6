"""`/consent`: what a member has agreed to, and the switches to change it."""

from typing import Any

import discord
from discord import app_commands

from bot.chat.answers import reply
from bot.chat.base import Interaction
from bot.chat.views.asking import SCOPES, consent_view
from bot.chat.views.result import stamp
from bot.messages import CONSENT
from storage.consent import Scope


@app_commands.command(description="Decide what may happen with your pictures")
async def consent(interaction: Interaction) -> None:
    """Show the choices as they stand, to be changed and saved."""
    consents = interaction.client.studio.store.consents
    current = await consents.current(interaction.user.id) or {}
    answers = sum(current.get(scope, False) << place for place, scope in enumerate(SCOPES))
    records = await consents.history(interaction.user.id)
    view = consent_view(0, 0, answers=answers)
    if records:
        last = records[-1]
        changed = "" if last.text_sha256 == CONSENT.sha256 else " The question has changed since."
        said = f"-# You last answered {stamp(last.given_at)}.{changed}"
    else:
        said = "-# You have not answered yet, so all of them are off."
    if current.get(Scope.GALLERY):
        said += (
            "\n-# You once allowed a gallery. There is none yet: your answer is kept, and used for "
            "nothing."
        )
    view.add_item(discord.ui.TextDisplay(said))
    await reply(interaction, view, ephemeral=True)


COMMANDS: tuple[app_commands.Command[Any, ..., Any], ...] = (consent,)
