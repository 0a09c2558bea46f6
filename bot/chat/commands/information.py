"""`/queue`: what waits and whose turn it is. `/help`: short answers to common questions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import discord
from discord import app_commands

from bot.chat.answers import reply
from bot.chat.base import Interaction
from bot.grammar.flags import FLAGS
from bot.messages import duration, mention, plain
from generation.work.checkpoints import Checkpoint
from generation.work.jobs import Job
from generation.work.tickets import Ticket

SHOWN_JOBS = 15
SHOWN_STYLES = 30
SHOWN_WORDS = 40
MAX_TEXT = 4000  # characters of a message
FAIRNESS = (
    "-# Turns are fair by cost: everyone gets the same share of drawing time, so many or large "
    "jobs of one member never hold up another's first. Jobs of one model may go together."
)

START = """### Atelier draws pictures from words
`/imagine prompt: a fox` · add a look with `style`, a shape with `aspect`
`/queue` what waits, and why · `/mysettings` your own defaults · `/consent` what others may do
Right-click a message of mine → Apps → *Report* tells this server's moderators.
More: `/help topic:` prompts, buttons, models, privacy"""

BUTTONS = """### Buttons under a picture
**👍** your vote for one picture, once; again to take it back
**Again** the same words with new seeds
**Remix** change the words and start from one of the pictures, where its owner agreed
**Details** everything needed to draw it again: words, seed, model, size; its owner finds \
**Delete** there, which removes the pictures for good; the record of the request stays
**Cancel** while it waits or draws, for its owner and moderators"""

PRIVACY = """### What I keep, and what you decide
I keep your prompt, its settings, the seed and the pictures, so that they can be drawn again and \
moderated. This server's moderators can read that record.
`/consent` has two switches, each off until you turn it on: others may remix, may improve the \
models. Each answer is recorded with its time; change it whenever you like.
**Details**, then **Delete** removes picture and file. Everything I draw is marked as AI-generated."""


@app_commands.command(description="What waits to be drawn, and whose turn it is")
async def queue(interaction: Interaction) -> None:
    """Show the line as it would move now, with one's own jobs marked."""
    dispatcher = interaction.client.studio.dispatcher
    jobs = interaction.client.studio.store.jobs
    waiting = list(dispatcher.queue.in_order())
    lines = [_line("▶", job, interaction) for job in dispatcher.running.values()]
    for place, ticket in enumerate(waiting[:SHOWN_JOBS], start=1):
        lines.append(_line(f"{place}.", await jobs.get(ticket.job_id), interaction))
    if hidden := waiting[SHOWN_JOBS:]:
        lines.append(f"… and {len(hidden)} more{_own_place(hidden, interaction.user.id)}")
    wait = f" · {duration(dispatcher.queue.total_cost_s)} of drawing" if waiting else ""
    head = f"### {len(waiting)} waiting{wait}"
    text = [head, *lines, FAIRNESS] if lines else ["### Nothing waits\nYou would be next."]
    await _say(interaction, "\n".join(text))


def _own_place(hidden: Sequence[Ticket], member_id: int) -> str:
    """Return where one's own next job stands among those that are not shown."""
    for place, ticket in enumerate(hidden, start=SHOWN_JOBS + 1):
        if ticket.member_id == member_id:
            return f"; **yours** next at place {place}"
    return ""


def _line(place: str, job: Job, interaction: Interaction) -> str:
    """Return one job's line; of other servers, only that there is one."""
    if job.place.guild_id != interaction.guild_id:
        return f"{place} a job from elsewhere · {duration(job.cost_s)}"
    is_own = job.member_id == interaction.user.id
    who = "**yours**" if is_own else mention(job.member_id)
    words = f" · {plain(job.request.prompt, 40)}" if is_own else ""
    return f"{place} job {job.id} · {who} · {duration(job.cost_s)}{words}"


@app_commands.command(name="help", description="How to use me")
@app_commands.describe(topic="What about")
async def help_command(
    interaction: Interaction,
    topic: Literal["start", "prompts", "buttons", "models", "privacy"] = "start",
) -> None:
    """Show one short topic."""
    match topic:
        case "start":
            text = START
        case "prompts":
            text = _prompts()
        case "buttons":
            text = BUTTONS
        case "models":
            text = _models(interaction.client.studio.checkpoints)
        case "privacy":
            text = PRIVACY
    await _say(interaction, text)


def _prompts() -> str:
    lines = [f"`{flag.example}` {flag.meaning}" for flag in FLAGS]
    return "\n".join(
        [
            "### Flags, after your words",
            *lines,
            "`fox::2 snow::1` weighs parts · `{red, green} fox` draws both, `\\,` is a comma",
            "A picture's link before the words is where it starts from.",
        ]
    )


def _models(checkpoints: Mapping[str, Checkpoint]) -> str:
    parts = ["### Models and their styles"]
    for checkpoint in checkpoints.values():
        size = f"{checkpoint.width}×{checkpoint.height} px"
        lines = [f"**`{checkpoint.name}`** {plain(checkpoint.title)} · {size}"]
        if checkpoint.styles:
            lines.append(f"Styles: {_some(checkpoint.styles, SHOWN_STYLES)}")
        if checkpoint.vocabulary:
            lines.append(f"Knows: {_some(checkpoint.vocabulary, SHOWN_WORDS)}")
        parts.append("\n".join(lines))
    while len("\n".join(parts)) > MAX_TEXT:
        parts.pop()
    return "\n".join(parts)


def _some(names: Iterable[str], limit: int) -> str:
    names = list(names)
    rest = f" … and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(plain(name, 40) for name in names[:limit]) + rest


async def _say(interaction: Interaction, text: str) -> None:
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.TextDisplay(text))  # holds twice what a plain message does
    await reply(interaction, view, ephemeral=True)


COMMANDS: tuple[app_commands.Command[Any, ..., Any], ...] = (queue, help_command)
