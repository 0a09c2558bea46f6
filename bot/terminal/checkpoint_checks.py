"""What `atelier doctor` finds of the checkpoints: their files, and whether they draw."""

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from bot.exits import ExitCode, Stop
from bot.grammar.prompts import parse, resolve
from bot.models import checkpoints, taking_uploads
from bot.settings import Settings
from bot.terminal.checks import Check, Verdict
from bot.terminal.session import open_worker
from generation.work.checkpoints import Checkpoint
from generation.work.errors import GenerationError
from generation.work.orders import Order
from generation.work.results import ImagesDone, OrderFailed

FETCH_AGAIN = "fetch its files again"
CORRECT_TABLE = "correct its [[models]] table"


def look_at_checkpoints(settings: Settings) -> list[Check]:
    """Check the files of every checkpoint, without loading any."""
    try:
        known = checkpoints(settings)
    except GenerationError as error:
        remedy = "install again, or correct [[models]] and default_model"
        return [Check("checkpoints", Verdict.FAILED, str(error), remedy)]
    looks = [_look_at(checkpoint, settings.default_model) for checkpoint in known.values()]
    return [*looks, _uploads(settings, known)]


def _uploads(settings: Settings, known: Mapping[str, Checkpoint]) -> Check:
    """Say which checkpoints people may start with a picture of their own."""
    taking = taking_uploads(settings, known)
    closed = [name for name in known if name not in taking]
    found = f"{', '.join(name for name in known if name in taking)} may start from them"
    if not closed:
        return Check("uploads", Verdict.OK, found)
    remedy = "uploads = true in a [[models]] table allows it; nothing looks at what is on them yet"
    return Check("uploads", Verdict.OK, f"{found}; {', '.join(closed)} may not", remedy)


def require(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that could not be drawn with, before anything is recorded.

    Its hashes are not looked at: the worker does that.

    Raises:
        Stop: Its files are not there, or not what they should be; with the remedy.
    """
    check = _look_at(dataclasses.replace(checkpoint, sha256={}), needed=checkpoint.name)
    if check.verdict is Verdict.FAILED:
        raise Stop(f"{check.name}: {check.found}: {check.remedy}", ExitCode.UNABLE)


def _look_at(checkpoint: Checkpoint, needed: str) -> Check:
    from generation.techniques.diffusion import files
    from generation.techniques.diffusion.folder import lacking

    name = f"model {checkpoint.name}"
    if checkpoint.family == "pattern":
        return Check(name, Verdict.OK, "built in, for tests")
    if not files.is_local(checkpoint):
        return _look_at_hub(name, checkpoint, needed)
    folder = Path(checkpoint.source)
    if folder.is_file():
        remedy = "write it as a folder: diffusers' from_single_file(FILE).save_pretrained(FOLDER)"
        return Check(name, Verdict.FAILED, f"{folder} is one file, not a diffusers folder", remedy)
    if not folder.is_dir():
        return Check(name, Verdict.FAILED, f"{folder} is no folder", CORRECT_TABLE)
    try:
        files.check(checkpoint)
    except GenerationError as error:
        return Check(name, Verdict.FAILED, str(error), FETCH_AGAIN)
    if problem := lacking(checkpoint, folder):
        return Check(name, Verdict.FAILED, problem, FETCH_AGAIN)
    if not checkpoint.sha256:
        remedy = f"record them in its table; doctor --model {checkpoint.name} draws with it"
        return Check(name, Verdict.OK, f"{folder}, not checked: no hashes recorded", remedy)
    return Check(name, Verdict.OK, f"{folder}, {len(checkpoint.sha256)} files, hashes as recorded")


def _look_at_hub(name: str, checkpoint: Checkpoint, needed: str) -> Check:
    from generation.engine.fetch import download_bytes
    from generation.techniques.diffusion import files

    place = f"{checkpoint.source} at {(checkpoint.revision or '')[:12]}"
    if files.fetched(checkpoint) is None:
        size_bytes = download_bytes(checkpoint)
        size = "" if size_bytes is None else f": {size_bytes / 1e9:.1f} GB"
        return Check(
            name,
            Verdict.FAILED if checkpoint.name == needed else Verdict.SKIPPED,
            f"{place}, not fetched yet{size}",
            f"atelier models fetch {checkpoint.name}",
        )
    return Check(name, Verdict.OK, place)


async def try_worker(settings: Settings, name: str) -> Check:
    """Draw one small picture with a checkpoint in a worker of its own, as the bot would."""
    started_at = time.monotonic()
    try:
        known = checkpoints(settings)
        if name not in known:
            found = f"no model is called {name!r}; there are {', '.join(known)}"
            return Check("worker", Verdict.FAILED, found, "correct the name")
        files = await asyncio.to_thread(_look_at, known[name], name)
        if files.verdict is Verdict.FAILED:
            return Check("worker", Verdict.FAILED, f"{name}: not tried, see above", files.remedy)
        said = await _draw_one(settings, known[name])
    except GenerationError as error:
        remedy = f"{CORRECT_TABLE}, or {FETCH_AGAIN}"
        return Check("worker", Verdict.FAILED, str(error), remedy)
    elapsed_s = time.monotonic() - started_at
    if isinstance(said, OrderFailed):
        return Check("worker", Verdict.FAILED, f"{name}: {said.message}", FETCH_AGAIN)
    device = said.fingerprint.fields.get("device")
    found = f"{name} on {device}" if device else name
    return Check("worker", Verdict.OK, f"{found}, first picture after {elapsed_s:.1f} s")


async def _draw_one(settings: Settings, checkpoint: Checkpoint) -> ImagesDone | OrderFailed:
    prompt = parse("a red apple --q .25")
    request = resolve(prompt, checkpoint=checkpoint, seed=1, num_images=1).request
    async with open_worker(settings, checkpoint) as supervisor:
        await supervisor.load(checkpoint.name)  # says more of what is wrong than a drawing does
        async for event in supervisor.render([Order(1, request)]):
            if isinstance(event, ImagesDone | OrderFailed):
                return event
    return OrderFailed(1, "DrawingFailed", "nothing came back")
