"""The scene: one artist draws, another upvotes and remixes, a moderator opens the log."""

import asyncio
import re
from pathlib import Path
from typing import Any

import discord

from bot.demo.stage import Stage, text_of
from generation.work.jobs import Job

CONSENT_OFF = "Off"
PICTURES = "pictures"
TRANSCRIPT = "transcript.md"


class Transcript:
    """What everybody did and saw, as Markdown with the pictures beside it.

    Args:
        stage: Where it happens.
        folder: Keeps the transcript and, in a folder of their own, the pictures.
    """

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._folder = folder
        self._names = {f"<@{who.id}>": f"@{name}" for name, who in stage.people.items()}
        self._lines = ["# What happened in the demo", ""]

    def act(self, who: str, what: str) -> None:
        """Write down, and print, what somebody does."""
        self._stage.console.print(f"  {who} {what}", markup=False)
        self._lines += [f"**{who}** {what}", ""]

    def see(self, message: Any, *, private: bool = False) -> None:
        """Write down what a message shows, its buttons included."""
        labels = "  ".join(f"[{label}]" for label in _labels(message))
        shown = [*text_of(message).splitlines(), *([labels] if labels else [])]
        for mention, name in self._names.items():
            shown = [line.replace(mention, name) for line in shown]
        seen = "Only they see:" if private else "Everybody sees:"
        self._lines += [seen, "", *(f"> {line}  " for line in shown), ""]

    async def save_pictures(self, job: Job) -> None:
        """Copy a job's pictures beside the transcript and show them in it."""
        words = re.sub(r"[^a-z0-9]+", "-", job.request.prompt.lower()).strip("-")
        links = []
        for image in await self._stage.app.store.images.of_job(job.id):
            path = self._folder / PICTURES / f"{words}-{image.index + 1}.png"
            png = await asyncio.to_thread(self._stage.app.store.files.read, image.sha256)
            await asyncio.to_thread(path.write_bytes, png)
            links.append(f"![{job.request.prompt}]({PICTURES}/{path.name})")
        self._lines += [" ".join(links), ""]

    def text(self) -> str:
        """Return it as Markdown."""
        return "\n".join(self._lines)


async def play_scene(stage: Stage, out: Path) -> None:
    """Play the scene, and save what was drawn and said.

    Args:
        stage: With nobody on it who has consented yet.
        out: Folder for the pictures and the transcript.

    Raises:
        Stop: Something could not be drawn.
    """
    await asyncio.to_thread((out / PICTURES).mkdir, parents=True, exist_ok=True)
    transcript = Transcript(stage, out)
    car = await _draw(stage, transcript, "a red car --seed 7")
    await _upvote(stage, transcript, car)
    await _remix(stage, transcript, car, "a green car --seed 7 --iw .1")
    await _read_log(stage, transcript)
    await asyncio.to_thread((out / TRANSCRIPT).write_text, transcript.text(), "utf-8")


async def _draw(stage: Stage, transcript: Transcript, prompt: str) -> Job:
    transcript.act("Ada", f"runs /imagine prompt: {prompt}")
    asked = await stage.ada.slash(stage.channel, "imagine", prompt=prompt)
    await _consent(transcript, "Ada", stage.ada, asked)
    return await _seen(stage, transcript, await stage.newest_job(stage.ada))


async def _consent(transcript: Transcript, who: str, member: Any, asked: Any) -> None:
    """Answer the question before a first picture: yes to all but the last, training."""
    transcript.see(asked.response.message, private=True)
    for place in range(len(_switches(asked.response)) - 1):
        await member.click(asked.response.message, custom_id=_switches(asked.response)[place])
    transcript.act(who, "agrees to all but training, and saves")
    await member.click(asked.response.message, label="Save and draw")


async def _seen(stage: Stage, transcript: Transcript, job: Job) -> Job:
    job = await stage.posted(job)
    transcript.see(stage.message(job))
    await transcript.save_pictures(job)
    return job


async def _upvote(stage: Stage, transcript: Transcript, job: Job) -> None:
    transcript.act("Bo", "upvotes the second picture")
    label = next(label for label in _labels(stage.message(job)) if label.startswith("2 "))
    await stage.bo.click(stage.message(job), label=label)
    transcript.see(stage.message(job))


async def _remix(stage: Stage, transcript: Transcript, job: Job, prompt: str) -> Job:
    transcript.act("Bo", f"remixes it: {prompt}")
    form = await stage.bo.click(stage.message(job), label="Remix")
    second = (await stage.app.store.images.of_job(job.id))[1]
    asked = await stage.bo.submit_modal(form, {"prompt": prompt, "image": [str(second.id)]})
    await _consent(transcript, "Bo", stage.bo, asked)
    return await _seen(stage, transcript, await stage.newest_job(stage.bo))


async def _read_log(stage: Stage, transcript: Transcript) -> None:
    transcript.act("Mo", "opens the moderators' log")
    page = await stage.mo.slash(stage.channel, "log search")
    transcript.see(page.response.message, private=True)


def _buttons(message: Any) -> list[discord.ui.Button[Any]]:
    view = discord.ui.LayoutView.from_message(message, timeout=None)
    return [item for item in view.walk_children() if isinstance(item, discord.ui.Button)]


def _labels(message: Any) -> list[str]:
    return [button.label or "" for button in _buttons(message)]


def _switches(response: Any) -> list[str]:
    """Return the custom_ids of the consent question's switches, as they stand now."""
    buttons = _buttons(response.message)
    return [button.custom_id or "" for button in buttons if button.label in {"On", CONSENT_OFF}]
