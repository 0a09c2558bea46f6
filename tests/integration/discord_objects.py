"""Discord's objects as its API writes them, with what discord.py reads and little more."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

APPLICATION, GUILD, CHANNEL = 1000, 2000, 3000
MODERATORS = 2001  # a role
MANAGE = str(1 << 5 | 1 << 11 | 1 << 13)  # Manage Server, Send Messages, Manage Messages


def user(number: int, name: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "username": name,
        "discriminator": "0",
        "avatar": None,
        "global_name": None,
    }


def bot() -> dict[str, Any]:
    flags = {"bot": True, "mfa_enabled": True, "locale": "en-US", "verified": True, "flags": 0}
    return {**user(APPLICATION, "atelier"), **flags}


def application() -> dict[str, Any]:
    return {
        "id": str(APPLICATION),
        "name": "Atelier",
        "description": "",
        "icon": None,
        "bot_public": False,
        "bot_require_code_grant": False,
        "owner": user(1, "operator"),
        "verify_key": "",
        "flags": 0,
    }


def channel() -> dict[str, Any]:
    return {
        "id": str(CHANNEL),
        "type": 0,
        "name": "atelier",
        "guild_id": str(GUILD),
        "position": 0,
        "permission_overwrites": [],
        "parent_id": None,
        "nsfw": False,
        "permissions": "8933636165185",
    }


def thread(number: int, *, is_archived: bool) -> dict[str, Any]:
    meta = {"archived": is_archived, "auto_archive_duration": 60, "locked": False}
    meta |= {"archive_timestamp": "2026-01-01T00:00:00+00:00"}
    about = {"id": str(number), "type": 11, "parent_id": str(CHANNEL), "owner_id": "1"}
    about |= {"name": "thread", "message_count": 0, "member_count": 1}
    return {**channel(), **about, "thread_metadata": meta}


def direct(number: int, recipient: int) -> dict[str, Any]:
    return {"id": str(number), "type": 1, "recipients": [user(recipient, f"member{recipient}")]}


def member(number: int, permissions: str = "2048", roles: Sequence[int] = ()) -> dict[str, Any]:
    return {
        "user": user(number, f"member{number}"),
        "roles": [str(role) for role in roles],
        "joined_at": "2026-01-01T00:00:00+00:00",
        "permissions": permissions,
        "deaf": False,
        "mute": False,
        "flags": 0,
    }


def guild() -> dict[str, Any]:
    role = {"id": str(GUILD), "name": "@everyone", "permissions": "2048", "position": 0, "color": 0}
    role |= {"hoist": False, "managed": False, "mentionable": False}
    moderators = {**role, "id": str(MODERATORS), "name": "moderators", "permissions": MANAGE}
    me = {**member(APPLICATION), "user": bot()}
    return {
        "id": str(GUILD),
        "name": "Guild",
        "owner_id": "1",
        "roles": [role, moderators],
        "channels": [channel()],
        "members": [me],
        "member_count": 3,
    }


def blank(number: int, channel_id: int) -> dict[str, Any]:
    return {
        "id": str(number),
        "channel_id": str(channel_id),
        "author": bot(),
        "timestamp": dt.datetime.now(dt.UTC).isoformat(),
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "type": 0,
        "components": [],
    }
