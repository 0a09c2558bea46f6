"""The line of the record: every queued job stands in the queue with what it is expected to cost."""

import asyncio
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping

from generation.engine.supervisor import Supervisor
from generation.work.jobs import Job
from generation.work.prices import FIRST_PRICE_S, padded
from generation.work.queue import FairQueue
from generation.work.requests.imagine import MAX_IMAGES
from generation.work.tickets import Ticket, Wait
from storage.settings import GuildSettings
from storage.store import Store

AT_ONCE = 100  # jobs that are lined up before the event loop's others have their turn


class Line:
    """Whose turn it is, and when.

    Args:
        store: Where jobs are recorded; the queue in memory is made from it at every start.
        supervisor: Knows how many pictures a checkpoint draws at once.
    """

    def __init__(self, store: Store, supervisor: Supervisor) -> None:
        self._store = store
        self._supervisor = supervisor
        self.queue = FairQueue()

    @property
    def max_images(self) -> Mapping[str, int]:
        """Pictures that each checkpoint draws at once."""
        return self._supervisor.max_images_by_model

    async def line_up_waiting(self, taken: Callable[[], Collection[int]]) -> None:
        """Put every job in line that waits in the record and stands nowhere, some at a time.

        Args:
            taken: Tells the numbers of jobs that are taken out to be drawn at that moment: one may
                be taken after the record was read.
        """
        last_id, guilds = 0, dict[int | None, GuildSettings]()
        while jobs := await self._store.jobs.in_line(after_id=last_id, limit=AT_ONCE):
            for job in jobs:
                guild_id = job.place.guild_id
                if guild_id not in guilds:
                    guilds[guild_id] = await self._store.settings.guild(guild_id)
                if job.id not in self.queue and job.id not in taken():
                    self.queue.push(self._ticket(job, guilds[guild_id]))
            last_id = jobs[-1].id
            await asyncio.sleep(0)

    async def ticket(self, job: Job) -> Ticket:
        """Return what the queue needs to know of a job."""
        return self._ticket(job, await self._store.settings.guild(job.place.guild_id))

    def front(self, count: int) -> list[Ticket]:
        """Return the first tickets in fair order."""
        return list(itertools.islice(self.queue.in_order(), count))

    async def estimate(self, job: Job, drawn: Iterable[tuple[Ticket, float]]) -> Wait:
        """Return the place a job has, or would have, and when its pictures are there.

        Args:
            job: Queued, or about to be.
            drawn: What is being drawn, each with the share that is left of it.
        """
        ticket = await self.ticket(job)
        is_new = job.id not in self.queue
        if is_new:
            self.queue.push(ticket)
        try:
            wait = self.queue.wait(job.id)
        finally:
            if is_new:
                self.queue.remove(job.id)
        others = [(each, left) for each, left in drawn if each.job_id != job.id]
        at_least_s = sum(each.shared_us / 1e6 * left for each, left in others)
        at_most_s = sum(each.cost_s * left for each, left in others)
        return Wait(
            wait.place,
            at_least_s + wait.at_least_s + ticket.shared_us / 1e6,
            at_most_s + wait.at_most_s + ticket.cost_s,
        )

    def _ticket(self, job: Job, guild: GuildSettings) -> Ticket:
        # Whatever a record of another version says: what cannot be drawn fails when its turn comes.
        num_images = min(max(job.request.num_candidates, 1), MAX_IMAGES)
        cost_s = job.cost_s if math.isfinite(job.cost_s) and job.cost_s > 0 else FIRST_PRICE_S
        places = padded(num_images, self.max_images.get(job.request.model, 1))
        # A job that may have killed a worker is drawn alone, so it takes nobody with it.
        alike = ("alone", job.id) if job.attempts else job.request.alike()
        return Ticket(
            job_id=job.id,
            member_id=job.member_id,
            guild_id=job.place.guild_id,
            cost_s=cost_s,
            shared_s=cost_s * num_images / places,
            alike=alike,
            model=job.request.model,
            num_images=num_images,
            max_concurrent=guild.concurrent_jobs_per_member,
        )
