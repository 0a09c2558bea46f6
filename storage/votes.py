"""Votes: one a member and picture."""

import datetime as dt
import json

from generation.work.comparisons import ShownPicture
from storage.database import Database
from storage.errors import NotFound
from storage.rows import KNOW_PERSON, to_text

HAS_IMAGE = "SELECT 1 FROM images WHERE id = ?"
TAKE_BACK = "DELETE FROM votes WHERE image_id = ? AND member_id = ?"
VOTE = "INSERT INTO votes (image_id, member_id, voted_at) VALUES (?, ?, ?)"
COUNTS = """
  SELECT images.id, (SELECT count(*) FROM votes WHERE votes.image_id = images.id) AS votes
  FROM images WHERE images.job_id = ? ORDER BY images.position
"""
OF_IMAGE = "SELECT count(*) FROM votes WHERE image_id = ?"
# Shown pictures that answer the same words, from the same start, in the same channel, where more
# than one model answered; sides, seeds and steps are the members' choice.
SIDE_BY_SIDE = """
  WITH
    shown (image_id, member_id, model, occasion) AS (
      SELECT images.id, jobs.member_id, json_extract(jobs.request, '$.model'),
        json_array(jobs.channel_id, jobs.prompt, jobs.negative_prompt, jobs.source_sha256)
      FROM jobs JOIN images ON images.job_id = jobs.id
      WHERE jobs.state = 'posted' AND images.removed_at IS NULL AND images.taken_down_at IS NULL
    ),
    compared (occasion) AS (
      SELECT occasion FROM shown GROUP BY occasion HAVING min(model) < max(model)
    )
  SELECT shown.member_id, shown.model, shown.occasion,
    (SELECT json_group_array(votes.member_id) FROM votes WHERE votes.image_id = shown.image_id)
      AS voters
  FROM compared JOIN shown USING (occasion)
  ORDER BY shown.image_id
"""


class Votes:
    """Who likes which picture."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def toggle(self, image_id: int, member_id: int, now: dt.datetime) -> bool:
        """Give a member's vote, or take it back if it was given.

        Returns:
            Whether the vote counts now.

        Raises:
            NotFound: No picture has this number.
        """
        async with self._database.transaction() as connection:
            if not await connection.execute_fetchall(HAS_IMAGE, (image_id,)):
                raise NotFound("image", image_id)
            async with connection.execute(TAKE_BACK, (image_id, member_id)) as cursor:
                if cursor.rowcount:
                    return False
            await connection.execute_fetchall(KNOW_PERSON, (member_id,))
            await connection.execute_fetchall(VOTE, (image_id, member_id, to_text(now)))
            return True

    async def counts(self, job_id: int) -> dict[int, int]:
        """Return the votes of each of a job's pictures by its number, zeros included."""
        return {row["id"]: row["votes"] for row in await self._database.all(COUNTS, (job_id,))}

    async def of_image(self, image_id: int) -> int:
        """Return how many members voted for a picture."""
        row = await self._database.one(OF_IMAGE, (image_id,))
        return int(row[0]) if row else 0

    async def side_by_side(self) -> list[ShownPicture]:
        """Return the pictures whose votes can say something about models, oldest first."""
        return [
            ShownPicture(
                occasion=row["occasion"],
                checkpoint=row["model"],
                drawn_for=row["member_id"],
                voters=frozenset(json.loads(row["voters"])),
            )
            for row in await self._database.all(SIDE_BY_SIDE)
        ]
