"""What members do meanwhile, and what they were promised: said to them, so it must hold."""

import asyncio
import contextlib
import dataclasses
import io
import random
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from PIL import Image

from tests.integration.discord_limits import TEXT, walk
from tests.integration.discord_objects import MANAGE
from tests.integration.discord_rules import Interaction
from tests.integration.discord_server import DiscordServer
from tests.integration.life import Life

ARTISTS = (7, 8, 9)
MODERATOR = 99
FIRST_NEWCOMER = 1000
ANSWERED_WITHIN_S = 3.0
OWNER = "SELECT discord_id FROM jobs JOIN people ON people.id = person_id WHERE jobs.id = ?"
DETAILS = re.compile(r"atelier:details:(\d+)")
CANCEL = re.compile(r"atelier:cancel:(\d+)")
Message = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Promise:
    """What a member will have been told if an interaction was answered.

    Args:
        kind: What was asked for.
        member_id: Who asked.
        job_id: About which job; 0 if about none.
        interaction: Whose answers say how it went.
        message_id: The message that says so, if it is neither the answer nor a follow-up.
    """

    kind: str
    member_id: int
    job_id: int
    interaction: Interaction
    message_id: int | None = None

    def told(self, discord: DiscordServer) -> str:
        """Return everything that the member was told."""
        numbers = (self.message_id, self.interaction.response_id, *self.interaction.follow_up_ids)
        return "\n".join(
            text_of(discord.messages[n]) for n in numbers if n is not None and n in discord.messages
        )


def text_of(message: Message) -> str:
    """Return a message's words, without its buttons."""
    texts = [part["content"] for part in walk(message["components"]) if part["type"] == TEXT]
    return "\n".join([message["content"], *texts])


def custom_ids(message: Message) -> str:
    """Return what a message's buttons carry."""
    return " ".join(part.get("custom_id", "") for part in walk(message["components"]))


class Crowd:
    """Members who ask, press and moderate, each with dice of their own."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._discord = life.discord
        self._newcomers = 0
        self._discord.permissions[MODERATOR] = MANAGE
        self.promises: list[Promise] = []

    async def act(self, dice: random.Random) -> None:
        """Do something; whoever gets no answer, or finds nothing to press, leaves it at that."""
        await asyncio.sleep(dice.uniform(0, 0.4))
        (deed,) = dice.choices(list(DEEDS), DEEDS.values())
        with contextlib.suppress(Unanswered):
            await deed(self, dice)

    # Asking

    async def _imagine(self, dice: random.Random) -> None:
        words = f"thing {dice.randrange(10**6)}{dice.choice(('', '', ' --q 2'))}"
        await self._slash(dice.choice(ARTISTS), words)

    async def _imagine_from(self, dice: random.Random) -> None:
        """Start from a picture of one's own, of which there are few."""
        file = io.BytesIO()
        Image.new("RGB", (96, 96), dice.choice(("red", "green", "blue"))).save(file, format="PNG")
        words = f"like mine {dice.randrange(10**6)}"
        await self._slash(dice.choice(ARTISTS), words, file.getvalue())

    async def _imagine_three(self, dice: random.Random) -> None:
        await self._slash(dice.choice(ARTISTS), f"{{a, b, c}} {dice.randrange(10**6)}")

    async def _imagine_six(self, dice: random.Random) -> None:
        member = dice.choice(ARTISTS)
        words = f"{{a, b, c, d, e, f}} {dice.randrange(10**6)}"
        question = await self._answer(await self._slash(member, words))
        job_id = _number(r"confirm:(\d+)", question)
        label = "Draw 6" if dice.random() < 0.8 else "Never mind"
        pressed = await self._click(member, question, label)
        self._promise("confirmed", member, job_id, pressed, question)

    async def _come(self, dice: random.Random) -> None:
        """Ask for the first time, and answer the question."""
        self._newcomers += 1
        member = FIRST_NEWCOMER + self._newcomers
        question = await self._answer(await self._slash(member, f"first {dice.randrange(10**6)}"))
        job_id = _number(r"consentsave:(\d+)", question)
        if dice.random() < 0.3:
            await self._answer(await self._click(member, question, "Off"))
        pressed = await self._click(member, question, "Save")
        self._promise("saved", member, job_id, pressed, question)

    async def _again(self, dice: random.Random) -> None:
        await self._click(dice.choice(ARTISTS), self._picture(dice), "Again")

    async def _remix(self, dice: random.Random) -> None:
        member, picture = dice.choice(ARTISTS), self._picture(dice)
        form = await self._form(await self._click(member, picture, "Remix"))
        await self._send(member, form, "--q 2", picture)

    # Pressing

    async def _vote(self, dice: random.Random) -> None:
        place = dice.randint(1, 4)
        await self._click(dice.choice(ARTISTS), self._picture(dice), f"{place} ·")

    async def _cancel(self, dice: random.Random) -> None:
        posts = [post for post in self._discord.posts() if CANCEL.search(custom_ids(post))]
        if not posts:
            raise Unanswered
        post = dice.choice(posts)
        member = self._owner(_number(CANCEL, post)) if dice.random() < 0.7 else MODERATOR
        await self._click(member, post, "Cancel")

    async def _delete(self, dice: random.Random) -> None:
        picture = self._picture(dice)
        job_id = _number(DETAILS, picture)
        member = self._owner(job_id) if dice.random() < 0.7 else MODERATOR
        details = await self._answer(await self._click(member, picture, "Details"))
        question = await self._answer(await self._click(member, details, "Delete"))
        pressed = await self._click(member, question, "Remove")
        self._promise("removed", member, job_id, pressed, question)

    # Moderating

    async def _moderate(self, dice: random.Random) -> None:
        picture = self._picture(dice)
        shown = await self._menu(MODERATOR, "Show record", picture)
        record = await self._answer(shown)
        for _ in range(50):  # it may be "is thinking…" first
            if record["components"]:
                break
            await asyncio.sleep(0.05)
        label = "Restore" if "modrestore" in custom_ids(record) else "Take down"
        form = await self._form(await self._click(MODERATOR, record, label))
        sent = await self._send(MODERATOR, form, "rule 3", record)
        self._promise("moderated", MODERATOR, _number(DETAILS, picture), sent)

    async def _report(self, dice: random.Random) -> None:
        member, picture = dice.choice(ARTISTS), self._picture(dice)
        form = await self._form(await self._menu(member, "Report", picture))
        sent = await self._send(member, form, "not nice", picture)
        self._promise("reported", member, _number(DETAILS, picture), sent)

    # What a member sees of it

    def _picture(self, dice: random.Random) -> Message:
        posts = [post for post in self._discord.posts() if DETAILS.search(custom_ids(post))]
        if not posts:
            raise Unanswered
        return dice.choice(posts[-12:])

    def _owner(self, job_id: int) -> int:
        try:
            rows = self._life.rows(OWNER, job_id)
        except sqlite3.OperationalError as unreadable:  # the disk is full, or read-only
            raise Unanswered from unreadable
        return int(rows[0]["discord_id"]) if rows else MODERATOR

    def _promise(
        self, kind: str, member: int, job_id: int, given: Interaction, on: Message | None = None
    ) -> None:
        message_id = int(on["id"]) if on else None
        self.promises.append(Promise(kind, member, job_id, given, message_id))

    async def _slash(self, member: int, prompt: str, image: bytes | None = None) -> Interaction:
        return await self._reached(
            lambda: self._discord.slash(member, "imagine", prompt=prompt, image=image)
        )

    async def _click(self, member: int, message: Message, label: str) -> Interaction:
        return await self._reached(lambda: self._discord.click(member, message, label))

    async def _menu(self, member: int, name: str, message: Message) -> Interaction:
        return await self._reached(lambda: self._discord.menu(member, name, message))

    async def _send(self, member: int, form: Message, text: str, on: Message) -> Interaction:
        return await self._reached(lambda: self._discord.submit(member, form, text, on))

    async def _reached(self, act: Callable[[], Awaitable[Interaction]]) -> Interaction:
        try:
            return await act()
        except (AssertionError, ConnectionError, StopIteration, RuntimeError) as nobody:
            raise Unanswered from nobody  # no bot is there, or the button is not there any more

    async def _answer(self, interaction: Interaction) -> Message:
        number = await _soon(lambda: interaction.response_id)
        return await _soon(lambda: self._discord.messages.get(number))

    async def _form(self, interaction: Interaction) -> Message:
        def opened() -> Message | None:
            return next(
                (
                    form
                    for form in self._discord.forms
                    if form["custom_id"].endswith(f":{interaction.id}")
                ),
                None,
            )

        return await _soon(opened)


class Unanswered(Exception):
    """A member got no answer, or found nothing to press."""


async def _soon(found: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + ANSWERED_WITHIN_S
    while time.monotonic() < deadline_s:
        if value := found():
            return value
        await asyncio.sleep(0.01)
    raise Unanswered


def _number(pattern: str | re.Pattern[str], message: Message) -> int:
    found = re.search(pattern, custom_ids(message))
    if found is None:
        raise Unanswered
    return int(found[1])


DEEDS: dict[Callable[[Crowd, random.Random], Awaitable[None]], int] = {
    Crowd._imagine: 30,
    Crowd._imagine_from: 6,
    Crowd._imagine_three: 6,
    Crowd._imagine_six: 6,
    Crowd._come: 10,
    Crowd._again: 6,
    Crowd._remix: 5,
    Crowd._vote: 12,
    Crowd._cancel: 10,
    Crowd._delete: 7,
    Crowd._moderate: 10,
    Crowd._report: 4,
}
