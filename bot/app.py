"""The composition root: builds everything in order and closes it in reverse."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator

from bot.chat.client import AtelierClient
from bot.chat.delivery import Delivery
from bot.chat.uploads import Uploads
from bot.models import checkpoints, offered, taking_uploads
from bot.settings import Settings
from bot.studio.dispatch import Dispatcher
from bot.studio.gate import Gate
from bot.studio.studio import Studio
from generation.engine.supervisor import Supervisor
from generation.work.jobs import Job
from generation.work.outside import Outside, just_wait
from generation.work.tickets import Wait
from storage.store import Store


@dataclasses.dataclass(frozen=True, slots=True)
class App:
    """The parts of a running bot."""

    store: Store
    supervisor: Supervisor
    studio: Studio
    client: AtelierClient


@contextlib.asynccontextmanager
async def open_app(settings: Settings, *, outside: Outside = just_wait) -> AsyncIterator[App]:
    """Open the store and the worker, and build a client that is ready to log in.

    Args:
        settings: Of the operator.
        outside: How a wait for something outside this program (the worker, the next command) is
            declared; simulated environments need to know, Discord does not.
    """
    known = checkpoints(settings)
    async with contextlib.AsyncExitStack() as stack:
        store = await Store.open(settings.data_dir)
        stack.push_async_callback(store.close)
        supervisor = Supervisor(
            checkpoints=known,
            device=settings.device,
            dtype=settings.dtype,
            threads=settings.threads,
            start_timeout_s=settings.start_timeout_s,
            step_timeout_s=settings.step_timeout_s,
            load_timeout_s=settings.load_timeout_s,
            previews=settings.previews,
            outside=outside,
        )
        stack.push_async_callback(supervisor.stop)
        client = AtelierClient()

        async def estimate(job: Job) -> Wait:
            return await dispatcher.estimate(job)

        delivery = Delivery(
            store,
            client,
            estimate=estimate,
            progress_interval_s=settings.progress_interval_s,
            outside=outside,
        )
        client.messages = delivery
        client.uploads = Uploads(settings.max_upload_bytes, settings.upload_hosts)
        gate = Gate(store, taking_uploads(settings, known))
        dispatcher = Dispatcher(store, supervisor, known, delivery, gate, outside)
        client.studio = Studio(
            store,
            gate,
            dispatcher,
            checkpoints=offered(known, settings.default_model),
            default_model=settings.default_model,
            jobs_waiting_per_server=settings.jobs_waiting_per_server,
        )
        yield App(store, supervisor, client.studio, client)
