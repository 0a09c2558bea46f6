"""What a worker is asked for and what it says when it is ready: standard library only."""

import dataclasses

from generation.work.checkpoints import Checkpoint
from generation.work.requests import ImageToImage, TextToImage
from generation.work.results import EngineFingerprint


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """One job for a worker.

    Args:
        job_id: Number under which its events come back.
        request: What to draw.
        image_png: The picture to start from, for an `ImageToImage`: a PNG that we encoded
            ourselves (see `generation.judging.safety.decode`), never an upload as it came.
    """

    job_id: int
    request: TextToImage
    image_png: bytes | None = None


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


def batch_key(request: TextToImage, checkpoint: Checkpoint) -> str:
    """Return the key that jobs must share to be drawn in one batch.

    Same checkpoint, size and steps, guidance or none, an image to start from or none: what makes
    the tensors of a batch alike and its jobs end together. Prompts, seeds, styles, strengths and
    the amount of guidance may differ.
    """
    guided = "guided" if request.guidance_scale > 1 else "unguided"
    start = "image" if isinstance(request, ImageToImage) else "noise"
    size = f"{request.width}x{request.height}"
    return f"{checkpoint.name}/{size}/{request.num_inference_steps}/{guided}/{start}"
