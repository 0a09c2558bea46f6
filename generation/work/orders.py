"""What a worker is asked for and what it says when it is ready: standard library only."""

import dataclasses

from generation.work.checkpoints import Checkpoint
from generation.work.inputs import Role
from generation.work.requests.imagine import Imagine
from generation.work.results import EngineFingerprint


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
    """A worker holds its first checkpoint and can draw.

    Args:
        device: `cpu`, `cuda` or `mps`.
        dtype: Of the weights, as torch spells it without `torch.`; `uint8` without a model.
        fingerprint: Of the first checkpoint's engine; each picture carries its own.
        max_images: Pictures that are drawn at once; more in a batch gain nothing.
    """

    device: str
    dtype: str
    fingerprint: EngineFingerprint
    max_images: int


def batch_key(request: Imagine, checkpoint: Checkpoint) -> str:
    """Return the key that jobs must share to be drawn in one batch.

    Same checkpoint, size and steps, guidance or none, an image to start from or none: what makes
    the tensors of a batch alike and its jobs end together. Prompts, seeds, styles, strengths and
    the amount of guidance may differ.
    """
    guided = "guided" if request.guidance_scale > 1 else "unguided"
    start = "image" if request.start else "noise"
    size = f"{request.width}x{request.height}"
    return f"{checkpoint.name}/{size}/{request.num_inference_steps}/{guided}/{start}"
