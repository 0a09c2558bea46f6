"""From what somebody asks for to recorded jobs: the gate, the grammar, the record, the line."""

import asyncio
import dataclasses
import hashlib
import secrets
from collections.abc import Mapping, Sequence

from bot.grammar.flags import BY_SPELLING
from bot.grammar.parsed import ParsedPrompt
from bot.grammar.prompts import CONFIRM_ABOVE, Resolved, choose_model, parse_jobs, resolve
from bot.messages import ASKED, best_of
from bot.studio.acting import Acting
from bot.studio.actors import Actor
from bot.studio.dispatch import Dispatcher
from bot.studio.drawing import now
from bot.studio.gate import Gate
from bot.studio.refusals import Gone, Refused
from generation.work.checkpoints import Checkpoint
from generation.work.inputs import Input, Role
from generation.work.jobs import Image, Job, JobState, Place
from generation.work.prices import price
from generation.work.requests.imagine import MAX_SEED, Imagine
from storage.asking import HELD_LIFE, Limits, NewJob
from storage.errors import LimitReached
from storage.files import FileKind
from storage.settings import GuildSettings, MemberSettings
from storage.store import Store

TOO_LATE = "That request is no longer waiting. Please send the command again."


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
        interaction_id: Discord's number of the command, which tells its own clock, or None.
    """

    text: str
    channel_id: int
    num_images: int | None = None
    image_png: bytes | None = None
    image_notes: tuple[str, ...] = ()
    parent: Image | None = None
    interaction_id: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """Recorded jobs and what stands between them and the queue."""

    jobs: tuple[Job, ...]
    needs_consent: bool
    needs_confirmation: bool


class Asking(Acting):
    """How jobs come to be.

    Args:
        store: What is remembered.
        gate: Whether something may go on.
        dispatcher: The line and the worker.
        checkpoints: What can draw, by name.
        default_model: Name of the checkpoint for prompts that name none.
        jobs_waiting_per_server: Cap on queued and running jobs of one server.
    """

    def __init__(
        self,
        store: Store,
        gate: Gate,
        dispatcher: Dispatcher,
        *,
        checkpoints: Mapping[str, Checkpoint],
        default_model: str,
        jobs_waiting_per_server: int,
    ) -> None:
        super().__init__(store, gate, dispatcher)
        self.checkpoints = checkpoints
        self.default_model = default_model
        self._jobs_waiting_per_server = jobs_waiting_per_server

    async def check_ask(self, actor: Actor, ask: Ask) -> None:
        """Refuse at once what would be refused in the end, before an upload is fetched for it.

        Raises:
            PromptError: The text is not in the grammar.
            Refused: A rule or a limit says no.
        """
        guild = await self.gate.ask(actor, ask.channel_id)
        own = await self.store.settings.member(actor.member_id)
        chosen = self._choose(ask, own, guild)
        for _, checkpoint in chosen:
            self.gate.check_upload(checkpoint)
        limits, new = self._limits(guild), len(chosen)
        try:
            await self.store.jobs.check_limits(
                actor.member_id, actor.guild_id, limits=limits, new=new, now=now()
            )
        except LimitReached as reached:
            raise _too_many(reached, new) from reached

    async def submit(self, actor: Actor, ask: Ask) -> Submission:
        """Check, resolve and record what someone asks for.

        A job that needs an answer first is held; the others are queued in the record, and stand in
        line once `line_up` is called.

        Args:
            actor: Who asks.
            ask: For what.

        Returns:
            The jobs, and which question comes first.

        Raises:
            PromptError: The text is not in the grammar.
            InvalidRequest: A value is out of its range.
            Refused: A rule or a limit says no.
            Gone: What it starts from was removed.
        """
        guild = await self.gate.ask(actor, ask.channel_id)
        if ask.parent is not None:
            await self.gate.check_remix(actor, ask.parent)
        resolved = await self._resolve(actor, ask, guild)
        if ask.image_png is not None:  # only now, so that what is refused leaves no file
            for each in resolved:
                if each.request.start is not None:
                    self.gate.check_upload(self.checkpoints[each.request.model])
            await self.store.files.write(
                ask.image_png, owner=actor.member_id, kind=FileKind.UPLOAD, now=now()
            )
        return await self._record(actor, guild, ask, resolved)

    async def again(
        self, actor: Actor, job_id: int, channel_id: int, *, interaction_id: int | None = None
    ) -> Submission:
        """Record the same request with new seeds.

        Raises:
            Gone: The job is not in the record, or its pictures or what it started from were hidden.
            Refused: A rule or a limit says no.
        """
        job = await self.job_here(actor, job_id)
        guild = await self.gate.ask(actor, channel_id)
        images = await self.store.images.of_job(job.id)
        if any(image.taken_down_at for image in images):
            raise Gone("A moderator has taken those pictures down, so they are not drawn again.")
        if job.request.inputs and images and not any(image.is_shown for image in images):
            raise Gone("Those pictures were removed, with what they started from.")
        request = job.request.reseeded(secrets.randbelow(MAX_SEED + 1))
        request.check()
        resolved = _at_most(guild.images_per_job, Resolved(request, job.notes))
        ask = Ask(text=job.typed, channel_id=channel_id, interaction_id=interaction_id)
        return await self._record(actor, guild, ask, [resolved])

    def confirmed(self, jobs: Sequence[Job]) -> Submission:
        """Return held jobs whose owner has just answered about consent."""
        return Submission(
            tuple(jobs), needs_consent=False, needs_confirmation=len(jobs) > CONFIRM_ABOVE
        )

    async def held(self, actor: Actor, submission: int) -> tuple[Job, ...]:
        """Return what the actor's own command holds until they have answered.

        Args:
            actor: Who answers.
            submission: Number of the command's first job.

        Raises:
            Gone: There is nothing any more, or the question is too old.
        """
        jobs = tuple(
            job
            for job in await self.store.jobs.of_submission(submission)
            if job.state is JobState.HELD
            and job.member_id == actor.member_id
            and now() - job.created_at < HELD_LIFE
        )
        if not jobs:
            raise Gone(TOO_LATE)
        return jobs

    async def claim(self, actor: Actor, jobs: Sequence[Job]) -> tuple[Job, ...]:
        """Queue held jobs in the record, so that a second click finds nothing left to queue.

        Raises:
            Gone: Somebody was faster, the question is too old, or what one starts from is gone.
            Refused: A rule says no by now, or the server's line is full.
        """
        if all(job.state is not JobState.HELD for job in jobs):
            return tuple(jobs)
        await self.gate.claim(actor, jobs)
        try:
            claimed = await self.store.jobs.claim(
                jobs[0].submission,
                member_id=actor.member_id,
                now=now(),
                jobs_waiting_per_server=self._jobs_waiting_per_server,
            )
        except LimitReached as reached:
            raise _too_many(reached, len(jobs)) from reached
        if not claimed:
            raise Gone(TOO_LATE)
        return claimed

    async def line_up(self, jobs: Sequence[Job]) -> None:
        """Put queued jobs in line."""
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

    async def _record(
        self, actor: Actor, guild: GuildSettings, ask: Ask, resolved: Sequence[Resolved]
    ) -> Submission:
        for each in resolved:
            await self.gate.ask_for(actor, each.request)
        unasked = await self.store.consents.needs_answer(actor.member_id, ASKED)
        needs_confirmation = len(resolved) > CONFIRM_ABOVE
        is_held = bool(unasked) or needs_confirmation
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
                sent_after=ask.interaction_id,
            )
            for each in resolved
        ]
        try:
            jobs = await self.store.jobs.add_all(new, limits=self._limits(guild), now=now())
        except LimitReached as reached:
            raise _too_many(reached, len(new)) from reached
        return Submission(jobs, bool(unasked), needs_confirmation)

    def _limits(self, guild: GuildSettings) -> Limits:
        return Limits(member=guild.jobs_waiting_per_member, server=self._jobs_waiting_per_server)

    def _price_s(self, request: Imagine, costs: Mapping[str, float]) -> float:
        max_images = self.dispatcher.max_images.get(request.model, 1)
        return price(request, costs, max_images=max_images).alone_s

    async def _resolve(self, actor: Actor, ask: Ask, guild: GuildSettings) -> list[Resolved]:
        own = await self.store.settings.member(actor.member_id)
        # A default of one's own is no demand, so a smaller server simply draws fewer.
        own_images = min(own.num_images or guild.images_per_job, guild.images_per_job)
        wanted = ask.num_images or own_images
        if wanted > guild.images_per_job:
            raise Refused(f"This server draws at most {guild.images_per_job} images a job.")
        image = await _start_of(ask)
        own_aspect = BY_SPELLING["ar"].read(own.aspect) if own.aspect else None
        resolved = []
        for typed, checkpoint in self._choose(ask, own, guild):
            parsed = dataclasses.replace(typed, aspect=typed.aspect or own_aspect)
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

    def _choose(
        self, ask: Ask, own: MemberSettings, guild: GuildSettings
    ) -> list[tuple[ParsedPrompt, Checkpoint]]:
        """Return each prompt of an ask with what draws it."""
        models = (own.model, guild.default_model, self.default_model)
        default = next(name for name in models if name and name in self.checkpoints)
        return [
            (parsed, choose_model(parsed.model, self.checkpoints, default, parsed=parsed))
            for parsed in parse_jobs(ask.text)
        ]


async def _start_of(ask: Ask) -> Input | None:
    """Return what an ask starts from, by the name its file has or will have."""
    if ask.image_png is not None:
        sha256 = await asyncio.to_thread(hashlib.sha256, ask.image_png)
        return Input(Role.START, sha256.hexdigest())
    return Input(Role.START, ask.parent.sha256, ask.parent.id) if ask.parent else None


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
