"""Our loop draws what diffusers' own pipelines draw, whoever shares the batch."""

import copy
import dataclasses
import io

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
)
from PIL import Image

from generation.engine.engine import Engine
from generation.techniques import device
from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion import loading
from generation.work.inputs import Input, Role
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone, OrderCancelled, StepDone

# diffusers' schedulers hand tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

REQUEST = Imagine(
    prompts=(WeightedPrompt("a fox"),),
    model="sd15",
    seed=7,
    width=32,
    height=32,
    num_inference_steps=4,
    guidance_scale=3.0,
    num_images=4,
)
ONE_LANE = DeviceChoice("cpu", "float32", 1, "test")
TWO_LANES = DeviceChoice("cpu", "float32", 2, "test")


def from_image(request=REQUEST, strength=0.6):
    return dataclasses.replace(request, inputs=(Input(Role.START, "0" * 64),), strength=strength)


def start_png(width=32, height=32) -> bytes:
    across = np.linspace(0, 255, width, dtype=np.uint8)
    pixels = np.stack(np.broadcast_arrays(across, across[::-1], np.uint8(90)), -1)
    file = io.BytesIO()
    Image.fromarray(np.repeat(pixels[None], height, 0)).save(file, format="PNG")
    return file.getvalue()


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


@pytest.fixture(scope="session")
def technique(saved):
    return loading.load(saved("sd15"), ONE_LANE)


SCHEDULERS = {
    "ddim": (DDIMScheduler, {"clip_sample": False}),
    "dpm": (DPMSolverMultistepScheduler, {}),
    "dpm-flow": (
        DPMSolverMultistepScheduler,
        {"prediction_type": "flow_prediction", "use_flow_sigmas": True},
    ),
    "euler-a": (EulerAncestralDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
}


def latents_of_our_loop(technique, scheduler, order):
    pipeline = technique._pipeline
    kept, pipeline.scheduler = pipeline.scheduler, copy.deepcopy(scheduler)
    try:
        with torch.inference_mode():
            (slot,) = technique.begin(order)
            while slot.steps_done < slot.steps:
                technique.step([slot])
            return slot.latents
    finally:
        pipeline.scheduler = kept


def distance(ours, theirs) -> float:
    """Largest difference in units of the largest value; random weights leave the usual range."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("guidance_scale", [1.0, 4.5])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_our_loop_draws_what_the_text_pipeline_draws(technique, name, guidance_scale):
    scheduler_class, config = SCHEDULERS[name]
    scheduler = scheduler_class(steps_offset=1, **config)
    request = dataclasses.replace(
        REQUEST.only_seed(REQUEST.seed), guidance_scale=guidance_scale, negative_prompt="snow"
    )
    ours = latents_of_our_loop(technique, scheduler, Order(1, request))
    stock = copy.copy(technique._pipeline)
    stock.scheduler = copy.deepcopy(scheduler)
    theirs = stock(
        prompt="a fox",
        negative_prompt="snow",
        guidance_scale=guidance_scale,
        num_inference_steps=4,
        width=32,
        height=32,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="latent",
    ).images
    assert distance(ours, theirs) < 1e-5


@pytest.mark.parametrize("kind", ["sd15", "flow"])
@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
def test_our_loop_draws_what_the_image_pipeline_draws(saved, kind, strength):
    technique = loading.load(saved(kind), ONE_LANE)
    request = from_image(REQUEST.only_seed(REQUEST.seed), strength)
    stock = StableDiffusionImg2ImgPipeline(**technique._pipeline.components)
    stock.set_progress_bar_config(disable=True)
    scheduler = technique._pipeline.scheduler
    ours = latents_of_our_loop(technique, scheduler, Order(1, request, (start_png(),)))
    theirs = stock(
        prompt="a fox",
        image=Image.open(io.BytesIO(start_png())),
        strength=strength,
        guidance_scale=3.0,
        num_inference_steps=4,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="latent",
    ).images
    assert distance(ours, theirs) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["sd15", "flow"])
def test_an_image_is_the_same_file_alone_and_in_company(saved, kind, dtype):
    """The promise of reproducibility: same fingerprint, same bits, whoever shares the batch."""
    choices = [DeviceChoice("cpu", dtype, lanes, "test") for lanes in (1, 2)]
    one, two = (loading.load(saved(kind), choice) for choice in choices)
    assert one.fingerprint == two.fingerprint
    other = dataclasses.replace(
        REQUEST, seed=99, prompts=(WeightedPrompt("an owl"),), guidance_scale=7.0, num_images=3
    )
    whole = images(draw(one, Order(1, REQUEST)), 1)
    assert len(set(whole)) == 4
    assert images(draw(two, Order(1, REQUEST)), 1) == whole
    assert images(draw(two, Order(2, other), Order(1, REQUEST)), 1) == whole
    for index in (0, 2):
        assert images(draw(two, Order(1, REQUEST.only_seed(REQUEST.seed_of(index)))), 1) == [
            whole[index]
        ]


def test_spare_pictures_are_drawn_and_nothing_else_changes(technique):
    spare = dataclasses.replace(REQUEST, num_images=1, num_spare=3)
    assert candidates(technique, Order(1, spare)) == candidates(technique, Order(1, REQUEST))


def test_pictures_started_from_a_picture_are_the_same_alone_and_in_company(technique):
    start, request = start_png(60, 40), from_image()
    whole = images(draw(technique, Order(1, request, (start,))), 1)
    assert images(
        draw(technique, Order(1, request.only_seed(request.seed_of(2)), (start,))), 1
    ) == [whole[2]]
    other = dataclasses.replace(request, strength=0.9)
    shared = draw(technique, Order(2, other, (start_png(),)), Order(1, request, (start,)))
    assert images(shared, 1) == whole


def test_a_slot_that_joins_a_running_loop_changes_nobody(technique):
    """Slots are independent: joining at a step boundary is an addition, not a rewrite."""
    with torch.inference_mode():
        (alone,) = technique.begin(Order(1, REQUEST.only_seed(REQUEST.seed)))
        (early,) = technique.begin(Order(1, REQUEST.only_seed(REQUEST.seed)))
        (late,) = technique.begin(Order(2, REQUEST.only_seed(REQUEST.seed_of(1))))
        (late_alone,) = technique.begin(Order(2, REQUEST.only_seed(REQUEST.seed_of(1))))
        for _ in range(4):
            technique.step([alone])
            technique.step([late_alone])
        technique.step([early])
        technique.step([early])
        while active := [slot for slot in (early, late) if slot.steps_done < slot.steps]:
            technique.step(active)
    assert torch.equal(early.latents, alone.latents)
    assert torch.equal(late.latents, late_alone.latents)


def test_every_step_is_told_and_costs_are_shared(technique):
    events = draw(technique, Order(1, REQUEST), Order(2, REQUEST.only_seed(REQUEST.seed)))
    steps = [e for e in events if isinstance(e, StepDone) and e.job_id == 1]
    assert [e.step for e in steps] == [2, 4, 6, 8, 10, 12, 14, 16]  # two at a time
    assert {e.num_inference_steps for e in steps} == {16}
    first, second = (event for event in events if isinstance(event, ImagesDone))
    assert first.elapsed_s > 1.3 * second.elapsed_s  # it has two pictures, the other one
    assert first.fingerprint == technique.fingerprint


def test_a_cancelled_job_stops_at_its_step_and_its_batch_mate_is_unchanged(technique):
    mate = dataclasses.replace(REQUEST, seed=50)
    expected = images(draw(technique, Order(2, mate)), 2)
    events = draw(technique, Order(1, REQUEST), Order(2, mate), cancel_at=(1, 8))
    assert [event for event in events if event.job_id == 1][-1] == OrderCancelled(1)
    assert max(e.step for e in events if isinstance(e, StepDone) and e.job_id == 1) == 8
    assert images(events, 2) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"style": "bold"},
        {"negative_prompt": "snow"},
        {"guidance_scale": 5.0},
        {"num_inference_steps": 5},
        {"prompts": (WeightedPrompt("a fox", 2.0), WeightedPrompt("snow", 1.0))},
        {"prompts": (WeightedPrompt("a fox", 2.0), WeightedPrompt("snow", -1.0))},
    ],
)
def test_every_field_of_the_request_reaches_the_picture(technique, change):
    request = REQUEST.only_seed(REQUEST.seed)
    changed = dataclasses.replace(request, **change)
    before = images(draw(technique, Order(1, request)), 1)
    assert images(draw(technique, Order(1, changed)), 1) != before


def test_sizes_other_than_the_trained_one_are_drawn(technique):
    request = dataclasses.replace(REQUEST.only_seed(REQUEST.seed), width=48, height=16)
    (png,) = images(draw(technique, Order(1, request)), 1)
    assert Image.open(io.BytesIO(png)).size == (48, 16)


def test_slow_steps_come_with_a_preview(technique, monkeypatch):
    monkeypatch.setattr("generation.engine.engine.PREVIEW_FROM_S", 0.0)
    monkeypatch.setattr("generation.engine.engine.PREVIEW_EVERY_S", 0.0)
    plain = images(draw(technique, Order(1, REQUEST.only_seed(REQUEST.seed))), 1)
    events = draw(technique, Order(1, REQUEST.only_seed(REQUEST.seed)), previews=True)
    steps = [event for event in events if isinstance(event, StepDone)]
    assert all(Image.open(io.BytesIO(step.preview)).format == "PNG" for step in steps[:-1])
    assert steps[-1].preview is None
    assert images(events, 1) == plain


def test_the_engine_draws_with_a_checkpoint_on_the_disk(saved):
    engine = Engine({"sd15": saved("sd15")}, device="cpu", dtype="float32", threads=1)
    events = []
    engine.draw([Order(1, REQUEST)], events.append)
    assert len(images(events, 1)) == 4
    assert device.choose("cpu", "float32", 1).lanes == 1
