"""`atelier demo`: the real bot on a Discord look-alike in the browser."""

import asyncio
import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from bot.exits import ExitCode, Stop
from bot.terminal.session import settings_of


def demo(
    context: typer.Context,
    scene_only: Annotated[
        bool, typer.Option("--scene-only", help="End after the scene, without a page.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes any.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for what was drawn and said.")] = Path("demo"),
    model: Annotated[
        str | None, typer.Option(help="What draws; the default model if absent.")
    ] = None,
) -> None:
    """Play a short scene with the real bot and show it in the browser until Ctrl-C.

    No Discord account and no download is needed: two artists and a moderator act on a simulated
    server, and the page lets you act as any of them.
    """
    if importlib.util.find_spec("simcord") is None:
        raise Stop("the demo needs simcord: pip install 'atelier-discord[demo]'", ExitCode.UNABLE)
    from bot.demo.show import show

    settings = settings_of(context, log_level="ERROR")
    if model is not None:
        settings = settings.model_copy(update={"default_model": model})
    asyncio.run(show(settings, out=out, port=port, scene_only=scene_only))
