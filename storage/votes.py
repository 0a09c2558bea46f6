"""Votes: one a member and picture."""

import datetime as dt
import json

from generation.work.comparisons import ShownPicture
from storage import steps
from storage.database import Database
from storage.errors import NotFound
from storage.rows import JOB_PLACE, know_person, member_of, to_text

JOB_OF = "SELECT job_id FROM images WHERE id = ?"
TAKE_BACK = "DELETE FROM votes WHERE image_id = ? AND person_id = ?"
VOTE = "INSERT INTO votes (image_id, person_id, voted_at) VALUES (?, ?, ?)"
COUNTS = """
  SELECT images.id, (SELECT count(*) FROM votes WHERE votes.image_id = images.id) AS votes
  FROM images WHERE images.job_id = ? ORDER BY images.position
"""
OF_IMAGE = "SELECT count(*) FROM votes WHERE image_id = ?"
# Shown pictures that answer the same words, from the same start, in the same channel, where more
# than one model answered; sides, seeds and steps are the members' choice.
SIDE_BY_SIDE = f"""
  WITH
    shown (image_id, member_id, model, occasion) AS (
      SELECT images.id, {member_of("jobs.person_id")}, json_extract(jobs.request, '$.model'),
        json_array(coalesce(place.channel_id, 0), jobs.prompt, jobs.negative_prompt, (
          SELECT json_group_array(json_array(role, sha256)) FROM job_inputs
          WHERE job_inputs.job_id = jobs.id))
      FROM jobs JOIN images ON images.job_id = jobs.id {JOB_PLACE}
      WHERE jobs.state = 'posted' AND images.removed_at IS NULL AND images.taken_down_at IS NULL
    ),
    compared (occasion) AS (
      SELECT occasion FROM shown GROUP BY occasion HAVING min(model) < max(model)
    )
  SELECT shown.member_id, shown.model, shown.occasion,
    (SELECT json_group_array(people.discord_id)
      FROM votes JOIN people ON people.id = votes.person_id
      WHERE votes.image_id = shown.image_id AND people.discord_id IS NOT NULL) AS voters
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
            rows = list(await connection.execute_fetchall(JOB_OF, (image_id,)))
            if not rows:
                raise NotFound("image", image_id)
            await steps.want_shown(connection, rows[0]["job_id"], now)
            person_id = await know_person(connection, member_id)
            async with connection.execute(TAKE_BACK, (image_id, person_id)) as cursor:
                if cursor.rowcount:
                    return False
            await connection.execute_fetchall(VOTE, (image_id, person_id, to_text(now)))
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
