"""What the engine does around any technique: refusing, keeping loaded, running out of memory."""

import dataclasses
import io

import pytest
from PIL import Image

from generation.engine.engine import Engine
from generation.language.text_encoder import PACKAGE
from generation.techniques.pattern import Pattern
from generation.techniques.protocol import encode_png, fit
from generation.work.checkpoints import PATTERN
from generation.work.errors import OutOfMemory, UnknownCheckpoint
from generation.work.inputs import Input, Role
from generation.work.orders import Order, batch_key
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone, OrderFailed, WorkerEvent

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


class SmallMemory(Pattern):
    """A device with room for so many orders at once."""

    room = 4
    width = 4

    def draw(self, orders, report, is_cancelled):
        if self.width > self.room:
            raise OutOfMemory("no room")
        super().draw(orders, report, is_cancelled)

    def halve_batch(self):
        self.width //= 2
        return self.width >= 1


def draw(*orders, engine=None) -> list[WorkerEvent]:
    events: list[WorkerEvent] = []
    (engine or Engine({"pattern": PATTERN})).draw(orders, events.append, lambda job_id: False)
    return events


def test_a_wrong_order_fails_alone():
    events = draw(Order(1, dataclasses.replace(REQUEST, style="cubist")), Order(2, REQUEST))
    failures = [event for event in events if isinstance(event, OrderFailed)]
    assert [(event.job_id, event.kind) for event in failures] == [(1, "InvalidRequest")]
    assert [event.job_id for event in events if isinstance(event, ImagesDone)] == [2]


def test_what_a_checkpoint_does_not_do_is_refused():
    idle = dataclasses.replace(PATTERN, verbs=frozenset())
    (event,) = draw(Order(1, REQUEST), engine=Engine({"pattern": idle}))
    assert isinstance(event, OrderFailed)
    assert "verb" in event.message


@pytest.mark.parametrize(("width", "height"), [(2048, 2048), (64, 72)])
def test_a_size_the_checkpoint_cannot_draw_fails(width, height):
    engine = Engine({"pattern": dataclasses.replace(PATTERN, size_multiple=16)})
    order = Order(1, dataclasses.replace(REQUEST, width=width, height=height))
    (event,) = draw(order, engine=engine)
    assert (event.job_id, event.kind) == (1, "InvalidRequest")


def test_an_order_without_its_picture_fails():
    (event,) = draw(Order(1, FROM_IMAGE))
    assert event == OrderFailed(1, "InvalidRequest", event.message)


def test_orders_of_different_batch_keys_are_not_drawn_together():
    with pytest.raises(ValueError, match="share a batch"):
        draw(Order(1, REQUEST), Order(2, dataclasses.replace(REQUEST, width=128)))


def test_an_unknown_checkpoint_is_named():
    with pytest.raises(UnknownCheckpoint, match="sdxl"):
        draw(Order(1, dataclasses.replace(REQUEST, model="sdxl")))


def test_words_that_the_checkpoint_cannot_know_come_with_the_pictures():
    knowing = dataclasses.replace(PATTERN, vocabulary=("fox", "horse"), text_encoder=PACKAGE)
    asked = dataclasses.replace(REQUEST, prompts=(WeightedPrompt("a fox and a centaur"),))
    deaf = dataclasses.replace(knowing, text_encoder="")
    for checkpoint, words in ((knowing, ["centaur"]), (deaf, []), (PATTERN, [])):
        *_, done = draw(Order(1, asked), engine=Engine({"pattern": checkpoint}))
        assert [found.word for found in done.remarks] == words


def test_the_least_recently_used_checkpoint_is_let_go():
    names = ("a", "b", "c")
    engine = Engine({name: dataclasses.replace(PATTERN, name=name) for name in names}, keep=2)
    for name in ("a", "b", "a", "c"):
        engine.load(name)
    assert [name for name in names if engine.is_loaded(name)] == ["a", "c"]


@pytest.mark.parametrize(("room", "is_drawn"), [(4, True), (1, True), (0, False)])
def test_out_of_memory_is_tried_in_halves_and_then_told(monkeypatch, room, is_drawn):
    monkeypatch.setattr("generation.techniques.pattern.Pattern", SmallMemory)
    monkeypatch.setattr(SmallMemory, "room", room)
    events = draw(Order(1, REQUEST), Order(2, REQUEST))
    ends = {event.job_id: event for event in events if not hasattr(event, "step")}
    if is_drawn:
        assert all(isinstance(event, ImagesDone) for event in ends.values())
    else:
        assert [event.kind for event in ends.values()] == ["OutOfMemory", "OutOfMemory"]
    assert sorted(ends) == [1, 2]


@pytest.mark.parametrize(
    ("other", "may_share"),
    [
        (dataclasses.replace(REQUEST, seed=9, style="bold", guidance_scale=5.0), True),
        (dataclasses.replace(REQUEST, guidance_scale=1.0), False),
        (dataclasses.replace(REQUEST, num_inference_steps=3), False),
        (dataclasses.replace(REQUEST, height=128), False),
        (FROM_IMAGE, False),
    ],
)
def test_a_batch_is_shared_by_equal_tensors_whatever_is_in_them(other, may_share):
    assert (batch_key(REQUEST, PATTERN) == batch_key(other, PATTERN)) is may_share


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


def test_a_png_holds_nothing_but_its_pixels():
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    image.info = {"parameters": "a prompt", "dpi": (72, 72)}
    with Image.open(io.BytesIO(encode_png(image))) as read:
        read.load()
        assert read.info == {}
        assert read.getpixel((0, 0)) == (1, 2, 3)
