"""How values look in the database, and rows as the types that everyone else uses.

People have numbers of their own in the record; Discord's ids of them are known at this border only.
"""

import dataclasses
import datetime as dt
import json
import sqlite3

import aiosqlite

from generation.work.jobs import Image, Job, JobState, Place
from generation.work.requests.imagine import Imagine
from generation.work.requests.reading import from_json

FORGOTTEN = -1  # stands for the Discord id of somebody who was erased; nobody has it

KNOW_PERSON = "INSERT INTO people (discord_id) VALUES (?) ON CONFLICT DO NOTHING"
KNOW_SERVER = "INSERT INTO servers (id) VALUES (?) ON CONFLICT DO NOTHING"
PERSON = "SELECT id FROM people WHERE discord_id = ?"


async def know_person(connection: aiosqlite.Connection, member_id: int) -> int:
    """Return the record's number of a member, inside a transaction; a new one gets one."""
    await connection.execute_fetchall(KNOW_PERSON, (member_id,))
    ((person_id,),) = await connection.execute_fetchall(PERSON, (member_id,))
    return int(person_id)


async def know_server(connection: aiosqlite.Connection, guild_id: int | None) -> None:
    """Let rows name a server, inside a transaction; None is no server."""
    if guild_id is not None:
        await connection.execute_fetchall(KNOW_SERVER, (guild_id,))


def to_text(when: dt.datetime) -> str:
    """Return a time as UTC text of fixed width, which sorts like the time itself.

    Raises:
        ValueError: The time has no zone, so it names no moment.
    """
    if when.tzinfo is None:
        raise ValueError(f"a time needs a zone: {when!r}")
    return when.astimezone(dt.UTC).isoformat(timespec="microseconds")


def to_time(text: str) -> dt.datetime:
    """Return the UTC time that `to_text` wrote."""
    return dt.datetime.fromisoformat(text)


def to_time_or_none(text: str | None) -> dt.datetime | None:
    """Return the UTC time that `to_text` wrote, or None for NULL."""
    return None if text is None else to_time(text)


def member_of(person: str) -> str:
    """Return SQL for the Discord id of a person, who may be nobody or forgotten.

    Args:
        person: The column with the record's number of them.
    """
    known = f"(SELECT discord_id FROM people WHERE people.id = {person})"
    return f"CASE WHEN {person} IS NOT NULL THEN coalesce({known}, {FORGOTTEN}) END"


JOB_COLUMNS = f"""
  jobs.id, jobs.submission, {member_of("jobs.person_id")} AS member_id, jobs.guild_id,
  coalesce(place.channel_id, 0) AS channel_id, place.message_id, jobs.typed, jobs.request,
  jobs.notes, jobs.state, jobs.cost_s, jobs.reason, jobs.fingerprint, jobs.elapsed_s,
  jobs.created_at, jobs.started_at, jobs.finished_at, jobs.cancel_wanted_at,
  {member_of("jobs.cancel_wanted_by")} AS cancel_wanted_by,
  (SELECT count(*) FROM attempts WHERE attempts.job_id = jobs.id AND attempts.outcome = 'died')
    AS attempts,
  (SELECT json_group_array(image_id) FROM (
    SELECT image_id FROM job_inputs WHERE job_inputs.job_id = jobs.id ORDER BY position))
    AS input_image_ids
"""
JOB_PLACE = """
  LEFT JOIN messages AS place ON place.job_id = jobs.id AND place.kind = 'job'
"""


def job_of(row: sqlite3.Row) -> Job:
    """Return the job of a row with `JOB_COLUMNS`, whatever its request says."""
    image_ids: list[int | None] = json.loads(row["input_image_ids"])
    return Job(
        id=row["id"],
        submission=row["submission"],
        member_id=row["member_id"],
        place=Place(
            guild_id=row["guild_id"],
            channel_id=row["channel_id"],
            message_id=row["message_id"],
        ),
        typed=row["typed"],
        request=_with_images(from_json(json.loads(row["request"])), image_ids),
        state=JobState(row["state"]),
        cost_s=row["cost_s"],
        created_at=to_time(row["created_at"]),
        notes=tuple(json.loads(row["notes"])),
        attempts=row["attempts"],
        reason=row["reason"],
        parent_image_id=next((number for number in image_ids if number is not None), None),
        fingerprint=row["fingerprint"],
        elapsed_s=row["elapsed_s"],
        started_at=to_time_or_none(row["started_at"]),
        finished_at=to_time_or_none(row["finished_at"]),
        cancel_wanted_at=to_time_or_none(row["cancel_wanted_at"]),
        cancel_wanted_by=row["cancel_wanted_by"],
    )


def _with_images(request: Imagine, image_ids: list[int | None]) -> Imagine:
    # Requests of the first version do not say which picture they start from; `job_inputs` does.
    if all(each.image_id is not None for each in request.inputs):
        return request
    known = (*image_ids, *[None] * len(request.inputs))
    inputs = tuple(
        dataclasses.replace(each, image_id=image_id)
        for each, image_id in zip(request.inputs, known, strict=False)
    )
    return dataclasses.replace(request, inputs=inputs)


IMAGE_COLUMNS = """
  images.id, images.job_id, images.position, images.sha256, images.pixels_sha256, images.seed,
  images.width, images.height, images.removed_at, images.taken_down_at
"""


def image_of(row: sqlite3.Row) -> Image:
    """Return the picture of a row with `IMAGE_COLUMNS`."""
    return Image(
        id=row["id"],
        job_id=row["job_id"],
        index=row["position"],
        sha256=row["sha256"],
        pixels_sha256=row["pixels_sha256"],
        seed=row["seed"],
        width=row["width"],
        height=row["height"],
        removed_at=to_time_or_none(row["removed_at"]),
        taken_down_at=to_time_or_none(row["taken_down_at"]),
    )
