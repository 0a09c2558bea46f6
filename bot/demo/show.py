"""The demo from beginning to end: scene, page, and the end of it."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from rich.console import Console

from bot.demo.page import open_page
from bot.demo.scene import PICTURES, TRANSCRIPT, play_scene
from bot.demo.stage import open_stage
from bot.settings import Settings


async def show(settings: Settings, *, out: Path, port: int, scene_only: bool) -> None:
    """Play the scene; then serve the page until Ctrl-C, unless only the scene is wanted.

    Args:
        settings: The operator's.
        out: Folder for what was drawn and said.
        port: Of the page; 0 takes any that is free.
        scene_only: Whether to end after the scene.
    """
    console = Console(highlight=False, soft_wrap=True)
    started_at = time.monotonic()
    console.print(f"The real bot on a simulated Discord, drawing with {settings.default_model}.")
    async with open_stage(settings, console) as stage:
        await play_scene(stage, out)
        elapsed_s = time.monotonic() - started_at
        console.print(f"The scene took {elapsed_s:.0f} s: {out / PICTURES}, {out / TRANSCRIPT}")
        if scene_only:
            return
        async with open_page(stage, port) as page:
            console.print("\nThe channel, as Ada, Bo or the moderator Mo (choose at the top):")
            console.print(f"  {page.url}", style="bold")
            console.print(
                'Type "/imagine a fox in a teacup" there and press Enter. Ctrl-C ends the demo.'
            )
            stopped = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stopped.set)
            await _first(stopped.wait(), page.wait_closed())
    console.print("The demo has ended.")


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    """Wait for whichever comes first, and leave none behind."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
