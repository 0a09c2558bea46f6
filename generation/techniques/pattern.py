"""Pictures without a model: soft lights in colours drawn from the prompt and the seed.

For trying out a server before any checkpoint is there, and for measuring everything but drawing.
It keeps every promise of a real technique (steps, cancelling, previews, the same bits again) and
uses only operations that IEEE 754 defines exactly, so its pictures are the same on every machine.
"""

import hashlib
import io
import math
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from generation.techniques import protocol
from generation.work.checkpoints import Checkpoint
from generation.work.orders import Order
from generation.work.remarks import Remark
from generation.work.requests.imagine import Imagine
from generation.work.results import (
    DrawnImage,
    EngineFingerprint,
    ImagesDone,
    OrderCancelled,
    StepDone,
)

Picture = npt.NDArray[np.float64]
MAX_IMAGES_AT_ONCE = 8
LIGHTS = 6


class Pattern:
    """The technique without a model.

    Args:
        checkpoint: Its `source` is empty, or `pattern:0.05` to spend that many seconds a step.
        previews: Whether steps of over a second come with a preview.

    Raises:
        ValueError: The source is neither.
    """

    def __init__(self, checkpoint: Checkpoint, *, previews: bool = False) -> None:
        self.checkpoint = checkpoint
        self.max_images = MAX_IMAGES_AT_ONCE
        self._step_delay_s = step_delay_s(checkpoint.source)
        self._previews = previews

    @property
    def fingerprint(self) -> EngineFingerprint:
        """What the pictures' bits depend on: this code and the encoder of the files."""
        return EngineFingerprint(
            {
                "technique": "pattern",
                "atelier": protocol.atelier_version(),
                "numpy": np.__version__,
                "pillow": PIL.__version__,
            }
        )

    def draw(
        self, orders: Sequence[Order], report: protocol.Report, is_cancelled: protocol.IsCancelled
    ) -> None:
        """Draw the orders step by step; see `protocol.Technique`."""
        started_at_s = time.monotonic()
        active = list(orders)
        total = max(order.request.num_inference_steps for order in orders)
        for step in range(1, total + 1):
            if self._step_delay_s:
                time.sleep(self._step_delay_s)
            for order in [order for order in active if is_cancelled(order.job_id)]:
                active.remove(order)
                report(OrderCancelled(order.job_id))
            if not active:
                return
            for order in active:
                report(StepDone(order.job_id, step, total, self._preview(order, step / total)))
        share_s = (time.monotonic() - started_at_s) / len(orders)
        for order in active:
            encoding_at_s = time.monotonic()
            count = order.request.num_candidates
            images = tuple(self._draw_image(order, index) for index in range(count))
            elapsed_s = share_s + time.monotonic() - encoding_at_s
            report(ImagesDone(order.job_id, images, self.fingerprint, elapsed_s))

    def halve_batch(self) -> bool:
        """Return False: nothing to gain."""
        return False

    def remarks(self, request: Imagine) -> tuple[Remark, ...]:
        """Return nothing: every word counts."""
        return ()

    def _draw_image(self, order: Order, index: int) -> DrawnImage:
        request = order.request
        picture = self._paint(order, index)
        pixels = np.rint(picture * 255).astype(np.uint8)
        png = protocol.encode_png(Image.fromarray(pixels))
        return DrawnImage(index, request.seed_of(index), request.width, request.height, png)

    def _paint(self, order: Order, index: int) -> Picture:
        picture = paint(order.request, order.request.seed_of(index), self.checkpoint)
        if order.start_png is not None:
            start = _start_from(order.start_png, order.request)
            picture = start + (picture - start) * order.request.strength
        return picture

    def _preview(self, order: Order, done: float) -> bytes | None:
        if not self._previews or self._step_delay_s < protocol.PREVIEW_FROM_S or done >= 1:
            return None
        faded = 0.5 + (self._paint(order, 0) - 0.5) * done
        return protocol.encode_preview(Image.fromarray(np.rint(faded * 255).astype(np.uint8)))


def step_delay_s(source: str) -> float:
    """Return the seconds a step takes according to a pattern checkpoint's source.

    Raises:
        ValueError: It is neither empty nor `pattern:` and a number from 0 to 3600.
    """
    if source in {"", "pattern"}:
        return 0.0
    kind, _, number = source.partition(":")
    delay_s = float(number) if kind == "pattern" else math.nan
    if not 0 <= delay_s <= 3600:
        raise ValueError(f"source {source!r} must be empty or pattern:<seconds a step>")
    return delay_s


def paint(request: Imagine, seed: int, checkpoint: Checkpoint) -> Picture:
    """Return the picture of `request` with `seed` as [height, width, 3] from 0 to 1.

    The prompt chooses the palette and the seed the composition, so that pictures of one prompt
    look like one family.
    """
    words = [(checkpoint.caption(request, part.text), part.weight) for part in request.prompts]
    meaning = repr((words, request.negative_prompt, request.guidance_scale))
    palette = _chance("palette", meaning, "")
    layout = _chance("layout", meaning, str(seed))
    across = (np.arange(request.width) + 0.5)[None, :, None] / request.height
    down = ((np.arange(request.height) + 0.5) / request.height)[:, None, None]
    picture = _lerp(palette.random(3) * 0.5, palette.random(3) * 0.5 + 0.3, down)
    for _ in range(LIGHTS):
        colour = palette.random(3) * 0.85 + 0.15
        x, y, radius = layout.random(3) * (request.width / request.height, 1.0, 0.35) + (0, 0, 0.1)
        squared = ((across - x) ** 2 + (down - y) ** 2) / radius**2
        glow = 0.75 / (1 + squared**2)  # flat inside, soft at the rim
        picture = _lerp(picture, colour, glow)
    return np.clip(picture, 0.0, 1.0)


def _chance(*words: str) -> np.random.Generator:
    """Return random numbers that only depend on `words`."""
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest)))


def _lerp(start: Picture, end: Picture, share: Picture) -> Picture:
    return start + (end - start) * share


def _start_from(png: bytes, request: Imagine) -> Picture:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        fitted = protocol.fit(image.convert("RGB"), request.width, request.height)
    return np.asarray(fitted, dtype=np.float64) / 255
