"""The one message of a job: queued, drawing, then the pictures with their buttons."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import discord

from bot.chat.presses import Action, Press
from bot.chat.views.press import PressButton
from bot.messages import alt_text, mention, plain, span, trouble
from generation.work.jobs import Image, Job, JobState
from generation.work.tickets import Wait

ACCENT = discord.Colour.from_str("#E4572E")
QUIET = discord.Colour.from_str("#8A8F98")
# discord.py's items know their view's type; a DynamicItem fits into any.
Item = discord.ui.Item[Any]
Row = discord.ui.ActionRow[Any]


def file_name(image: Image, ending: str = "png") -> str:
    """Return the attachment's name; Discord shows it when someone saves the picture."""
    return f"atelier-{image.job_id}-{image.index + 1}.{ending}"


def placeholder(job: Job, *, status: str, preview: str | None = None) -> discord.ui.LayoutView:
    """Return the message of a job that waits or draws.

    Args:
        job: Queued or running.
        status: One line on where it stands.
        preview: Name of an attached preview file, or None.
    """
    items: list[Item] = [discord.ui.TextDisplay(f"{_headline(job)}\n{status}")]
    items += _notes(job)
    if preview:
        items.append(
            discord.ui.MediaGallery(
                discord.MediaGalleryItem(
                    f"attachment://{preview}", description="Unfinished preview"
                )
            )
        )
    cancel = PressButton(Press(Action.CANCEL, (job.id,)), label="Cancel")
    items.append(Row(cancel))
    return _view(items, QUIET)


def ended(job: Job) -> discord.ui.LayoutView:
    """Return the message of a job that ended without pictures."""
    words = {
        JobState.FAILED: "could not be drawn",
        JobState.CANCELLED: "cancelled",
        JobState.REFUSED: "refused",
    }
    reason = f"\n-# {plain(job.reason)}" if job.reason else ""
    text = f"{_headline(job)}\nJob {job.id} {words.get(job.state, job.state)}.{reason}"
    buttons = Row(_again(job), _details(job))
    return _view([discord.ui.TextDisplay(text), buttons], QUIET)


def result(
    job: Job,
    images: Sequence[Image],
    votes: Mapping[int, int],
    *,
    may_remix: bool,
    names: Mapping[int, str],
    missing: str = "",
) -> discord.ui.LayoutView:
    """Return the message of a job with its pictures.

    Args:
        job: Rendered or posted.
        images: All of its images; hidden ones are left out of the gallery.
        votes: Image id to votes.
        may_remix: Whether the owner lets others remix; without it there is no Remix button.
        names: Image id to the name of its attached file.
        missing: Why some that should be shown are not; empty if all are.
    """
    if any(image.taken_down_at for image in images):
        return _taken_down(job)
    shown = [image for image in images if image.is_shown]
    style = f" · {plain(job.request.style)}" if job.request.style else ""
    facts = f"-# {mention(job.member_id)}{style} · AI-generated"
    items: list[Item] = [discord.ui.TextDisplay(f"{_headline(job)}\n{facts}")]
    items += _notes(job)
    if shown:
        if names:
            items.append(_gallery(job, shown, names, len(images)))
        if missing:
            items.append(discord.ui.TextDisplay(f"*{missing}*"))
        items += _vote_rows(shown, votes)
    else:
        items.append(discord.ui.TextDisplay("*The pictures were removed.*"))
    buttons = [_again(job)]
    if may_remix and shown:
        buttons.append(PressButton(Press(Action.REMIX, (job.id,)), label="Remix", emoji="🎨"))
    items.append(Row(*buttons, _details(job)))
    return _view(items, ACCENT if shown else QUIET)


def _taken_down(job: Job) -> discord.ui.LayoutView:
    """Return what is left in public of a job that was taken down: neither words nor Again."""
    text = f"*A moderator has taken these pictures down.*\n-# {mention(job.member_id)}"
    return _view([discord.ui.TextDisplay(text), Row(_details(job))], QUIET)


def _headline(job: Job) -> str:
    return f"**{plain(job.request.prompt)}**"


def _notes(job: Job) -> list[Item]:
    """What the model could not honour, said on the message itself."""
    if not job.notes:
        return []
    return [discord.ui.TextDisplay("\n".join(f"-# {note}" for note in job.notes))]


def _gallery(job: Job, shown: Sequence[Image], names: Mapping[int, str], total: int) -> Item:
    return discord.ui.MediaGallery(
        *(
            discord.MediaGalleryItem(
                f"attachment://{names[image.id]}",
                description=alt_text(job.request.prompt, image.index, total, job.request.style),
            )
            for image in shown
            if image.id in names
        )
    )


def _vote_rows(shown: Sequence[Image], votes: Mapping[int, int]) -> list[Row]:
    buttons = [
        PressButton(
            Press(Action.VOTE, (image.id,)),
            label=f"{image.index + 1} · {votes.get(image.id, 0)}",
            emoji="👍",
        )
        for image in shown
    ]
    width = 5 if len(buttons) <= 5 else 4  # of a row; Discord allows five
    return [Row(*buttons[i : i + width]) for i in range(0, len(buttons), width)]


def _again(job: Job) -> PressButton:
    return PressButton(Press(Action.AGAIN, (job.id,)), label="Again", emoji="🔁")


def _details(job: Job) -> PressButton:
    """Return the button to everything else: numbers, and what only some may do."""
    return PressButton(Press(Action.DETAILS, (job.id,)), label="Details", emoji="🔎")


def _view(items: Sequence[Item], colour: discord.Colour) -> discord.ui.LayoutView:
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.Container(*items, accent_colour=colour))
    return view


def queued_status(wait: Wait) -> str:
    """Return the line of a waiting job: its place and when its pictures are there, as told."""
    if wait.trouble:
        return f"Waiting · place {wait.place} · {trouble(wait.trouble)}"
    until = span(wait.at_least_s, wait.at_most_s)
    if wait.place <= 1:
        return f"Next in line · {until}"
    return f"Waiting · place {wait.place} · {until}"


def running_status(job: Job) -> str:
    """Return the line of a job that is being drawn, as far as the record knows."""
    return "Drawing …" if job.cancel_wanted_at is None else "Stopping at the next step …"


def drawing_status(step: int, num_inference_steps: int) -> str:
    """Return the line of a running job with a bar of ten."""
    share = step / num_inference_steps
    bar = "▰" * round(10 * share) + "▱" * (10 - round(10 * share))
    return f"Drawing {bar} {share:.0%}"


def stamp(moment: dt.datetime) -> str:
    """Return a time as Discord shows it, in the reader's own zone."""
    return discord.utils.format_dt(moment, "f")
