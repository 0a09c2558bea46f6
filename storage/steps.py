"""The steps of a job's life, each one guarded statement inside the caller's transaction.

Whatever changes what people should see also raises `wanted` of the message that shows it, in the
same transaction: who draws messages finds out by comparing it with `shown`, also after a crash.
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Collection, Sequence
from enum import StrEnum

import aiosqlite

from generation.work.jobs import TRANSITIONS, Job, JobState
from storage.errors import NotFound, TransitionRefused
from storage.rows import JOB_COLUMNS, JOB_PLACE, job_of, know_person, to_text

GET = f"SELECT {JOB_COLUMNS} FROM jobs {JOB_PLACE} WHERE jobs.id = ?"
STATE_OF = "SELECT state FROM jobs WHERE id = ?"
MOVE = """
  UPDATE jobs SET
    state = :to,
    reason = :reason,
    started_at = CASE WHEN :to = 'running' THEN :now ELSE started_at END,
    finished_at = CASE WHEN :is_final THEN :now END,
    notes = coalesce(:notes, notes),
    fingerprint = coalesce(:fingerprint, fingerprint),
    elapsed_s = coalesce(:elapsed_s, elapsed_s)
  WHERE id = :id AND state IN (SELECT value FROM json_each(:expected))
"""
WISH_CANCEL = """
  UPDATE jobs SET cancel_wanted_at = :now, cancel_wanted_by = :person_id, reason = :reason
  WHERE id = :id AND cancel_wanted_at IS NULL
"""
CLOSE_ATTEMPT = """
  UPDATE attempts SET outcome = :outcome, ended_at = :now
  WHERE job_id = :job_id AND outcome IS NULL
"""
# Whoever asks is answered with the first message; only if that does not happen is it sent without
# them.
ANSWERED_WITHIN = dt.timedelta(seconds=4)
# A message that could not be delivered is tried once more when there is something new to show;
# one that is gone is not sent again.
WANT_SHOWN = """
  UPDATE messages SET
    wanted = wanted + 1,
    tries = 0,
    next_try_at = CASE
      WHEN wanted = 0 THEN :answered_by
      WHEN message_id IS NULL AND tried_at IS NULL THEN next_try_at
      ELSE :now
    END,
    state = CASE state WHEN 'undeliverable' THEN 'open' ELSE state END
  WHERE job_id = :job_id AND kind = 'job' AND (wanted > 0 OR :is_first)
"""


class Outcome(StrEnum):
    """How an attempt at drawing a job ended."""

    RENDERED = "rendered"  # with pictures
    FAILED = "failed"  # it could not be drawn
    CANCELLED = "cancelled"  # somebody wished so
    STOPPED = "stopped"  # an orderly stop gave it back; not charged
    DIED = "died"  # its worker ended; charged to the job
    LOST = "lost"  # its lease ran out and nobody knows more; not charged


OUTCOME_OF_LEAVING = {
    JobState.RENDERED: Outcome.RENDERED,
    JobState.FAILED: Outcome.FAILED,
    JobState.CANCELLED: Outcome.CANCELLED,
    JobState.REFUSED: Outcome.CANCELLED,
    JobState.QUEUED: Outcome.STOPPED,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a job gains when it was drawn; None leaves what it has."""

    fingerprint: str | None = None
    elapsed_s: float | None = None
    notes: Sequence[str] | None = None


async def get(connection: aiosqlite.Connection, job_id: int) -> Job:
    """Return a job as the open transaction sees it.

    Raises:
        NotFound: No job has this number.
    """
    for row in await connection.execute_fetchall(GET, (job_id,)):
        return job_of(row)
    raise NotFound("job", job_id)


async def move(
    connection: aiosqlite.Connection,
    job_id: int,
    expected: JobState | Collection[JobState],
    to: JobState,
    *,
    now: dt.datetime,
    reason: str | None = None,
    outcome: Outcome | None = None,
    drawn: Drawn = Drawn(),
) -> None:
    """Take a job one step on, close the attempt it leaves, and want the change shown.

    Args:
        connection: In a transaction.
        job_id: Whose step.
        expected: The states it may be in.
        to: The state it goes to.
        now: When.
        reason: For people to read.
        outcome: Of the attempt, if it was running; otherwise what the step says.
        drawn: What it gains.

    Raises:
        TransitionRefused: It is in another state; nothing changed.
        NotFound: No job has this number.
        ValueError: `TRANSITIONS` has no such step.
    """
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
        "notes": None if drawn.notes is None else json.dumps(list(drawn.notes)),
        "fingerprint": drawn.fingerprint,
        "elapsed_s": drawn.elapsed_s,
    }
    async with connection.execute(MOVE, values) as cursor:
        if not cursor.rowcount:
            await _refuse(connection, job_id, states)
    if JobState.RUNNING in states:
        ended = outcome or OUTCOME_OF_LEAVING[to]
        end = {"job_id": job_id, "outcome": ended, "now": to_text(now)}
        await connection.execute_fetchall(CLOSE_ATTEMPT, end)
    if to is not JobState.POSTED:  # by then the message shows the pictures
        await want_shown(connection, job_id, now, is_first=to is JobState.QUEUED)


async def want_cancel(
    connection: aiosqlite.Connection, job_id: int, *, by: int, reason: str, now: dt.datetime
) -> bool:
    """Cancel a job that waits, or record the wish for one that is drawn.

    Returns:
        Whether anything changed; a wish that was recorded before stays as it is.

    Raises:
        TransitionRefused: It neither waits nor is drawn.
        NotFound: No job has this number.
    """
    job = await get(connection, job_id)
    if job.state is not JobState.RUNNING:
        waiting = {JobState.HELD, JobState.QUEUED}
        await move(connection, job_id, waiting, JobState.CANCELLED, now=now, reason=reason)
        return True
    person_id = await know_person(connection, by)
    wish = {"id": job_id, "person_id": person_id, "reason": reason, "now": to_text(now)}
    async with connection.execute(WISH_CANCEL, wish) as cursor:
        if not cursor.rowcount:
            return False
    await want_shown(connection, job_id, now)
    return True


async def want_shown(
    connection: aiosqlite.Connection, job_id: int, now: dt.datetime, *, is_first: bool = False
) -> None:
    """Want a job's message drawn anew.

    A job that was never queued has nothing in public that could be wrong; `is_first` is for the
    step from which on it has.
    """
    values = {
        "job_id": job_id,
        "now": to_text(now),
        "answered_by": to_text(now + ANSWERED_WITHIN),
        "is_first": is_first,
    }
    await connection.execute_fetchall(WANT_SHOWN, values)


async def _refuse(
    connection: aiosqlite.Connection, job_id: int, expected: Collection[JobState]
) -> None:
    for row in await connection.execute_fetchall(STATE_OF, (job_id,)):
        raise TransitionRefused(job_id, expected, JobState(row["state"]))
    raise NotFound("job", job_id)
