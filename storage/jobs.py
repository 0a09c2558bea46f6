"""The record of jobs: every step of a job's life is one guarded statement."""

import dataclasses
import datetime as dt
import json
from collections.abc import Collection, Sequence

import aiosqlite

from generation.work.jobs import TRANSITIONS, Image, Job, JobState, Place
from generation.work.requests.imagine import Imagine
from generation.work.requests.reading import to_json
from storage.database import Database
from storage.errors import NotFound, TransitionRefused
from storage.rows import (
    IMAGE_COLUMNS,
    JOB_COLUMNS,
    KNOW_PERSON,
    KNOW_SERVER,
    image_of,
    job_of,
    to_text,
)
from storage.search import (
    COUNT_EVERY,
    COUNT_LIMIT,
    COUNT_MATCHING,
    SEARCH_EVERY,
    SEARCH_MATCHING,
    Filters,
)

FIRST_STATES = frozenset({JobState.HELD, JobState.QUEUED, JobState.REFUSED})

INSERT = """
  INSERT INTO jobs (
    member_id, guild_id, channel_id, message_id, typed, prompt, negative_prompt, request,
    notes, source_sha256, state, cost_s, reason, created_at, finished_at)
  VALUES (
    :member_id, :guild_id, :channel_id, :message_id, :typed, :prompt, :negative_prompt, :request,
    :notes, :source_sha256, :state, :cost_s, :reason, :created_at, :finished_at)
  RETURNING id
"""
HAS_IMAGE = "SELECT 1 FROM images WHERE id = ?"
INSERT_LINEAGE = "INSERT INTO lineage (job_id, image_id) VALUES (?, ?)"
GET = f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?"
STATE_OF = "SELECT state FROM jobs WHERE id = ?"
MOVE = """
  UPDATE jobs SET
    state = :to,
    reason = :reason,
    attempts = attempts + (:to = 'running'),
    started_at = CASE WHEN :to = 'running' THEN :now ELSE started_at END,
    finished_at = CASE WHEN :is_final THEN :now END,
    notes = coalesce(:notes, notes),
    fingerprint = coalesce(:fingerprint, fingerprint),
    elapsed_s = coalesce(:elapsed_s, elapsed_s)
  WHERE id = :id AND state IN (SELECT value FROM json_each(:expected))
"""
INSERT_IMAGE = f"""
  INSERT INTO images (job_id, position, sha256, seed, width, height)
  VALUES (?, ?, ?, ?, ?, ?) RETURNING {IMAGE_COLUMNS}
"""
SET_PLACE = "UPDATE jobs SET guild_id = ?, channel_id = ?, message_id = ? WHERE id = ?"
BY_MESSAGE = f"""
  SELECT {JOB_COLUMNS} FROM jobs WHERE message_id = ? AND channel_id = ? ORDER BY id DESC LIMIT 1
"""
IN_STATES = f"""
  SELECT {JOB_COLUMNS} FROM jobs WHERE state IN (SELECT value FROM json_each(?)) ORDER BY id
"""
OF_MEMBER = f"SELECT {JOB_COLUMNS} FROM jobs WHERE member_id = ? ORDER BY id"
WAITING_OF = """
  SELECT count(*) FROM jobs
  WHERE member_id = ? AND state IN ('held', 'queued', 'running') AND guild_id IS ?
"""
WAITING_IN = """
  SELECT count(*) FROM jobs
  WHERE state IN ('held', 'queued', 'running') AND guild_id IS ?
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """A picture whose file is written and that is to be recorded.

    Args:
        index: Its place in the job, from 0.
        seed: The seed that draws it alone.
        sha256: Name of its file, 64 hex digits.
        width: In pixels.
        height: In pixels.
    """

    index: int
    seed: int
    sha256: str
    width: int
    height: int


class Jobs:
    """Every job there ever was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        *,
        member_id: int,
        place: Place,
        typed: str,
        request: Imagine,
        cost_s: float,
        now: dt.datetime,
        state: JobState = JobState.QUEUED,
        notes: Sequence[str] = (),
        parent_image_id: int | None = None,
        reason: str | None = None,
    ) -> Job:
        """Record a new job, held, queued or refused at once, and return it with its number.

        Raises:
            NotFound: The parent image does not exist.
            ValueError: A job's life does not begin with this state.
        """
        if state not in FIRST_STATES:
            raise ValueError(f"a job does not begin as {state}")
        row = {
            "member_id": member_id,
            "guild_id": place.guild_id,
            "channel_id": place.channel_id,
            "message_id": place.message_id,
            "typed": typed,
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "request": json.dumps(to_json(request)),
            "notes": json.dumps(list(notes)),
            "source_sha256": request.start.sha256 if request.start else None,
            "state": state,
            "cost_s": cost_s,
            "reason": reason,
            "created_at": to_text(now),
            "finished_at": to_text(now) if state.is_final else None,
        }
        async with self._database.transaction() as connection:
            await connection.execute_fetchall(KNOW_PERSON, (member_id,))
            if place.guild_id is not None:
                await connection.execute_fetchall(KNOW_SERVER, (place.guild_id,))
            ((job_id,),) = await connection.execute_fetchall(INSERT, row)
            if parent_image_id is not None:
                if not await connection.execute_fetchall(HAS_IMAGE, (parent_image_id,)):
                    raise NotFound("image", parent_image_id)
                await connection.execute_fetchall(INSERT_LINEAGE, (job_id, parent_image_id))
            return await _get(connection, job_id)

    async def get(self, job_id: int) -> Job:
        """Return a job.

        Raises:
            NotFound: No job has this number.
        """
        job = await self.find(job_id)
        if job is None:
            raise NotFound("job", job_id)
        return job

    async def find(self, job_id: int) -> Job | None:
        """Return a job, or None if no job has this number."""
        row = await self._database.one(GET, (job_id,))
        return None if row is None else job_of(row)

    async def move(
        self,
        job_id: int,
        *,
        expected: JobState | Collection[JobState],
        to: JobState,
        now: dt.datetime,
        reason: str | None = None,
    ) -> Job:
        """Take a job one step on, if it still is in a state that the caller expects.

        Starting counts an attempt; a final state sets the end. Of two callers that race for the
        same step, exactly one succeeds.

        Raises:
            TransitionRefused: It is in another state; nothing changed.
            NotFound: No job has this number.
            ValueError: `generation.work.jobs.TRANSITIONS` has no such step.
        """
        async with self._database.transaction() as connection:
            await _move(connection, job_id, expected, to, now=now, reason=reason)
            return await _get(connection, job_id)

    async def record_rendered(
        self,
        job_id: int,
        *,
        images: Sequence[NewImage],
        fingerprint: str,
        elapsed_s: float,
        now: dt.datetime,
        notes: Sequence[str] | None = None,
    ) -> tuple[Job, tuple[Image, ...]]:
        """Record the pictures of a running job and that it is rendered, both or neither.

        Their files must be on disk already. `notes` take the place of those that the job has; None
        leaves them.

        Raises:
            TransitionRefused: It is not running; nothing was recorded.
            NotFound: No job has this number.
        """
        async with self._database.transaction() as connection:
            await _move(
                connection,
                job_id,
                JobState.RUNNING,
                JobState.RENDERED,
                now=now,
                notes=notes,
                fingerprint=fingerprint,
                elapsed_s=elapsed_s,
            )
            recorded = [await _insert_image(connection, job_id, image) for image in images]
            return await _get(connection, job_id), tuple(recorded)

    async def set_place(self, job_id: int, place: Place) -> None:
        """Record where the job's message stands.

        Raises:
            NotFound: No job has this number.
        """
        async with self._database.transaction() as connection:
            if place.guild_id is not None:
                await connection.execute_fetchall(KNOW_SERVER, (place.guild_id,))
            values = (place.guild_id, place.channel_id, place.message_id, job_id)
            cursor = await connection.execute(SET_PLACE, values)
            if not cursor.rowcount:
                raise NotFound("job", job_id)

    async def by_message(self, channel_id: int, message_id: int) -> Job | None:
        """Return the newest job shown in a message, or None."""
        row = await self._database.one(BY_MESSAGE, (message_id, channel_id))
        return None if row is None else job_of(row)

    async def in_states(self, states: Collection[JobState]) -> list[Job]:
        """Return the jobs in any of these states, oldest first."""
        rows = await self._database.all(IN_STATES, (json.dumps(sorted(states)),))
        return [job_of(row) for row in rows]

    async def waiting_of(self, member_id: int, guild_id: int | None) -> int:
        """Return how many of a member's jobs in a server are held, queued or running."""
        row = await self._database.one(WAITING_OF, (member_id, guild_id))
        return int(row[0]) if row else 0

    async def waiting_in(self, guild_id: int | None) -> int:
        """Return how many jobs of a server are held, queued or running."""
        row = await self._database.one(WAITING_IN, (guild_id,))
        return int(row[0]) if row else 0

    async def of_member(self, member_id: int) -> list[Job]:
        """Return all of a member's jobs, oldest first."""
        return [job_of(row) for row in await self._database.all(OF_MEMBER, (member_id,))]

    async def search(
        self,
        *,
        guild_id: int | None,
        member_id: int | None = None,
        text: str | None = None,
        since: dt.datetime | None = None,
        state: JobState | None = None,
        before_id: int | None = None,
        limit: int = 10,
    ) -> list[Job]:
        """Return a page of jobs, newest first.

        Args:
            guild_id: Jobs of this server; None for all servers and direct messages.
            member_id: Jobs of this member.
            text: Words that all occur in the prompt as typed, as parsed, or the negative prompt;
                the last may be the beginning of a word. Case and accents do not matter. Text
                without a letter or digit matches nothing.
            since: Jobs created at this time or later.
            state: Jobs in this state.
            before_id: Jobs older than this one: the last of the page before.
            limit: The most jobs to return.
        """
        filters = Filters(
            guild_id=guild_id, member_id=member_id, text=text, since=since, state=state
        )
        sql = SEARCH_EVERY if filters.match() is None else SEARCH_MATCHING
        rows = await self._database.all(sql, filters.params(before_id=before_id, limit=limit))
        return [job_of(row) for row in rows]

    async def count(
        self,
        *,
        guild_id: int | None,
        member_id: int | None = None,
        text: str | None = None,
        since: dt.datetime | None = None,
        state: JobState | None = None,
    ) -> int:
        """Return how many jobs `search` would find on all its pages, at most `COUNT_LIMIT`."""
        filters = Filters(
            guild_id=guild_id, member_id=member_id, text=text, since=since, state=state
        )
        sql = COUNT_EVERY if filters.match() is None else COUNT_MATCHING
        row = await self._database.one(sql, filters.params(before_id=None, limit=COUNT_LIMIT))
        return int(row[0]) if row else 0


async def _get(connection: aiosqlite.Connection, job_id: int) -> Job:
    for row in await connection.execute_fetchall(GET, (job_id,)):
        return job_of(row)
    raise NotFound("job", job_id)


async def _move(
    connection: aiosqlite.Connection,
    job_id: int,
    expected: JobState | Collection[JobState],
    to: JobState,
    *,
    now: dt.datetime,
    reason: str | None = None,
    notes: Sequence[str] | None = None,
    fingerprint: str | None = None,
    elapsed_s: float | None = None,
) -> None:
    # A JobState is a str and so a Collection too.
    states = {expected} if isinstance(expected, JobState) else set(expected)
    impossible = sorted(state for state in states if (state, to) not in TRANSITIONS)
    if impossible or not states:
        raise ValueError(f"no step leads from {impossible} to {to}")
    values = {
        "id": job_id,
        "expected": json.dumps(sorted(states)),
        "to": to,
        "reason": reason,
        "now": to_text(now),
        "is_final": to.is_final,
        "notes": None if notes is None else json.dumps(notes),
        "fingerprint": fingerprint,
        "elapsed_s": elapsed_s,
    }
    async with connection.execute(MOVE, values) as cursor:
        if cursor.rowcount:
            return
    for row in await connection.execute_fetchall(STATE_OF, (job_id,)):
        raise TransitionRefused(job_id, states, JobState(row["state"]))
    raise NotFound("job", job_id)


async def _insert_image(connection: aiosqlite.Connection, job_id: int, image: NewImage) -> Image:
    values = (job_id, image.index, image.sha256, image.seed, image.width, image.height)
    (row,) = await connection.execute_fetchall(INSERT_IMAGE, values)
    return image_of(row)
