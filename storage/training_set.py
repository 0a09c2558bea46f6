"""Which pictures may improve the models: those whose makers all agreed, and agree still."""

import dataclasses
import json
import sqlite3

from generation.work.jobs import Image
from generation.work.requests.imagine import Imagine
from generation.work.requests.reading import from_json
from storage.database import Database
from storage.rows import IMAGE_COLUMNS, image_of

# `willing`: the last answer counts, and silence is not consent. `free`: what may be used as far as
# it alone goes. A start that is not the parent picture was uploaded, and whose it is is unknown.
# `usable` goes from first pictures to what was remixed from them, so that a remix is used only if
# every picture behind it is.
CONSENTED = f"""
  WITH RECURSIVE
    willing (member_id, consent_id) AS (
      SELECT member_id, id FROM consents
      WHERE given = 1 AND id IN (
        SELECT max(id) FROM consents WHERE scope = 'training' GROUP BY member_id)
    ),
    free (image_id, consent_id, request, parent_id) AS (
      SELECT images.id, willing.consent_id, jobs.request, parents.id
      FROM images
        JOIN jobs ON jobs.id = images.job_id
        JOIN willing ON willing.member_id = jobs.member_id
        LEFT JOIN lineage ON lineage.job_id = jobs.id
        LEFT JOIN images AS parents ON parents.id = lineage.image_id
      WHERE jobs.state = 'posted' AND images.removed_at IS NULL AND images.taken_down_at IS NULL
        AND (jobs.source_sha256 IS NULL OR jobs.source_sha256 IS parents.sha256)
        AND NOT EXISTS (
          SELECT 1 FROM reports WHERE reports.job_id = jobs.id AND reports.closed_at IS NULL)
    ),
    usable (image_id) AS (
      SELECT image_id FROM free WHERE parent_id IS NULL
      UNION
      SELECT free.image_id FROM usable JOIN free ON free.parent_id = usable.image_id
    )
  SELECT {IMAGE_COLUMNS}, free.request, free.consent_id
  FROM usable
    JOIN free ON free.image_id = usable.image_id
    JOIN images ON images.id = usable.image_id
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


async def consented_pictures(database: Database) -> list[ConsentedPicture]:
    """Return every picture that may be used for training at this moment, oldest first.

    Posted, neither deleted nor taken down nor reported; no upload behind it; its owner's last
    answer on training is yes; and all that again for each picture it was remixed from.
    """
    return [_picture_of(row) for row in await database.all(CONSENTED)]


def _picture_of(row: sqlite3.Row) -> ConsentedPicture:
    return ConsentedPicture(
        image=image_of(row),
        request=from_json(json.loads(row["request"])),
        consent_id=row["consent_id"],
    )
