"""What servers and members chose, and what drawing was measured to cost."""

import dataclasses
import json
import math

from generation.work.requests.imagine import MAX_IMAGES
from storage.database import Database
from storage.rows import know_person

MAX_WAITING = 40
MAX_CONCURRENT = 10
DEFAULT_PRESET = "default"

GUILD = "SELECT settings FROM servers WHERE id = ?"
SAVE_GUILD = """
  INSERT INTO servers (id, settings) VALUES (?, ?)
  ON CONFLICT (id) DO UPDATE SET settings = excluded.settings
"""
MEMBER = """
  SELECT settings FROM presets
  WHERE person_id = (SELECT id FROM people WHERE discord_id = ?) AND name = ?
"""
SAVE_MEMBER = """
  INSERT INTO presets (person_id, name, settings) VALUES (?, ?, ?)
  ON CONFLICT (person_id, name) DO UPDATE SET settings = excluded.settings
"""
COSTS = "SELECT key, seconds FROM costs ORDER BY key"
SAVE_COST = """
  INSERT INTO costs (key, seconds) VALUES (?, ?)
  ON CONFLICT (key) DO UPDATE SET seconds = excluded.seconds
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GuildSettings:
    """What a server decided.

    Args:
        default_style: Style when the member names none, or None for the checkpoint's own.
        default_model: Checkpoint when the member names none, or None for the bot's own.
        allowed_channel_ids: Channels where drawing is allowed; empty means everywhere.
        images_per_job: The most images of one job, 1 to `MAX_IMAGES`.
        jobs_waiting_per_member: The most jobs of one member that wait, 1 to `MAX_WAITING`.
        concurrent_jobs_per_member: The most that run at once, 1 to `MAX_CONCURRENT`.
        log_channel_id: Where reports are posted, or None.
        moderator_role_id: A role that may moderate beside Manage Messages, or None.

    Raises:
        ValueError: A number is out of its range.
    """

    default_style: str | None = None
    default_model: str | None = None
    allowed_channel_ids: tuple[int, ...] = ()
    images_per_job: int = 4
    jobs_waiting_per_member: int = 40
    concurrent_jobs_per_member: int = 2
    log_channel_id: int | None = None
    moderator_role_id: int | None = None

    def __post_init__(self) -> None:
        _check("images_per_job", self.images_per_job, MAX_IMAGES)
        _check("jobs_waiting_per_member", self.jobs_waiting_per_member, MAX_WAITING)
        _check("concurrent_jobs_per_member", self.concurrent_jobs_per_member, MAX_CONCURRENT)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MemberSettings:
    """What a member chose for their own pictures; None leaves it to the server.

    Args:
        style: Name of a style.
        model: Name of a checkpoint.
        aspect: As typed after `--ar`, such as 16:9.
        negative_prompt: What to keep away from.
        num_images: 1 to `MAX_IMAGES`.

    Raises:
        ValueError: The number of images is out of its range.
    """

    style: str | None = None
    model: str | None = None
    aspect: str | None = None
    negative_prompt: str | None = None
    num_images: int | None = None

    def __post_init__(self) -> None:
        if self.num_images is not None:
            _check("num_images", self.num_images, MAX_IMAGES)


class Settings:
    """The choices of servers and members."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def guild(self, guild_id: int | None) -> GuildSettings:
        """Return a server's settings; the defaults in direct messages and for a new server."""
        row = await self._database.one(GUILD, (guild_id,))
        if row is None:
            return GuildSettings()
        fields = json.loads(row["settings"])
        channel_ids = tuple(fields.pop("allowed_channel_ids", ()))
        return GuildSettings(**fields, allowed_channel_ids=channel_ids)

    async def save_guild(self, guild_id: int, settings: GuildSettings) -> None:
        """Record a server's settings."""
        text = json.dumps(dataclasses.asdict(settings))
        async with self._database.transaction() as connection:
            await connection.execute_fetchall(SAVE_GUILD, (guild_id, text))

    async def member(self, member_id: int) -> MemberSettings:
        """Return a member's settings; the defaults for someone new."""
        row = await self._database.one(MEMBER, (member_id, DEFAULT_PRESET))
        return MemberSettings() if row is None else MemberSettings(**json.loads(row["settings"]))

    async def save_member(self, member_id: int, settings: MemberSettings) -> None:
        """Record a member's settings."""
        text = json.dumps(dataclasses.asdict(settings))
        async with self._database.transaction() as connection:
            person_id = await know_person(connection, member_id)
            await connection.execute_fetchall(SAVE_MEMBER, (person_id, DEFAULT_PRESET, text))


class Costs:
    """Measured device-seconds by what is drawn."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self) -> dict[str, float]:
        """Return the measured seconds by key, `model/WxH/steps`."""
        return {row["key"]: row["seconds"] for row in await self._database.all(COSTS)}

    async def save(self, key: str, seconds: float) -> None:
        """Record a measurement; the newest replaces what was there.

        Raises:
            ValueError: The seconds are not a positive finite number.
        """
        if not 0 < seconds < math.inf:
            raise ValueError(f"seconds must be positive and finite, not {seconds!r}")
        async with self._database.transaction() as connection:
            await connection.execute_fetchall(SAVE_COST, (key, seconds))


def _check(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise ValueError(f"{name} must be from 1 to {most}, not {value!r}")
