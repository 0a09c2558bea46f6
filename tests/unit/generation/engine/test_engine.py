"""The loop around any technique: joining, refusing, sharing, running out, letting go."""

import contextlib
import dataclasses
import gc
import io
import logging
import threading
import weakref

import pytest
from PIL import Image

from generation.engine import finishing
from generation.engine.engine import Engine
from generation.engine.finishing import encode_png, pixels_sha256
from generation.language.text_encoder import PACKAGE
from generation.techniques.pattern import Pattern
from generation.techniques.protocol import fit
from generation.work.checkpoints import PATTERN
from generation.work.errors import OutOfMemory
from generation.work.inputs import Input, Role
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import (
    EngineFingerprint,
    ImagesDone,
    OrderCancelled,
    OrderFailed,
    Remarked,
    StepDone,
    WorkerEvent,
)

REQUEST = Imagine(
    prompts=(WeightedPrompt("a fox"),),
    model="pattern",
    seed=7,
    width=64,
    height=64,
    num_inference_steps=2,
    guidance_scale=2.0,
    num_images=1,
)
FROM_IMAGE = dataclasses.replace(REQUEST, inputs=(Input(Role.START, "0" * 64),), strength=0.5)
OTHER = {"seed": 99, "prompts": (WeightedPrompt("an owl"),)}


class Watched(Pattern):
    """A pattern that notes who shares its steps, and can go wrong."""

    device = "cpu"
    fails_at = "step"

    def __init__(self, checkpoint=PATTERN):
        super().__init__(checkpoint)
        self.steps = []
        self.fails_on = frozenset()

    @property
    def fingerprint(self):
        return EngineFingerprint({**super().fingerprint.fields, "device": self.device})

    def begin(self, order):
        if order.job_id in self.fails_on and self.fails_at == "begin":
            raise RuntimeError("CUDA error: /opt/secret went wrong")
        return super().begin(order)

    def step(self, slots):
        jobs = [slot.order.job_id for slot in slots]
        self.steps.append(jobs)
        if self.fails_on & set(jobs) and self.fails_at == "step":
            raise RuntimeError("CUDA error: /opt/secret went wrong")
        super().step(slots)

    def pixels(self, slots):
        if self.fails_on & {slot.order.job_id for slot in slots} and self.fails_at == "pixels":
            raise RuntimeError("CUDA error: /opt/secret went wrong")
        return super().pixels(slots)


def draw(*orders, engine=None) -> list[WorkerEvent]:
    events: list[WorkerEvent] = []
    (engine or Engine({"pattern": PATTERN})).draw(orders, events.append)
    return events


def ends(events) -> dict[int, WorkerEvent]:
    return {e.job_id: e for e in events if not isinstance(e, StepDone | Remarked)}


def files(events, job_id) -> list[bytes]:
    return [image.png for image in ends(events)[job_id].images]


def test_an_order_that_joins_a_running_one_changes_no_bit_at_whatever_step():
    long = dataclasses.replace(REQUEST, num_inference_steps=5, num_images=2)
    short = dataclasses.replace(REQUEST, **OTHER, num_inference_steps=3)
    alone = {
        job_id: ends(draw(Order(job_id, request)))[job_id].images
        for job_id, request in ((1, long), (2, short))
    }
    for joined_after in range(6):
        technique, events = Watched(), []
        engine = Engine.of(technique)
        engine.admit(Order(1, long), events.append)
        for _ in range(joined_after):
            engine.turn()
        engine.admit(Order(2, short), events.append)
        while not engine.is_idle:
            engine.turn()
        engine.settle()
        assert {job_id: end.images for job_id, end in ends(events).items()} == alone
        shared = min(5 - joined_after, 3)
        assert technique.steps.count([1, 1, 2]) == shared  # beside each other, not after


def test_an_order_of_a_model_that_is_not_loaded_waits_until_nothing_is_drawn():
    slow = dataclasses.replace(REQUEST, num_inference_steps=4)
    engine = Engine({name: dataclasses.replace(PATTERN, name=name) for name in ("pattern", "b")})
    events = draw(Order(1, slow), Order(2, dataclasses.replace(REQUEST, model="b")), engine=engine)
    order = [e.job_id for e in events if isinstance(e, StepDone)]
    assert order == sorted(order)


def test_each_order_tells_its_own_progress_and_pays_its_share_of_each_step():
    technique = Watched(dataclasses.replace(PATTERN, source="pattern:0.02"))
    four = dataclasses.replace(REQUEST, num_images=4)
    events = draw(Order(1, four), Order(2, REQUEST), engine=Engine.of(technique))
    told = [(e.step, e.num_inference_steps) for e in events if isinstance(e, StepDone)]
    assert sorted(told) == [(1, 2), (2, 2), (4, 8), (8, 8)]
    first, second = (ends(events)[job_id].elapsed_s for job_id in (1, 2))
    assert first / second == pytest.approx(4, rel=0.5)


def test_a_cancelled_order_ends_at_once_and_its_mate_goes_on():
    events, engine = [], Engine.of(Watched())
    orders = [Order(job_id, REQUEST) for job_id in (1, 2)]
    for order in orders:
        engine.admit(order, events.append)
    engine.turn()
    engine.cancel(orders[0])
    assert events[-1] == OrderCancelled(1)
    while not engine.is_idle:
        engine.turn()
    engine.settle()
    assert [type(end) for end in ends(events).values()] == [OrderCancelled, ImagesDone]


def test_a_wrong_order_fails_alone():
    events = draw(Order(1, dataclasses.replace(REQUEST, style="cubist")), Order(2, REQUEST))
    found = ends(events)
    assert (found[1].kind, type(found[2])) == ("InvalidRequest", ImagesDone)


@pytest.mark.parametrize("fails_at", ["begin", "step", "pixels"])
def test_what_goes_wrong_with_one_order_ends_that_order_only(fails_at):
    technique = Watched()
    technique.fails_on, technique.fails_at = frozenset({1}), fails_at
    found = ends(draw(*(Order(n, REQUEST) for n in (1, 2, 3)), engine=Engine.of(technique)))
    assert [type(found[n]) for n in (1, 2, 3)] == [OrderFailed, ImagesDone, ImagesDone]


def test_a_damaged_start_picture_fails_its_order_alone():
    whole = encode_png(Image.new("RGB", (64, 64)))
    orders = [Order(1, FROM_IMAGE, (whole[:60],)), Order(2, FROM_IMAGE, (whole,))]
    found = ends(draw(*orders))
    assert (found[1].kind, type(found[2])) == ("InvalidRequest", ImagesDone)


@pytest.mark.parametrize("fails_at", ["begin", "step", "pixels"])
def test_people_read_a_sentence_and_neither_paths_nor_what_a_library_said(caplog, fails_at):
    technique = Watched()
    technique.fails_on, technique.fails_at = frozenset({1}), fails_at
    (end,) = ends(draw(Order(1, REQUEST), engine=Engine.of(technique))).values()
    assert end.message == "The model could not draw this. The operator can see why in the log."
    assert any("frames" in vars(record) for record in caplog.records)
    assert "secret" not in caplog.text


def test_of_a_damaged_checkpoint_the_channel_learns_nothing_and_the_log_everything(caplog):
    absent = dataclasses.replace(
        PATTERN, family="slots", source="/opt/models/x", sha256={"a.safetensors": "0" * 64}
    )
    with caplog.at_level(logging.ERROR):
        (end,) = draw(Order(1, REQUEST), engine=Engine({"pattern": absent}))
    assert end.kind == "CheckpointCorrupt"
    assert "/opt" not in end.message
    assert any("/opt/models/x" in str(vars(record)) for record in caplog.records)


def test_a_checkpoint_that_cannot_load_fails_only_its_own_orders_and_evicts_nobody():
    bad = dataclasses.replace(PATTERN, name="bad", family="slots", source="nowhere")
    engine = Engine({"pattern": PATTERN, "bad": bad}, memory_bytes=0)
    draw(Order(1, REQUEST), engine=engine)
    events = draw(
        Order(2, dataclasses.replace(REQUEST, model="bad")), Order(3, REQUEST), engine=engine
    )
    found = ends(events)
    assert (found[2].kind, type(found[3])) == ("CheckpointCorrupt", ImagesDone)
    assert engine.max_images == {"pattern": Pattern.max_images}


@pytest.mark.parametrize(("device", "is_broken"), [("cuda", True), ("cpu", False)])
def test_an_unknown_error_on_a_gpu_is_told_and_then_the_device_counts_as_broken(device, is_broken):
    technique = Watched()
    technique.device, technique.fails_on = device, frozenset({1})
    engine = Engine.of(technique)
    (end,) = ends(draw(Order(1, REQUEST), engine=engine)).values()
    assert end.kind == "DrawingFailed"
    assert engine.is_broken is is_broken


def test_pictures_that_cannot_be_sent_still_end_their_order():
    events: list[WorkerEvent] = []

    def report(event):
        if isinstance(event, ImagesDone):
            raise ValueError("too large for a frame")
        events.append(event)

    Engine({"pattern": PATTERN}).draw([Order(1, REQUEST)], report)
    assert ends(events)[1].kind == "DrawingFailed"


def test_a_gpu_that_fails_while_nothing_is_loaded_counts_as_broken(monkeypatch):
    class Full(Watched):
        device = "cuda"

        def step(self, slots):
            raise OutOfMemory("full")

    def fail(self, checkpoint):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    engine = Engine.of(Full())
    monkeypatch.setattr(Pattern, "__init__", fail)
    (end,) = ends(draw(Order(1, REQUEST), engine=engine)).values()
    assert end.kind == "DrawingFailed"
    assert engine.is_broken


def test_when_a_shared_step_breaks_the_device_nobody_is_blamed():
    technique = Watched()
    technique.device, technique.fails_on = "cuda", frozenset({1})
    engine = Engine.of(technique)
    assert ends(draw(Order(1, REQUEST), Order(2, REQUEST), engine=engine)) == {}
    assert engine.is_broken


@pytest.mark.parametrize(("width", "height"), [(2048, 2048), (64, 72)])
def test_a_size_the_checkpoint_cannot_draw_fails(width, height):
    engine = Engine({"pattern": dataclasses.replace(PATTERN, size_multiple=16)})
    order = Order(1, dataclasses.replace(REQUEST, width=width, height=height))
    (event,) = draw(order, engine=engine)
    assert (event.job_id, event.kind) == (1, "InvalidRequest")


def test_an_order_without_its_picture_fails():
    (event,) = draw(Order(1, FROM_IMAGE))
    assert event == OrderFailed(1, "InvalidRequest", event.message)


def test_an_unknown_checkpoint_is_named():
    (event,) = draw(Order(1, dataclasses.replace(REQUEST, model="sdxl")))
    assert event.kind == "UnknownCheckpoint"
    assert "sdxl" in event.message


def test_words_come_after_the_pictures_and_do_not_hold_up_the_next(monkeypatch):
    knowing = dataclasses.replace(PATTERN, vocabulary=("fox", "horse"), text_encoder=PACKAGE)
    asked = dataclasses.replace(REQUEST, prompts=(WeightedPrompt("a fox and a centaur"),))
    deaf = dataclasses.replace(knowing, text_encoder="")
    for checkpoint, words in ((knowing, ["centaur"]), (deaf, []), (PATTERN, [])):
        *_, done, remarked = draw(Order(1, asked), engine=Engine({"pattern": checkpoint}))
        assert isinstance(done, ImagesDone)
        assert [each.word for each in remarked.remarks if hasattr(each, "word")] == words


def test_what_is_finished_and_said_beside_the_drawing_holds_up_no_step(monkeypatch):
    """The pictures of the second are there although the words of the first never end."""
    is_over, finish = threading.Event(), finishing.remarked

    def slow(request, checkpoint):
        is_over.wait(10)
        return finish(request, checkpoint)

    monkeypatch.setattr(finishing, "remarked", slow)
    events, engine = [], Engine({"pattern": PATTERN})
    for job_id in (1, 2):
        engine.admit(Order(job_id, dataclasses.replace(REQUEST, seed=job_id)), events.append)
    while not engine.is_idle:
        engine.turn()
    engine._finishing.submit(lambda: None).result()
    assert [type(end) for end in ends(events).values()] == [ImagesDone, ImagesDone]
    assert not any(isinstance(event, Remarked) for event in events)
    is_over.set()
    engine.settle()


def test_the_checkpoint_used_longest_ago_is_let_go_when_room_is_needed():
    closed = []

    class Large(Pattern):
        memory_bytes = 10

        def close(self):
            closed.append(self.checkpoint.name)

    engine = Engine({})
    residents = engine._residents
    for name in ("a", "b"):
        residents.adopt(Large(dataclasses.replace(PATTERN, name=name)))
    residents._checkpoints["a"] = residents._loaded["a"].checkpoint
    residents.get("a")
    residents._make_room(needed_bytes=10, budget_bytes=30)
    assert closed == []
    residents._make_room(needed_bytes=10, budget_bytes=20)
    assert closed == ["b"]


class Small(Watched):
    """A device with room for so many pictures of a batch, whose size can be halved."""

    room = 4

    def __init__(self):
        super().__init__()
        self.max_images = 4

    def shrink(self, times):
        self.max_images = 4 >> times
        return self.max_images > 0

    def step(self, slots):
        self.steps.append(len(slots))
        if len(slots) > self.room:
            raise OutOfMemory("no room")
        Pattern.step(self, slots)


@pytest.mark.parametrize(("room", "is_drawn"), [(4, True), (1, True), (0, False)])
def test_out_of_memory_is_tried_alone_then_in_halves_and_then_told(monkeypatch, room, is_drawn):
    opened = []

    def open_small(self, checkpoint):
        opened.append(Small())
        return opened[-1]

    monkeypatch.setattr(Small, "room", room)
    monkeypatch.setattr("generation.engine.residents.Residents._open_pattern", open_small)
    engine = Engine({"pattern": PATTERN})
    many = dataclasses.replace(REQUEST, num_images=3)
    found = ends(draw(Order(1, many), Order(2, REQUEST), engine=engine))
    assert sorted(found) == [1, 2]
    if is_drawn:
        assert files(found.values(), 1) == files(draw(Order(1, many)), 1)
        assert isinstance(found[2], ImagesDone)
    else:
        assert [end.kind for end in found.values()] == ["OutOfMemory", "OutOfMemory"]
    if room == 1:
        assert len(opened) > 1  # given back and opened again, not gone on with
        draw(Order(3, REQUEST), engine=engine)
        assert engine.max_images == {"pattern": 4}  # no smaller than usual for those who come later


def test_when_memory_runs_out_nothing_of_the_failed_step_is_kept():
    """The frames of an exception hold tensors: what was drawn is gone before the next try."""
    alive = []

    class Leaky(Watched):
        def step(self, slots):
            tensor = type("Tensor", (), {})()
            alive.append(weakref.ref(tensor))
            raise OutOfMemory("no room") from RuntimeError(tensor)

        def close(self):
            gc.disable()
            assert all(each() is None for each in alive)

    with contextlib.ExitStack() as stack:
        stack.callback(gc.enable)
        draw(Order(1, REQUEST), engine=Engine.of(Leaky()))
    assert alive


@pytest.mark.parametrize(
    ("strength", "steps", "skipped"), [(1.0, 10, 0), (0.5, 10, 5), (0.01, 10, 9), (0.75, 3, 1)]
)
def test_strength_chooses_how_many_steps_are_skipped(strength, steps, skipped):
    request = dataclasses.replace(FROM_IMAGE, strength=strength, num_inference_steps=steps)
    assert request.start_step == skipped


def test_a_picture_is_fitted_around_its_middle_without_stretching():
    wide = Image.new("RGB", (300, 100))
    wide.paste((255, 255, 255), (100, 0, 200, 100))
    fitted = fit(wide, 50, 50)
    assert fitted.size == (50, 50)
    assert fitted.getpixel((25, 25)) == (255, 255, 255)
    assert min(low for low, _ in fitted.getextrema()) > 200  # only the rim is softened


def test_the_hash_of_pixels_depends_on_what_is_drawn_and_not_on_its_file():
    (image,) = ends(draw(Order(1, REQUEST)))[1].images
    with Image.open(io.BytesIO(image.png)) as read:
        assert pixels_sha256(read.convert("RGB")) == image.pixels_sha256
    flat = Image.new("RGB", (4, 6), (1, 2, 3))
    other = {pixels_sha256(each) for each in (flat, flat.resize((6, 4)), flat.convert("L"))}
    assert len(other) == 3


def test_a_png_holds_nothing_but_its_pixels():
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    image.info = {"parameters": "a prompt", "dpi": (72, 72)}
    with Image.open(io.BytesIO(encode_png(image))) as read:
        read.load()
        assert read.info == {}
        assert read.getpixel((0, 0)) == (1, 2, 3)
