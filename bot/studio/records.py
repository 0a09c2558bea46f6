"""What moderators read: pages of the log, whole records, and the log as a table.

Every function checks the moderator's right as it is now and sees the moderator's own server only.
"""

import csv
import dataclasses
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from bot.studio.actors import Actor
from bot.studio.searches import Search
from bot.studio.studio import Studio
from generation.work.jobs import Image, Job
from generation.work.requests.reading import to_json
from storage.consent import Scope
from storage.moderation import Action, Report
from storage.store import Store

PAGE = 5
MAX_ROWS = 10_000
BATCH = 500
FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
COLUMNS = (
    "job",
    "asked_at",
    "member_id",
    "channel_id",
    "message_id",
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
        return json.dumps(whole, indent=indent, ensure_ascii=False, default=str)


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
    content, count = (
        csv_line(COLUMNS, encoding="utf-8-sig"),
        0,
    )  # the mark says UTF-8 to spreadsheets
    async for job in _every(studio, actor, search):
        line = csv_line(row_of(job))
        if count == MAX_ROWS or len(content) + len(line) > max_bytes:
            return bytes(content), count, False
        content += line
        count += 1
    return bytes(content), count, True


def csv_line(cells: Iterable[object], encoding: str = "utf-8") -> bytearray:
    """Return one line of a table as bytes."""
    text = io.StringIO()
    csv.writer(text).writerow(safe_cell(cell) for cell in cells)
    return bytearray(text.getvalue().encode(encoding, "replace"))


def safe_cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula.

    Source: OWASP, CSV Injection. Numbers stay numbers, for nobody can write a formula with one.
    """
    if value is None:
        return ""
    text = str(value)
    is_formula = text.startswith(("\t", "\r", "\n")) or text.lstrip().startswith(FORMULA_STARTS)
    return f"'{text}" if isinstance(value, str) and is_formula else text


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


def row_of(job: Job) -> Iterable[object]:
    """Return a job's cells, in the order of `COLUMNS`."""
    request = job.request
    return (
        job.id,
        job.created_at,
        # A spreadsheet would round a snowflake, so it travels as text.
        str(job.member_id),
        str(job.place.channel_id),
        str(job.place.message_id or ""),
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
