"""Attempts at drawing: who has a job, for how long, and how it ended.

A worker draws a job under a lease that it renews while it lives. As long as the lease runs nobody
else takes the job over; what is left running after it is `recoverable`. An orderly stop gives a job
back and costs it nothing; a worker that died is charged to it.
"""

import dataclasses
import datetime as dt
import sqlite3

from generation.work.jobs import Job, JobState
from storage import steps
from storage.database import Database
from storage.rows import JOB_COLUMNS, JOB_PLACE, job_of, to_text, to_time, to_time_or_none
from storage.steps import Outcome

BEGIN = """
  INSERT INTO attempts (job_id, number, worker, began_at, lease_until)
  VALUES (
    :job_id, 1 + (SELECT count(*) FROM attempts WHERE job_id = :job_id), :worker, :now,
    :lease_until)
"""
RENEW = "UPDATE attempts SET lease_until = ? WHERE worker = ? AND outcome IS NULL"
OF_JOB = """
  SELECT job_id, number, worker, began_at, lease_until, ended_at, outcome
  FROM attempts WHERE job_id = ? ORDER BY number
"""
# A running job without an open attempt cannot be, but nobody would ever look at it again.
RECOVERABLE = f"""
  SELECT {JOB_COLUMNS}
  FROM jobs {JOB_PLACE}
    LEFT JOIN attempts AS open ON open.job_id = jobs.id AND open.outcome IS NULL
  WHERE jobs.state = 'running' AND place.id IS NOT NULL
    AND (open.job_id IS NULL OR open.lease_until <= :now OR open.worker = :worker)
  ORDER BY jobs.id
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at drawing a job.

    Args:
        job_id: Which job.
        number: From 1 on.
        worker: Who draws: a name that no other process has.
        began_at: When.
        lease_until: Nobody else takes it over before.
        ended_at: When it ended, or None while it goes on.
        outcome: How it ended, or None while it goes on.
    """

    job_id: int
    number: int
    worker: str
    began_at: dt.datetime
    lease_until: dt.datetime
    ended_at: dt.datetime | None = None
    outcome: Outcome | None = None


class Attempts:
    """Every attempt there was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self, job_id: int, *, worker: str, lease_until: dt.datetime, now: dt.datetime
    ) -> Job:
        """Take a queued job to be drawn, or cancel it if that was wished meanwhile.

        Returns:
            The job: running, or cancelled.

        Raises:
            TransitionRefused: It does not wait any more; somebody else has it, or it ended.
            NotFound: No job has this number.
        """
        async with self._database.transaction() as connection:
            job = await steps.get(connection, job_id)
            if job.cancel_wanted_at is not None and job.state is JobState.QUEUED:
                to, reason = JobState.CANCELLED, job.reason
            else:
                to, reason = JobState.RUNNING, None
            await steps.move(connection, job_id, JobState.QUEUED, to, now=now, reason=reason)
            if to is JobState.RUNNING:
                lease = {"job_id": job_id, "worker": worker, "now": to_text(now)}
                lease["lease_until"] = to_text(lease_until)
                await connection.execute_fetchall(BEGIN, lease)
            return await steps.get(connection, job_id)

    async def renew(self, worker: str, lease_until: dt.datetime) -> None:
        """Keep everything that a worker draws for longer."""
        async with self._database.transaction() as connection:
            await connection.execute_fetchall(RENEW, (to_text(lease_until), worker))

    async def end(
        self,
        job_id: int,
        outcome: Outcome,
        *,
        now: dt.datetime,
        to: JobState | None = None,
        reason: str | None = None,
    ) -> Job:
        """End the attempt at a running job without pictures.

        Args:
            job_id: Whose attempt.
            outcome: How it ended.
            now: When.
            to: Where the job goes; by default it ends as failed or cancelled, and otherwise waits
                again. A wish to cancel it wins, whatever became of the attempt.
            reason: For people to read.

        Raises:
            TransitionRefused: It is not running.
            NotFound: No job has this number.
            ValueError: It ended with pictures: `Jobs.record_rendered` says so.
        """
        if outcome is Outcome.RENDERED:
            raise ValueError("what was rendered is recorded with its pictures")
        usual = {Outcome.FAILED: JobState.FAILED, Outcome.CANCELLED: JobState.CANCELLED}
        async with self._database.transaction() as connection:
            job = await steps.get(connection, job_id)
            to = to or usual.get(outcome, JobState.QUEUED)
            if job.cancel_wanted_at is not None:
                to, reason = JobState.CANCELLED, job.reason
            elif to is JobState.CANCELLED:
                reason = reason or job.reason
            await steps.move(
                connection, job_id, JobState.RUNNING, to, now=now, reason=reason, outcome=outcome
            )
            return await steps.get(connection, job_id)

    async def recoverable(self, *, worker: str, now: dt.datetime) -> list[Job]:
        """Return the running jobs that nobody else draws, oldest first: none of a terminal.

        Args:
            worker: Who asks; what an earlier life of the same name left is its own.
            now: Leases end at this moment or before.
        """
        rows = await self._database.all(RECOVERABLE, {"worker": worker, "now": to_text(now)})
        return [job_of(row) for row in rows]

    async def of_job(self, job_id: int) -> list[Attempt]:
        """Return the attempts at a job, oldest first."""
        rows = await self._database.all(OF_JOB, (job_id,))
        return [_attempt_of(row) for row in rows]


def _attempt_of(row: sqlite3.Row) -> Attempt:
    return Attempt(
        job_id=row["job_id"],
        number=row["number"],
        worker=row["worker"],
        began_at=to_time(row["began_at"]),
        lease_until=to_time(row["lease_until"]),
        ended_at=to_time_or_none(row["ended_at"]),
        outcome=None if row["outcome"] is None else Outcome(row["outcome"]),
    )
