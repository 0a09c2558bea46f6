"""How jobs enter the record: counted against the limits and inserted in one transaction."""

import dataclasses
import datetime as dt
import json
from collections.abc import Sequence

import aiosqlite

from generation.work.jobs import JobState, Place
from generation.work.requests.imagine import Imagine
from generation.work.requests.reading import to_json
from storage.errors import LimitReached, NotFound
from storage.files import name_file
from storage.rows import know_person, know_server, to_text
from storage.search import letters_of
from storage.steps import ANSWERED_WITHIN

HELD_LIFE = dt.timedelta(minutes=15)  # as long as Discord keeps the question's token
FIRST_STATES = frozenset({JobState.HELD, JobState.QUEUED, JobState.REFUSED})

# What a question holds is a burden to whoever was asked, not to the server; and to nobody once the
# question cannot be answered any more.
WAITING_OF = """
  SELECT count(*) FROM jobs
  WHERE person_id = (SELECT id FROM people WHERE discord_id = :member_id)
    AND state IN ('held', 'queued', 'running') AND guild_id IS :guild_id
    AND (state <> 'held' OR created_at > :held_since)
"""
WAITING_IN = """
  SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND guild_id IS :guild_id
"""
NEXT_ID = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0) + 1"
INSERT = """
  INSERT INTO jobs (
    id, submission, person_id, guild_id, typed, prompt, negative_prompt, letters, request, notes,
    state, cost_s, reason, created_at, finished_at)
  VALUES (
    :id, :submission, :person_id, :guild_id, :typed, :prompt, :negative_prompt, :letters, :request,
    :notes, :state, :cost_s, :reason, :created_at, :finished_at)
"""
INSERT_MESSAGE = """
  INSERT INTO messages (
    kind, job_id, guild_id, channel_id, message_id, wanted, nonce, sent_after, next_try_at,
    created_at)
  VALUES (
    'job', :id, :guild_id, :channel_id, :message_id, :wanted, :nonce, :sent_after, :next_try_at,
    :created_at)
"""
INSERT_INPUT = """
  INSERT INTO job_inputs (job_id, position, role, sha256, image_id, weight)
  VALUES (?, ?, ?, ?, ?, ?)
"""
HAS_IMAGE = "SELECT 1 FROM images WHERE id = ?"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that is to be recorded.

    Args:
        member_id: Who asks; 0 is the terminal.
        place: Where its message will stand; channel 0 is the terminal, which shows none.
        typed: The prompt exactly as typed.
        request: What is drawn, with the pictures it starts from.
        cost_s: Estimated device-seconds.
        state: Held, queued, or refused at once.
        notes: Sentences on what could not be honoured.
        reason: Why it is refused.
        sent_after: Snowflake of the interaction that asked: Discord's own clock, for finding a
            message whose number was lost.

    Raises:
        ValueError: A job's life does not begin with this state.
    """

    member_id: int
    place: Place
    typed: str
    request: Imagine
    cost_s: float
    state: JobState = JobState.QUEUED
    notes: Sequence[str] = ()
    reason: str | None = None
    sent_after: int | None = None

    def __post_init__(self) -> None:
        if self.state not in FIRST_STATES:
            raise ValueError(f"a job does not begin as {self.state}")


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs may wait in one server.

    Args:
        member: Of one member: held, queued and running ones.
        server: Of everybody: queued and running ones.
    """

    member: int
    server: int


async def insert_all(
    connection: aiosqlite.Connection, new: Sequence[NewJob], limits: Limits | None, now: dt.datetime
) -> list[int]:
    """Record jobs of one command inside a transaction and return their numbers.

    Raises:
        LimitReached: More would wait than may.
        NotFound: A picture that one starts from does not exist.
    """
    ((first_id,),) = await connection.execute_fetchall(NEXT_ID)
    if limits is not None and new:
        member_id, guild_id = new[0].member_id, new[0].place.guild_id
        await check_limits(connection, member_id, guild_id, limits, len(new), now)
    for job_id, each in enumerate(new, start=int(first_id)):
        await _insert(connection, job_id, int(first_id), each, now)
    return list(range(int(first_id), int(first_id) + len(new)))


async def check_limits(
    connection: aiosqlite.Connection,
    member_id: int,
    guild_id: int | None,
    limits: Limits,
    new: int,
    now: dt.datetime,
) -> None:
    """Refuse more jobs than may wait, inside the transaction that would add them.

    Raises:
        LimitReached: More would wait than may.
    """
    who = {"member_id": member_id, "guild_id": guild_id, "held_since": to_text(now - HELD_LIFE)}
    ((of_member,),) = await connection.execute_fetchall(WAITING_OF, who)
    if of_member + new > limits.member:
        raise LimitReached("member", of_member, limits.member)
    await check_server(connection, guild_id, limits.server, new)


async def check_server(
    connection: aiosqlite.Connection, guild_id: int | None, limit: int, new: int
) -> None:
    """Refuse more jobs than a server's line holds, inside the transaction that would add them.

    Raises:
        LimitReached: More would wait than may.
    """
    ((in_server,),) = await connection.execute_fetchall(WAITING_IN, {"guild_id": guild_id})
    if in_server + new > limit:
        raise LimitReached("server", in_server, limit)


async def _insert(
    connection: aiosqlite.Connection, job_id: int, submission: int, new: NewJob, now: dt.datetime
) -> None:
    request, place, at = new.request, new.place, to_text(now)
    await know_server(connection, place.guild_id)
    row = {
        "id": job_id,
        "submission": submission,
        "person_id": await know_person(connection, new.member_id),
        "guild_id": place.guild_id,
        "typed": new.typed,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "letters": letters_of(f"{new.typed} {request.prompt} {request.negative_prompt}"),
        "request": json.dumps(to_json(request)),
        "notes": json.dumps(list(new.notes)),
        "state": new.state,
        "cost_s": new.cost_s,
        "reason": new.reason,
        "created_at": at,
        "finished_at": at if new.state.is_final else None,
    }
    await connection.execute_fetchall(INSERT, row)
    if place.channel_id:
        message = {
            "id": job_id,
            "guild_id": place.guild_id,
            "channel_id": place.channel_id,
            "message_id": place.message_id,
            "wanted": new.state is JobState.QUEUED,
            "nonce": f"atelier-{job_id}",
            "sent_after": new.sent_after,
            "next_try_at": to_text(now + ANSWERED_WITHIN),
            "created_at": at,
        }
        await connection.execute_fetchall(INSERT_MESSAGE, message)
    await _insert_inputs(connection, job_id, request)


async def _insert_inputs(connection: aiosqlite.Connection, job_id: int, request: Imagine) -> None:
    for position, each in enumerate(request.inputs):
        if each.image_id is not None and not await connection.execute_fetchall(
            HAS_IMAGE, (each.image_id,)
        ):
            raise NotFound("image", each.image_id)
        values = (job_id, position, each.role, each.sha256, each.image_id, each.weight)
        await connection.execute_fetchall(INSERT_INPUT, values)
        await name_file(connection, each.sha256, job_id)
