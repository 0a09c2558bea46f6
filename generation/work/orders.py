"""What a worker is asked for and what it says when it is ready: standard library only."""

import dataclasses

from generation.work.inputs import Role
from generation.work.requests.imagine import Imagine


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """One job for a worker.

    Args:
        job_id: Number under which its events come back.
        request: What to draw.
        blobs: One PNG for each of the request's inputs, in their order: encoded by ourselves (see
            `generation.judging.safety.decode`), never an upload as it came.
    """

    job_id: int
    request: Imagine
    blobs: tuple[bytes, ...] = ()

    @property
    def start_png(self) -> bytes | None:
        """The picture to draw on from, or None."""
        pairs = zip(self.request.inputs, self.blobs, strict=True)
        return next((blob for each, blob in pairs if each.role is Role.START), None)


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker runs and takes orders; it needs no checkpoint for that.

    Args:
        version: Of the messages that it understands.
    """

    version: int
