"""The record of which job drew which pictures."""

from generation.work.jobs import Image
from storage.database import Database
from storage.errors import NotFound
from storage.rows import IMAGE_COLUMNS, image_of

OF_JOB = f"SELECT {IMAGE_COLUMNS} FROM images WHERE job_id = ? ORDER BY position"
GET = f"SELECT {IMAGE_COLUMNS} FROM images WHERE id = ?"
FIND_BY_SHA256 = f"SELECT {IMAGE_COLUMNS} FROM images WHERE sha256 = ? ORDER BY id"
CHILDREN = "SELECT DISTINCT job_id FROM job_inputs WHERE image_id = ? ORDER BY job_id"


class Images:
    """The record of every picture; `Moderation` hides, shows and removes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_job(self, job_id: int) -> tuple[Image, ...]:
        """Return a job's pictures in order of their index, the removed ones too."""
        return tuple(image_of(row) for row in await self._database.all(OF_JOB, (job_id,)))

    async def get(self, image_id: int) -> Image:
        """Return a picture's record.

        Raises:
            NotFound: No picture has this number.
        """
        row = await self._database.one(GET, (image_id,))
        if row is None:
            raise NotFound("image", image_id)
        return image_of(row)

    async def find_by_sha256(self, sha256: str) -> tuple[Image, ...]:
        """Return every record of a file, oldest first; the same picture may be drawn twice."""
        return tuple(image_of(row) for row in await self._database.all(FIND_BY_SHA256, (sha256,)))

    async def children(self, image_id: int) -> tuple[int, ...]:
        """Return the jobs that start from a picture, oldest first."""
        rows = await self._database.all(CHILDREN, (image_id,))
        return tuple(row["job_id"] for row in rows)
