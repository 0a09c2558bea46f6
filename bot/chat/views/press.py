"""Buttons that carry their meaning in their custom_id, so they work after a restart and a month.

One grammar (`bot.chat.presses`), one DynamicItem, one table of handlers. Forms (modals) use the
same grammar, and are read from the interaction itself rather than from a modal object in memory, so
a form opened before a restart can be sent after it.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self, cast

import discord

from bot.chat.answers import explain
from bot.chat.base import Interaction
from bot.chat.presses import PREFIX, Press
from bot.studio.refusals import Gone


class PressButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=rf"{PREFIX}:(?s:.*)",  # whatever it says: what we cannot read is answered, too
):
    """A button of ours; views with it hold nothing else that is dispatched, timeout None.

    Args:
        press: What it does; None for a button of another version, kept by its `custom_id`.
        label: On it.
        custom_id: Where there is no press.
        style: Its colour.
        emoji: Before the label.
        disabled: Whether it cannot be pressed.
    """

    def __init__(
        self,
        press: Press | None,
        *,
        label: str,
        custom_id: str = "",
        style: discord.ButtonStyle = discord.ButtonStyle.secondary,
        emoji: str | None = None,
        disabled: bool = False,
    ) -> None:
        super().__init__(
            discord.ui.Button(
                label=label,
                style=style,
                emoji=emoji,
                disabled=disabled,
                custom_id=press.pack() if press else custom_id,
            )
        )
        self.press = press

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str]
    ) -> Self:
        """Rebuild the button from the message it stands on."""
        label = (item.label if isinstance(item, discord.ui.Button) else None) or "?"
        return cls(Press.parse(match.string), label=label, custom_id=match.string)

    async def callback(self, interaction: discord.Interaction) -> Any:
        """Hand the press to its handler; errors go where command errors go."""
        ours = cast("Interaction", interaction)  # this class is registered with our client only
        press = self.press
        handler = ours.client.presses.get(press.action) if press else None
        if press is None or handler is None:
            await guarded(ours, unknown)
        else:
            await guarded(ours, lambda: handler(ours, press))


async def unknown() -> None:
    """Answer what another version of the bot has sent, or nobody."""
    raise Gone("I no longer know this button; please use the command again.")


async def guarded(interaction: Interaction, handler: Callable[[], Awaitable[None]]) -> bool:
    """Await a press or form handler at the same border as the command tree's error handler.

    Returns:
        Whether it came to its end.
    """
    try:
        interaction.client.handling.begin(interaction.id)
        await handler()
    except Exception as error:  # noqa: BLE001  # border: discord.py would only log it
        await explain(interaction, error)
        return False
    else:
        return True
    finally:
        interaction.client.handling.end(interaction.id)


class Form(discord.ui.Modal):
    """A modal whose custom_id is a press; its answers arrive through the client."""

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
