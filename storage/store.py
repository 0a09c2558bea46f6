"""Everything that is remembered, opened and closed as one."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Self

from storage.attempts import Attempts
from storage.consent import Consents
from storage.database import Database
from storage.disk import FOLDERS, ImageFiles
from storage.errors import StorageError
from storage.files import Files
from storage.images import Images
from storage.jobs import Jobs
from storage.moderation import Moderation
from storage.outbox import Outbox
from storage.settings import Costs, Settings
from storage.votes import Votes

DATABASE_NAME = "atelier.db"
IMAGES_NAME = "images"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The one object that the bot holds to remember anything."""

    database: Database
    jobs: Jobs
    attempts: Attempts
    outbox: Outbox
    images: Images
    files: Files
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
            StorageError: It cannot be opened, or pictures lie there without their record.
        """
        try:
            # Prompts are private: other accounts of the machine do not get in.
            await asyncio.to_thread(directory.mkdir, 0o700, parents=True, exist_ok=True)
            await asyncio.to_thread(_check_record, directory)
        except OSError as error:
            raise StorageError(f"{directory} cannot be used: {error.strerror}") from error
        database = await Database.open(directory / DATABASE_NAME)
        return cls(
            database=database,
            jobs=Jobs(database),
            attempts=Attempts(database),
            outbox=Outbox(database),
            images=Images(database),
            files=Files(database, ImageFiles(directory / IMAGES_NAME)),
            votes=Votes(database),
            consents=Consents(database),
            moderation=Moderation(database),
            settings=Settings(database),
            costs=Costs(database),
        )

    async def close(self) -> None:
        """Close the database; nothing else is held open."""
        await self.database.close()


def _check_record(directory: Path) -> None:
    """Refuse to begin a new record beside the pictures of an old one.

    Raises:
        StorageError: The record is absent or empty, but there are pictures.
    """
    path, images = directory / DATABASE_NAME, directory / IMAGES_NAME
    if path.is_file() and path.stat().st_size:
        return
    if any(next((images / folder).glob("*.png"), None) for folder in FOLDERS):
        raise StorageError(
            f"{images} holds pictures, but {path} is missing or empty. Restore a backup: see "
            "docs/backup.md. To begin anew, move the pictures away."
        )
