"""`/imagine`: from a command to a message that becomes the picture."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import discord
from discord import app_commands

from bot.chat.actors import actor_of
from bot.chat.answers import patiently, think
from bot.chat.base import Interaction
from bot.chat.views.asking import proceed
from bot.grammar.prompts import parse_jobs
from bot.studio.asking import Ask
from bot.studio.refusals import Refused
from generation.work.requests.imagine import MAX_IMAGES

CHOICES_SHOWN = 25  # Discord's limit for autocomplete


@app_commands.command(description="Draw pictures from your words")
@app_commands.describe(
    prompt="What to draw; flags such as --ar 3:2 --seed 7 --no text work here too (see /help)",
    style="A look the model knows",
    model="What draws it",
    aspect="Width:height, such as 3:2",
    seed="The same seed and prompt give the same pictures",
    images="How many pictures; fewer than usual are the best of those drawn",
    negative="What to keep away from",
    image="A picture to start from",
)
async def imagine(
    interaction: Interaction,
    prompt: app_commands.Range[str, 1, 6000],
    style: str | None = None,
    model: str | None = None,
    aspect: str | None = None,
    seed: str | None = None,
    images: app_commands.Range[int, 1, MAX_IMAGES] | None = None,
    negative: str | None = None,
    image: discord.Attachment | None = None,
) -> None:
    """Draw pictures from words; options are flags at the end of the prompt."""
    text = _with_options(prompt, style=style, model=model, ar=aspect, seed=seed, no=negative)
    parsed = parse_jobs(text)
    urls = {url for each in parsed for url in each.image_urls}
    if len(urls) + (image is not None) > 1:
        raise Refused("I can start from one picture at a time; please give just one.")
    ask = Ask(
        text=text,
        channel_id=interaction.channel_id or 0,
        num_images=images,
        interaction_id=interaction.id,
    )
    async with patiently(interaction):
        if picture := image or next(iter(urls), None):
            await _from_picture(interaction, ask, picture)
        else:
            studio, actor = interaction.client.studio, await actor_of(interaction)
            await proceed(interaction, await studio.submit(actor, ask))


async def _from_picture(
    interaction: Interaction, ask: Ask, picture: discord.Attachment | str
) -> None:
    """Ask the rules, then fetch and decode what the jobs start from, then submit them."""
    studio, actor = interaction.client.studio, await actor_of(interaction)
    uploads = interaction.client.uploads
    uploads.check(actor.member_id, picture)
    await studio.check_ask(actor, ask)
    # Fetching and decoding may take longer than the three seconds an answer may.
    await think(interaction, ephemeral=False)
    decoded = await uploads.read(actor.member_id, picture)
    ask = dataclasses.replace(ask, image_png=decoded.png, image_notes=decoded.changes)
    await proceed(interaction, await studio.submit(actor, ask))


def _with_options(prompt: str, **options: str | None) -> str:
    """Return the prompt with the options as flags, so that there is one grammar and one parser."""
    given = [f"--{flag} {value.strip()}" for flag, value in options.items() if value]
    return " ".join([prompt, *given])


@imagine.autocomplete("style")
async def _styles(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    model = getattr(interaction.namespace, "model", None)
    return choices(interaction.client.studio.known_styles(model), typed)


@imagine.autocomplete("model")
async def _models(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    return choices(interaction.client.studio.checkpoints, typed)


def choices(names: Iterable[str], typed: str) -> list[app_commands.Choice[str]]:
    """Return autocomplete's answer: the names that contain what was typed."""
    matching = [name for name in names if typed.lower() in name.lower()]
    return [app_commands.Choice(name=name, value=name) for name in matching[:CHOICES_SHOWN]]


COMMANDS: tuple[app_commands.Command[Any, ..., Any], ...] = (imagine,)
