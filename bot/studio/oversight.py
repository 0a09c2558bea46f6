"""What moderators do: each act has a reason and leaves an audit entry that names who and when."""

from bot.studio.actors import Actor
from bot.studio.dispatch import Dispatcher
from bot.studio.drawing import now
from bot.studio.refusals import Gone, Refused
from generation.work.jobs import Job
from storage.moderation import Action as ModerationAction
from storage.moderation import ActionKind
from storage.store import Store


class Oversight:
    """Acts on the pictures of the moderator's own server.

    Args:
        store: What is remembered.
        dispatcher: The line and the worker.
    """

    def __init__(self, store: Store, dispatcher: Dispatcher) -> None:
        self._store = store
        self._dispatcher = dispatcher

    async def take_down(
        self, actor: Actor, job_id: int, reason: str
    ) -> tuple[ModerationAction, ...]:
        """Hide a job's pictures; the files stay for an appeal.

        Returns:
            One audit entry for each picture that was hidden.

        Raises:
            Refused: The actor is no moderator, or there is nothing to hide.
        """
        job = await self.record_of(actor, job_id)
        shown = [image.id for image in await self._store.images.of_job(job.id) if image.is_shown]
        if not shown:
            await self._store.outbox.want(job.id, now())  # whatever still stands there
            raise Refused("There are no pictures to take down; nothing was changed.")
        return await self._store.moderation.take_down(
            job.id,
            shown,
            guild_id=actor.guild_id,
            moderator_id=actor.member_id,
            reason=reason,
            now=now(),
        )

    async def restore(self, actor: Actor, job_id: int, reason: str) -> tuple[ModerationAction, ...]:
        """Show taken-down pictures again.

        Returns:
            One audit entry for each picture that is shown again.

        Raises:
            Refused: The actor is no moderator, or nothing was taken down.
        """
        job = await self.record_of(actor, job_id)
        images = await self._store.images.of_job(job.id)
        hidden = [image.id for image in images if image.taken_down_at and not image.removed_at]
        if not hidden:
            raise Refused("None of these pictures is taken down; nothing was changed.")
        return await self._store.moderation.restore(
            job.id,
            hidden,
            guild_id=actor.guild_id,
            moderator_id=actor.member_id,
            reason=reason,
            now=now(),
        )

    async def suspend(
        self, actor: Actor, job_id: int, reason: str, *, lift: bool = False
    ) -> ModerationAction:
        """Keep a job's owner from drawing on this server, or let them again.

        What they have waiting is cancelled with it, and what is drawn stops at its next step.

        Args:
            actor: Who acts.
            job_id: The job it is about; the audit entry names it.
            reason: In the moderator's words.
            lift: Whether to let them draw again.

        Raises:
            Refused: The actor does not moderate the whole server or means themselves, or it is so
                already.
        """
        actor.require_moderator()
        job = await self.record_of(actor, job_id)
        if job.member_id == actor.member_id:
            raise Refused("You cannot suspend yourself, nor lift your own suspension.")
        if (
            await self._store.moderation.is_suspended(actor.guild_id or 0, job.member_id)
            is not lift
        ):
            raise Refused("That is so already; nothing was changed.")
        if lift:
            return await self._store.moderation.record(
                ActionKind.LIFT,
                guild_id=actor.guild_id,
                moderator_id=actor.member_id,
                reason=reason,
                now=now(),
                member_id=job.member_id,
                job_id=job.id,
            )
        action, stopped = await self._store.moderation.suspend(
            job.member_id,
            guild_id=actor.guild_id,
            moderator_id=actor.member_id,
            reason=reason,
            now=now(),
            job_id=job.id,
        )
        for each in stopped:
            self._dispatcher.cancel(each)
        return action

    async def report(self, actor: Actor, job_id: int, reason: str) -> Job:
        """Record a member's report of a picture.

        Raises:
            Gone: The job is not in the record.
            Refused: The member has an open report about it.
        """
        job, moment = await self._job(job_id), now()
        actor.require_same_server(job)
        report = await self._store.moderation.report(
            guild_id=actor.guild_id,
            job_id=job_id,
            reporter_id=actor.member_id,
            reason=reason,
            now=moment,
        )
        if report.reported_at != moment:
            raise Refused("You have already reported this; the moderators can see it.")
        return job

    async def close_reports(self, actor: Actor, job_id: int, reason: str) -> ModerationAction:
        """Close every open report about a job.

        Raises:
            Refused: The actor is no moderator, or no report is open.
        """
        job = await self.record_of(actor, job_id)
        reports = await self._store.moderation.open_reports(actor.guild_id or 0)
        if all(report.job_id != job.id for report in reports):
            raise Refused("No report about this is open any more; nothing was changed.")
        return await self._store.moderation.close_reports(
            job.id,
            guild_id=actor.guild_id,
            moderator_id=actor.member_id,
            reason=reason,
            now=now(),
        )

    async def record_of(self, actor: Actor, job_id: int) -> Job:
        """Return a job that the actor moderates.

        Raises:
            Refused: The actor is no moderator, or of other channels only.
            Gone: The job belongs to another server or to none.
        """
        job = await self._job(job_id)
        actor.require_moderator_of(job)
        return job

    async def _job(self, job_id: int) -> Job:
        job = await self._store.jobs.find(job_id)
        if job is None:
            raise Gone("That picture is no longer in my record.")
        return job
