"""Acting on jobs that are there: finding them, voting, cancelling, deleting."""

import logging

from bot.studio.actors import Actor
from bot.studio.dispatch import Dispatcher
from bot.studio.drawing import now
from bot.studio.gate import Gate
from bot.studio.oversight import Oversight
from bot.studio.refusals import Gone, Refused
from generation.work.jobs import Image, Job, JobState
from storage.errors import StorageError, TransitionRefused
from storage.store import Store

log = logging.getLogger(__name__)

CANCELLABLE = frozenset({JobState.HELD, JobState.QUEUED, JobState.RUNNING})


class Acting:
    """What may be done about a job, by whom.

    Args:
        store: What is remembered.
        gate: Whether something may go on.
        dispatcher: The line and the worker.
    """

    def __init__(self, store: Store, gate: Gate, dispatcher: Dispatcher) -> None:
        self.store = store
        self.gate = gate
        self.dispatcher = dispatcher
        self.oversight = Oversight(store, dispatcher)

    async def job(self, job_id: int) -> Job:
        """Return a job.

        Raises:
            Gone: It is not in the record.
        """
        job = await self.store.jobs.find(job_id)
        if job is None:
            raise Gone("That picture is no longer in my record.")
        return job

    async def job_here(self, actor: Actor, job_id: int) -> Job:
        """Return a job of the server on which the actor acts.

        Raises:
            Gone: It is not in the record, or belongs to another server.
        """
        job = await self.job(job_id)
        actor.require_same_server(job)
        return job

    async def image(self, image_id: int) -> Image:
        """Return an image that people may see.

        Raises:
            Gone: It was removed or taken down.
            NotFound: There never was one.
        """
        image = await self.store.images.get(image_id)
        if not image.is_shown:
            raise Gone("That picture was removed.")
        return image

    async def vote(self, actor: Actor, image_id: int) -> Job:
        """Give or take back the actor's vote.

        Raises:
            Refused: It is the actor's own picture, or they are suspended here.
            Gone: The picture was removed, or belongs to another server.
        """
        image = await self.image(image_id)
        job = await self.job_here(actor, image.job_id)
        await self.gate.check_member(actor.guild_id, actor.member_id)
        if job.member_id == actor.member_id:
            raise Refused("That is your own picture; votes come from others.")
        await self.store.votes.toggle(image_id, actor.member_id, now())
        return job

    async def cancel(self, actor: Actor, job_id: int) -> Job:
        """Cancel a job that waits (at once) or draws (at its next step).

        The wish is in the record before anybody is told: whatever becomes of the worker or of this
        process, the job is not drawn to its end.

        Returns:
            The job: cancelled, or still running until the step ends.

        Raises:
            NotYours: The actor is neither owner nor moderator.
            Refused: It has already ended.
        """
        job = await self.job(job_id)
        actor.require_owner_of(job)
        if job.state not in CANCELLABLE:
            raise _over(job.id, job.state)
        try:
            job = await self.store.jobs.want_cancel(
                job.id, by=actor.member_id, reason=_by(actor, job), now=now()
            )
        except TransitionRefused as refused:
            raise _over(job.id, refused.actual) from refused
        self.dispatcher.cancel(job)
        return job

    async def delete(self, actor: Actor, job_id: int) -> Job:
        """Remove a job's pictures, their files and the upload it started from; the record stays.

        Raises:
            NotYours: The actor is neither owner nor moderator.
        """
        job = await self.job(job_id)
        actor.require_owner_of(job)
        moment = now()
        files = await self.store.moderation.remove_pictures(
            job_id,
            guild_id=actor.guild_id,
            by=actor.member_id,
            reason=_by(actor, job),
            now=moment,
        )
        try:
            await self.store.files.release(files, moment)
        except StorageError:  # they are removed; the next sweep unlinks what nothing names
            log.exception("files_not_released", extra={"job_id": job_id})
        return await self.job(job_id)


def _over(job_id: int, state: JobState) -> Refused:
    return Refused(f"Job {job_id} is already {state.value}; there is nothing to cancel.")


def _by(actor: Actor, job: Job) -> str:
    return "by its owner" if actor.member_id == job.member_id else "by a moderator"
