"""Which pictures may improve the models: those whose makers all agreed, and agree still."""

import dataclasses
import json
import sqlite3
from collections.abc import Collection

from generation.work.jobs import Image
from generation.work.requests.imagine import Imagine
from generation.work.requests.reading import from_json
from storage.database import Database
from storage.rows import IMAGE_COLUMNS, image_of

# `willing`: the last answer counts, and silence is not consent. `free`: what may be used as far as
# it alone goes; an upload may be anybody's, and what was drawn while the answer was no stays out
# when it becomes yes. `tainted`: the rest, and what was drawn from any of it.
CONSENTED = f"""
  WITH RECURSIVE
    willing (person_id, consent_id) AS (
      SELECT person_id, id FROM consents
      WHERE given = 1 AND id IN (
        SELECT max(id) FROM consents WHERE scope = 'training' GROUP BY person_id)
        AND (:texts IS NULL OR text_sha256 IN (SELECT value FROM json_each(:texts)))
    ),
    free (image_id, consent_id, request) AS (
      SELECT images.id, willing.consent_id, jobs.request
      FROM images
        JOIN jobs ON jobs.id = images.job_id
        JOIN willing ON willing.person_id = jobs.person_id
      WHERE jobs.state = 'posted' AND images.removed_at IS NULL AND images.taken_down_at IS NULL
        AND NOT EXISTS (
          SELECT 1 FROM job_inputs WHERE job_inputs.job_id = jobs.id AND image_id IS NULL)
        AND NOT EXISTS (
          SELECT 1 FROM reports WHERE reports.job_id = jobs.id AND reports.closed_at IS NULL)
        AND coalesce((
          SELECT before.given FROM consents AS before
          WHERE before.person_id = jobs.person_id AND before.scope = 'training'
            AND before.given_at <= coalesce(jobs.started_at, jobs.created_at)
          ORDER BY before.given_at DESC, before.id DESC LIMIT 1), 0)
    ),
    tainted (image_id) AS (
      SELECT id FROM images WHERE id NOT IN (SELECT image_id FROM free)
      UNION
      SELECT images.id
      FROM tainted
        JOIN job_inputs ON job_inputs.image_id = tainted.image_id
        JOIN images ON images.job_id = job_inputs.job_id
    )
  SELECT {IMAGE_COLUMNS}, free.request, free.consent_id
  FROM free JOIN images ON images.id = free.image_id
  WHERE free.image_id NOT IN (SELECT image_id FROM tainted)
  ORDER BY images.id
"""


@dataclasses.dataclass(frozen=True, slots=True)
class ConsentedPicture:
    """A picture that may improve the models.

    Args:
        image: Itself.
        request: What it answers.
        consent_id: The record in which its owner agreed.
    """

    image: Image
    request: Imagine
    consent_id: int


async def consented_pictures(
    database: Database, texts: Collection[str] | None = None
) -> list[ConsentedPicture]:
    """Return every picture that may be used for training at this moment, oldest first.

    Posted, neither deleted nor taken down nor reported; no upload behind it; its owner's last
    answer on training is yes, and was yes when it was drawn; and all that again for every picture
    it was drawn from.

    Args:
        database: Where to look.
        texts: Hashes of the words that a yes may have been given to; None takes every yes.
    """
    asked = {"texts": None if texts is None else json.dumps(sorted(texts))}
    return [_picture_of(row) for row in await database.all(CONSENTED, asked)]


def _picture_of(row: sqlite3.Row) -> ConsentedPicture:
    return ConsentedPicture(
        image=image_of(row),
        request=from_json(json.loads(row["request"])),
        consent_id=row["consent_id"],
    )
