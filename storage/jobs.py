"""The record of jobs: every step of a job's life is one guarded statement."""

import dataclasses
import datetime as dt
import json
from collections.abc import Collection, Sequence

import aiosqlite

from generation.work.jobs import Image, Job, JobState
from storage import asking, steps
from storage.asking import HELD_LIFE, Limits, NewJob
from storage.database import Database
from storage.errors import NotFound
from storage.files import name_file
from storage.moderation import ActionKind, append
from storage.rows import (
    IMAGE_COLUMNS,
    JOB_COLUMNS,
    JOB_PLACE,
    PERSON,
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

UNANSWERED = "The question before it was not answered."

INSERT_IMAGE = f"""
  INSERT INTO images (job_id, position, sha256, pixels_sha256, seed, width, height)
  VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {IMAGE_COLUMNS}
"""
LOST_MESSAGE = """
  SELECT reason FROM messages WHERE job_id = ? AND kind = 'job' AND state = 'gone'
"""
SET_NOTES = "UPDATE jobs SET notes = ? WHERE id = ?"
BY_MESSAGE = f"""
  SELECT {JOB_COLUMNS} FROM messages AS shown JOIN jobs ON jobs.id = shown.job_id {JOB_PLACE}
  WHERE shown.message_id = ? AND shown.channel_id = ? AND shown.kind = 'job'
  ORDER BY jobs.id DESC LIMIT 1
"""
IN_LINE = f"""
  SELECT {JOB_COLUMNS} FROM jobs {JOB_PLACE}
  WHERE jobs.state = 'queued' AND place.id IS NOT NULL AND jobs.id > ?
  ORDER BY jobs.id LIMIT ?
"""
OPEN_OF_TERMINALS = f"""
  SELECT {JOB_COLUMNS} FROM jobs {JOB_PLACE}
  WHERE jobs.state IN ('held', 'queued', 'running', 'rendered') AND place.id IS NULL
  ORDER BY jobs.id
"""
OF_MEMBER = f"""
  SELECT {JOB_COLUMNS} FROM jobs {JOB_PLACE}
  WHERE jobs.person_id = (SELECT id FROM people WHERE discord_id = ?) ORDER BY jobs.id
"""
OF_SUBMISSION = f"""
  SELECT {JOB_COLUMNS} FROM jobs {JOB_PLACE} WHERE jobs.submission = ? ORDER BY jobs.id
"""
UNANSWERED_SINCE = "SELECT id FROM jobs WHERE state = 'held' AND created_at <= ? ORDER BY id"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """A picture whose file is written and that is to be recorded.

    Args:
        index: Its place in the job, from 0.
        seed: The seed that draws it alone.
        sha256: Name of its file, 64 hex digits.
        width: In pixels.
        height: In pixels.
        pixels_sha256: Hash of its pixels before anything was marked, 64 hex digits, or None.
    """

    index: int
    seed: int
    sha256: str
    width: int
    height: int
    pixels_sha256: str | None = None


class Jobs:
    """Every job there ever was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Asking

    async def add(self, new: NewJob, *, now: dt.datetime) -> Job:
        """Record one job that no limit applies to; see `add_all`."""
        (job,) = await self.add_all([new], limits=None, now=now)
        return job

    async def add_all(
        self, new: Sequence[NewJob], *, limits: Limits | None, now: dt.datetime
    ) -> tuple[Job, ...]:
        """Record the jobs of one command, all or none, and return them with their numbers.

        Args:
            new: Of one member in one place.
            limits: Counted in the same transaction, so that no two commands take the same room.
            now: When they were asked for.

        Raises:
            LimitReached: More would wait than may.
            NotFound: A picture that one starts from does not exist, or its file is gone.
        """
        async with self._database.transaction() as connection:
            numbers = await asking.insert_all(connection, new, limits, now)
            return tuple([await steps.get(connection, number) for number in numbers])

    async def check_limits(
        self, member_id: int, guild_id: int | None, *, limits: Limits, new: int, now: dt.datetime
    ) -> None:
        """Refuse early what `add_all` would refuse now; only that one holds.

        Raises:
            LimitReached: More would wait than may.
        """
        async with self._database.transaction() as connection:
            await asking.check_limits(connection, member_id, guild_id, limits, new, now)

    async def of_submission(self, submission: int) -> tuple[Job, ...]:
        """Return the jobs of one command, oldest first; none if there was no such command."""
        rows = await self._database.all(OF_SUBMISSION, (submission,))
        return tuple(job_of(row) for row in rows)

    async def claim(
        self,
        submission: int,
        *,
        member_id: int,
        now: dt.datetime,
        jobs_waiting_per_server: int | None = None,
    ) -> tuple[Job, ...]:
        """Queue what a command of this member holds, all at once, and return it.

        Returns:
            The queued jobs; none if nothing is held any more or the question is too old.

        Raises:
            LimitReached: The server's line is full meanwhile.
        """
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(OF_SUBMISSION, (submission,))
            held = [
                job
                for job in map(job_of, rows)
                if job.state is JobState.HELD
                and job.member_id == member_id
                and now - job.created_at < HELD_LIFE
            ]
            if held and jobs_waiting_per_server is not None:
                guild_id, limit = held[0].place.guild_id, jobs_waiting_per_server
                await asking.check_server(connection, guild_id, limit, len(held))
            for job in held:
                await steps.move(connection, job.id, JobState.HELD, JobState.QUEUED, now=now)
            return tuple([await steps.get(connection, job.id) for job in held])

    async def drop_unanswered(self, now: dt.datetime) -> int:
        """Cancel what is held for a question that can no longer be answered; return how many."""
        async with self._database.transaction() as connection:
            oldest = to_text(now - HELD_LIFE)
            rows = list(await connection.execute_fetchall(UNANSWERED_SINCE, (oldest,)))
            for row in rows:
                cancelled, reason = JobState.CANCELLED, UNANSWERED
                await steps.move(
                    connection, row["id"], JobState.HELD, cancelled, now=now, reason=reason
                )
            return len(rows)

    # One job

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
        row = await self._database.one(steps.GET, (job_id,))
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

        Of two callers that race for the same step, exactly one succeeds. A running job's attempt
        ends with it; `Attempts.end` says more exactly how.

        Raises:
            TransitionRefused: It is in another state; nothing changed.
            NotFound: No job has this number.
            ValueError: There is no such step, or it is the start, which is `Attempts.begin`'s.
        """
        if to is JobState.RUNNING:
            raise ValueError("a job begins to run with an attempt")
        async with self._database.transaction() as connection:
            await steps.move(connection, job_id, expected, to, now=now, reason=reason)
            return await steps.get(connection, job_id)

    async def want_cancel(self, job_id: int, *, by: int, reason: str, now: dt.datetime) -> Job:
        """Cancel a job that waits, or record the wish for one that is drawn.

        The wish is looked at when the job is recorded, given back or begun again, so it outlives
        whatever happens to the worker. An act of somebody else than the owner leaves an audit
        entry, in the same transaction.

        Returns:
            The job: cancelled, or still running with `cancel_wanted_at` set.

        Raises:
            TransitionRefused: It neither waits nor is drawn; nothing was recorded.
            NotFound: No job has this number.
        """
        async with self._database.transaction() as connection:
            job = await steps.get(connection, job_id)
            is_new = await steps.want_cancel(connection, job_id, by=by, reason=reason, now=now)
            if is_new and by != job.member_id:
                await append(
                    connection,
                    ActionKind.CANCEL,
                    guild_id=job.place.guild_id,
                    moderator_id=by,
                    reason=reason,
                    now=now,
                    member_id=job.member_id,
                    job_id=job_id,
                )
            return await steps.get(connection, job_id)

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

        Their files must be on disk already, written with `Files.write`. If somebody wished the job
        cancelled meanwhile it is cancelled instead, and there are no pictures. `notes` take the
        place of those that the job has; None leaves them.

        Returns:
            The job and its pictures: rendered; posted at once if its message was deleted; or
            cancelled, without any.

        Raises:
            TransitionRefused: It is not running; nothing was recorded.
            NotFound: No job has this number, or a file was swept meanwhile: write it again.
        """
        async with self._database.transaction() as connection:
            job = await steps.get(connection, job_id)
            if job.cancel_wanted_at is not None and job.state is JobState.RUNNING:
                cancelled, reason = JobState.CANCELLED, job.reason
                await steps.move(
                    connection, job_id, JobState.RUNNING, cancelled, now=now, reason=reason
                )
                return await steps.get(connection, job_id), ()
            drawn = steps.Drawn(fingerprint=fingerprint, elapsed_s=elapsed_s, notes=notes)
            await steps.move(
                connection, job_id, JobState.RUNNING, JobState.RENDERED, now=now, drawn=drawn
            )
            recorded = [await _insert_image(connection, job_id, image) for image in images]
            for (reason,) in await connection.execute_fetchall(LOST_MESSAGE, (job_id,)):
                # Nobody will be shown them any more, so nothing else would ever end the job.
                told = f"delivered to nobody: {reason}"
                rendered, posted = JobState.RENDERED, JobState.POSTED
                await steps.move(connection, job_id, rendered, posted, now=now, reason=told)
            return await steps.get(connection, job_id), tuple(recorded)

    async def add_notes(self, job_id: int, notes: Sequence[str], *, now: dt.datetime) -> Job:
        """Add sentences to those that a job has, and want them shown.

        Raises:
            NotFound: No job has this number.
        """
        async with self._database.transaction() as connection:
            job = await steps.get(connection, job_id)
            new = dict.fromkeys([*job.notes, *notes])
            if len(new) > len(job.notes):
                values = (json.dumps(list(new)), job_id)
                await connection.execute_fetchall(SET_NOTES, values)
                await steps.want_shown(connection, job_id, now)
            return await steps.get(connection, job_id)

    # Many jobs

    async def by_message(self, channel_id: int, message_id: int) -> Job | None:
        """Return the newest job shown in a message, or None."""
        row = await self._database.one(BY_MESSAGE, (message_id, channel_id))
        return None if row is None else job_of(row)

    async def in_line(self, *, after_id: int = 0, limit: int = -1) -> list[Job]:
        """Return the queued jobs that the bot is to draw, oldest first: none of a terminal.

        Args:
            after_id: Only jobs newer than this one.
            limit: The most jobs to return; -1 is all.
        """
        return [job_of(row) for row in await self._database.all(IN_LINE, (after_id, limit))]

    async def open_of_terminals(self) -> list[Job]:
        """Return the jobs of terminals that have not ended, oldest first."""
        return [job_of(row) for row in await self._database.all(OPEN_OF_TERMINALS)]

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
                the last may be the beginning of a word. Case and accents do not matter. Of scripts
                without spaces any part is found. Text without a letter or digit matches nothing.
            since: Jobs created at this time or later.
            state: Jobs in this state.
            before_id: Jobs older than this one: the last of the page before.
            limit: The most jobs to return.
        """
        filters = await self._filters(guild_id, member_id, text, since, state)
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
        filters = await self._filters(guild_id, member_id, text, since, state)
        sql = COUNT_EVERY if filters.match() is None else COUNT_MATCHING
        row = await self._database.one(sql, filters.params(before_id=None, limit=COUNT_LIMIT))
        return int(row[0]) if row else 0

    async def _filters(
        self,
        guild_id: int | None,
        member_id: int | None,
        text: str | None,
        since: dt.datetime | None,
        state: JobState | None,
    ) -> Filters:
        person_id = None
        if member_id is not None:
            row = await self._database.one(PERSON, (member_id,))
            person_id = row["id"] if row else 0  # nobody has it, so nothing is found
        return Filters(guild_id=guild_id, person_id=person_id, text=text, since=since, state=state)


async def _insert_image(connection: aiosqlite.Connection, job_id: int, image: NewImage) -> Image:
    await name_file(connection, image.sha256, job_id)
    values = (
        job_id,
        image.index,
        image.sha256,
        image.pixels_sha256,
        image.seed,
        image.width,
        image.height,
    )
    (row,) = await connection.execute_fetchall(INSERT_IMAGE, values)
    return image_of(row)
