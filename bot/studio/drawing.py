"""The steps from a queued job to recorded pictures, which bot and terminal share.

Order matters: a picture is written and synced before the row that names it commits, so a record
never points at nothing.
"""

import asyncio
import dataclasses
import datetime as dt
import logging
from collections.abc import AsyncIterator, Sequence

from bot.messages import remarks
from bot.studio.gate import Gate, state_after
from bot.studio.refusals import BotError
from generation.engine.supervisor import Supervisor
from generation.work.errors import GenerationError, InvalidRequest, WorkerCrashed
from generation.work.jobs import Image, Job, JobState
from generation.work.orders import Order
from generation.work.prices import learned_s, price_key
from generation.work.remarks import Remark
from generation.work.results import (
    ImagesDone,
    OrderCancelled,
    OrderFailed,
    OrderLost,
    Remarked,
    StepDone,
)
from storage.errors import NotFound, StorageError, TransitionRefused
from storage.jobs import NewImage
from storage.steps import Outcome
from storage.store import Store

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 2
LEASE = dt.timedelta(seconds=60)
CRASHED = "The drawing worker stopped twice on this job, so I set it aside."
NOT_SAVED = "The pictures could not be saved. The operator can see why in the log."
NO_WORKER = "The model could not be loaded. The operator can see why with `atelier doctor`."
NO_INIT_IMAGE = "The picture it starts from was removed."
BAD_INIT_IMAGE = "The picture it starts from cannot be read. The operator can see why in the log."


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """A job runs, and this is what a worker is to be given."""

    job: Job
    order: Order


@dataclasses.dataclass(frozen=True, slots=True)
class Rendered:
    """A job's pictures are on disk and in the record."""

    job: Job
    images: tuple[Image, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """A job ended, or waits again, without pictures; `job.state` says which."""

    job: Job


def now() -> dt.datetime:
    """Return the time, with its zone."""
    return dt.datetime.now(dt.UTC)


# Steps


async def take(store: Store, job: Job, *, worker: str, lease: dt.timedelta = LEASE) -> Begun | Job:
    """Move a queued job to running.

    Returns:
        It with its order; or the job as it is now if it is not to be drawn: nobody can, what it starts from
        is gone, it was cancelled, or somebody else has it.

    Raises:
        StorageError: The record could not be read or written; the job waits as before.
    """
    try:
        job.request.check()  # of another version of this program, perhaps
    except InvalidRequest as wrong:
        return await _end_waiting(store, job, JobState.FAILED, f"{wrong}.")
    try:
        blobs = await asyncio.to_thread(store.files.read_all, job.request.inputs)
    except NotFound:
        return await _end_waiting(store, job, JobState.CANCELLED, NO_INIT_IMAGE)
    except StorageError:
        log.exception("start_unreadable", extra={"job_id": job.id})
        return await _end_waiting(store, job, JobState.FAILED, BAD_INIT_IMAGE)
    moment = now()
    try:
        job = await store.attempts.begin(
            job.id, worker=worker, lease_until=moment + lease, now=moment
        )
    except TransitionRefused:
        return await store.jobs.get(job.id)
    if job.state is not JobState.RUNNING:
        return job
    return Begun(job, Order(job.id, job.request, blobs))


async def _end_waiting(store: Store, job: Job, to: JobState, reason: str) -> Job:
    try:
        return await store.jobs.move(
            job.id, expected=JobState.QUEUED, to=to, now=now(), reason=reason
        )
    except TransitionRefused:  # cancelled meanwhile
        return await store.jobs.get(job.id)


async def record(
    store: Store, job: Job, done: ImagesDone, notes: Sequence[str] = ()
) -> tuple[Job, tuple[Image, ...]]:
    """Write the pictures of a running job and record them.

    Returns:
        The job, rendered, or cancelled if that was wished meanwhile, and its pictures.

    Raises:
        TransitionRefused: It is not running any more.
        StorageError: The disk or the database refused; nothing was recorded.
    """
    written = await store.files.write_all(
        [image.png for image in done.images], owner=job.member_id, now=now()
    )
    new = [
        NewImage(
            index=image.index,
            seed=image.seed,
            sha256=sha256,
            pixels_sha256=image.pixels_sha256,
            width=image.width,
            height=image.height,
        )
        for image, sha256 in zip(done.images, written, strict=True)
    ]
    return await store.jobs.record_rendered(
        job.id,
        images=new,
        fingerprint=done.fingerprint.to_json(),
        elapsed_s=done.elapsed_s,
        now=now(),
        # Drawn again, a job brings its notes along.
        notes=tuple(dict.fromkeys([*job.notes, *notes])),
    )


async def begin(store: Store, gate: Gate, job_id: int, *, worker: str) -> Begun | Job | None:
    """Take a job whose turn has come, if it may still go on; see `take`."""
    job = await store.jobs.find(job_id)
    if job is None or job.state is not JobState.QUEUED:
        return job
    try:
        await gate.start(job)
    except BotError as no:
        return await _end_waiting(store, job, state_after(no), str(no))
    return await take(store, job, worker=worker)


async def finish(store: Store, gate: Gate, job: Job, done: ImagesDone) -> Job:
    """Record the pictures of a job, if they may still be shown; see `record`."""
    try:
        await gate.show(job)
    except BotError as no:
        return await store.attempts.end(
            job.id, Outcome.CANCELLED, to=state_after(no), reason=str(no), now=now()
        )
    job, _ = await record(store, job, done)
    return job


async def learn_price(store: Store, job: Job, elapsed_s: float, max_images: int) -> None:
    """Remember what a picture of this kind costs; without it, estimates are only worse."""
    key = price_key(job.request)
    num_images = job.request.num_candidates
    try:
        remembered_s = (await store.costs.get()).get(key)
        price_s = learned_s(remembered_s, elapsed_s, num_images=num_images, max_images=max_images)
        await store.costs.save(key, price_s)
    except StorageError:
        log.exception("price_not_learned", extra={"job_id": job.id})


async def end(store: Store, job_id: int, event: OrderFailed | OrderCancelled) -> Job:
    """Record that a running job could not be drawn, or was stopped because somebody wished so.

    Raises:
        TransitionRefused: It is not running.
        StorageError: The record could not be written.
    """
    if isinstance(event, OrderCancelled):
        return await store.attempts.end(job_id, Outcome.CANCELLED, now=now())
    log.warning("drawing_failed", extra={"job_id": job_id, "kind": event.kind})
    return await store.attempts.end(job_id, Outcome.FAILED, reason=event.message, now=now())


async def interrupted(store: Store, job: Job) -> Job:
    """Start an interrupted job again, once more at most; then fail it with a message.

    Args:
        store: Where jobs are recorded.
        job: A running job whose worker or bot died.

    Raises:
        TransitionRefused: It is not running.
        StorageError: The record could not be written.
    """
    if job.attempts + 1 < MAX_ATTEMPTS:
        return await store.attempts.end(job.id, Outcome.DIED, now=now())
    return await store.attempts.end(
        job.id, Outcome.DIED, to=JobState.FAILED, reason=CRASHED, now=now()
    )


# All of them, for whoever draws one job after the other


async def draw(
    store: Store, supervisor: Supervisor, job: Job, *, worker: str, lease: dt.timedelta
) -> AsyncIterator[StepDone | Rendered | Ended]:
    """Draw one queued job with a worker that has nothing else to do.

    Args:
        store: Where jobs and pictures are recorded.
        supervisor: The worker that draws.
        job: Queued.
        worker: Under whose lease.
        lease: How long that may take.

    Yields:
        Progress, then one `Rendered` or `Ended`.
    """
    taken = await take(store, job, worker=worker, lease=lease)
    if not isinstance(taken, Begun):
        yield Ended(taken)
        return
    job, drawn = taken.job, None
    try:
        async for event in supervisor.render([taken.order]):
            match event:
                case StepDone():
                    yield event
                case ImagesDone():
                    drawn = event  # recorded with what is said of its words
                case Remarked(remarks=said) if drawn is not None:
                    max_images = supervisor.max_images_by_model.get(job.request.model, 1)
                    yield await _save(store, job, drawn, said, max_images)
                case OrderFailed() | OrderCancelled():
                    yield Ended(await end(store, job.id, event))
                case OrderLost() | Remarked():
                    pass
    except WorkerCrashed as crash:
        log.warning("worker_crashed", extra={"job_id": job.id, "cause": str(crash)})
        yield Ended(await interrupted(store, job))
    except GenerationError:
        log.exception("worker_unusable", extra={"job_id": job.id})
        yield Ended(await store.attempts.end(job.id, Outcome.FAILED, reason=NO_WORKER, now=now()))


async def _save(
    store: Store, job: Job, drawn: ImagesDone, said: Sequence[Remark], max_images: int
) -> Rendered | Ended:
    try:
        job, images = await record(store, job, drawn, remarks(job.request.model, said))
    except StorageError:  # a full or broken disk
        log.exception("picture_not_saved", extra={"job_id": job.id})
        return Ended(await store.attempts.end(job.id, Outcome.FAILED, reason=NOT_SAVED, now=now()))
    if job.state is JobState.CANCELLED:
        return Ended(job)
    await learn_price(store, job, drawn.elapsed_s, max_images)
    return Rendered(job, images)
