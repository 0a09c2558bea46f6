"""Orders in, pictures and progress out: the loop of one device.

A technique owns state and pixels; the loop is here. An order is admitted at any time and begins at
the next turn, beside those that are being drawn: its pictures are slots, and slots that are alike
take their steps together. When an order's slots are done its pixels leave the device and go
through the finishing chain on another thread, while the next steps are taken.

    admit ──> waiting ──> begun ──> stepped, turn by turn ──> pixels ──> finishing ──> told
                 ^          │
                 └──────────┘  alone, if a step that it shared went wrong

An engine knows nothing about processes or pipes. Everything that needs torch is imported when a
checkpoint needs it, so that the technique without a model starts at once.
"""

import contextlib
import dataclasses
import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from generation.engine import finishing
from generation.engine.fetch import Told
from generation.engine.finishing import Picture
from generation.engine.fitness import refuse_unfit
from generation.engine.residents import AnyTechnique, Place, Residents
from generation.techniques.protocol import Slot
from generation.work.checkpoints import Checkpoint
from generation.work.errors import DrawingFailed, GenerationError, OutOfMemory
from generation.work.orders import Order
from generation.work.remarks import Remark
from generation.work.results import (
    EngineFingerprint,
    ImagesDone,
    OrderCancelled,
    OrderFailed,
    Remarked,
    StepDone,
    WorkerEvent,
    failed,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
Report = Callable[[WorkerEvent], None]
AroundLoad = Callable[[str], contextlib.AbstractContextManager[Told]]

PREVIEW_FROM_S = 1.0  # seconds a step must take before previews are worth their decoding
PREVIEW_EVERY_S = 2.0  # messages are not edited more often anyway


@dataclasses.dataclass(slots=True, eq=False)
class Drawing:
    """An order on its way.

    Args:
        order: Which.
        report: Takes what happens to it, from any thread.
        slots: Its pictures, once it has begun.
        spent_s: What it is charged so far.
        failures: How often it ran out of memory.
        is_alone: Whether it shares no step any more, because one that it shared went wrong.
        preview_at_s: When its last preview was told, on the monotonic clock.
        remarks: What its technique says of its words.
    """

    order: Order
    report: Report
    slots: list[Slot] = dataclasses.field(default_factory=list)
    spent_s: float = 0.0
    failures: int = 0
    is_alone: bool = False
    preview_at_s: float = 0.0
    remarks: tuple[Remark, ...] = ()

    @property
    def model(self) -> str:
        """The checkpoint that draws it."""
        return self.order.request.model

    @property
    def steps_done(self) -> int:
        """Steps taken, over all of its pictures."""
        return sum(slot.steps_done for slot in self.slots)

    @property
    def steps(self) -> int:
        """Steps in all, over all of its pictures."""
        return sum(slot.steps for slot in self.slots)


class Engine:
    """Draws with any of its checkpoints. One thread calls it; it reports from others too.

    Args:
        checkpoints: Name to description of all it may load.
        device: As `generation.techniques.device.choose` takes it.
        dtype: As `generation.techniques.device.choose` takes it.
        threads: CPU cores to use; 0 for all.
        previews: Whether slow steps come with a preview.
        memory_bytes: What loaded checkpoints may take together; None for what the device gives.
        around_load: Entered with a checkpoint's name while it is loaded; what it gives takes how
            far its download is.

    Attributes:
        is_broken: Whether the device failed in a way that only a new process heals. What was
            drawn then has no end; what is being finished still gets one.
    """

    def __init__(
        self,
        checkpoints: Mapping[str, Checkpoint],
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
        previews: bool = False,
        memory_bytes: int | None = None,
        around_load: AroundLoad = lambda name: contextlib.nullcontext(_tell_nobody),
    ) -> None:
        self._residents = Residents(checkpoints, Place(device, dtype, threads, memory_bytes))
        self._previews = previews
        self._around_load = around_load
        self._waiting: deque[Drawing] = deque()
        self._active: list[Drawing] = []
        # Two, so that words about one order never hold up the pictures of the next.
        self._finishing = ThreadPoolExecutor(1, thread_name_prefix="finishing")
        self._remarking = ThreadPoolExecutor(1, thread_name_prefix="remarking")
        self.is_broken = False

    @classmethod
    def of(cls, technique: AnyTechnique, *, previews: bool = False) -> Self:
        """Return an engine of a checkpoint that is open already."""
        engine = cls({technique.checkpoint.name: technique.checkpoint}, previews=previews)
        engine._residents.adopt(technique)
        return engine

    @property
    def is_idle(self) -> bool:
        """Whether `turn` would do nothing."""
        return not (self._waiting or self._active)

    @property
    def max_images(self) -> dict[str, int]:
        """How many pictures each loaded checkpoint draws at once, by name."""
        return self._residents.max_images

    def admit(self, order: Order, report: Report) -> None:
        """Take an order; it begins at the next turn, if its checkpoint is loaded or none draws.

        Args:
            order: Which.
            report: Takes its events from any thread: `StepDone` any number of times, and then
                either `ImagesDone` and `Remarked`, or `OrderFailed`, or `OrderCancelled`.
        """
        self._waiting.append(Drawing(order, report))

    def cancel(self, order: Order) -> None:
        """End an order where it stands; one whose pictures are being finished is not stopped."""
        for line in (self._waiting, self._active):
            for drawing in [each for each in line if each.order is order]:
                line.remove(drawing)
                self._drop(drawing)
                drawing.report(OrderCancelled(order.job_id))

    def load(self, name: str) -> tuple[EngineFingerprint | None, GenerationError | None]:
        """Load a checkpoint ahead of its first order; only while nothing is drawn.

        Returns:
            What its pictures' bits depend on, or why it could not be loaded.
        """
        return self._attempt(lambda: self._technique(name).fingerprint)

    def turn(self) -> None:
        """Begin what waits and take everything that is being drawn one step on.

        Whatever goes wrong with an order ends that order only. When the device runs out of memory,
        everything is given back and each order is drawn again alone, then in smaller batches, and
        fails if those do not fit either.
        """
        while self._waiting and self._may_begin(self._waiting[0]):
            self._begin(self._waiting.popleft())
        for group in self._groups():
            if all(drawing in self._active for drawing, _ in group):  # no earlier group undid it
                self._step(group)
        for drawing in [each for each in self._active if each.steps_done >= each.steps]:
            if drawing in self._active:
                self._finish(drawing)

    def settle(self) -> None:
        """Wait until everything that left the device has been told."""
        self._finishing.submit(lambda: None).result()
        self._remarking.submit(lambda: None).result()

    def close(self) -> None:
        """Finish what is being finished and give the device back."""
        self._finishing.shutdown()
        self._remarking.shutdown()
        self._residents.close()

    def draw(
        self,
        orders: Iterable[Order],
        report: Report,
        is_cancelled: Callable[[int], bool] = lambda job_id: False,
    ) -> None:
        """Draw orders to their ends, for whoever has nothing else to do.

        Args:
            orders: Any.
            report: Takes the events.
            is_cancelled: Asked with each job's number at every turn.
        """
        for order in orders:
            self.admit(order, report)
        while not self.is_idle and not self.is_broken:
            for drawing in [*self._waiting, *self._active]:
                if is_cancelled(drawing.order.job_id):
                    self.cancel(drawing.order)
            self.turn()
        self.settle()

    def _technique(self, name: str) -> AnyTechnique:
        if name in self._residents:
            return self._residents.get(name)
        with self._around_load(name) as told:
            return self._residents.get(name, told)

    def _may_begin(self, drawing: Drawing) -> bool:
        if not self._active:
            return True
        if drawing.is_alone or any(each.is_alone for each in self._active):
            return False
        # Loading takes long, and may take the place of what is being drawn.
        return drawing.model in self._residents

    def _begin(self, drawing: Drawing) -> None:
        started_at_s = time.monotonic()
        slots, problem = self._attempt(lambda: self._slots_of(drawing))
        if problem is not None:
            self._undo([drawing], problem)
            return
        drawing.spent_s += time.monotonic() - started_at_s
        drawing.slots = list(slots or ())
        self._active.append(drawing)

    def _slots_of(self, drawing: Drawing) -> Sequence[Slot]:
        refuse_unfit(drawing.order, self._residents.checkpoint(drawing.model))
        technique = self._technique(drawing.model)
        if not self._active:
            technique.shrink(max(0, drawing.failures - 1))  # once more as usual, then smaller
        slots: Sequence[Slot] = technique.begin(drawing.order)
        return slots

    def _groups(self) -> list[list[tuple[Drawing, Slot]]]:
        """Return the slots that take a step together, those of the oldest order first."""
        groups: dict[Hashable, list[tuple[Drawing, Slot]]] = {}
        for drawing in self._active:
            room = self._residents.get(drawing.model).max_images
            for slot in drawing.slots:
                group = groups.setdefault((drawing.model, slot.alike), [])
                if slot.steps_done < slot.steps and len(group) < room:
                    group.append((drawing, slot))
        return [group for group in groups.values() if group]

    def _step(self, group: Sequence[tuple[Drawing, Slot]]) -> None:
        drawings = list(dict.fromkeys(drawing for drawing, _ in group))
        technique = self._residents.get(drawings[0].model)
        started_at_s = time.monotonic()
        _, problem = self._attempt(lambda: technique.step([slot for _, slot in group]))
        step_s = time.monotonic() - started_at_s
        for drawing, _ in group:
            drawing.spent_s += step_s / len(group)
        if problem is not None:
            self._undo(drawings, problem)
            return
        for drawing in drawings:
            preview = self._preview(technique, drawing) if step_s > PREVIEW_FROM_S else None
            step = StepDone(drawing.order.job_id, drawing.steps_done, drawing.steps, preview)
            drawing.report(step)

    def _preview(self, technique: AnyTechnique, drawing: Drawing) -> bytes | None:
        """Return the first picture so far, unless there was one a moment ago."""
        now_s, slot = time.monotonic(), drawing.slots[0]
        is_due = now_s - drawing.preview_at_s >= PREVIEW_EVERY_S
        if not (self._previews and is_due and slot.steps_done < slot.steps):
            return None
        drawing.preview_at_s = now_s
        try:
            image = technique.preview(slot)
        except (RuntimeError, ValueError, AttributeError, GenerationError) as error:
            log.warning("engine.no_preview", extra={"error": type(error).__name__})
            return None  # a picture is not lost for want of a preview
        return None if image is None else finishing.encode_preview(image)

    def _finish(self, drawing: Drawing) -> None:
        technique = self._residents.get(drawing.model)
        started_at_s = time.monotonic()
        drawn, problem = self._attempt(
            lambda: (technique.pixels(drawing.slots), technique.remarks(drawing.order.request))
        )
        if drawn is None:
            self._undo([drawing], problem)
            return
        drawing.spent_s += time.monotonic() - started_at_s
        self._active.remove(drawing)
        images, drawing.remarks = drawn
        request = drawing.order.request
        pictures = [
            Picture(request.seed_of(slot.index), image)
            for slot, image in zip(drawing.slots, images, strict=True)
        ]
        drawing.slots = []
        checkpoint, fingerprint = technique.checkpoint, technique.fingerprint
        self._finishing.submit(self._send, drawing, pictures, checkpoint, fingerprint)

    def _send(
        self,
        drawing: Drawing,
        pictures: Sequence[Picture],
        checkpoint: Checkpoint,
        fingerprint: EngineFingerprint,
    ) -> None:
        """Make files of an order's pictures and tell them; then have its words looked at."""
        order, started_at_s = drawing.order, time.monotonic()

        def send() -> None:
            images = finishing.finish(pictures, order.request, checkpoint)
            spent_s = drawing.spent_s + time.monotonic() - started_at_s
            drawing.report(ImagesDone(order.job_id, images, fingerprint, spent_s))

        # What cannot be sent has an end too: on this thread an error would be nobody's.
        _, problem = self._attempt(send, is_on_device=False)
        if problem is not None:
            drawing.report(ended(order.job_id, problem))
            return
        self._remarking.submit(self._remark, drawing, checkpoint)

    def _remark(self, drawing: Drawing, checkpoint: Checkpoint) -> None:
        order = drawing.order
        said, _ = self._attempt(
            lambda: finishing.remarked(order.request, checkpoint), is_on_device=False
        )
        drawing.report(Remarked(order.job_id, (*drawing.remarks, *(said or ()))))

    def _attempt(
        self, work: Callable[[], T], *, is_on_device: bool = True
    ) -> tuple[T | None, GenerationError | None]:
        """Return what the work returns, or else its error: without frames, which hold tensors."""
        try:
            return work(), None
        except GenerationError as error:
            problem = error
        except Exception as error:  # noqa: BLE001 -- the worker's border: an order's error is its own
            log_failure("engine.failed", error)
            self.is_broken = self.is_broken or (is_on_device and self._residents.is_on_gpu)
            problem = DrawingFailed(type(error).__name__)
        problem.__traceback__ = problem.__cause__ = problem.__context__ = None
        return None, problem

    def _undo(self, drawings: Sequence[Drawing], problem: GenerationError | None) -> None:
        """End the drawing that went wrong, or have each of several begin again on its own."""
        if isinstance(problem, OutOfMemory):
            for drawing in drawings:
                drawing.failures += 1
                if self._is_too_large(drawing):
                    self._end(drawing, problem)
            again = [each for each in drawings if not self._is_too_large(each)]
            self._begin_again(list(dict.fromkeys([*again, *self._active])))
            self._residents.close()
        elif len(drawings) == 1:
            self._end(drawings[0], problem)
        elif not self.is_broken:
            self._begin_again(drawings)

    def _is_too_large(self, drawing: Drawing) -> bool:
        """Return whether there is no smaller batch left to try."""
        if drawing.failures < 2:
            return False
        is_loaded = drawing.model in self._residents
        return not (is_loaded and self._residents.get(drawing.model).shrink(drawing.failures - 1))

    def _end(self, drawing: Drawing, problem: GenerationError | None) -> None:
        self._leave(drawing)
        drawing.report(ended(drawing.order.job_id, problem))

    def _begin_again(self, drawings: Sequence[Drawing]) -> None:
        for drawing in reversed(drawings):
            self._leave(drawing)
            drawing.is_alone = True
            self._waiting.appendleft(drawing)

    def _leave(self, drawing: Drawing) -> None:
        if drawing in self._active:
            self._active.remove(drawing)
        self._drop(drawing)

    def _drop(self, drawing: Drawing) -> None:
        if drawing.slots and drawing.model in self._residents:
            self._residents.get(drawing.model).drop(drawing.slots)
        drawing.slots = []


def _tell_nobody(done_bytes: int, total_bytes: int) -> None:
    """Take how far a download is."""


def ended(job_id: int, problem: GenerationError | None) -> OrderFailed:
    """Return the end of a job that cannot be drawn; what only the operator should read is logged."""
    error = problem or DrawingFailed("nothing was drawn")
    if error.for_people:
        fields = {"job_id": job_id, "kind": type(error).__name__, "detail": str(error)}
        log.error("engine.order_failed", extra=fields)
    return failed(job_id, error)


def log_failure(event: str, error: Exception) -> None:
    """Log where an error came from, but not its message: libraries quote their input there."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error(event, extra={"error": type(error).__name__, "frames": frames})
