"""Why something may not be done, in words for whoever asked.

BotError
├── Refused            the server's rules, or the member's own limits, say no; says how to go on
├── NotYours           the button belongs to somebody else
└── Gone               what the button or command names is no longer there
"""


class BotError(Exception):
    """Base of what this package raises for a person to read."""


class Refused(BotError):
    """The rules of the server, or a limit, say no; the message says how to go on."""


class NotYours(BotError):
    """Only the owner or a moderator may do that."""

    def __init__(self) -> None:
        super().__init__("Only whoever asked for this picture, or a moderator, can do that.")


class Gone(BotError):
    """What was asked about is no longer there."""
