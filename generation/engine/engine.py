"""Requests in, images and progress out: one engine per device.

An engine holds loaded checkpoints, each as a `Technique`, and knows nothing about processes or
pipes. Everything that needs torch is imported when a checkpoint needs it, so that the technique
without a model starts at once.
"""

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from generation.techniques.protocol import IsCancelled, Report, Technique
from generation.work.checkpoints import Checkpoint
from generation.work.errors import GenerationError, InvalidRequest, OutOfMemory, UnknownCheckpoint
from generation.work.orders import Order, batch_key
from generation.work.requests.imagine import Imagine
from generation.work.results import ImagesDone, StepDone, WorkerEvent, failed


class Engine:
    """Draws with any of its checkpoints and keeps the last used ones loaded.

    Args:
        checkpoints: Name to description of all it may load.
        device: As `generation.techniques.device.choose` takes it.
        dtype: As `generation.techniques.device.choose` takes it.
        threads: CPU cores to use; 0 for all.
        previews: Whether slow steps come with a preview.
        keep: How many checkpoints stay loaded.
    """

    def __init__(
        self,
        checkpoints: Mapping[str, Checkpoint],
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
        previews: bool = False,
        keep: int = 1,
    ) -> None:
        self._checkpoints = dict(checkpoints)
        self._device, self._dtype, self._threads = device, dtype, threads
        self._previews = previews
        self._keep = keep
        self._loaded: OrderedDict[str, Technique] = OrderedDict()

    def is_loaded(self, name: str) -> bool:
        """Return whether `load` of this checkpoint would return at once."""
        return name in self._loaded

    def load(self, name: str) -> Technique:
        """Return the technique of a checkpoint, loading it if it is not.

        Raises:
            UnknownCheckpoint: No checkpoint has this name.
            CheckpointCorrupt: Its files are missing or not the recorded ones.
        """
        if name not in self._checkpoints:
            raise UnknownCheckpoint(f"no checkpoint is called {name!r}")
        if name not in self._loaded:
            while len(self._loaded) >= self._keep:
                self._loaded.popitem(last=False)  # before loading: two may not fit
            self._loaded[name] = self._open(self._checkpoints[name])
        self._loaded.move_to_end(name)
        return self._loaded[name]

    def draw(self, orders: Sequence[Order], report: Report, is_cancelled: IsCancelled) -> None:
        """Draw orders of one `batch_key`; see `Technique.draw`.

        Of the pictures that were drawn, those that were asked for are told: see `keep_best`. With
        them comes what is to be said of their words: see `remark`.
        What is wrong with one order fails that order alone. When the device runs out of memory,
        the rest is drawn again in smaller batches, and fails if those do not fit either.

        Raises:
            UnknownCheckpoint: No checkpoint has the orders' name.
            CheckpointCorrupt: Its files are missing or not the recorded ones.
            ValueError: The orders may not share a batch.
        """
        technique = self.load(orders[0].request.model)
        _check_batch(orders, technique.checkpoint)
        unfinished = {order.job_id: order for order in orders}

        def note(event: WorkerEvent) -> None:
            if isinstance(event, ImagesDone):
                request = unfinished[event.job_id].request
                event = keep_best(event, request, technique.checkpoint)
                event = remark(event, request, technique)
            if is_final(event):
                del unfinished[event.job_id]
            report(event)

        for order in orders:
            try:
                refuse_unfit(order, technique.checkpoint)
            except GenerationError as error:
                note(failed(order.job_id, error))
        while unfinished:
            try:
                technique.draw(list(unfinished.values()), note, is_cancelled)
            except OutOfMemory as error:
                if not technique.halve_batch():
                    for job_id in list(unfinished):
                        note(failed(job_id, error))

    def _open(self, checkpoint: Checkpoint) -> Technique:
        if checkpoint.family == "pattern":
            from generation.techniques.pattern import Pattern

            return Pattern(checkpoint, previews=self._previews)
        from generation.techniques.diffusion import files

        files.check(checkpoint)  # in milliseconds, before the seconds that the next imports take
        files.go_offline(self._checkpoints.values())
        from generation.techniques import device
        from generation.techniques.diffusion import loading

        choice = device.choose(self._device, self._dtype, self._threads)
        return loading.load(checkpoint, choice, previews=self._previews)


def _check_batch(orders: Sequence[Order], checkpoint: Checkpoint) -> None:
    if len({batch_key(order.request, checkpoint) for order in orders}) != 1:
        raise ValueError("these orders may not share a batch")
    if len({order.job_id for order in orders}) != len(orders):
        raise ValueError("a job can only be drawn once in a batch")


def is_final(event: WorkerEvent) -> bool:
    """Return whether this is the last event of its job."""
    return not isinstance(event, StepDone)


def keep_best(done: ImagesDone, request: Imagine, checkpoint: Checkpoint) -> ImagesDone:
    """Return the job with as many pictures as it asked for.

    Of spare pictures, those that the checkpoint's scorer finds nearest to the words and the look
    are kept, the nearest first, and the time that this took is charged as well. Without spare
    ones nothing changes.

    Raises:
        CheckpointCorrupt: The scorer is missing or not the recorded one.
    """
    if not request.num_spare:
        return done
    from generation.judging.scorer.choosing import open_scorer, ranked
    from generation.language import reading, text_encoder

    started_at_s = time.monotonic()
    scorer = open_scorer(Path(checkpoint.scorer))
    captions = reading.captions(checkpoint, request, [text_encoder.reader()])
    best = ranked(scorer, captions, [image.png for image in done.images])[: request.num_images]
    kept = [dataclasses.replace(done.images[number], index=i) for i, number in enumerate(best)]
    elapsed_s = done.elapsed_s + time.monotonic() - started_at_s
    return dataclasses.replace(done, images=tuple(kept), elapsed_s=elapsed_s)


def remark(done: ImagesDone, request: Imagine, technique: Technique) -> ImagesDone:
    """Return the job with what is to be said of its words.

    The pictures are drawn by then and do not depend on it.
    """
    checkpoint = technique.checkpoint
    said = technique.remarks(request)
    if checkpoint.vocabulary and checkpoint.text_encoder:
        from generation.language.remarking import remarks_on

        said = (*said, *remarks_on(checkpoint, request.prompts))
    return dataclasses.replace(done, remarks=said)


def refuse_unfit(order: Order, checkpoint: Checkpoint) -> None:
    """Refuse an order that this checkpoint cannot draw.

    Raises:
        InvalidRequest: A field is out of its range, its size or style is not the checkpoint's, its picture is missing, or
            nothing could pick the best of its pictures.
    """
    request = order.request
    request.check()
    if request.verb not in checkpoint.verbs:
        known = ", ".join(sorted(checkpoint.verbs)) or "none"
        raise InvalidRequest("verb", request.verb, f"one of what {checkpoint.name} does: {known}")
    multiple = checkpoint.size_multiple
    for field, side_px in (("width", request.width), ("height", request.height)):
        if side_px % multiple:
            raise InvalidRequest(field, side_px, f"a multiple of {multiple}")
    if request.width * request.height > checkpoint.pixel_limit:
        size = f"{request.width}x{request.height}"
        raise InvalidRequest("size", size, f"at most {checkpoint.pixel_limit} pixels in all")
    checkpoint.caption(request, "")
    if request.num_spare and not checkpoint.scorer:
        raise InvalidRequest("num_spare", request.num_spare, "0 on a model without a scorer")
    if len(order.blobs) != len(request.inputs):
        raise InvalidRequest("inputs", len(order.blobs), "sent along with the order")
