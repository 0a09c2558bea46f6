"""Who acts, and what they may do."""

import dataclasses

from bot.studio.refusals import Gone, NotYours, Refused
from generation.work.jobs import Job

ONLY_MODERATORS = "Only moderators (*Manage Messages*, or the server's role) can do that."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, with what the interaction says about them.

    Args:
        member_id: Discord's id.
        guild_id: Where they act, or None.
        channel_id: Where on the server, or None.
        parent_channel_id: Of a thread or a forum's post, the channel it belongs to.
        is_moderator: Has Manage Messages on the whole server, or the server's moderator role.
        moderates_channel: Has Manage Messages in this channel, maybe in no other.
        is_owner_of_server: Has Manage Server.
    """

    member_id: int
    guild_id: int | None
    channel_id: int | None = None
    parent_channel_id: int | None = None
    is_moderator: bool = False
    moderates_channel: bool = False
    is_owner_of_server: bool = False

    def moderates(self, job: Job) -> bool:
        """Return whether the actor may moderate this job: of their server, or of this channel."""
        if self.guild_id is None or job.place.guild_id != self.guild_id:
            return False
        is_here = job.place.channel_id == self.channel_id
        return self.is_moderator or (self.moderates_channel and is_here)

    def require_moderator(self) -> None:
        """Refuse anybody who does not moderate the whole server.

        Raises:
            Refused: The actor is no moderator now.
        """
        if not self.is_moderator:
            raise Refused(ONLY_MODERATORS)

    def require_moderator_of(self, job: Job) -> None:
        """Refuse anybody who does not moderate this job.

        Raises:
            Gone: The job belongs to another server or to none.
            Refused: The actor is no moderator of it now.
        """
        if not (self.is_moderator or self.moderates_channel):
            raise Refused(ONLY_MODERATORS)
        self.require_same_server(job)
        if not self.moderates(job):
            raise Refused("That stands in another channel, which you do not moderate.")

    def require_owner_of(self, job: Job) -> None:
        """Refuse anybody but the job's owner and its moderators.

        Raises:
            Gone: The job belongs to another server or to none.
            NotYours: The actor is neither.
        """
        self.require_same_server(job)
        if job.member_id != self.member_id and not self.moderates(job):
            raise NotYours

    def require_same_server(self, job: Job) -> None:
        """Refuse a button that names a job of another server; Discord itself never sends one.

        Raises:
            Gone: The job belongs to another server or to none.
        """
        if self.guild_id is None or job.place.guild_id != self.guild_id:
            raise Gone("That picture belongs to another server.")
