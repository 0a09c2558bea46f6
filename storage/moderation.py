"""What moderators did and what members reported; actions are only ever added to."""

import dataclasses
import datetime as dt
import json
import sqlite3
from collections.abc import Sequence
from enum import StrEnum

import aiosqlite

from generation.work.jobs import Job
from storage import steps
from storage.database import Database
from storage.errors import NotFound
from storage.outbox import announce
from storage.rows import know_person, know_server, member_of, to_text, to_time, to_time_or_none

SUSPENDED = "A moderator has suspended its owner from drawing here."

_ACTION = f"""
  id, kind, guild_id, {member_of("moderator_id")} AS moderator_id,
  {member_of("person_id")} AS member_id, job_id, image_id, reason, at
"""
_REPORT = f"""
  id, guild_id, job_id, {member_of("reporter_id")} AS reporter_id, reason, reported_at, closed_at
"""

APPEND = """
  INSERT INTO moderation_actions (
    kind, guild_id, moderator_id, person_id, job_id, image_id, reason, at)
  VALUES (:kind, :guild_id, :moderator_id, :person_id, :job_id, :image_id, :reason, :at)
  RETURNING id
"""
OWNER_OF = f"SELECT {member_of('person_id')} AS member_id FROM jobs WHERE id = ?"
GET = f"SELECT {_ACTION} FROM moderation_actions WHERE id = ?"
OF_JOB = f"SELECT {_ACTION} FROM moderation_actions WHERE job_id = ? ORDER BY id"
OF_GUILD = f"""
  SELECT {_ACTION} FROM moderation_actions WHERE guild_id = ? ORDER BY id DESC LIMIT ?
"""
LAST_SUSPENSION = """
  SELECT kind FROM moderation_actions
  WHERE guild_id = ? AND person_id = (SELECT id FROM people WHERE discord_id = ?)
    AND kind IN ('suspend', 'lift') ORDER BY id DESC LIMIT 1
"""
# A picture that was hidden already keeps its first time; NULL shows it again.
SET_TAKEN_DOWN = """
  UPDATE images
  SET taken_down_at = CASE WHEN :taken_down_at IS NOT NULL
    THEN coalesce(taken_down_at, :taken_down_at) END
  WHERE id = :image_id AND job_id = :job_id
"""
REMOVE = """
  UPDATE images SET removed_at = coalesce(removed_at, :now)
  WHERE job_id = :job_id
    AND (:images IS NULL OR id IN (SELECT value FROM json_each(:images)))
"""
FILES_OF_JOB = """
  SELECT sha256 FROM images WHERE job_id = :job_id
  UNION SELECT sha256 FROM job_inputs WHERE job_id = :job_id AND image_id IS NULL
"""
UNDER_WAY = """
  SELECT id, state FROM jobs
  WHERE person_id = (SELECT id FROM people WHERE discord_id = ?)
    AND state IN ('held', 'queued', 'running') AND guild_id IS ? ORDER BY id
"""
# The second of two equal reports changes nothing and is answered with the first.
REPORT = """
  INSERT INTO reports (guild_id, job_id, reporter_id, reason, reported_at)
  VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id
"""
OPEN_REPORT = f"""
  SELECT {_REPORT} FROM reports WHERE job_id = ? AND closed_at IS NULL
    AND reporter_id = (SELECT people.id FROM people WHERE people.discord_id = ?)
"""
OPEN_REPORTS = f"""
  SELECT {_REPORT} FROM reports WHERE guild_id = ? AND closed_at IS NULL ORDER BY id
"""
GET_REPORT = f"SELECT {_REPORT} FROM reports WHERE id = ?"
CLOSE_REPORTS = "UPDATE reports SET closed_at = ? WHERE job_id = ? AND closed_at IS NULL"


class ActionKind(StrEnum):
    """What a moderator can do."""

    TAKE_DOWN = "take_down"
    RESTORE = "restore"
    SUSPEND = "suspend"
    LIFT = "lift"
    CANCEL = "cancel"
    DELETE = "delete"
    REPORT_CLOSED = "report_closed"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing a moderator did.

    Args:
        id: Number in the record.
        kind: What.
        guild_id: In which server; None in direct messages.
        moderator_id: Who did it.
        member_id: To whom, or None.
        job_id: About which job, or None.
        image_id: About which picture, or None.
        reason: In the moderator's words.
        at: When.
    """

    id: int
    kind: ActionKind
    guild_id: int | None
    moderator_id: int
    member_id: int | None
    job_id: int | None
    image_id: int | None
    reason: str
    at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A member's report about a job.

    Args:
        id: Number in the record.
        guild_id: In which server; None in direct messages.
        job_id: About which job.
        reporter_id: Who reported it.
        reason: In the reporter's words.
        reported_at: When.
        closed_at: When a moderator dealt with it, or None.
    """

    id: int
    guild_id: int | None
    job_id: int
    reporter_id: int
    reason: str
    reported_at: dt.datetime
    closed_at: dt.datetime | None = None


class Moderation:
    """The moderators' journal and the members' reports.

    What a moderator does is one transaction: the change, its audit entry, the messages that show
    it, and a line in the server's log channel if it has one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self,
        kind: ActionKind,
        *,
        guild_id: int | None,
        moderator_id: int,
        reason: str,
        now: dt.datetime,
        member_id: int | None = None,
        job_id: int | None = None,
        image_id: int | None = None,
    ) -> Action:
        """Append one action that changes nothing else, and announce it."""
        async with self._database.transaction() as connection:
            action = await append(
                connection,
                kind,
                guild_id=guild_id,
                moderator_id=moderator_id,
                reason=reason,
                now=now,
                member_id=member_id,
                job_id=job_id,
                image_id=image_id,
            )
            await _announce(connection, [action], now)
            return action

    async def suspend(
        self,
        member_id: int,
        *,
        guild_id: int | None,
        moderator_id: int,
        reason: str,
        now: dt.datetime,
        job_id: int | None = None,
    ) -> tuple[Action, tuple[Job, ...]]:
        """Keep a member from drawing in a server, and cancel what they have under way there.

        Returns:
            The action, and the jobs: cancelled, or running with the wish to be.
        """
        async with self._database.transaction() as connection:
            action = await append(
                connection,
                ActionKind.SUSPEND,
                guild_id=guild_id,
                moderator_id=moderator_id,
                reason=reason,
                now=now,
                member_id=member_id,
                job_id=job_id,
            )
            await _announce(connection, [action], now)
            stopped = []
            for row in await connection.execute_fetchall(UNDER_WAY, (member_id, guild_id)):
                await steps.want_cancel(
                    connection, row["id"], by=moderator_id, reason=SUSPENDED, now=now
                )
                stopped.append(await steps.get(connection, row["id"]))
            return action, tuple(stopped)

    async def take_down(
        self,
        job_id: int,
        images: Sequence[int],
        *,
        guild_id: int | None,
        moderator_id: int,
        reason: str,
        now: dt.datetime,
    ) -> tuple[Action, ...]:
        """Hide pictures of a job and append one action for each, all or nothing.

        Without pictures nothing is appended, but the message is drawn anew: a moderator who sees
        them still can say so.

        Args:
            job_id: The job that drew them.
            images: Numbers of the pictures.
            guild_id: In which server.
            moderator_id: Who hides them.
            reason: In the moderator's words.
            now: When.

        Raises:
            NotFound: The job does not exist or one of the pictures is not of this job.
        """
        return await self._change_images(
            ActionKind.TAKE_DOWN, job_id, images, guild_id, moderator_id, reason, now
        )

    async def restore(
        self,
        job_id: int,
        images: Sequence[int],
        *,
        guild_id: int | None,
        moderator_id: int,
        reason: str,
        now: dt.datetime,
    ) -> tuple[Action, ...]:
        """Show pictures again that were taken down; the inverse of `take_down`.

        Raises:
            NotFound: The job does not exist or one of the pictures is not of this job.
        """
        return await self._change_images(
            ActionKind.RESTORE, job_id, images, guild_id, moderator_id, reason, now
        )

    async def remove_pictures(
        self,
        job_id: int,
        *,
        guild_id: int | None,
        by: int,
        reason: str,
        now: dt.datetime,
        images: Sequence[int] | None = None,
    ) -> tuple[str, ...]:
        """Remove a job's pictures on request of its owner or a moderator; the job stays.

        Args:
            job_id: Whose pictures.
            guild_id: In which server.
            by: Who asks.
            reason: For the audit entry.
            now: When; the first time counts.
            images: Numbers of the pictures; None is all.

        Returns:
            SHA-256 of the files that this may leave unused, uploads included: release them with
            `Files.release`. If that does not happen any more, the next sweep does it.

        Raises:
            NotFound: No job has this number.
        """
        async with self._database.transaction() as connection:
            member_id = await _owner_of(connection, job_id)
            numbers = None if images is None else json.dumps(list(images))
            change = {"now": to_text(now), "job_id": job_id, "images": numbers}
            await connection.execute_fetchall(REMOVE, change)
            action = await append(
                connection,
                ActionKind.DELETE,
                guild_id=guild_id,
                moderator_id=by,
                reason=reason,
                now=now,
                member_id=member_id,
                job_id=job_id,
            )
            if by != member_id:
                await _announce(connection, [action], now)
            await steps.want_shown(connection, job_id, now)
            rows = await connection.execute_fetchall(FILES_OF_JOB, {"job_id": job_id})
            return tuple(row["sha256"] for row in rows)

    async def get(self, action_id: int) -> Action:
        """Return an action.

        Raises:
            NotFound: No action has this number.
        """
        row = await self._database.one(GET, (action_id,))
        if row is None:
            raise NotFound("action", action_id)
        return _action_of(row)

    async def of_job(self, job_id: int) -> list[Action]:
        """Return what was done about a job, oldest first."""
        return [_action_of(row) for row in await self._database.all(OF_JOB, (job_id,))]

    async def of_guild(self, guild_id: int, limit: int = 50) -> list[Action]:
        """Return the last actions in a server, newest first."""
        return [_action_of(row) for row in await self._database.all(OF_GUILD, (guild_id, limit))]

    async def is_suspended(self, guild_id: int, member_id: int) -> bool:
        """Return whether a member may not draw in a server: the last word on it counts."""
        row = await self._database.one(LAST_SUSPENSION, (guild_id, member_id))
        return row is not None and row["kind"] == ActionKind.SUSPEND

    async def report(
        self, *, guild_id: int | None, job_id: int, reporter_id: int, reason: str, now: dt.datetime
    ) -> Report:
        """Record a report and announce it, or return the one this member has open about this job.

        Raises:
            NotFound: No job has this number.
        """
        async with self._database.transaction() as connection:
            await _owner_of(connection, job_id)
            await know_server(connection, guild_id)
            person_id = await know_person(connection, reporter_id)
            values = (guild_id, job_id, person_id, reason, to_text(now))
            for row in await connection.execute_fetchall(REPORT, values):
                about = {"report_id": row["id"], "job_id": job_id}
                await announce(connection, guild_id, about, now)
            (row,) = await connection.execute_fetchall(OPEN_REPORT, (job_id, reporter_id))
            return _report_of(row)

    async def get_report(self, report_id: int) -> Report:
        """Return a report.

        Raises:
            NotFound: No report has this number.
        """
        row = await self._database.one(GET_REPORT, (report_id,))
        if row is None:
            raise NotFound("report", report_id)
        return _report_of(row)

    async def open_reports(self, guild_id: int) -> list[Report]:
        """Return the reports of a server that nobody dealt with, oldest first."""
        return [_report_of(row) for row in await self._database.all(OPEN_REPORTS, (guild_id,))]

    async def close_reports(
        self,
        job_id: int,
        *,
        guild_id: int | None,
        moderator_id: int,
        reason: str,
        now: dt.datetime,
    ) -> Action:
        """Close every open report about a job and append one action, both or neither.

        Raises:
            NotFound: No job has this number.
        """
        async with self._database.transaction() as connection:
            member_id = await _owner_of(connection, job_id)
            await connection.execute_fetchall(CLOSE_REPORTS, (to_text(now), job_id))
            action = await append(
                connection,
                ActionKind.REPORT_CLOSED,
                guild_id=guild_id,
                moderator_id=moderator_id,
                reason=reason,
                now=now,
                member_id=member_id,
                job_id=job_id,
            )
            await _announce(connection, [action], now)
            return action

    async def _change_images(
        self,
        kind: ActionKind,
        job_id: int,
        images: Sequence[int],
        guild_id: int | None,
        moderator_id: int,
        reason: str,
        now: dt.datetime,
    ) -> tuple[Action, ...]:
        actions = []
        async with self._database.transaction() as connection:
            member_id = await _owner_of(connection, job_id)
            for image_id in images:
                change = {
                    "taken_down_at": to_text(now) if kind is ActionKind.TAKE_DOWN else None,
                    "image_id": image_id,
                    "job_id": job_id,
                }
                async with connection.execute(SET_TAKEN_DOWN, change) as cursor:
                    if not cursor.rowcount:
                        raise NotFound("image", image_id)
                action = await append(
                    connection,
                    kind,
                    guild_id=guild_id,
                    moderator_id=moderator_id,
                    reason=reason,
                    now=now,
                    member_id=member_id,
                    job_id=job_id,
                    image_id=image_id,
                )
                actions.append(action)
            await _announce(connection, actions, now)
            await steps.want_shown(connection, job_id, now)
        return tuple(actions)


async def append(
    connection: aiosqlite.Connection,
    kind: ActionKind,
    *,
    guild_id: int | None,
    moderator_id: int,
    reason: str,
    now: dt.datetime,
    member_id: int | None = None,
    job_id: int | None = None,
    image_id: int | None = None,
) -> Action:
    """Append an action inside a transaction that does what it says."""
    await know_server(connection, guild_id)
    values = {
        "kind": kind,
        "guild_id": guild_id,
        "moderator_id": await know_person(connection, moderator_id),
        "person_id": None if member_id is None else await know_person(connection, member_id),
        "job_id": job_id,
        "image_id": image_id,
        "reason": reason,
        "at": to_text(now),
    }
    ((action_id,),) = await connection.execute_fetchall(APPEND, values)
    (row,) = await connection.execute_fetchall(GET, (action_id,))
    return _action_of(row)


async def _announce(
    connection: aiosqlite.Connection, actions: Sequence[Action], now: dt.datetime
) -> None:
    if actions:
        about = {"action_ids": [action.id for action in actions], "job_id": actions[0].job_id}
        await announce(connection, actions[0].guild_id, about, now)


async def _owner_of(connection: aiosqlite.Connection, job_id: int) -> int:
    for row in await connection.execute_fetchall(OWNER_OF, (job_id,)):
        return int(row["member_id"])
    raise NotFound("job", job_id)


def _action_of(row: sqlite3.Row) -> Action:
    return Action(
        id=row["id"],
        kind=ActionKind(row["kind"]),
        guild_id=row["guild_id"],
        moderator_id=row["moderator_id"],
        member_id=row["member_id"],
        job_id=row["job_id"],
        image_id=row["image_id"],
        reason=row["reason"],
        at=to_time(row["at"]),
    )


def _report_of(row: sqlite3.Row) -> Report:
    return Report(
        id=row["id"],
        guild_id=row["guild_id"],
        job_id=row["job_id"],
        reporter_id=row["reporter_id"],
        reason=row["reason"],
        reported_at=to_time(row["reported_at"]),
        closed_at=to_time_or_none(row["closed_at"]),
    )
