"""Everything that is remembered, opened and closed as one."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Self

from storage.consent import Consents
from storage.database import Database
from storage.errors import StorageError
from storage.images import ImageFiles, Images
from storage.jobs import Jobs
from storage.moderation import Moderation
from storage.settings import Costs, Settings
from storage.votes import Votes

DATABASE_NAME = "atelier.db"
IMAGES_NAME = "images"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The one object that the bot holds to remember anything."""

    database: Database
    jobs: Jobs
    images: Images
    files: ImageFiles
    votes: Votes
    consents: Consents
    moderation: Moderation
    settings: Settings
    costs: Costs

    @classmethod
    async def open(cls, directory: Path) -> Self:
        """Open what is remembered in `directory`, making or upgrading it first.

        Raises:
            DatabaseTooNew: It was written by a newer program.
            StorageError: It cannot be opened.
        """
        try:
            # Prompts are private: other accounts of the machine do not get in.
            await asyncio.to_thread(directory.mkdir, 0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{directory} cannot be used: {error}") from error
        database = await Database.open(directory / DATABASE_NAME)
        return cls(
            database=database,
            jobs=Jobs(database),
            images=Images(database),
            files=ImageFiles(directory / IMAGES_NAME),
            votes=Votes(database),
            consents=Consents(database),
            moderation=Moderation(database),
            settings=Settings(database),
            costs=Costs(database),
        )

    async def close(self) -> None:
        """Close the database; nothing else is held open."""
        await self.database.close()
