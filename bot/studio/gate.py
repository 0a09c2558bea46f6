"""May this go on? One answer for a member, a place and what they ask for, at four moments.

    ask      before anything is fetched or recorded
    claim    after a question was answered
    start    when its turn has come
    show     when it is drawn, before anybody can see it

What was allowed once may be forbidden by the next: members are suspended, pictures removed, consent
withdrawn. So every moment looks at the record as it is then, and at every picture a request begins
with, through to its owner. Where a channel stands is known only while somebody acts there, so the
first two look at it. How much may wait is counted where jobs are recorded, in that transaction.
"""

from collections.abc import Collection, Sequence

from bot.messages import ASKED
from bot.studio.actors import Actor
from bot.studio.refusals import BotError, Gone, Refused
from generation.work.checkpoints import Checkpoint
from generation.work.inputs import Input
from generation.work.jobs import Image, Job, JobState
from generation.work.requests.imagine import Imagine
from storage.consent import Scope
from storage.errors import NotFound
from storage.settings import GuildSettings
from storage.store import Store

REMOVED = "The picture it starts from was removed."
SUSPENDED = "A moderator has suspended you from drawing here. Ask them about it."
NO_REMIX = "Whoever made this picture has not agreed to remixes."


class Gate:
    """Says no by raising `Refused` (a rule) or `Gone` (something is not there any more).

    Args:
        store: What is remembered.
        takes_uploads: Names of the checkpoints that may start from uploaded pictures.
    """

    def __init__(self, store: Store, takes_uploads: Collection[str]) -> None:
        self._store = store
        self._takes_uploads = frozenset(takes_uploads)

    async def ask(self, actor: Actor, channel_id: int) -> GuildSettings:
        """Look at who asks and where; return the rules of their server.

        Raises:
            Refused: They are suspended, or nothing is drawn there.
        """
        guild = await self._store.settings.guild(actor.guild_id)
        await self.check_member(actor.guild_id, actor.member_id)
        allowed = guild.allowed_channel_ids
        if allowed and not {channel_id, actor.parent_channel_id} & set(allowed):
            channels = ", ".join(f"<#{allowed_id}>" for allowed_id in allowed[:5])
            raise Refused(f"Pictures are drawn in {channels} on this server.")
        return guild

    async def ask_for(self, actor: Actor, request: Imagine) -> None:
        """Look at everything that a request starts from.

        Raises:
            Refused: Its owner has not agreed, or this checkpoint takes no uploads.
            Gone: It was removed, or belongs to another server.
        """
        await self._check_inputs(request, actor.member_id, actor.guild_id)

    def check_upload(self, checkpoint: Checkpoint) -> None:
        """Refuse an upload before it is fetched, if it would be started from.

        Raises:
            Refused: This checkpoint takes none.
        """
        if "image" in checkpoint.honours:
            self._check_takes_uploads(checkpoint.name)

    async def claim(self, actor: Actor, jobs: Sequence[Job]) -> None:
        """Look at jobs whose question was just answered.

        Raises:
            Refused: A rule says no by now.
            Gone: What one starts from was removed meanwhile.
        """
        await self.ask(actor, jobs[0].place.channel_id)
        for job in jobs:
            await self.ask_for(actor, job.request)

    async def start(self, job: Job) -> None:
        """Look at a job whose turn has come.

        Raises:
            Refused: A rule says no by now.
            Gone: What it starts from was removed meanwhile.
        """
        await self.check_member(job.place.guild_id, job.member_id)
        await self._check_inputs(job.request, job.member_id, job.place.guild_id)

    async def show(self, job: Job) -> None:
        """Look at a job that is drawn, before its pictures can be seen.

        Raises:
            Refused: A rule says no by now.
            Gone: What it started from was removed meanwhile.
        """
        await self.start(job)

    async def check_member(self, guild_id: int | None, member_id: int) -> None:
        """Refuse a member who is suspended.

        Raises:
            Refused: They are.
        """
        if guild_id is not None and await self._store.moderation.is_suspended(guild_id, member_id):
            raise Refused(SUSPENDED)

    async def check_remix(self, actor: Actor, image: Image) -> None:
        """Look at one picture that the actor wants to start from.

        Raises:
            Gone: It was removed, or belongs to another server.
            Refused: Its owner has not agreed to remixes.
        """
        await self._check_picture(image, actor.member_id, actor.guild_id)

    async def _check_inputs(self, request: Imagine, member_id: int, guild_id: int | None) -> None:
        for each in request.inputs:
            if each.image_id is None:
                self._check_takes_uploads(request.model)
                await self._check_upload(each, member_id)
            else:
                try:
                    image = await self._store.images.get(each.image_id)
                except NotFound as lost:
                    raise Gone(REMOVED) from lost
                await self._check_picture(image, member_id, guild_id)

    async def _check_upload(self, upload: Input, member_id: int) -> None:
        owners = await self._store.files.owners(upload.sha256)
        if not owners:
            raise Gone(REMOVED)
        await self._check_agreed(owners, member_id)

    async def _check_picture(self, image: Image, member_id: int, guild_id: int | None) -> None:
        job = await self._store.jobs.get(image.job_id)
        if guild_id is None or job.place.guild_id != guild_id:
            raise Gone("That picture belongs to another server.")
        if not image.is_shown:
            raise Gone(REMOVED)
        await self._check_agreed({job.member_id}, member_id)

    async def _check_agreed(self, owners: Collection[int], member_id: int) -> None:
        """Refuse what is not one's own unless somebody whose own it is lets others remix it."""
        if member_id in owners:
            return
        for owner in owners:
            consent = await self._store.consents.current(owner, ASKED) or {}
            if consent.get(Scope.REMIX, False):
                return
        raise Refused(NO_REMIX)

    def _check_takes_uploads(self, model: str) -> None:
        if model not in self._takes_uploads:
            raise Refused(
                f"`{model}` does not start from uploaded pictures here. You can remix one that I "
                "drew; the operator can allow uploads (`uploads = true`)."
            )


def state_after(no: BotError) -> JobState:
    """Return how a job ends at which the gate said no: refused by a rule, or without its start."""
    return JobState.CANCELLED if isinstance(no, Gone) else JobState.REFUSED
