"""What stands in Discord and what should: one row for each message that people see.

Every transaction that changes what a message should show raises its `wanted`; whoever draws the
message notes in `shown` which value of `wanted` it had read before. A message is due while the two
differ, so a crash, a cut connection or a lost answer only ever delays it, and a failing message
holds up no other. Drawing one twice does no harm: it shows what the record says.
"""

import dataclasses
import datetime as dt
import json
import sqlite3
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any

import aiosqlite

from generation.work.jobs import JobState
from storage import steps
from storage.database import Database
from storage.errors import NotFound
from storage.rows import know_person, know_server, member_of, to_text, to_time, to_time_or_none

_COLUMNS = f"""
  messages.id, messages.kind, messages.job_id, messages.guild_id, messages.channel_id,
  messages.message_id, {member_of("messages.recipient_id")} AS recipient, messages.about,
  messages.wanted, messages.shown, messages.state, messages.reason, messages.nonce,
  messages.sent_after, messages.tries, messages.tried_at, messages.next_try_at, messages.created_at
"""
GET = f"SELECT {_COLUMNS} FROM messages WHERE messages.id = ?"
OF_JOB = f"SELECT {_COLUMNS} FROM messages WHERE messages.job_id = ? AND messages.kind = 'job'"
LAST_TOLD = f"""
  SELECT {_COLUMNS} FROM messages
  WHERE messages.kind = 'log' AND messages.guild_id = ? ORDER BY messages.id DESC LIMIT 1
"""
# No channel takes more than its share, or one that Discord slows down would keep all others waiting.
# However much is due after an outage, only the longest due of it are looked at.
DUE = f"""
  SELECT {_COLUMNS} FROM messages
  WHERE id IN (
    SELECT id FROM (
      SELECT id, row_number() OVER (
        PARTITION BY channel_id, recipient_id ORDER BY next_try_at, id
      ) AS turn
      FROM (
        SELECT id, channel_id, recipient_id, next_try_at FROM messages
        WHERE wanted > shown AND state = 'open' AND next_try_at <= :now
          AND id NOT IN (SELECT value FROM json_each(:but))
          AND (kind <> 'job' OR job_id NOT IN (SELECT value FROM json_each(:but_of)))
        ORDER BY next_try_at LIMIT 1000
      )
    ) WHERE turn <= :share
  )
  ORDER BY next_try_at, id LIMIT :limit
"""
NEXT_DUE = """
  SELECT min(next_try_at) AS at FROM messages
  WHERE wanted > shown AND state = 'open' AND next_try_at > ?
"""
# What should wait longer than anything ever waits was put off by a clock that was set back since.
LONGEST_WAIT = dt.timedelta(hours=7)
BRING_FORWARD = """
  UPDATE messages SET next_try_at = :now
  WHERE wanted > shown AND state = 'open' AND next_try_at > :latest
"""
SHOWN = """
  UPDATE messages SET shown = max(shown, :version), tries = 0, tried_at = :now, reason = NULL
  WHERE id = :id RETURNING CASE kind WHEN 'job' THEN job_id END AS job_id,
    wanted = :version AS is_newest
"""
FAILED = """
  UPDATE messages SET tries = tries + 1, tried_at = :now, next_try_at = :next_try_at,
    reason = :reason
  WHERE id = :id
"""
GIVE_UP = """
  UPDATE messages SET state = :state, tried_at = :now, reason = :reason
  WHERE id = :id RETURNING CASE kind WHEN 'job' THEN job_id END AS job_id
"""
SENDING = "UPDATE messages SET tried_at = ? WHERE id = ?"
PLACE = "UPDATE messages SET channel_id = ?, message_id = ? WHERE id = ?"
INSERT = """
  INSERT INTO messages (
    kind, job_id, guild_id, channel_id, recipient_id, about, wanted, nonce, sent_after, next_try_at,
    created_at)
  VALUES (
    :kind, :job_id, :guild_id, :channel_id, :recipient_id, :about, 1, '', :sent_after, :now, :now)
  RETURNING id
"""
TOLD = """
  SELECT id FROM messages WHERE kind = 'direct' AND recipient_id = ? AND about = ?
"""
SET_NONCE = "UPDATE messages SET nonce = 'atelier-m' || id WHERE id = ?"
POSTING = (JobState.RENDERED, JobState.POSTED)
LOG_CHANNEL = "SELECT settings ->> '$.log_channel_id' AS channel_id FROM servers WHERE id = ?"


class MessageKind(StrEnum):
    """What a message is for."""

    JOB = "job"  # shows a job and its pictures
    LOG = "log"  # tells a server's moderators, in its log channel
    DIRECT = "direct"  # tells one person


class MessageState(StrEnum):
    """Whether a message can be drawn."""

    OPEN = "open"
    GONE = "gone"  # it or its channel was deleted; never sent again by itself
    UNDELIVERABLE = "undeliverable"  # tried again when there is something new to show


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message that people see, or are to see.

    Args:
        id: Number in the record.
        kind: What it is for.
        job_id: The job it shows or is about, or None.
        guild_id: In which server; None in direct messages.
        channel_id: Where; None until a direct message's channel is known.
        message_id: Discord's number of it; None until it was sent.
        recipient: Who gets a direct message, or None.
        about: What to draw it from: ids, no text that people wrote.
        wanted: Grows with each change that people should see.
        shown: The value of `wanted` that stands there.
        state: Whether it can be drawn.
        reason: Why the last try failed or it was given up; for people to read.
        nonce: Discord drops a second message with the same.
        sent_after: Snowflake by Discord's clock before which it was not sent, or None.
        tries: How often it failed since the last success or change.
        tried_at: When it was last tried, or None; once it was, it may stand unknown to us.
        next_try_at: It is not due before.
        created_at: When it was first wanted.
    """

    id: int
    kind: MessageKind
    job_id: int | None
    guild_id: int | None
    channel_id: int | None
    message_id: int | None
    recipient: int | None
    about: Mapping[str, Any]
    wanted: int
    shown: int
    state: MessageState
    reason: str | None
    nonce: str
    sent_after: int | None
    tries: int
    tried_at: dt.datetime | None
    next_try_at: dt.datetime
    created_at: dt.datetime

    @property
    def is_due(self) -> bool:
        """Whether it does not show what it should and can be drawn."""
        return self.wanted > self.shown and self.state is MessageState.OPEN


class Outbox:
    """Every message that people see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, message: int) -> Message:
        """Return a message by its number in the record.

        Raises:
            NotFound: None has this number.
        """
        row = await self._database.one(GET, (message,))
        if row is None:
            raise NotFound("message", message)
        return _message_of(row)

    async def of_job(self, job_id: int) -> Message | None:
        """Return the message that shows a job, or None: a terminal's job has none."""
        row = await self._database.one(OF_JOB, (job_id,))
        return None if row is None else _message_of(row)

    async def last_told(self, guild_id: int) -> Message | None:
        """Return the newest line for a server's log channel, or None."""
        row = await self._database.one(LAST_TOLD, (guild_id,))
        return None if row is None else _message_of(row)

    async def due(
        self,
        now: dt.datetime,
        limit: int,
        *,
        share: int | None = None,
        but: Collection[int] = (),
        but_of: Collection[int] = (),
    ) -> list[Message]:
        """Return messages to draw now, the longest due first.

        Args:
            now: When.
            limit: How many at most.
            share: How many at most of one channel; None: no such limit.
            but: Numbers of messages to leave out.
            but_of: Numbers of jobs whose messages to leave out.
        """
        values = {
            "now": to_text(now),
            "limit": limit,
            "share": share or limit,
            "but": json.dumps(list(but)),
            "but_of": json.dumps(list(but_of)),
        }
        return [_message_of(row) for row in await self._database.all(DUE, values)]

    async def next_due_at(self, after: dt.datetime) -> dt.datetime | None:
        """Return when the next message after a moment will be due; None if none will be."""
        row = await self._database.one(NEXT_DUE, (to_text(after),))
        return to_time_or_none(row["at"]) if row else None

    async def bring_forward(self, now: dt.datetime) -> None:
        """Let nothing wait for a clock that was ahead."""
        async with self._database.transaction() as connection:
            moments = {"now": to_text(now), "latest": to_text(now + LONGEST_WAIT)}
            await connection.execute_fetchall(BRING_FORWARD, moments)

    async def shown(self, message: int, version: int, now: dt.datetime) -> None:
        """Record that a message shows what it should have shown at a version.

        A rendered job whose message shows its pictures, with nothing newer to show, is posted in
        the same transaction.

        Args:
            message: Its number in the record.
            version: The value of `wanted` that was read before the record it was drawn from.
            now: When.

        Raises:
            NotFound: None has this number.
        """
        async with self._database.transaction() as connection:
            values = {"id": message, "version": version, "now": to_text(now)}
            rows = list(await connection.execute_fetchall(SHOWN, values))
            if not rows:
                raise NotFound("message", message)
            job_id = rows[0]["job_id"]
            if job_id is None or not rows[0]["is_newest"]:
                return
            if (await steps.get(connection, job_id)).state is JobState.RENDERED:
                await steps.move(connection, job_id, *POSTING, now=now)

    async def failed(
        self, message: int, *, next_try_at: dt.datetime, reason: str, now: dt.datetime
    ) -> None:
        """Record that a message could not be drawn this time."""
        values = {"id": message, "next_try_at": to_text(next_try_at), "reason": reason}
        await self._set(message, FAILED, {**values, "now": to_text(now)})

    async def give_up(
        self,
        message: int,
        *,
        reason: str,
        now: dt.datetime,
        state: MessageState = MessageState.UNDELIVERABLE,
    ) -> None:
        """Record that a message cannot be drawn, and why: gone, or not until something changes.

        A rendered job that it shows ends with it, as posted to nobody.

        Args:
            message: Its number in the record.
            reason: For people to read.
            now: When.
            state: Gone, or undeliverable.

        Raises:
            NotFound: None has this number.
        """
        values = {"id": message, "state": state, "reason": reason, "now": to_text(now)}
        async with self._database.transaction() as connection:
            rows = list(await connection.execute_fetchall(GIVE_UP, values))
            if not rows:
                raise NotFound("message", message)
            job_id = rows[0]["job_id"]
            if job_id and (await steps.get(connection, job_id)).state is JobState.RENDERED:
                told, (rendered, posted) = f"delivered to nobody: {reason}", POSTING
                await steps.move(connection, job_id, rendered, posted, now=now, reason=told)

    async def sending(self, message: int, now: dt.datetime) -> None:
        """Record that a message is about to be sent, so that it is looked for if that gets lost."""
        await self._set(message, SENDING, (to_text(now), message))

    async def place(self, message: int, *, channel_id: int, message_id: int) -> None:
        """Record where a message stands."""
        await self._set(message, PLACE, (channel_id, message_id, message))

    async def want(self, job_id: int, now: dt.datetime) -> None:
        """Want a job's message drawn anew though the record did not change."""
        async with self._database.transaction() as connection:
            await steps.want_shown(connection, job_id, now)

    async def announce(
        self, guild_id: int | None, about: Mapping[str, Any], now: dt.datetime
    ) -> int | None:
        """Want something told in a server's log channel; None if it has none."""
        async with self._database.transaction() as connection:
            return await announce(connection, guild_id, about, now)

    async def notify(self, member_id: int, about: Mapping[str, Any], now: dt.datetime) -> int:
        """Want something told to one member, once; return the message's number."""
        async with self._database.transaction() as connection:
            person_id = await know_person(connection, member_id)
            told = (person_id, json.dumps(dict(about)))
            for (number,) in await connection.execute_fetchall(TOLD, told):
                return int(number)
            return await _insert(connection, MessageKind.DIRECT, about, now, recipient_id=person_id)

    async def _set(self, key: int, sql: str, values: dict[str, Any] | tuple[object, ...]) -> None:
        async with (
            self._database.transaction() as connection,
            connection.execute(sql, values) as cursor,
        ):
            if not cursor.rowcount:
                raise NotFound("message", key)


async def announce(
    connection: aiosqlite.Connection,
    guild_id: int | None,
    about: Mapping[str, Any],
    now: dt.datetime,
) -> int | None:
    """Want something told in a server's log channel, inside the transaction that did it.

    Args:
        connection: In a transaction.
        guild_id: Whose log channel; None has none.
        about: What to draw it from: ids, no text that people wrote.
        now: When.

    Returns:
        The message's number, or None if the server has no log channel.
    """
    await know_server(connection, guild_id)
    for row in await connection.execute_fetchall(LOG_CHANNEL, (guild_id,)):
        if row["channel_id"] is not None:
            return await _insert(
                connection,
                MessageKind.LOG,
                about,
                now,
                guild_id=guild_id,
                channel_id=row["channel_id"],
            )
    return None


async def _insert(
    connection: aiosqlite.Connection,
    kind: MessageKind,
    about: Mapping[str, Any],
    now: dt.datetime,
    **where: int | None,
) -> int:
    row = {
        "guild_id": None,
        "channel_id": None,
        "recipient_id": None,
        "sent_after": None,
        **where,
        "kind": kind,
        "job_id": about.get("job_id"),
        "about": json.dumps(dict(about)),
        "now": to_text(now),
    }
    ((number,),) = await connection.execute_fetchall(INSERT, row)
    await connection.execute_fetchall(SET_NONCE, (number,))
    return int(number)


def _message_of(row: sqlite3.Row) -> Message:
    return Message(
        id=row["id"],
        kind=MessageKind(row["kind"]),
        job_id=row["job_id"],
        guild_id=row["guild_id"],
        channel_id=row["channel_id"],
        message_id=row["message_id"],
        recipient=row["recipient"],
        about=json.loads(row["about"]),
        wanted=row["wanted"],
        shown=row["shown"],
        state=MessageState(row["state"]),
        reason=row["reason"],
        nonce=row["nonce"],
        sent_after=row["sent_after"],
        tries=row["tries"],
        tried_at=to_time_or_none(row["tried_at"]),
        next_try_at=to_time(row["next_try_at"]),
        created_at=to_time(row["created_at"]),
    )
