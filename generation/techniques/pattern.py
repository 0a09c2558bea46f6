"""Pictures without a model: soft lights in colours drawn from the prompt and the seed.

For trying out a server before any checkpoint is there, and for measuring everything but drawing.
It keeps every promise of a real technique (steps, cancelling, previews, the same bits again) and
uses only operations that IEEE 754 defines exactly, so its pictures are the same on every machine.
"""

import dataclasses
import hashlib
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
from generation.work.requests.imagine import Alike, Imagine
from generation.work.results import EngineFingerprint

Picture = npt.NDArray[np.float64]
MAX_IMAGES_AT_ONCE = 8
LIGHTS = 6


@dataclasses.dataclass(slots=True, eq=False)
class PatternSlot:
    """One picture that is counted from step to step, and painted at the end."""

    order: Order
    index: int
    start: Picture | None
    steps_done: int = 0

    @property
    def alike(self) -> Alike:
        """What it shares with others that step beside it."""
        return self.order.request.alike()

    @property
    def steps(self) -> int:
        """As many as were asked for."""
        return self.order.request.num_inference_steps


class Pattern:
    """The technique without a model.

    Args:
        checkpoint: Its `source` is empty, or `pattern:0.05` to spend that many seconds a step.

    Raises:
        ValueError: The source is neither.
    """

    max_images = MAX_IMAGES_AT_ONCE
    memory_bytes = 0

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._step_delay_s = step_delay_s(checkpoint.source)

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

    def begin(self, order: Order) -> list[PatternSlot]:
        """Return one slot for each picture of an order; see `protocol.Technique`."""
        opened = protocol.open_start(order)
        start = None if opened is None else np.asarray(opened, dtype=np.float64) / 255
        return [PatternSlot(order, index, start) for index in range(order.request.num_candidates)]

    def step(self, slots: Sequence[PatternSlot]) -> None:
        """Take a step, which takes as long as the source says."""
        if self._step_delay_s:
            time.sleep(self._step_delay_s)
        for slot in slots:
            slot.steps_done += 1

    def pixels(self, slots: Sequence[PatternSlot]) -> list[Image.Image]:
        """Return the pictures."""
        return [to_image(self._paint(slot)) for slot in slots]

    def preview(self, slot: PatternSlot) -> Image.Image:
        """Return the picture as it comes out of a grey fog."""
        return to_image(0.5 + (self._paint(slot) - 0.5) * slot.steps_done / slot.steps)

    def remarks(self, request: Imagine) -> tuple[Remark, ...]:
        """Return nothing: every word counts."""
        return ()

    def drop(self, slots: Sequence[PatternSlot]) -> None:
        """Do nothing: nothing is held."""

    def shrink(self, times: int) -> bool:
        """Return whether that is the usual size: there is nothing to gain."""
        return times == 0

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def _paint(self, slot: PatternSlot) -> Picture:
        request = slot.order.request
        picture = paint(request, request.seed_of(slot.index), self.checkpoint)
        if slot.start is None:
            return picture
        return slot.start + (picture - slot.start) * request.strength


def to_image(picture: Picture) -> Image.Image:
    """Return a picture from 0 to 1 as RGB of 8 bits."""
    return Image.fromarray(np.rint(picture * 255).astype(np.uint8))


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
