"""What a server and each member choose in advance: checked here, kept by the store.

A name that no checkpoint knows is refused when it is set, so that it never surprises anybody in
the middle of a prompt.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from bot.grammar.flags import BY_SPELLING, near
from bot.messages import plain
from bot.studio.actors import Actor
from bot.studio.refusals import Refused
from bot.studio.studio import Studio
from storage.settings import GuildSettings, MemberSettings

MAX_CHANNELS = 50


async def change_server(studio: Studio, actor: Actor, changes: Mapping[str, Any]) -> GuildSettings:
    """Save a server's settings.

    Args:
        studio: Whose store and checkpoints.
        actor: Who asks; needs Manage Server now.
        changes: Field of `GuildSettings` to its new value.

    Returns:
        All of the server's settings, after the change.

    Raises:
        Refused: The actor lacks the permission, or a style or model is unknown.
    """
    if not actor.is_owner_of_server or actor.guild_id is None:
        raise Refused("Only members with *Manage Server* can see and change these settings.")
    settings = await studio.store.settings.guild(actor.guild_id)
    if not changes:
        return settings
    check_style(studio, changes.get("default_style"))
    check_model(studio, changes.get("default_model"))
    settings = dataclasses.replace(settings, **changes)
    if len(settings.allowed_channel_ids) > MAX_CHANNELS:
        raise Refused(f"A server can name at most {MAX_CHANNELS} channels.")
    await studio.store.settings.save_guild(actor.guild_id, settings)
    return settings


async def change_own(studio: Studio, actor: Actor, changes: Mapping[str, Any]) -> MemberSettings:
    """Save a member's own defaults.

    Args:
        studio: Whose store and checkpoints.
        actor: Whose defaults.
        changes: Field of `MemberSettings` to its new value.

    Returns:
        All of the member's settings, after the change.

    Raises:
        Refused: A style, model or aspect ratio is not possible.
    """
    settings = await studio.store.settings.member(actor.member_id)
    if not changes:
        return settings
    check_style(studio, changes.get("style"))
    check_model(studio, changes.get("model"))
    check_aspect(changes.get("aspect"))
    settings = dataclasses.replace(settings, **changes)
    await studio.store.settings.save_member(actor.member_id, settings)
    return settings


def check_style(studio: Studio, style: str | None) -> None:
    """Refuse a style that no checkpoint has.

    Raises:
        Refused: Names the nearest one.
    """
    _check_known("style", style, studio.known_styles())


def check_model(studio: Studio, model: str | None) -> None:
    """Refuse a checkpoint that is not configured.

    Raises:
        Refused: Names the nearest one.
    """
    _check_known("model", model, studio.checkpoints.keys())


def check_aspect(aspect: str | None) -> None:
    """Refuse what is no aspect ratio of the prompt grammar.

    Raises:
        Refused: Says how one looks.
    """
    flag = BY_SPELLING["ar"]
    try:
        if aspect is not None:
            flag.read(aspect)
    except ValueError as error:
        raise Refused(f"An aspect ratio is {flag.allowed}, such as `3:2`.") from error


def _check_known(kind: str, name: str | None, known: Collection[str]) -> None:
    if name is None or name in known:
        return
    meant = near(name, known)
    hint = f"Did you mean `{meant}`?" if meant else f"I know {', '.join(sorted(known)[:20])}."
    raise Refused(f"I know no {kind} called {plain(name, 40)}. {hint}")
