"""Buttons that carry their meaning in their custom_id, so they work after a restart and a month.

One grammar, `atelier:<action>[:<number>...][?<text>]`, one DynamicItem, one table of handlers. Forms
(modals) use the same grammar, and are read from the interaction itself rather than from a modal
object in memory, so a form opened before a restart can be sent after it.
"""

import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self, cast

import discord

from bot.chat.failures import Gone, answer

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient  # noqa: F401  # named in Interaction below

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
    LOG_PAGE = "logpage"  # see bot.studio.searches
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


Interaction = discord.Interaction["AtelierClient"]
PressHandler = Callable[[Interaction, Press], Awaitable[None]]
FormHandler = Callable[[Interaction, Press, Mapping[str, str]], Awaitable[None]]


class PressButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=rf"{PREFIX}:[a-z]+(?::[0-9]+)*(?:\?(?s:.*))?",
):
    """A button of ours; views with it hold nothing else that is dispatched, timeout None."""

    def __init__(
        self,
        press: Press,
        *,
        label: str,
        style: discord.ButtonStyle = discord.ButtonStyle.secondary,
        emoji: str | None = None,
        disabled: bool = False,
    ) -> None:
        super().__init__(
            discord.ui.Button(
                label=label, style=style, emoji=emoji, disabled=disabled, custom_id=press.pack()
            )
        )
        self.press = press

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str]
    ) -> Self:
        """Rebuild the button from the message it stands on."""
        press = Press.parse(match.string)
        label = (item.label if isinstance(item, discord.ui.Button) else None) or "?"
        if press is None:  # a button of an older or newer version
            press = Press(Action.DETAILS)
        return cls(press, label=label)

    async def callback(self, interaction: discord.Interaction) -> Any:
        """Hand the press to its handler; errors go where command errors go."""
        ours = cast("Interaction", interaction)  # this class is registered with our client only
        handler = ours.client.presses.get(self.press.action)
        await guarded(ours, handler(ours, self.press) if handler else _unknown())


async def _unknown() -> None:
    raise Gone("I no longer know this button; please use the command again.")


async def guarded(interaction: discord.Interaction, handling: Awaitable[None]) -> None:
    """Await a press or form handler at the same border as the command tree's error handler."""
    try:
        await handling
    except Exception as error:  # noqa: BLE001  # border: discord.py would only log it
        await answer(interaction, error)


class Form(discord.ui.Modal):
    """A modal whose custom_id is a press; its answers arrive through `AtelierClient`."""

    def __init__(
        self, press: Press, *, title: str, fields: Sequence[discord.ui.Label[Any]]
    ) -> None:
        super().__init__(title=title[:45], custom_id=press.pack(), timeout=900)
        for field in fields:
            self.add_item(field)


def form_values(components: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return custom_id to value of every field in a sent form; a select gives its first choice."""
    values: dict[str, str] = {}
    for component in components:
        inner = component.get("components") or [component.get("component")]
        values |= form_values([each for each in inner if each])
        if "custom_id" in component:
            chosen = component.get("values") or [component.get("value", "")]
            values[component["custom_id"]] = str(chosen[0] or "")
    return values
