"""What every technique promises the engine, and the small things that all of them share."""

import functools
import importlib.metadata
import io
from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar

from PIL import Image, ImageOps

from generation.work.checkpoints import Checkpoint
from generation.work.errors import InvalidRequest
from generation.work.orders import Order
from generation.work.remarks import Remark
from generation.work.requests.imagine import Imagine
from generation.work.results import EngineFingerprint


class Slot(Protocol):
    """One picture on its way; only its technique looks inside."""

    @property
    def order(self) -> Order:
        """The order it belongs to."""
        ...

    @property
    def index(self) -> int:
        """Its place among the order's candidates, from 0."""
        ...

    @property
    def alike(self) -> Hashable:
        """What slots must share to take a step together."""
        ...

    @property
    def steps_done(self) -> int:
        """Steps taken, 0 to `steps`."""
        ...

    @property
    def steps(self) -> int:
        """Steps in all, at least 1; when they are done its pixels can be had."""
        ...


S = TypeVar("S", bound=Slot)


class Technique(Protocol[S]):
    """A loaded checkpoint that can draw: it owns state and pixels, the engine owns the loop.

    Only one thread calls it. A picture never depends on the slots that take a step beside it, nor
    on when those joined or left.
    """

    checkpoint: Checkpoint

    @property
    def memory_bytes(self) -> int:
        """What it holds on its device until it is closed."""
        ...

    @property
    def max_images(self) -> int:
        """Slots that take a step at once; more beside them gain nothing."""
        ...

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Everything outside the request that its pictures' bits depend on."""
        ...

    def begin(self, order: Order) -> Sequence[S]:
        """Return one slot for each of the order's `num_candidates`.

        Raises:
            GenerationError: This order cannot be drawn.
            OutOfMemory: The device has no room for it.
        """
        ...

    def step(self, slots: Sequence[S]) -> None:
        """Take slots that are alike and not done one step on.

        Args:
            slots: At least one, at most `max_images`.

        Raises:
            OutOfMemory: The device has no room; the slots are worth nothing any more.
        """
        ...

    def pixels(self, slots: Sequence[S]) -> Sequence[Image.Image]:
        """Return the RGB pictures of slots that are done; they are not used again.

        Raises:
            OutOfMemory: The device has no room.
        """
        ...

    def preview(self, slot: S) -> Image.Image | None:
        """Return the picture so far, or None where there is nothing to see."""
        ...

    def remarks(self, request: Imagine) -> tuple[Remark, ...]:
        """Return what is to be said of how its words were read."""
        ...

    def drop(self, slots: Sequence[S]) -> None:
        """Let go of slots that will take no further step."""
        ...

    def shrink(self, times: int) -> bool:
        """Halve the usual size of a batch so often from now on; return whether that can be.

        Called while there are no slots. 0 is the usual size and always possible.
        """
        ...

    def close(self) -> None:
        """Give everything back, now; nothing else is called afterwards."""
        ...


def open_start(order: Order) -> Image.Image | None:
    """Return the picture that an order draws on from, fitted to its size; None without one.

    Raises:
        InvalidRequest: It is damaged.
    """
    request, png = order.request, order.start_png
    if png is None:
        return None
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            return fit(image.convert("RGB"), request.width, request.height)
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidRequest("image", "damaged", "a whole PNG file") from error


def fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return `image` scaled to cover width x height pixels and cropped around its middle."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), method=Image.Resampling.LANCZOS)


@functools.cache
def atelier_version() -> str:
    """Return the installed version of this project."""
    try:
        return importlib.metadata.version("atelier-discord")
    except importlib.metadata.PackageNotFoundError:
        return "uninstalled"
