"""Who acts, from what Discord states in that very interaction."""

import discord

from bot.chat.base import Interaction
from bot.studio.actors import Actor


async def actor_of(interaction: Interaction) -> Actor:
    """Return who acts and what they may do here and now.

    `interaction.permissions` holds for the channel, overwrites included: whoever owns a temporary
    voice room has Manage Messages there. Rights over the server come from the member's roles.
    """
    guild = await interaction.client.studio.store.settings.guild(interaction.guild_id)
    user, channel = interaction.user, interaction.channel
    roles: set[int] = set()
    everywhere = discord.Permissions.none()
    if isinstance(user, discord.Member):
        roles = {role.id for role in user.roles}
        everywhere = user.guild_permissions
    has_role = guild.moderator_role_id is not None and guild.moderator_role_id in roles
    return Actor(
        member_id=user.id,
        guild_id=interaction.guild_id,
        channel_id=interaction.channel_id,
        parent_channel_id=channel.parent_id if isinstance(channel, discord.Thread) else None,
        is_moderator=everywhere.manage_messages or has_role,
        moderates_channel=interaction.permissions.manage_messages,
        is_owner_of_server=everywhere.manage_guild,
    )
