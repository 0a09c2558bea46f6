"""The technique without a model keeps the promises of a real one."""

import dataclasses
import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from generation.engine.engine import Engine
from generation.techniques.pattern import Pattern
from generation.work.checkpoints import PATTERN
from generation.work.inputs import Input, Role
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone, OrderCancelled, Remarked, StepDone, WorkerEvent

REQUEST = Imagine(
    prompts=(WeightedPrompt("a fox"),),
    model="pattern",
    seed=7,
    width=64,
    height=48,
    num_inference_steps=3,
    guidance_scale=2.0,
)


def draw(*orders: Order, cancelled: frozenset[int] = frozenset()) -> list[WorkerEvent]:
    events: list[WorkerEvent] = []
    Engine({"pattern": PATTERN}).draw(orders, events.append, cancelled.__contains__)
    return events


def images(events: list[WorkerEvent], job_id: int) -> list[bytes]:
    done = [e for e in events if isinstance(e, ImagesDone) and e.job_id == job_id]
    assert len(done) == 1
    return [image.png for image in done[0].images]


def test_every_step_is_reported_then_come_the_pictures_and_then_the_words():
    events = draw(Order(1, REQUEST))
    assert events[:-2] == [StepDone(1, 4 * step, 12) for step in (1, 2, 3)]
    assert [image.seed for image in events[-2].images] == [7, 8, 9, 10]
    assert events[-1] == Remarked(1)
    sizes = {Image.open(io.BytesIO(png)).size for png in images(events, 1)}
    assert sizes == {(64, 48)}


def test_an_image_alone_or_in_company_is_the_same_file():
    other = dataclasses.replace(REQUEST, prompts=(WeightedPrompt("an owl"),), seed=99)
    whole = images(draw(Order(1, REQUEST)), 1)
    alone = images(draw(Order(1, REQUEST.only_seed(REQUEST.seed_of(2)))), 1)
    shared = images(draw(Order(2, other), Order(1, REQUEST)), 1)
    assert whole[2] == alone[0]
    assert whole == shared


@pytest.mark.parametrize(
    "change",
    [
        {"prompts": (WeightedPrompt("a vixen"),)},
        {"seed": 8},
        {"style": "bold"},
        {"negative_prompt": "snow"},
        {"prompts": (WeightedPrompt("a fox", 2.0), WeightedPrompt("snow"))},
    ],
)
def test_every_word_and_number_of_the_request_changes_the_picture(change):
    first = images(draw(Order(1, REQUEST.only_seed(REQUEST.seed))), 1)
    second = images(
        draw(Order(1, dataclasses.replace(REQUEST.only_seed(REQUEST.seed), **change))), 1
    )
    assert first != second


def test_the_bits_are_the_same_on_every_machine():
    (png,) = images(draw(Order(1, REQUEST.only_seed(REQUEST.seed))), 1)
    pixels = Image.open(io.BytesIO(png)).tobytes()
    assert hashlib.sha256(pixels).hexdigest() == (
        "f66f443330bff589212b899a05199361cee832f6dac8d20be5d13cb9b4359c81"
    )


def test_a_cancelled_job_stops_at_the_next_step_and_the_other_goes_on():
    events = draw(Order(1, REQUEST), Order(2, REQUEST), cancelled=frozenset({1}))
    assert [event for event in events if event.job_id == 1] == [OrderCancelled(1)]
    assert len(images(events, 2)) == 4


def test_less_strength_stays_nearer_to_the_picture_it_starts_from():
    start = Image.new("RGB", (64, 48), (250, 0, 0))
    file = io.BytesIO()
    start.save(file, format="PNG")
    distances = []
    for strength in (0.1, 0.5, 1.0):
        order = Order(
            1,
            dataclasses.replace(REQUEST, inputs=(Input(Role.START, "0" * 64),), strength=strength),
            (file.getvalue(),),
        )
        pixels = np.asarray(Image.open(io.BytesIO(images(draw(order), 1)[0])), dtype=float)
        distances.append(float(np.abs(pixels - np.asarray(start, dtype=float)).mean()))
    assert distances == sorted(distances)
    assert distances[0] < distances[2] / 5


def test_slow_steps_come_with_a_preview():
    slow = dataclasses.replace(PATTERN, source="pattern:1.0")
    events: list[WorkerEvent] = []
    request = dataclasses.replace(REQUEST, num_inference_steps=2, num_images=1)
    engine = Engine({"pattern": slow}, previews=True)
    engine.draw([Order(1, request)], events.append, lambda job_id: False)
    assert Image.open(io.BytesIO(events[0].preview)).size == (64, 48)


@pytest.mark.parametrize(
    "source", ["pattern:x", "pattern:-1", "pattern:nan", "slots:1", "pattern:inf"]
)
def test_a_source_that_is_no_delay_is_refused(source):
    with pytest.raises(ValueError, match=r"pattern:<seconds|could not convert"):
        Pattern(dataclasses.replace(PATTERN, source=source))


def test_drawing_without_a_model_does_not_load_torch():
    script = (
        "import sys; import generation.engine.worker, generation.techniques.pattern, generation.engine.supervisor,"
        " generation.techniques.device; print({'torch', 'diffusers', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
