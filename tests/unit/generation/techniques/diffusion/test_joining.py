"""Orders that join what is being drawn are drawn as if they were alone, to the bit."""

import dataclasses

import pytest

from generation.engine.engine import Engine
from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion import loading
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

REQUEST = Imagine(
    prompts=(WeightedPrompt("a fox"),),
    model="",
    seed=7,
    width=32,
    height=32,
    num_inference_steps=4,
    guidance_scale=3.0,
    num_images=2,
)
LATER = {"seed": 99, "prompts": (WeightedPrompt("an owl"),), "num_images": 1}


def drawn(technique, first, second, joined_after):
    """Return the hashes of two requests' pixels, the second admitted after so many turns."""
    found, engine = {}, Engine.of(technique)

    def report(event):
        if isinstance(event, ImagesDone):
            found[event.job_id] = [image.pixels_sha256 for image in event.images]

    name = technique.checkpoint.name
    orders = [
        Order(number, dataclasses.replace(request, model=name))
        for number, request in enumerate((first, second))
        if request is not None
    ]
    engine.admit(orders[0], report)
    for _ in range(joined_after):
        engine.turn()
    for order in orders[1:]:
        engine.admit(order, report)
    while not engine.is_idle:
        engine.turn()
    engine.settle()
    return [found[order.job_id] for order in orders]


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "sd3"])
def test_joining_at_any_step_gives_the_same_bits_as_alone(saved, kind):
    technique = loading.load(saved(kind), DeviceChoice("cpu", "float32", 2, "test"))
    second = dataclasses.replace(REQUEST, **LATER, num_inference_steps=3)
    alone = [drawn(technique, each, None, 0)[0] for each in (REQUEST, second)]
    assert alone[0] != alone[1]
    for joined_after in range(REQUEST.num_inference_steps + 1):
        assert drawn(technique, REQUEST, second, joined_after) == alone


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "sd3"])
def test_two_kinds_of_orders_in_turns_do_not_touch_each_others_state(saved, kind):
    """They share weights, and neither a scheduler nor what a pipeline notes on itself."""
    technique = loading.load(saved(kind), DeviceChoice("cpu", "float32", 1, "test"))
    wide = dataclasses.replace(REQUEST, **LATER, width=48, guidance_scale=5.0)
    alone = [drawn(technique, each, None, 0)[0] for each in (REQUEST, wide)]
    assert drawn(technique, REQUEST, wide, 1) == alone
