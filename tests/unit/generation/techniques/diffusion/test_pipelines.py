"""Any family of checkpoints is drawn through its own pipeline with the same promises.

Two pictures by one engine are the same computation and equal to the bit, on any machine. Ours and
the stock pipeline's are the same *picture*: our decoder's weights lie otherwise in memory, so other
kernels compute it on some processors, and they are held to a distance.
"""

import dataclasses
import io

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForImage2Image, DiffusionPipeline
from PIL import Image

from generation.engine.engine import Engine
from generation.techniques import protocol
from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion import loading
from generation.work.inputs import Input, Role
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone, OrderCancelled, OrderFailed, StepDone

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAME_PICTURE = 2  # grey levels: one in one pixel was seen; rounding may add another
KINDS = ("sdxl", "sd3", "flux")
REQUEST = Imagine(
    prompts=(WeightedPrompt("a fox"),),
    model="tiny",
    seed=7,
    width=32,
    height=48,
    num_inference_steps=2,
    guidance_scale=3.0,
    num_images=2,
)


@pytest.fixture(params=KINDS)
def technique(request, saved):
    choice = DeviceChoice("cpu", "float32", 1, "test")
    return loading.load(saved(request.param), choice)


def draw(technique, *orders, cancel_at=None, previews=False):
    """Draw with a technique that is open already."""
    events, steps = [], {}
    renamed = [replace_model(order, technique.checkpoint.name) for order in orders]

    def report(event):
        events.append(event)
        if isinstance(event, StepDone):
            steps[event.job_id] = event.step

    engine = Engine.of(technique, previews=previews)
    engine.draw(renamed, report, lambda job: cancel_at == (job, steps.get(job, 0)))
    return events


def candidates(technique, order):
    """Return the pixels of all pictures that are drawn for an order, the spare ones included."""
    slots = technique.begin(order)
    for slot in slots:
        while slot.steps_done < slot.steps:
            technique.step([slot])
    return [image.tobytes() for image in technique.pixels(slots)]


def replace_model(order, name):
    return dataclasses.replace(order, request=dataclasses.replace(order.request, model=name))


def images(events, job_id):
    (done,) = [e for e in events if isinstance(e, ImagesDone) and e.job_id == job_id]
    return [image.png for image in done.images]


def grey_levels_apart(png, expected):
    """Return the largest difference of two pictures in any pixel and colour."""
    ours = np.asarray(Image.open(io.BytesIO(png)), dtype=int)
    return np.abs(ours - np.asarray(expected, dtype=int)).max()


def from_image():
    start = Input(Role.START, "0" * 64)
    request = dataclasses.replace(REQUEST, inputs=(start,), strength=0.6)
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, format="PNG")
    return Order(1, dataclasses.replace(request, num_images=1), (file.getvalue(),))


def test_what_we_draw_is_what_the_stock_pipeline_draws(technique):
    stock = DiffusionPipeline.from_pretrained(technique.checkpoint.source, use_safetensors=True)
    stock.set_progress_bar_config(disable=True)
    expected = stock(
        prompt="a fox",
        guidance_scale=3.0,
        num_inference_steps=2,
        width=32,
        height=48,
        generator=torch.Generator("cpu").manual_seed(8),
    ).images[0]
    first, second = images(draw(technique, Order(1, REQUEST)), 1)
    assert grey_levels_apart(second, expected) <= SAME_PICTURE
    assert grey_levels_apart(first, expected) > 10 * SAME_PICTURE  # of another seed


def test_an_image_is_the_same_file_alone_and_in_company(technique):
    other = dataclasses.replace(REQUEST, seed=99, prompts=(WeightedPrompt("an owl"),))
    whole = images(draw(technique, Order(1, REQUEST)), 1)
    assert whole[0] != whole[1]
    assert images(draw(technique, Order(2, other), Order(1, REQUEST)), 1) == whole
    assert images(draw(technique, Order(1, REQUEST.only_seed(REQUEST.seed_of(1)))), 1) == [whole[1]]
    spare = dataclasses.replace(REQUEST, num_images=1, num_spare=1)
    assert candidates(technique, Order(1, spare)) == candidates(technique, Order(1, REQUEST))


def test_progress_runs_over_all_pictures_of_a_job(technique):
    events = draw(technique, Order(1, REQUEST))
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [(event.step, event.num_inference_steps) for event in steps] == [
        (1, 4),
        (2, 4),
        (3, 4),
        (4, 4),
    ]


def test_a_cancelled_job_stops_at_its_step_and_the_next_is_drawn(technique):
    events = draw(technique, Order(1, REQUEST), Order(2, REQUEST), cancel_at=(1, 1))
    mine = [event for event in events if event.job_id == 1]
    assert [type(event) for event in mine] == [StepDone, OrderCancelled]
    assert len(images(events, 2)) == 2


def test_pictures_start_from_a_picture(technique):
    order = from_image()
    (png,) = images(draw(technique, order), 1)
    stock = AutoPipelineForImage2Image.from_pretrained(
        technique.checkpoint.source, use_safetensors=True
    )
    stock.set_progress_bar_config(disable=True)
    with Image.open(io.BytesIO(order.start_png)) as start:
        expected = stock(
            prompt="a fox",
            image=protocol.fit(start, 32, 48),
            strength=0.6,
            guidance_scale=3.0,
            num_inference_steps=2,
            generator=torch.Generator("cpu").manual_seed(7),
            **({} if "XL" in type(stock).__name__ else SIZE),
        ).images[0]
    assert grey_levels_apart(png, expected) <= SAME_PICTURE


SIZE = {"width": 32, "height": 48}


def test_weighted_prompts_are_refused_not_ignored(technique):
    parts = (WeightedPrompt("a fox", 2.0), WeightedPrompt("snow"))
    wrong = dataclasses.replace(REQUEST, prompts=parts)
    events = draw(technique, Order(1, wrong), Order(2, REQUEST))
    assert events[0] == OrderFailed(1, "InvalidRequest", events[0].message)
    assert len(images(events, 2)) == 2


@pytest.mark.parametrize("kind", ["sdxl", "sd3"])
def test_slow_steps_come_with_a_preview(saved, monkeypatch, kind):
    monkeypatch.setattr("generation.engine.engine.PREVIEW_FROM_S", 0.0)
    monkeypatch.setattr("generation.engine.engine.PREVIEW_EVERY_S", 0.0)
    choice = DeviceChoice("cpu", "float32", 1, "test")
    events = draw(loading.load(saved(kind), choice), Order(1, REQUEST), previews=True)
    assert Image.open(io.BytesIO(events[0].preview)).format == "PNG"
