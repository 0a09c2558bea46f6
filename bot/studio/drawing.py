"""From queued jobs to recorded pictures: the part of the way that the terminal shares.

Order matters: a picture is written and synced before the row that names it commits, so a record
never points at nothing.
"""

import asyncio
import dataclasses
import datetime as dt
import logging
from collections.abc import AsyncIterator, Sequence

from bot.messages import remarks
from generation.engine.supervisor import Supervisor
from generation.work.errors import GenerationError, WorkerCrashed
from generation.work.jobs import Image, Job, JobState
from generation.work.orders import Order
from generation.work.prices import learned_s, price_key
from generation.work.results import (
    ImagesDone,
    OrderCancelled,
    OrderFailed,
    OrderLost,
    Remarked,
    StepDone,
)
from storage.errors import StorageError, TransitionRefused
from storage.jobs import NewImage
from storage.steps import Outcome
from storage.store import Store

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 2
BOT = "bot"  # there is one on a record at a time, so it may take up what it left running
LEASE = dt.timedelta(hours=1)
CRASHED = "The drawing worker stopped twice on this job, so I set it aside."
NOT_SAVED = "The pictures could not be saved. The operator can see why in the log."
NO_WORKER = "The model could not be loaded. The operator can see why with `atelier doctor`."
NO_INIT_IMAGE = "The picture it starts from was removed."


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


async def draw(
    store: Store, supervisor: Supervisor, jobs: Sequence[Job], worker: str = BOT
) -> AsyncIterator[StepDone | Rendered | Ended]:
    """Draw one compatible batch of queued jobs.

    Args:
        store: Where jobs and pictures are recorded.
        supervisor: The worker that draws.
        jobs: Queued jobs with one batch key.
        worker: Under whose lease.

    Yields:
        Progress, then exactly one `Rendered` or `Ended` for each job that was still queued.
    """
    orders: dict[int, Order] = {}
    running: dict[int, Job] = {}
    for job in jobs:
        match await _take(store, job, worker):
            case Order() as order:
                orders[job.id] = order
                running[job.id] = await store.jobs.get(job.id)
            case Job() as failed:
                yield Ended(failed)
    if not orders:
        return
    drawn: dict[int, ImagesDone] = {}
    try:
        async for event in supervisor.render(list(orders.values())):
            if isinstance(event, StepDone):
                yield event
            elif isinstance(event, ImagesDone):
                drawn[event.job_id] = event  # recorded with what is said of its words
            else:
                job = running.pop(event.job_id)
                max_images = supervisor.max_images_by_model.get(job.request.model, 1)
                yield await _close(store, job, drawn.get(job.id), event, max_images)
    except GenerationError as error:
        for job in running.values():
            yield Ended(await _abandon(store, job, error))


async def _abandon(store: Store, job: Job, error: GenerationError) -> Job:
    """End, or line up again, a running job whose worker died or could not start."""
    if isinstance(error, WorkerCrashed):
        log.warning("worker_crashed", extra={"job_id": job.id, "cause": str(error)})
        return await interrupted(store, job)
    log.error("worker_unusable", extra={"job_id": job.id, "cause": str(error)})
    return await store.jobs.move(
        job.id, expected=JobState.RUNNING, to=JobState.FAILED, now=now(), reason=NO_WORKER
    )


async def _take(store: Store, job: Job, worker: str) -> Order | Job | None:
    """Move a queued job to running.

    Returns:
        Its order; the failed job if what it starts from is gone; the cancelled job if that was
        wished while it ran before; None if it was cancelled while it waited.
    """
    try:
        blobs = await asyncio.to_thread(store.files.read_all, job.request.inputs)
        moment = now()
        job = await store.attempts.begin(
            job.id, worker=worker, lease_until=moment + LEASE, now=moment
        )
    except TransitionRefused:
        return None
    except StorageError:
        return await store.jobs.move(
            job.id, expected=JobState.QUEUED, to=JobState.FAILED, now=now(), reason=NO_INIT_IMAGE
        )
    return Order(job.id, job.request, blobs) if job.state is JobState.RUNNING else job


async def interrupted(store: Store, job: Job) -> Job:
    """Start an interrupted job again, once more at most; then fail it with a message.

    Args:
        store: Where jobs are recorded.
        job: A running job whose worker or bot died.
    """
    if job.attempts + 1 < MAX_ATTEMPTS:
        return await store.attempts.end(job.id, Outcome.DIED, now=now())
    return await store.attempts.end(
        job.id, Outcome.DIED, to=JobState.FAILED, reason=CRASHED, now=now()
    )


async def _close(
    store: Store,
    job: Job,
    drawn: ImagesDone | None,
    event: Remarked | OrderFailed | OrderCancelled | OrderLost,
    max_images: int,
) -> Rendered | Ended:
    if drawn is not None and isinstance(event, Remarked):
        return await _record(store, job, drawn, event, max_images)
    return Ended(await _end(store, job, event))


async def _record(
    store: Store, job: Job, done: ImagesDone, remarked: Remarked, max_images: int
) -> Rendered | Ended:
    try:
        written = await store.files.write_all(
            [image.png for image in done.images], owner=job.member_id, now=now()
        )
    except StorageError:  # a full or broken disk
        log.exception("picture_not_saved", extra={"job_id": job.id})
        return Ended(await store.attempts.end(job.id, Outcome.FAILED, reason=NOT_SAVED, now=now()))
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
    job, images = await store.jobs.record_rendered(
        job.id,
        images=new,
        fingerprint=done.fingerprint.to_json(),
        elapsed_s=done.elapsed_s,
        now=now(),
        # Drawn again, a job brings its notes along.
        notes=tuple(dict.fromkeys([*job.notes, *remarks(job.request.model, remarked.remarks)])),
    )
    if job.state is JobState.CANCELLED:
        return Ended(job)
    await _learn_price(store, job, done.elapsed_s, max_images)
    return Rendered(job, images)


async def _learn_price(store: Store, job: Job, elapsed_s: float, max_images: int) -> None:
    key = price_key(job.request)
    remembered_s = (await store.costs.get()).get(key)
    num_images = job.request.num_candidates
    price_s = learned_s(remembered_s, elapsed_s, num_images=num_images, max_images=max_images)
    await store.costs.save(key, price_s)


async def _end(
    store: Store, job: Job, event: Remarked | OrderFailed | OrderCancelled | OrderLost
) -> Job:
    state, reason = JobState.CANCELLED, job.reason
    if isinstance(event, OrderFailed):
        state, reason = JobState.FAILED, event.message
        log.warning("drawing_failed", extra={"job_id": job.id, "kind": event.kind})
    return await store.jobs.move(
        job.id, expected=JobState.RUNNING, to=state, now=now(), reason=reason
    )
