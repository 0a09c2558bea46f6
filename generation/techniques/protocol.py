"""What every technique promises the engine, and the small things that all of them share."""

import functools
import importlib.metadata
import io
from collections.abc import Callable, Sequence
from typing import Protocol

from PIL import Image, ImageOps

from generation.work.checkpoints import Checkpoint
from generation.work.orders import Order
from generation.work.remarks import Remark
from generation.work.requests.imagine import Imagine
from generation.work.results import EngineFingerprint, WorkerEvent

Report = Callable[[WorkerEvent], None]
IsCancelled = Callable[[int], bool]

PREVIEW_FROM_S = 1.0  # seconds a step must take before previews are worth their encoding
PREVIEW_SIDE_PX = 256


class Technique(Protocol):
    """A loaded checkpoint that can draw."""

    checkpoint: Checkpoint

    @property
    def max_images(self) -> int:
        """Pictures that are drawn at once; more in a batch gain nothing."""
        ...

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Everything outside the request that its pictures' bits depend on."""
        ...

    def draw(self, orders: Sequence[Order], report: Report, is_cancelled: IsCancelled) -> None:
        """Draw orders of one `batch_key` together, whoever they belong to.

        What an order looks like never depends on the others. Every order ends with exactly one of
        `ImagesDone` with all `num_candidates` pictures, `OrderFailed` and `OrderCancelled`.

        Args:
            orders: At least one, fit for this checkpoint (see `refuse_unfit`).
            report: Takes each event as it happens.
            is_cancelled: Asked with the job's number at every step boundary.

        Raises:
            OutOfMemory: The device has no room; the orders without an end may be drawn again.
        """
        ...

    def halve_batch(self) -> bool:
        """Draw fewer pictures at once from now on; return whether that was possible."""
        ...

    def remarks(self, request: Imagine) -> tuple[Remark, ...]:
        """Return what is to be said of how its words were read."""
        ...


def fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return `image` scaled to cover width x height pixels and cropped around its middle."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), method=Image.Resampling.LANCZOS)


def encode_png(image: Image.Image) -> bytes:
    """Return the PNG file of an RGB picture: fixed settings and nothing but the pixels."""
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=6)
    return file.getvalue()


def encode_preview(image: Image.Image) -> bytes:
    """Return a PNG of at most `PREVIEW_SIDE_PX` a side, made fast rather than small."""
    small = image.copy()
    small.thumbnail((PREVIEW_SIDE_PX, PREVIEW_SIDE_PX), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, format="PNG", compress_level=1)
    return file.getvalue()


@functools.cache
def atelier_version() -> str:
    """Return the installed version of this project."""
    try:
        return importlib.metadata.version("atelier-discord")
    except importlib.metadata.PackageNotFoundError:
        return "uninstalled"
