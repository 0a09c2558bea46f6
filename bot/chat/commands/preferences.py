"""`/settings` for a server and `/mysettings` for oneself: options change, no options show."""

from collections.abc import Sequence
from typing import Any, Literal

import discord
from discord import app_commands

from bot.chat.actors import actor_of
from bot.chat.answers import replace, reply, think
from bot.chat.base import Interaction
from bot.chat.commands.imagine import choices
from bot.chat.failures import DISCORD_FAILURES, sentence
from bot.messages import plain
from bot.studio.defaults import change_own, change_server
from bot.studio.refusals import Refused
from generation.work.requests.imagine import MAX_IMAGES
from storage.settings import MAX_CONCURRENT, MAX_WAITING, GuildSettings, MemberSettings

MAX_NEGATIVE = 300


class AnyChannel(app_commands.Transformer):
    """A channel or thread of any kind, forums and media included: their posts count as they."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        """Discord's kind of option; without a list of kinds, all channels are offered."""
        return discord.AppCommandOptionType.channel

    async def transform(self, _interaction: discord.Interaction, value: Any, /) -> Any:
        """Return the channel as Discord sent it; whatever its id names is enough."""
        return value


Place = app_commands.Transform[app_commands.AppCommandChannel, AnyChannel]

# What `clear` offers, and the fields that go back to what they are without a choice.
SERVER_CLEARS = {
    "style": ("default_style",),
    "model": ("default_model",),
    "channels": ("allowed_channel_ids",),
    "limits": ("images_per_job", "jobs_waiting_per_member", "concurrent_jobs_per_member"),
    "log channel": ("log_channel_id",),
    "moderator role": ("moderator_role_id",),
}
OWN_CLEARS = {
    "style": ("style",),
    "model": ("model",),
    "aspect": ("aspect",),
    "negative": ("negative_prompt",),
    "images": ("num_images",),
    "everything": ("style", "model", "aspect", "negative_prompt", "num_images"),
}


@app_commands.command(description="See and change what this server allows")
@app_commands.default_permissions(manage_guild=True)
@app_commands.describe(
    style="The look when nobody asks for one",
    model="What draws when nobody asks for a model",
    allow_channel="Draw in this channel and its threads; once one is named, only in named ones",
    forbid_channel="No longer draw in this channel",
    images="Most images a job",
    waiting="Most jobs of one member that may wait",
    concurrent="Most jobs of one member that are drawn at a time",
    log_channel="Where reports and moderators' actions are told",
    moderator_role="Its members may moderate, besides those with Manage Messages",
    clear="Set this back",
)
async def settings(
    interaction: Interaction,
    style: str | None = None,
    model: str | None = None,
    allow_channel: Place | None = None,
    forbid_channel: Place | None = None,
    images: app_commands.Range[int, 1, MAX_IMAGES] | None = None,
    waiting: app_commands.Range[int, 1, MAX_WAITING] | None = None,
    concurrent: app_commands.Range[int, 1, MAX_CONCURRENT] | None = None,
    log_channel: discord.TextChannel | None = None,
    moderator_role: discord.Role | None = None,
    clear: Literal["style", "model", "channels", "limits", "log channel", "moderator role"]
    | None = None,
) -> None:
    """Change what was given and show everything."""
    studio, actor = interaction.client.studio, await actor_of(interaction)
    before = await change_server(studio, actor, {})  # checks the permission
    if allow_channel is not None and allow_channel.type is discord.ChannelType.category:
        raise Refused("Please name the channels themselves, not the category they stand in.")
    fields = {
        "default_style": style,
        "default_model": model,
        "images_per_job": images,
        "jobs_waiting_per_member": waiting,
        "concurrent_jobs_per_member": concurrent,
        "log_channel_id": log_channel and log_channel.id,
        "moderator_role_id": moderator_role and moderator_role.id,
    }
    changes = _cleared(GuildSettings(), SERVER_CLEARS, clear)
    changes |= {name: value for name, value in fields.items() if value is not None}
    channels = set(changes.get("allowed_channel_ids", before.allowed_channel_ids))
    channels |= {allow_channel.id} if allow_channel else set()
    channels -= {forbid_channel.id} if forbid_channel else set()
    if channels != set(before.allowed_channel_ids):
        changes["allowed_channel_ids"] = tuple(sorted(channels))
    await think(interaction, ephemeral=True)
    after = await change_server(studio, actor, changes)
    remarks = []
    if log_channel is not None and log_channel.id != before.log_channel_id:
        try:
            remarks += await _greet(log_channel)
        except Refused:
            await change_server(studio, actor, {"log_channel_id": before.log_channel_id})
            raise
    if moderator_role is not None:
        remarks.append(
            "Discord lists `/log` for *Manage Messages* only; let the role use it in Server "
            "Settings → Integrations."
        )
    shown = _shown("This server", _server_lines(after), remarks, changed=bool(changes))
    await replace(interaction, shown)


async def _greet(channel: discord.TextChannel) -> list[str]:
    """Post the first line in a log channel, so that a missing permission shows at once.

    Returns:
        What must be known if Discord did not take it just now.

    Raises:
        Refused: The bot may not post there.
    """
    try:
        await channel.send(
            "Reports and moderators' actions are told here from now on.",
            allowed_mentions=discord.AllowedMentions.none(),
        )
    except discord.Forbidden as error:
        raise Refused(
            f"I cannot post in <#{channel.id}>. Please give me *View Channel* and *Send Messages* "
            "there; the log channel stays what it was."
        ) from error
    except DISCORD_FAILURES as failure:
        return [sentence(failure) or f"Discord did not take my first line in <#{channel.id}>."]
    return []


@app_commands.command(description="See and change your own defaults")
@app_commands.describe(
    style="The look when you ask for none",
    model="What draws when you ask for no model",
    aspect="Width:height when you ask for none, such as 3:2",
    negative="What to keep away from when you do not say",
    images="How many pictures when you do not say; fewer than usual are the best of those drawn",
    clear="Forget this",
)
async def mysettings(
    interaction: Interaction,
    style: str | None = None,
    model: str | None = None,
    aspect: str | None = None,
    negative: app_commands.Range[str, 1, MAX_NEGATIVE] | None = None,
    images: app_commands.Range[int, 1, MAX_IMAGES] | None = None,
    clear: Literal["style", "model", "aspect", "negative", "images", "everything"] | None = None,
) -> None:
    """Change what was given and show everything."""
    fields = {
        "style": style,
        "model": model,
        "aspect": aspect and aspect.strip(),
        "negative_prompt": negative,
        "num_images": images,
    }
    changes = _cleared(MemberSettings(), OWN_CLEARS, clear)
    changes |= {name: value for name, value in fields.items() if value is not None}
    actor = await actor_of(interaction)
    after = await change_own(interaction.client.studio, actor, changes)
    await reply(
        interaction,
        _shown("Your defaults", _own_lines(after), changed=bool(changes)),
        ephemeral=True,
    )


def _cleared(
    fresh: GuildSettings | MemberSettings, clears: dict[str, tuple[str, ...]], chosen: str | None
) -> dict[str, Any]:
    return {name: getattr(fresh, name) for name in clears[chosen]} if chosen else {}


def _shown(title: str, facts: dict[str, str], remarks: Sequence[str] = (), *, changed: bool) -> str:
    head = f"### {title}{' · saved' if changed else ''}"
    lines = [head, *(f"**{name}:** {value}" for name, value in facts.items()), *remarks]
    if not changed:
        lines.append("-# Give an option to change it.")
    return "\n".join(lines)


def _server_lines(settings: GuildSettings) -> dict[str, str]:
    channels = " ".join(f"<#{channel_id}>" for channel_id in settings.allowed_channel_ids)
    return {
        "Style": _code(settings.default_style) or "the model's own",
        "Model": _code(settings.default_model) or "the operator's",
        "Draws in": channels or "every channel",
        "Images per job": f"at most {settings.images_per_job}",
        "Jobs waiting": f"at most {settings.jobs_waiting_per_member} a member",
        "Drawn at a time": f"at most {settings.concurrent_jobs_per_member} a member",
        "Log channel": f"<#{settings.log_channel_id}>" if settings.log_channel_id else "none",
        "Moderator role": f"<@&{settings.moderator_role_id}>"
        if settings.moderator_role_id
        else "none; *Manage Messages* only",
    }


def _own_lines(settings: MemberSettings) -> dict[str, str]:
    return {
        "Style": _code(settings.style) or "the server's",
        "Model": _code(settings.model) or "the server's",
        "Aspect ratio": _code(settings.aspect) or "the model's",
        "Keep away from": plain(settings.negative_prompt or "") or "nothing",
        "Images": str(settings.num_images or "as many as the server draws"),
    }


def _code(name: str | None) -> str:
    return f"`{name}`" if name else ""


@settings.autocomplete("style")
@mysettings.autocomplete("style")
async def _styles(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    model = getattr(interaction.namespace, "model", None)
    return choices(interaction.client.studio.known_styles(model), typed)


@settings.autocomplete("model")
@mysettings.autocomplete("model")
async def _models(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    return choices(interaction.client.studio.checkpoints, typed)


COMMANDS: tuple[app_commands.Command[Any, ..., Any], ...] = (settings, mysettings)
