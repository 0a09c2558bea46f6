"""What moderators read: pages of the log, whole records, and the log as a table.

Every function checks the moderator's right as it is now and sees the moderator's own server only.
"""

import codecs
import csv
import dataclasses
import io
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from bot.messages import mention
from bot.studio.actors import Actor
from bot.studio.searches import Search
from bot.studio.studio import Studio
from generation.work.jobs import Image, Job, Place
from generation.work.requests.reading import to_json
from storage.consent import Scope
from storage.moderation import Action, Report
from storage.store import Store

PAGE = 5
MAX_ROWS = 10_000
BATCH = 500
# Where a cell begins, for a spreadsheet of any country, and what a formula may begin with there.
_FORMULA = re.compile(r"(?:^|(?<=[;|\t\n]))(?=\s*[=+\-@＝＋－＠])|^(?=[\t\n])")
_PICTURES = {
    **{code: 0x2400 + code for code in range(0x20) if code not in b"\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}
COLUMNS = (
    "job",
    "asked_at",
    "member",
    "channel",
    "message",
    "state",
    "reason",
    "typed",
    "prompt",
    "negative_prompt",
    "model",
    "style",
    "seed",
    "num_images",
    "num_spare",
    "width",
    "height",
    "num_inference_steps",
    "guidance_scale",
    "parent_image_id",
    "started_at",
    "finished_at",
    "elapsed_s",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """Some jobs of a search.

    Args:
        jobs: Newest first.
        total: How many the search finds on all pages, counted to a limit of the store.
        has_older: Whether there is a page behind this one.
        open_reports: Job id to open reports, on the whole server.
    """

    jobs: tuple[Job, ...]
    total: int
    has_older: bool
    open_reports: Mapping[int, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything that is known of one job.

    Args:
        job: Itself.
        images: All of them, also hidden ones.
        votes: Image id to votes.
        consent: What its owner had agreed to when it was drawn; None before their first answer.
        parent: The image it was remixed from, or None.
        children: Numbers of the jobs that were remixed from it.
        actions: What moderators did about it, oldest first.
        reports: What members said about it, open ones only, oldest first.
        is_suspended: Whether its owner may not draw here now.
    """

    job: Job
    images: Sequence[Image]
    votes: Mapping[int, int]
    consent: Mapping[Scope, bool] | None
    parent: Image | None
    children: Sequence[int]
    actions: Sequence[Action]
    reports: Sequence[Report]
    is_suspended: bool

    def to_json(self, indent: int | None = 2) -> str:
        """Return the whole record as JSON, nothing shortened; without `indent` as one line."""
        whole = {
            **dataclasses.asdict(self),
            "consent": {s.value: on for s, on in self.consent.items()} if self.consent else None,
            "votes": {str(image_id): count for image_id, count in self.votes.items()},
        }
        whole["job"]["request"] = to_json(self.job.request)
        whole["job"]["fingerprint"] = json.loads(self.job.fingerprint or "null")
        text = json.dumps(whole, indent=indent, ensure_ascii=False, default=str)
        # What would colour a terminal or hide in it can only stand in a text, so JSON may escape it.
        return "".join(
            letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1]
            for letter in text
        )


async def find_page(studio: Studio, actor: Actor, search: Search, before_id: int) -> Page:
    """Return a page of the log, newest first.

    Args:
        studio: Whose record.
        actor: Who reads.
        search: What they look for.
        before_id: The page holds jobs older than this one; 0 for the newest.

    Raises:
        Refused: The actor is no moderator.
    """
    actor.require_moderator()
    filters = _filters(actor, search)
    jobs = await studio.store.jobs.search(**filters, before_id=before_id or None, limit=PAGE + 1)
    total = await studio.store.jobs.count(**filters)
    reports = await studio.store.moderation.open_reports(actor.guild_id or 0)
    counts = Counter(report.job_id for report in reports)
    return Page(tuple(jobs[:PAGE]), total, has_older=len(jobs) > PAGE, open_reports=counts)


async def read_record(studio: Studio, actor: Actor, job_id: int) -> Record:
    """Return the whole record of a job on the moderator's server.

    Raises:
        Refused: The actor is no moderator.
        Gone: The job belongs to another server or to none.
    """
    return await gather(studio.store, await studio.oversight.record_of(actor, job_id))


async def gather(store: Store, job: Job) -> Record:
    """Return the whole record of a job, for a reader whose right was checked."""
    guild_id = job.place.guild_id or 0
    images = await store.images.of_job(job.id)
    return Record(
        job=job,
        images=images,
        votes=await store.votes.counts(job.id),
        # The first picture is asked for before the question is answered, and drawn after it.
        consent=await store.consents.as_of(job.member_id, job.started_at or job.created_at),
        parent=None if job.parent_image_id is None else await store.images.get(job.parent_image_id),
        children=[number for image in images for number in await store.images.children(image.id)],
        actions=await store.moderation.of_job(job.id),
        reports=[r for r in await store.moderation.open_reports(guild_id) if r.job_id == job.id],
        is_suspended=await store.moderation.is_suspended(guild_id, job.member_id),
    )


async def export_csv(
    studio: Studio, actor: Actor, search: Search, max_bytes: int
) -> tuple[bytes, int, bool]:
    """Return the jobs of a search as CSV, newest first.

    Args:
        studio: Whose record.
        actor: Who reads.
        search: What they look for.
        max_bytes: Largest file that Discord takes.

    Returns:
        The file; how many jobs are in it; whether these are all.

    Raises:
        Refused: The actor is no moderator.
    """
    actor.require_moderator()
    content, count = csv_head(), 0
    async for job in _every(studio, actor, search):
        line = csv_line(row_of(job))
        if count == MAX_ROWS or len(content) + len(line) > max_bytes:
            return bytes(content), count, False
        content += line
        count += 1
    return bytes(content), count, True


def csv_head() -> bytearray:
    """Return the first line of a table, behind the mark that says UTF-8 to spreadsheets."""
    return bytearray(codecs.BOM_UTF8) + csv_line(COLUMNS)


def csv_line(cells: Iterable[object]) -> bytearray:
    """Return one line of a table as bytes."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow(safe_cell(cell) for cell in cells)
    return bytearray(text.getvalue().encode(errors="replace"))


def safe_cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula, and no terminal for a command.

    An apostrophe goes in front of what begins like a formula, also behind a semicolon, a tab or a
    bar: much of the world's spreadsheets begin a new cell there. Control characters other than
    tabs and line feeds become the pictures that Unicode has of them.

    Source: OWASP, CSV Injection. Numbers stay numbers, for nobody can write a formula with one.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    return _FORMULA.sub("'", value.translate(_PICTURES))


async def _every(studio: Studio, actor: Actor, search: Search) -> AsyncIterator[Job]:
    before_id: int | None = None
    while jobs := await studio.store.jobs.search(
        **_filters(actor, search), before_id=before_id, limit=BATCH
    ):
        for job in jobs:
            yield job
        before_id = jobs[-1].id


def _filters(actor: Actor, search: Search) -> dict[str, Any]:
    return {
        "guild_id": actor.guild_id or 0,  # None would mean every server
        "member_id": search.member_id,
        "text": search.text or None,
        "since": search.since,
        "state": search.state,
    }


def _link(place: Place) -> str:
    """Return where a message stands, as Discord's own link; empty where it stands nowhere."""
    if place.message_id is None:
        return ""
    return f"https://discord.com/channels/{place.guild_id}/{place.channel_id}/{place.message_id}"


def row_of(job: Job) -> Iterable[object]:
    """Return a job's cells, in the order of `COLUMNS`."""
    request = job.request
    return (
        job.id,
        job.created_at,
        # A spreadsheet would round a snowflake; nothing with other letters in it is a number.
        mention(job.member_id),
        f"<#{job.place.channel_id}>" if job.place.channel_id else "",
        _link(job.place),
        job.state.value,
        job.reason,
        job.typed,
        request.prompt,
        request.negative_prompt,
        request.model,
        request.style,
        request.seed,
        request.num_images,
        request.num_spare,
        request.width,
        request.height,
        request.num_inference_steps,
        request.guidance_scale,
        job.parent_image_id,
        job.started_at,
        job.finished_at,
        job.elapsed_s,
    )
