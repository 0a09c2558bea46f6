"""What the bot needs to be allowed on a server: nothing that it does not use."""

import discord

REASONS = {
    "view_channel": "to see the channels it answers in, and to edit its own messages there",
    "send_messages": "to send the sixth and later results of one command, what is drawn 15 minutes "
    "after it was asked for, and lines in the log channel",
    "send_messages_in_threads": "the same, where people draw in threads",
    "attach_files": "to show the pictures",
    "read_message_history": "to find its own unfinished message again after a crash",
}
REQUIRED = discord.Permissions(**dict.fromkeys(REASONS, True))
SENDING = {"send_messages": "Send Messages", "send_messages_in_threads": "Send Messages in Threads"}
SCOPES = ("bot", "applications.commands")


def missing(granted: discord.Permissions) -> list[str]:
    """Return the names of required permissions that are not granted."""
    if granted.administrator:
        return []
    return [name for name in REASONS if not getattr(granted, name)]


def missing_for_sending(granted: discord.Permissions, *, in_thread: bool) -> str | None:
    """Return the permission, as Discord calls it, without which no message can be sent there."""
    name = "send_messages_in_threads" if in_thread else "send_messages"
    return None if granted.administrator or getattr(granted, name) else SENDING[name]


def invite_link(application_id: int) -> str:
    """Return the address at which a server's owner adds the bot with exactly these permissions."""
    return discord.utils.oauth_url(application_id, permissions=REQUIRED, scopes=SCOPES)
