"""What moderators did and what members reported; actions are only ever added to."""

import dataclasses
import datetime as dt
import sqlite3
from collections.abc import Sequence
from enum import StrEnum

import aiosqlite

from storage.database import Database
from storage.errors import NotFound
from storage.rows import KNOW_PERSON, KNOW_SERVER, to_text, to_time, to_time_or_none

_ACTION = "id, kind, guild_id, moderator_id, member_id, job_id, image_id, reason, at"
_REPORT = "id, guild_id, job_id, reporter_id, reason, reported_at, closed_at"

APPEND = f"""
  INSERT INTO moderation_actions (
    kind, guild_id, moderator_id, member_id, job_id, image_id, reason, at)
  VALUES (:kind, :guild_id, :moderator_id, :member_id, :job_id, :image_id, :reason, :at)
  RETURNING {_ACTION}
"""
OWNER_OF = "SELECT member_id FROM jobs WHERE id = ?"
OF_JOB = f"SELECT {_ACTION} FROM moderation_actions WHERE job_id = ? ORDER BY id"
OF_GUILD = f"""
  SELECT {_ACTION} FROM moderation_actions WHERE guild_id = ? ORDER BY id DESC LIMIT ?
"""
LAST_SUSPENSION = """
  SELECT kind FROM moderation_actions
  WHERE guild_id = ? AND member_id = ? AND kind IN ('suspend', 'lift') ORDER BY id DESC LIMIT 1
"""
# A picture that was hidden already keeps its first time; NULL shows it again.
SET_TAKEN_DOWN = """
  UPDATE images
  SET taken_down_at = CASE WHEN :taken_down_at IS NOT NULL
    THEN coalesce(taken_down_at, :taken_down_at) END
  WHERE id = :image_id AND job_id = :job_id
"""
# The second of two equal reports changes nothing and is answered with the first.
REPORT = """
  INSERT INTO reports (guild_id, job_id, reporter_id, reason, reported_at)
  VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
OPEN_REPORT = f"""
  SELECT {_REPORT} FROM reports WHERE job_id = ? AND reporter_id = ? AND closed_at IS NULL
"""
OPEN_REPORTS = f"""
  SELECT {_REPORT} FROM reports WHERE guild_id = ? AND closed_at IS NULL ORDER BY id
"""
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
    """The moderators' journal and the members' reports."""

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
        """Append one action."""
        async with self._database.transaction() as connection:
            return await _append(
                connection,
                kind=kind,
                guild_id=guild_id,
                moderator_id=moderator_id,
                member_id=member_id,
                job_id=job_id,
                image_id=image_id,
                reason=reason,
                at=to_text(now),
            )

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
            ActionKind.TAKE_DOWN, job_id, images, guild_id, moderator_id, reason, to_text(now)
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
            ActionKind.RESTORE, job_id, images, guild_id, moderator_id, reason, to_text(now)
        )

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
        """Record a report, or return the one this member has open about this job.

        Raises:
            NotFound: No job has this number.
        """
        async with self._database.transaction() as connection:
            await _owner_of(connection, job_id)
            await _know(connection, guild_id, reporter_id)
            values = (guild_id, job_id, reporter_id, reason, to_text(now))
            await connection.execute_fetchall(REPORT, values)
            (row,) = await connection.execute_fetchall(OPEN_REPORT, (job_id, reporter_id))
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
        at = to_text(now)
        async with self._database.transaction() as connection:
            member_id = await _owner_of(connection, job_id)
            await connection.execute_fetchall(CLOSE_REPORTS, (at, job_id))
            return await _append(
                connection,
                kind=ActionKind.REPORT_CLOSED,
                guild_id=guild_id,
                moderator_id=moderator_id,
                member_id=member_id,
                job_id=job_id,
                image_id=None,
                reason=reason,
                at=at,
            )

    async def _change_images(
        self,
        kind: ActionKind,
        job_id: int,
        images: Sequence[int],
        guild_id: int | None,
        moderator_id: int,
        reason: str,
        at: str,
    ) -> tuple[Action, ...]:
        actions = []
        async with self._database.transaction() as connection:
            member_id = await _owner_of(connection, job_id)
            for image_id in images:
                change = {
                    "taken_down_at": at if kind is ActionKind.TAKE_DOWN else None,
                    "image_id": image_id,
                    "job_id": job_id,
                }
                async with connection.execute(SET_TAKEN_DOWN, change) as cursor:
                    if not cursor.rowcount:
                        raise NotFound("image", image_id)
                action = await _append(
                    connection,
                    kind=kind,
                    guild_id=guild_id,
                    moderator_id=moderator_id,
                    member_id=member_id,
                    job_id=job_id,
                    image_id=image_id,
                    reason=reason,
                    at=at,
                )
                actions.append(action)
        return tuple(actions)


async def _append(connection: aiosqlite.Connection, **values: object) -> Action:
    await _know(connection, values["guild_id"], values["moderator_id"], values["member_id"])
    (row,) = await connection.execute_fetchall(APPEND, values)
    return _action_of(row)


async def _know(connection: aiosqlite.Connection, guild_id: object, *person_ids: object) -> None:
    if guild_id is not None:
        await connection.execute_fetchall(KNOW_SERVER, (guild_id,))
    for person_id in person_ids:
        if person_id is not None:
            await connection.execute_fetchall(KNOW_PERSON, (person_id,))


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
