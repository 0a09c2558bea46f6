"""Who acts, and what they may do."""

import dataclasses

from bot.studio.refusals import NotYours, Refused
from generation.work.jobs import Job


@dataclasses.dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, with what the interaction says about them.

    Args:
        member_id: Discord's id.
        guild_id: Where they act, or None.
        is_moderator: Has Manage Messages here, or the server's moderator role.
        is_owner_of_server: Has Manage Server here.
    """

    member_id: int
    guild_id: int | None
    is_moderator: bool = False
    is_owner_of_server: bool = False

    def require_moderator(self) -> None:
        """Refuse anybody else.

        Raises:
            Refused: The actor is no moderator now.
        """
        if not self.is_moderator:
            raise Refused("Only moderators (*Manage Messages*, or the server's role) can do that.")

    def require_owner_of(self, job: Job) -> None:
        """Refuse anybody but the job's owner and moderators of its server.

        Raises:
            NotYours: The actor is neither.
        """
        here = job.place.guild_id == self.guild_id
        if job.member_id != self.member_id and not (self.is_moderator and here):
            raise NotYours
