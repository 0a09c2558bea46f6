"""What a button or a form means, and the custom_id that carries it (pure).

One grammar, `atelier:<action>[:<number>...][?<text>]`. Nothing else is remembered of a button, so it
works after a restart and after a month. Whoever sends one may have made it up: `Press.parse` takes
only what some version of ours can have written, so that handlers need not ask again.
"""

import dataclasses
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Self

PREFIX = "atelier"
MAX_CUSTOM_ID = 100  # Discord's
MAX_CHOICES = 3  # bits of the consent question
MAX_STATE = 20  # of the states a search can name, and "any"
MAX_TIME_S = 253_402_300_800  # the year 10000
IDS = 2**63  # Discord's ids and those of the record stay below

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class Action(StrEnum):
    """What a button or form does; `NUMBERS` says to which numbers."""

    VOTE = "vote"
    AGAIN = "again"
    REMIX = "remix"
    DETAILS = "details"
    CANCEL = "cancel"
    DELETE = "delete"
    DELETE_SURE = "deletesure"
    CONFIRM = "confirm"
    DISMISS = "dismiss"
    CONSENT_FLIP = "consentflip"
    CONSENT_SAVE = "consentsave"
    LOG_PAGE = "logpage"
    LOG_OPEN = "logopen"
    MOD_TAKE_DOWN = "modtakedown"
    MOD_RESTORE = "modrestore"
    MOD_SUSPEND = "modsuspend"
    MOD_LIFT = "modlift"
    MOD_CLOSE = "modclose"
    REPORT = "report"


# Each action's numbers, by what each stays below.
_JOB = (IDS,)
_FORM = (IDS, IDS)  # job, interaction that opened the form
_RANGE = (IDS, IDS)  # first job, last job
_ANSWERS = 1 << MAX_CHOICES  # as bits
NUMBERS: Mapping[Action, tuple[tuple[int, ...], ...]] = {
    Action.VOTE: ((IDS,),),  # image
    Action.AGAIN: (_JOB,),
    Action.REMIX: (_JOB, _FORM),
    Action.DETAILS: (_JOB,),
    Action.CANCEL: (_JOB,),
    Action.DELETE: (_JOB,),
    Action.DELETE_SURE: (_JOB,),
    Action.CONFIRM: (_RANGE,),
    Action.DISMISS: (_RANGE,),
    Action.CONSENT_FLIP: ((*_RANGE, _ANSWERS, MAX_CHOICES),),
    Action.CONSENT_SAVE: ((*_RANGE, _ANSWERS),),
    Action.LOG_PAGE: ((IDS, MAX_STATE, MAX_TIME_S, IDS),),  # see bot.chat.views.record
    Action.LOG_OPEN: (_JOB,),
    Action.MOD_TAKE_DOWN: (_JOB, _FORM),
    Action.MOD_RESTORE: (_JOB, _FORM),
    Action.MOD_SUSPEND: (_JOB, _FORM),
    Action.MOD_LIFT: (_JOB, _FORM),
    Action.MOD_CLOSE: (_JOB, _FORM),
    Action.REPORT: (_FORM,),
}
_WITH_TEXT = frozenset({Action.LOG_PAGE})


@dataclasses.dataclass(frozen=True, slots=True)
class Press:
    """A pressed button or a sent form: what it does and to which numbers.

    Args:
        action: What it does.
        numbers: To what.
        text: Words it is about, as a search has them; a custom_id holds 100 characters in all.
    """

    action: Action
    numbers: tuple[int, ...]
    text: str = ""

    def pack(self) -> str:
        """Return the custom_id; `parse` is its inverse."""
        numbered = ":".join([PREFIX, self.action.value, *map(str, self.numbers)])
        return f"{numbered}?{self.text}" if self.text else numbered

    @classmethod
    def parse(cls, custom_id: str) -> Self | None:
        """Return the press that `pack` wrote, or None for a custom_id that is not ours.

        Nor is one whose numbers are too many, too few or too large for its action.
        """
        if len(custom_id) > MAX_CUSTOM_ID:
            return None
        numbered, _, text = custom_id.partition("?")
        prefix, *rest = numbered.split(":")
        if prefix != PREFIX or not rest or rest[0] not in set(Action):
            return None
        if not all(_NUMBER.fullmatch(part) for part in rest[1:]):
            return None
        press = cls(Action(rest[0]), tuple(map(int, rest[1:])), text)
        return press if press._is_possible() and press.pack() == custom_id else None

    def _is_possible(self) -> bool:
        if self.text and self.action not in _WITH_TEXT:
            return False
        return any(
            len(self.numbers) == len(limits)
            and all(n < limit for n, limit in zip(self.numbers, limits, strict=True))
            for limits in NUMBERS[self.action]
        )


def number_of(text: str) -> int | None:
    """Return the id that a form's field holds, or None: a form, too, may be made up."""
    return int(text) if _NUMBER.fullmatch(text) and int(text) < IDS else None
