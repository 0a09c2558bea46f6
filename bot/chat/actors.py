"""Who acts, from what Discord states in that very interaction."""

import discord

from bot.chat.base import Interaction
from bot.studio.actors import Actor


async def actor_of(interaction: Interaction) -> Actor:
    """Return who acts and what they may do here and now."""
    guild = await interaction.client.studio.store.settings.guild(interaction.guild_id)
    user = interaction.user
    roles = {role.id for role in user.roles} if isinstance(user, discord.Member) else set()
    has_role = guild.moderator_role_id is not None and guild.moderator_role_id in roles
    return Actor(
        member_id=user.id,
        guild_id=interaction.guild_id,
        is_moderator=interaction.permissions.manage_messages or has_role,
        is_owner_of_server=interaction.permissions.manage_guild,
    )
