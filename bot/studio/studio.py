"""The one story: consent -> policy -> record -> queue -> render -> record -> deliver.

Commands and buttons call these methods and never touch SQL or tensors. Each method checks its own
rights from what the interaction says *now*, so a permission lost between click and action counts.
"""

import dataclasses
import secrets
from collections.abc import Collection, Mapping, Sequence

from bot.grammar.flags import BY_SPELLING
from bot.grammar.prompts import CONFIRM_ABOVE, Resolved, choose_model, parse_jobs, resolve
from bot.messages import CONSENT, best_of
from bot.studio.actors import Actor
from bot.studio.dispatch import Dispatcher
from bot.studio.drawing import now
from bot.studio.oversight import Oversight
from bot.studio.refusals import Gone, Refused
from generation.work.checkpoints import Checkpoint
from generation.work.inputs import Input, Role
from generation.work.jobs import Image, Job, JobState, Place
from generation.work.prices import price
from generation.work.requests.imagine import MAX_SEED, Imagine
from storage.asking import HELD_LIFE, Limits, NewJob
from storage.consent import Scope
from storage.errors import LimitReached, TransitionRefused
from storage.files import FileKind
from storage.settings import GuildSettings
from storage.store import Store

CANCELLABLE = frozenset({JobState.HELD, JobState.QUEUED, JobState.RUNNING})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What someone asks for.

    Args:
        text: The prompt with its flags, as typed; slash options are flags at its end.
        channel_id: Where the result will stand.
        num_images: Chosen number, or None for the default.
        image_png: A decoded picture to start from, or None.
        image_notes: What that picture no longer shows as it did.
        parent: The image this is remixed from, or None.
    """

    text: str
    channel_id: int
    num_images: int | None = None
    image_png: bytes | None = None
    image_notes: tuple[str, ...] = ()
    parent: Image | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """Recorded jobs and what stands between them and the queue."""

    jobs: tuple[Job, ...]
    needs_consent: bool
    needs_confirmation: bool


class Studio:
    """Everything a command or a button can do.

    Args:
        store: What is remembered.
        checkpoints: What can draw, by name.
        default_model: Name of the checkpoint for prompts that name none.
        jobs_waiting_per_server: Cap on held, queued and running jobs of one server.
        dispatcher: The line and the worker.
    """

    def __init__(
        self,
        store: Store,
        checkpoints: Mapping[str, Checkpoint],
        *,
        default_model: str,
        jobs_waiting_per_server: int,
        dispatcher: Dispatcher,
    ) -> None:
        self.store = store
        self.checkpoints = checkpoints
        self.default_model = default_model
        self.oversight = Oversight(store)
        self.dispatcher = dispatcher
        self._jobs_waiting_per_server = jobs_waiting_per_server

    # Asking

    async def submit(self, actor: Actor, ask: Ask) -> Submission:
        """Check, resolve and record what someone asks for.

        A job that needs an answer first is held; the others are queued in the record, and stand in
        line once `line_up` is called, after their message was sent.

        Args:
            actor: Who asks.
            ask: For what.

        Returns:
            The jobs, and which question comes first.

        Raises:
            PromptError: The text is not in the grammar.
            InvalidRequest: A value is out of its range.
            Refused: A rule or a limit says no.
        """
        guild = await self.store.settings.guild(actor.guild_id)
        await self._check_policy(actor, ask.channel_id, guild)
        if ask.parent is not None:
            await self.check_remix(actor, ask.parent)
        resolved = await self._resolve(actor, ask, guild)
        return await self._record(actor, guild, ask, resolved)

    async def again(self, actor: Actor, job_id: int, channel_id: int) -> Submission:
        """Record the same request with new seeds.

        Raises:
            Gone: The job is not in the record, or what it started from was removed.
            Refused: A rule or a limit says no.
        """
        job = await self.job_here(actor, job_id)
        parent = None if job.parent_image_id is None else await self.image(job.parent_image_id)
        ask = Ask(text=job.typed, channel_id=channel_id, parent=parent)
        guild = await self.store.settings.guild(actor.guild_id)
        await self._check_policy(actor, channel_id, guild)
        if parent is not None:
            await self.check_remix(actor, parent)
        request = job.request.reseeded(secrets.randbelow(MAX_SEED + 1))
        resolved = _at_most(guild.images_per_job, Resolved(request, job.notes))
        return await self._record(actor, guild, ask, [resolved])

    async def check_ask(self, actor: Actor, channel_id: int, new: int) -> None:
        """Refuse at once what would be refused in the end, before anything is fetched for it.

        Args:
            actor: Who asks.
            channel_id: Where the results would stand.
            new: For how many jobs.

        Raises:
            Refused: A rule or a limit says no.
        """
        guild = await self.store.settings.guild(actor.guild_id)
        await self._check_policy(actor, channel_id, guild)
        limits = self._limits(guild)
        try:
            await self.store.jobs.check_limits(
                actor.member_id, actor.guild_id, limits=limits, new=new, now=now()
            )
        except LimitReached as reached:
            raise _too_many(reached, new) from reached

    def confirmed(self, jobs: Sequence[Job]) -> Submission:
        """Return held jobs whose owner has just answered about consent."""
        return Submission(
            tuple(jobs), needs_consent=False, needs_confirmation=len(jobs) > CONFIRM_ABOVE
        )

    async def held(self, actor: Actor, first_id: int, last_id: int) -> tuple[Job, ...]:
        """Return the actor's own held jobs in a range of ids.

        Raises:
            Gone: There are none any more.
        """
        jobs = tuple(
            job
            for job in await self.store.jobs.of_submission(first_id)
            if job.state is JobState.HELD
            and job.id <= last_id
            and job.member_id == actor.member_id
            and now() - job.created_at < HELD_LIFE
        )
        if not jobs:
            raise Gone("That request is no longer waiting. Please send the command again.")
        return jobs

    async def claim(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        """Queue held jobs in the record, so that a second click finds nothing left to queue.

        Raises:
            Gone: Somebody was faster, or the question is too old.
            Refused: The server's line is full meanwhile.
        """
        if all(job.state is not JobState.HELD for job in jobs):
            return tuple(jobs)
        try:
            claimed = await self.store.jobs.claim(
                jobs[0].submission,
                member_id=jobs[0].member_id,
                now=now(),
                jobs_waiting_per_server=self._jobs_waiting_per_server,
            )
        except LimitReached as reached:
            raise _too_many(reached, len(jobs)) from reached
        if not claimed:
            raise Gone("That request is no longer waiting. Please send the command again.")
        return claimed

    async def line_up(self, jobs: Sequence[Job]) -> None:
        """Put queued jobs in line; the first messages stand by now, the delivery sends the rest."""
        for job in jobs:
            fresh = await self.job(job.id)
            if fresh.state is JobState.QUEUED:  # or cancelled meanwhile
                await self.dispatcher.push(fresh)

    async def dismiss(self, jobs: Sequence[Job], reason: str) -> None:
        """Cancel held jobs that nobody wants any more."""
        for job in jobs:
            await self.store.jobs.move(
                job.id, expected=JobState.HELD, to=JobState.CANCELLED, now=now(), reason=reason
            )

    async def drop_unanswered(self) -> None:
        """Cancel held jobs whose question was never answered."""
        await self.store.jobs.drop_unanswered(now())

    async def check_remix(self, actor: Actor, parent: Image) -> None:
        """Check that the actor may start from this picture.

        Raises:
            Gone: It was removed, or belongs to another server.
            Refused: Its owner has not agreed to remixes.
        """
        job = await self.job_here(actor, parent.job_id)
        if not parent.is_shown:
            raise Gone("That picture was removed, so it cannot be remixed.")
        if job.member_id == actor.member_id:
            return
        consent = await self.store.consents.current(job.member_id) or {}
        if not consent.get(Scope.REMIX, False):
            raise Refused("Whoever made this picture has not agreed to remixes.")

    async def _record(
        self, actor: Actor, guild: GuildSettings, ask: Ask, resolved: Sequence[Resolved]
    ) -> Submission:
        await self.drop_unanswered()
        consent = await self.store.consents.current(actor.member_id)
        needs_confirmation = len(resolved) > CONFIRM_ABOVE
        is_held = consent is None or needs_confirmation
        costs = await self.store.costs.get()
        new = [
            NewJob(
                member_id=actor.member_id,
                place=Place(guild_id=actor.guild_id, channel_id=ask.channel_id),
                typed=ask.text.encode(errors="replace").decode(),  # half a character is no text
                request=each.request,
                cost_s=self._price_s(each.request, costs),
                state=JobState.HELD if is_held else JobState.QUEUED,
                notes=(*ask.image_notes, *each.notes),
            )
            for each in resolved
        ]
        try:
            jobs = await self.store.jobs.add_all(new, limits=self._limits(guild), now=now())
        except LimitReached as reached:
            raise _too_many(reached, len(new)) from reached
        return Submission(jobs, consent is None, needs_confirmation)

    def _limits(self, guild: GuildSettings) -> Limits:
        return Limits(member=guild.jobs_waiting_per_member, server=self._jobs_waiting_per_server)

    def _price_s(self, request: Imagine, costs: Mapping[str, float]) -> float:
        max_images = self.dispatcher.max_images.get(request.model, 1)
        return price(request, costs, max_images=max_images).alone_s

    async def _check_policy(self, actor: Actor, channel_id: int, guild: GuildSettings) -> None:
        await self._check_suspension(actor)
        allowed = guild.allowed_channel_ids
        if allowed and not {channel_id, actor.parent_channel_id} & set(allowed):
            channels = ", ".join(f"<#{allowed_id}>" for allowed_id in allowed[:5])
            raise Refused(f"Pictures are drawn in {channels} on this server.")

    async def _check_suspension(self, actor: Actor) -> None:
        if actor.guild_id is not None and await self.store.moderation.is_suspended(
            actor.guild_id, actor.member_id
        ):
            raise Refused("A moderator has suspended you from drawing here. Ask them about it.")

    async def _resolve(self, actor: Actor, ask: Ask, guild: GuildSettings) -> list[Resolved]:
        own = await self.store.settings.member(actor.member_id)
        # A default of one's own is no demand, so a smaller server simply draws fewer.
        own_images = min(own.num_images or guild.images_per_job, guild.images_per_job)
        wanted = ask.num_images or own_images
        if wanted > guild.images_per_job:
            raise Refused(f"This server draws at most {guild.images_per_job} images a job.")
        image = await self._init_image(actor, ask)
        own_aspect = BY_SPELLING["ar"].read(own.aspect) if own.aspect else None
        models = (own.model, guild.default_model, self.default_model)
        default = next(name for name in models if name and name in self.checkpoints)
        resolved = []
        for typed in parse_jobs(ask.text):
            parsed = dataclasses.replace(typed, aspect=typed.aspect or own_aspect)
            checkpoint = choose_model(parsed.model, self.checkpoints, default, parsed=parsed)
            styles = (own.style, guild.default_style, checkpoint.default_style)
            resolved.append(
                resolve(
                    parsed,
                    checkpoint=checkpoint,
                    seed=secrets.randbelow(MAX_SEED + 1) if parsed.seed is None else parsed.seed,
                    num_images=wanted,
                    usual_images=guild.images_per_job,
                    negative_prompt=own.negative_prompt or "",
                    image=image,
                    default_style=next((s for s in styles if s in checkpoint.styles), None),
                )
            )
        return resolved

    async def _init_image(self, actor: Actor, ask: Ask) -> Input | None:
        if ask.image_png is not None:
            sha256 = await self.store.files.write(
                ask.image_png, owner=actor.member_id, kind=FileKind.UPLOAD, now=now()
            )
            return Input(Role.START, sha256)
        return Input(Role.START, ask.parent.sha256, ask.parent.id) if ask.parent else None

    # Acting on a job

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
        await self._check_suspension(actor)
        if job.member_id == actor.member_id:
            raise Refused("That is your own picture; votes come from others.")
        await self.store.votes.toggle(image_id, actor.member_id, now())
        return job

    async def cancel(self, actor: Actor, job_id: int) -> Job:
        """Cancel a job that waits (at once) or draws (at its next step).

        Returns:
            The job: cancelled, or still running until the step ends.

        Raises:
            NotYours: The actor is neither owner nor moderator.
            Refused: It has already ended.
        """
        job = await self.job(job_id)
        actor.require_owner_of(job)
        if job.state not in CANCELLABLE:
            raise Refused(f"Job {job.id} is already {job.state.value}; there is nothing to cancel.")
        try:
            job = await self.store.jobs.want_cancel(
                job.id, by=actor.member_id, reason=_by(actor, job), now=now()
            )
        except TransitionRefused as refused:
            raise Refused(
                f"Job {job.id} is already {refused.actual.value}; there is nothing to cancel."
            ) from refused
        await self.dispatcher.cancel(job)
        return job

    async def delete(self, actor: Actor, job_id: int) -> Job:
        """Remove a job's pictures and their files; the record stays.

        Raises:
            NotYours: The actor is neither owner nor moderator.
        """
        job = await self.job(job_id)
        actor.require_owner_of(job)
        files = await self.store.moderation.remove_pictures(
            job_id,
            guild_id=actor.guild_id,
            by=actor.member_id,
            reason=_by(actor, job),
            now=now(),
        )
        await self.store.files.release(files, now())
        return await self.job(job_id)

    # Consent

    async def answer_consent(
        self, actor: Actor, answers: Mapping[Scope, bool], interaction_id: int
    ) -> None:
        """Append the member's answers to the questions."""
        await self.store.consents.append(
            actor.member_id,
            answers,
            text_version=CONSENT.version,
            text_sha256=CONSENT.sha256,
            interaction_id=interaction_id,
            now=now(),
        )

    def known_styles(self, model: str | None = None) -> Collection[str]:
        """Return the style names of one checkpoint, or of all."""
        chosen = (
            [self.checkpoints[model]]
            if model is not None and model in self.checkpoints
            else self.checkpoints.values()
        )
        return sorted({style for checkpoint in chosen for style in checkpoint.styles})


def _at_most(limit: int, resolved: Resolved) -> Resolved:
    """Return what is drawn again with no more pictures than the server allows now."""
    request = resolved.request
    if request.num_candidates <= limit:
        return resolved
    shown = min(request.num_images, limit)
    fewer = dataclasses.replace(request, num_images=shown, num_spare=limit - shown)
    stale = best_of(request.num_images, request.num_candidates)
    notes = [note for note in resolved.notes if note != stale]
    if fewer.num_spare:
        notes.append(best_of(fewer.num_images, fewer.num_candidates))
    if fewer.num_images < request.num_images:
        notes.append(f"This server draws at most {limit} images a job.")
    return Resolved(fewer, tuple(notes))


def _too_many(reached: LimitReached, asked: int) -> Refused:
    if reached.whose == "server":
        return Refused("This server's line is full. Please try again in a few minutes.")
    return Refused(
        f"You have {reached.waiting} jobs waiting here and asked for {asked} more; this server "
        f"allows {reached.limit} a member. Try again when some are done."
    )


def _by(actor: Actor, job: Job) -> str:
    return "by its owner" if actor.member_id == job.member_id else "by a moderator"
