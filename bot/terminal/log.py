"""`atelier log`: the moderators' view for the operator, over all servers."""

import datetime as dt
import sys
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bot.exits import Stop
from bot.settings import Settings
from bot.studio.records import csv_head, csv_line, gather, row_of
from bot.studio.refusals import Refused
from bot.studio.searches import Search, search_from
from bot.terminal.session import STATUS, attended, open_record, settings_of, whole
from generation.work.jobs import Job, JobState
from storage.store import Store

BATCH = 500
MAX_ID = 2**63 - 1  # as large as the record holds; Discord's are 64 bits without the sign
JOINERS = "\u200c\u200d"  # how Persian and Hindi are spelt, and what holds an emoji together
LEAST_COLUMNS = 120


class Format(StrEnum):
    """How the log is written."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def log(
    context: typer.Context,
    member: Annotated[
        int | None, typer.Option(min=0, max=MAX_ID, help="Discord's id of whose jobs.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Words that occur in the prompt.")] = None,
    since: Annotated[
        str | None,
        typer.Option(help="A span such as 24h or '3 days', 'yesterday', or a UTC date."),
    ] = None,
    state: Annotated[JobState | None, typer.Option(help="Jobs in this state.")] = None,
    how: Annotated[
        Format, typer.Option("--format", help="jsonl holds every job's whole record.")
    ] = Format.TABLE,
    limit: Annotated[int, typer.Option(min=1, help="Newest jobs, at most.")] = 50,
) -> None:
    """Show what was asked for and what became of it, newest first, on every server."""
    settings = settings_of(context, log_level="ERROR")
    words = None if text is None else whole(text)
    try:
        search = search_from(
            member_id=member, text=words, since=since, state=state, now=dt.datetime.now(dt.UTC)
        )
    except Refused as refused:
        raise Stop(str(refused).replace("`", "")) from refused
    attended(_log(settings, search, how, limit))


async def _log(settings: Settings, search: Search, how: Format, limit: int) -> None:
    async with open_record(settings) as store:
        jobs = _newest(store, search, limit)
        match how:
            case Format.TABLE:
                console = Console()
                console.width = max(console.width, LEAST_COLUMNS)  # a file has no width of its own
                if found := [job async for job in jobs]:
                    console.print(_table(found))
                else:
                    STATUS.print("nothing found")
            case Format.JSONL:
                async for job in jobs:
                    typer.echo((await gather(store, job)).to_json(indent=None))
            case Format.CSV:
                sys.stdout.buffer.write(csv_head())
                async for job in jobs:
                    sys.stdout.buffer.write(csv_line(row_of(job)))


async def _newest(store: Store, search: Search, limit: int) -> AsyncIterator[Job]:
    before_id, left = None, limit
    while left > 0:
        jobs = await store.jobs.search(
            guild_id=None,
            member_id=search.member_id,
            text=search.text or None,
            since=search.since,
            state=search.state,
            before_id=before_id,
            limit=min(BATCH, left),
        )
        if not jobs:
            return
        for job in jobs:
            yield job
        before_id, left = jobs[-1].id, left - len(jobs)


def _table(jobs: list[Job]) -> Table:
    table = Table()
    for name in ("job", "asked at (UTC)", "member", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("prompt", "model", "seed", "images"):
        table.add_column(name)
    for job in jobs:
        request = job.request
        table.add_row(
            str(job.id),
            f"{job.created_at:%Y-%m-%d %H:%M}",
            str(job.member_id) if job.member_id else "terminal",
            job.state.value,
            _printable(request.prompt),
            " ".join(filter(None, [request.model, request.style])),
            str(request.seed),
            str(request.num_images),
        )
    return table


def _printable(text: str) -> str:
    """Return text that cannot move the cursor, colour the terminal or speak Rich's markup."""
    shown = "".join(letter if letter.isprintable() or letter in JOINERS else " " for letter in text)
    return shown.replace("[", r"\[")
