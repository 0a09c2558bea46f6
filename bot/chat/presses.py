"""What a button or a form means, and the custom_id that carries it (pure).

One grammar, `atelier:<action>[:<number>...][?<text>]`. Nothing else is remembered of a button, so it
works after a restart and after a month.
"""

import dataclasses
from enum import StrEnum
from typing import Self

PREFIX = "atelier"


class Action(StrEnum):
    """What a button or form does; its numbers are named behind it."""

    VOTE = "vote"  # image
    AGAIN = "again"  # job
    REMIX = "remix"  # job: opens the form; as a form: job, interaction that opened it
    DETAILS = "details"  # job
    CANCEL = "cancel"  # job
    DELETE = "delete"  # job
    DELETE_SURE = "deletesure"  # job
    CONFIRM = "confirm"  # first job, count
    DISMISS = "dismiss"  # first job, count
    CONSENT_FLIP = "consentflip"  # first job, count, answers as bits, which
    CONSENT_SAVE = "consentsave"  # first job, count, answers as bits
    LOG_PAGE = "logpage"  # see bot.chat.views.record
    LOG_OPEN = "logopen"  # job
    MOD_TAKE_DOWN = "modtakedown"  # job; as a form: job, opener
    MOD_RESTORE = "modrestore"  # job; as a form: job, opener
    MOD_SUSPEND = "modsuspend"  # job; as a form: job, opener
    MOD_LIFT = "modlift"  # job; as a form: job, opener
    MOD_CLOSE = "modclose"  # job; as a form: job, opener
    REPORT = "report"  # as a form: job, opener


@dataclasses.dataclass(frozen=True, slots=True)
class Press:
    """A pressed button or a sent form: what it does and to which numbers.

    Args:
        action: What it does.
        numbers: To what.
        text: Words it is about, as a search has them; a custom_id holds 100 characters in all.
    """

    action: Action
    numbers: tuple[int, ...] = ()
    text: str = ""

    def pack(self) -> str:
        """Return the custom_id; `parse` is its inverse."""
        numbered = ":".join([PREFIX, self.action.value, *map(str, self.numbers)])
        return f"{numbered}?{self.text}" if self.text else numbered

    @classmethod
    def parse(cls, custom_id: str) -> Self | None:
        """Return the press that `pack` wrote, or None for a custom_id that is not ours."""
        numbered, _, text = custom_id.partition("?")
        prefix, *rest = numbered.split(":")
        if prefix != PREFIX or not rest or rest[0] not in set(Action):
            return None
        if not all(part.isascii() and part.isdigit() for part in rest[1:]):
            return None
        press = cls(Action(rest[0]), tuple(map(int, rest[1:])), text)
        return press if press.pack() == custom_id else None
