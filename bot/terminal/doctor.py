"""`atelier doctor`: checks everything a bot depends on, and says what to do about what is wrong."""

import asyncio
import importlib.util
import os
import shutil
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import discord
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot.chat.permissions import invite_link, missing
from bot.exits import ExitCode
from bot.settings import Settings, SettingsRefused, config_path
from bot.terminal.checkpoint_checks import look_at_checkpoints, try_worker
from bot.terminal.checks import Check, Verdict
from bot.terminal.run import HEARTBEAT, HEARTBEAT_INTERVAL_S
from bot.terminal.session import attended, settings_of
from generation.judging.safety.decode import Decoder
from generation.judging.safety.guards import Guard
from generation.work.errors import GenerationError
from storage.database import inspect
from storage.errors import DatabaseTooNew, StorageError
from storage.store import DATABASE_NAME

LEAST_COLUMNS = 120
MIN_FREE_BYTES = 2**30  # about ten thousand pictures
HEARTBEAT_TOO_OLD_S = 2.5 * HEARTBEAT_INTERVAL_S
OTHERS = stat.S_IRWXG | stat.S_IRWXO
WHEN_UNREADABLE = "see docs/backup.md and docs/upgrade.md"
PREVIEW_MODULES = ("simcord", "aiohttp", "markdown_it", "linkify_it", "regex")


def doctor(
    context: typer.Context,
    online: Annotated[
        bool, typer.Option("--online", help="Also log in, and list missing permissions.")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Only whether a running bot is well; for health checks."),
    ] = False,
    model: Annotated[
        list[str] | None, typer.Option(help="Draw with this model too, as with the default one.")
    ] = None,
) -> None:
    """Check settings, record, checkpoints, device, worker and token; exit 1 if anything fails."""
    checks = attended(_collect(context, model or [], online=online, quick=quick))
    console = Console()
    console.width = max(console.width, LEAST_COLUMNS)  # a health check's log has no width
    console.print(_table(checks))
    has_failed = any(check.verdict is Verdict.FAILED for check in checks)
    raise typer.Exit(ExitCode.NO if has_failed else ExitCode.OK)


async def _collect(
    context: typer.Context, models: list[str], *, online: bool, quick: bool
) -> list[Check]:
    try:
        settings = settings_of(context, log_level="CRITICAL")
        path = config_path(context.obj)
    except SettingsRefused as refused:
        return [Check("settings", Verdict.FAILED, str(refused), "see docs/settings.md")]
    checks = [Check("settings", Verdict.OK, str(path or "environment and defaults"))]
    checks += [_data_dir(settings, quick=quick), await _database(settings.data_dir, quick=quick)]
    if quick:
        return [*checks, _heartbeat(settings.data_dir / HEARTBEAT)]
    checks += [await _decoder(), _text_encoder(), *look_at_checkpoints(settings), _device(settings)]
    for name in dict.fromkeys([settings.default_model, *models]):
        checks.append(await try_worker(settings, name))
    checks += [_preview(), _token(settings)]
    if online and settings.discord_token is None:
        found = "not tried, for there is no token: login, invite link, permissions"
        checks.append(
            Check("online", Verdict.FAILED, found, "set DISCORD_TOKEN and run this again")
        )
    elif online and settings.discord_token is not None:
        checks += [check async for check in _online(settings.discord_token.get_secret_value())]
    return checks


def _data_dir(settings: Settings, *, quick: bool) -> Check:
    """Look at the folder, or at where it is going to be made, and change nothing."""
    name, path = "data folder", settings.data_dir
    there = next(each for each in (path, *path.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        remedy = f"chown it to user {os.getuid()}, or set data_dir"
        return Check(name, Verdict.FAILED, f"{there} is not writable", remedy)
    free_bytes = shutil.disk_usage(there).free
    found = f"{path}, {free_bytes / 2**30:.1f} GiB free"
    if free_bytes < MIN_FREE_BYTES:
        return Check(name, Verdict.FAILED, found, "make room, or set data_dir elsewhere")
    if there != path:
        return Check(name, Verdict.OK, f"{found}; made when it is needed")
    if not quick and (mode := stat.S_IMODE(path.stat().st_mode)) & OTHERS:
        found = f"{path}: other accounts of this machine can read prompts (mode {mode:o})"
        return Check(name, Verdict.FAILED, found, f"chmod 700 {path}")
    if settings.former_data_dir is not None:
        remedy = "set data_dir to it, so that it is used from everywhere"
        return Check(name, Verdict.OK, f"{found}; found in this folder", remedy)
    return Check(name, Verdict.OK, found)


async def _database(data_dir: Path, *, quick: bool) -> Check:
    if not (data_dir / DATABASE_NAME).exists():
        return Check("database", Verdict.SKIPPED, "none yet", "it is made when it is needed")
    path = data_dir / DATABASE_NAME
    try:
        # Reading every page of a large record takes longer than a health check may.
        found = await asyncio.to_thread(inspect, path, is_quick=quick)
    except StorageError as error:
        return Check("database", Verdict.FAILED, str(error), WHEN_UNREADABLE)
    shown = f"{path}, schema version {found.version}"
    if found.damage is not None:
        return Check("database", Verdict.FAILED, "damaged", "restore a backup: docs/backup.md")
    if found.version > found.known:
        too_new = str(DatabaseTooNew(found.version, found.known))
        return Check("database", Verdict.FAILED, too_new, WHEN_UNREADABLE)
    if found.version < found.known:
        return Check("database", Verdict.OK, f"{shown}; the next start makes it {found.known}")
    return Check("database", Verdict.OK, shown)


def _heartbeat(path: Path) -> Check:
    if not path.is_file():
        return Check("heartbeat", Verdict.FAILED, "never seen", "start `atelier run`; read its log")
    age_s = time.time() - path.stat().st_mtime
    found = f"{age_s:.0f} s ago"
    if age_s > HEARTBEAT_TOO_OLD_S:
        return Check("heartbeat", Verdict.FAILED, found, "restart the bot; read its log")
    return Check("heartbeat", Verdict.OK, found)


async def _decoder() -> Check:
    """Start the process that opens uploads, and let it say what holds it."""
    name, guards = "decoder", await Decoder().guards()
    if not guards:
        remedy = "install again; decoder_died in the log has its exit status"
        return Check(name, Verdict.FAILED, "the process that opens uploads cannot start", remedy)
    found = f"held by {', '.join(sorted(guards))}"
    if absent := sorted(set(Guard) - guards):
        return Check(name, Verdict.OK, found, f"this kernel lacks {', '.join(absent)}")
    return Check(name, Verdict.OK, found)


def _text_encoder() -> Check:
    from generation.language.text_encoder import PACKAGE, TextEncoderUnavailable, verified_directory

    try:
        verified_directory()
    except TextEncoderUnavailable as error:
        found, _, remedy = str(error).partition("; run: ")
        return Check("text encoder", Verdict.FAILED, found, remedy)
    return Check("text encoder", Verdict.OK, f"{PACKAGE}, hashes as pinned")


def _device(settings: Settings) -> Check:
    from generation.techniques.device import choose

    try:
        choice = choose(settings.device, settings.dtype, settings.threads)
    except GenerationError as error:
        return Check("device", Verdict.FAILED, str(error), "set device and dtype to auto")
    return Check("device", Verdict.OK, choice.reason)


def _preview() -> Check:
    absent = [name for name in PREVIEW_MODULES if importlib.util.find_spec(name) is None]
    if absent:
        found = f"not installed: {', '.join(absent)}"
        return Check("demo", Verdict.SKIPPED, found, "pip install 'atelier-discord[demo]'")
    return Check("demo", Verdict.OK, "simcord is installed")


def _token(settings: Settings) -> Check:
    if settings.discord_token is None:
        return Check("token", Verdict.SKIPPED, "none", "set DISCORD_TOKEN before `atelier run`")
    return Check("token", Verdict.OK, "there is one; --online tries it")


async def _online(token: str) -> AsyncIterator[Check]:
    """Log in, without connecting, and look at every server's permissions."""
    async with discord.Client(intents=discord.Intents(guilds=True)) as client:
        try:
            await client.login(token)
            application = await client.application_info()
            guilds = await client.http.get_guilds(200)
        except discord.LoginFailure:
            remedy = "make a new one on the application's Bot page"
            yield Check("login", Verdict.FAILED, "Discord refused the token", remedy)
            return
        except (discord.HTTPException, OSError) as error:
            yield Check("login", Verdict.FAILED, str(error), "check the network; try again")
            return
    link = invite_link(application.id)
    yield Check(
        "login", Verdict.OK, f"{application.name}, on {len(guilds)} servers; invite: {link}"
    )
    for guild in guilds:
        absent = missing(discord.Permissions(int(guild["permissions"])))
        name = f"server {guild['id']}"
        if absent:
            yield Check(name, Verdict.FAILED, f"missing: {', '.join(absent)}", f"open {link}")
        else:
            yield Check(name, Verdict.OK, "every permission is there; channels may still differ")


def _table(checks: list[Check]) -> Table:
    table = Table("check", "", "found", "remedy")
    colours = {Verdict.OK: "green", Verdict.SKIPPED: "dim", Verdict.FAILED: "bold red"}
    for check in checks:
        verdict = f"[{colours[check.verdict]}]{check.verdict.value}[/]"
        table.add_row(check.name, verdict, escape(check.found), escape(check.remedy))
    return table
