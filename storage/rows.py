"""How values look in the database, and rows as the types that everyone else uses."""

import datetime as dt
import json
import sqlite3

from generation.work.jobs import Image, Job, JobState, Place
from generation.work.requests.reading import from_json


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


JOB_COLUMNS = """
  jobs.id, jobs.member_id, jobs.guild_id, jobs.channel_id, jobs.message_id, jobs.typed,
  jobs.request, jobs.notes, jobs.state, jobs.cost_s, jobs.attempts, jobs.reason, jobs.fingerprint,
  jobs.elapsed_s, jobs.created_at, jobs.started_at, jobs.finished_at,
  (SELECT image_id FROM lineage WHERE lineage.job_id = jobs.id) AS parent_image_id
"""


def job_of(row: sqlite3.Row) -> Job:
    """Return the job of a row with `JOB_COLUMNS`."""
    return Job(
        id=row["id"],
        member_id=row["member_id"],
        place=Place(
            guild_id=row["guild_id"],
            channel_id=row["channel_id"],
            message_id=row["message_id"],
        ),
        typed=row["typed"],
        request=from_json(json.loads(row["request"])),
        state=JobState(row["state"]),
        cost_s=row["cost_s"],
        created_at=to_time(row["created_at"]),
        notes=tuple(json.loads(row["notes"])),
        attempts=row["attempts"],
        reason=row["reason"],
        parent_image_id=row["parent_image_id"],
        fingerprint=row["fingerprint"],
        elapsed_s=row["elapsed_s"],
        started_at=to_time_or_none(row["started_at"]),
        finished_at=to_time_or_none(row["finished_at"]),
    )


IMAGE_COLUMNS = """
  images.id, images.job_id, images.position, images.sha256, images.seed, images.width,
  images.height, images.removed_at, images.taken_down_at
"""


def image_of(row: sqlite3.Row) -> Image:
    """Return the picture of a row with `IMAGE_COLUMNS`."""
    return Image(
        id=row["id"],
        job_id=row["job_id"],
        index=row["position"],
        sha256=row["sha256"],
        seed=row["seed"],
        width=row["width"],
        height=row["height"],
        removed_at=to_time_or_none(row["removed_at"]),
        taken_down_at=to_time_or_none(row["taken_down_at"]),
    )


KNOW_PERSON = "INSERT INTO people (id) VALUES (?) ON CONFLICT DO NOTHING"
KNOW_SERVER = "INSERT INTO servers (id) VALUES (?) ON CONFLICT DO NOTHING"
