"""Any family of checkpoints is drawn through its own pipeline with the same promises.

Two pictures by one engine are the same computation and equal to the bit, on any machine. Ours and
the stock pipeline's are the same *picture*: our decoder's weights lie otherwise in memory, so other
kernels compute it on some processors, and they are held to a distance.
"""

import collections
import dataclasses
import io

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from PIL import Image

from generation.engine.engine import Engine
from generation.techniques import protocol
from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion import loading
from generation.work.errors import NoPicture, OutOfMemory
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


@pytest.mark.parametrize("kind", KINDS)
def test_slow_steps_come_with_a_preview(saved, monkeypatch, kind):
    monkeypatch.setattr("generation.engine.engine.PREVIEW_FROM_S", 0.0)
    monkeypatch.setattr("generation.engine.engine.PREVIEW_EVERY_S", 0.0)
    choice = DeviceChoice("cpu", "float32", 1, "test")
    events = draw(loading.load(saved(kind), choice), Order(1, REQUEST), previews=True)
    assert Image.open(io.BytesIO(events[0].preview)).format == "PNG"


@pytest.fixture
def sdxl(saved):
    return loading.load(saved("sdxl"), DeviceChoice("cpu", "float32", 1, "test"))


@pytest.fixture
def calls(sdxl, monkeypatch):
    """How often the parts of a pipeline were asked: each goes on as it is."""
    counted = collections.Counter()

    def counting(name, function):
        def call(*args, **kwargs):
            counted[name] += 1
            return function(*args, **kwargs)

        return call

    pipeline = sdxl._pipeline
    kind = type(pipeline)
    monkeypatch.setattr(kind, "encode_prompt", counting("encode_prompt", kind.encode_prompt))
    for name in ("encode", "decode"):
        monkeypatch.setattr(pipeline.vae, name, counting(name, getattr(pipeline.vae, name)))
    return counted


def test_texts_and_start_are_encoded_once_an_order(sdxl, calls):
    order = from_image()
    four = dataclasses.replace(order, request=dataclasses.replace(order.request, num_images=4))
    drawn = images(draw(sdxl, four), 1)
    assert len(set(drawn)) == 4
    assert calls["encode"] == 1
    draw(sdxl, Order(2, dataclasses.replace(REQUEST, num_images=4)))
    assert calls == {"encode": 1, "encode_prompt": 1, "decode": 8}


def test_a_cancelled_picture_is_never_decoded(sdxl, calls):
    events = draw(sdxl, Order(1, REQUEST), cancel_at=(1, 1))
    assert isinstance(events[-1], OrderCancelled)
    assert calls["decode"] == 0


def test_steps_are_counted_as_people_count_them_where_a_scheduler_takes_two_at_a_time(sdxl):
    sdxl._pipeline.register_modules(scheduler=HeunDiscreteScheduler())
    request = dataclasses.replace(REQUEST, num_inference_steps=4)
    events = [e for e in draw(sdxl, Order(1, request)) if isinstance(e, StepDone)]
    assert [(each.step, each.num_inference_steps) for each in events] == [
        (number, 8) for number in range(1, 9)
    ]


def test_a_scheduler_that_draws_from_torch_draws_the_same_twice_and_in_company(saved):
    technique = loading.load(saved("sd3"), DeviceChoice("cpu", "float32", 1, "test"))
    chancy = FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)
    technique._pipeline.register_modules(scheduler=chancy)
    request = dataclasses.replace(REQUEST, num_inference_steps=3)
    alone = images(draw(technique, Order(1, request)), 1)
    torch.rand(1)  # whatever else draws from it
    other = dataclasses.replace(request, seed=99)
    assert images(draw(technique, Order(2, other), Order(1, request)), 1) == alone
    assert len(set(alone)) == 2


def test_the_decoder_keeps_its_number_format_whatever_happens_in_it(saved):
    """In float16, with a decoder that overflows in it, as Stable Diffusion XL's does."""
    technique = loading.load(saved("sdxl"), DeviceChoice("cpu", "float16", 1, "test"))
    vae = technique._pipeline.vae
    assert vae.dtype == torch.float32
    expected = images(draw(technique, Order(1, REQUEST)), 1)
    decode, vae.decode = vae.decode, out_of_memory
    with pytest.raises(OutOfMemory):
        candidates(technique, Order(1, REQUEST))
    vae.decode = decode
    assert vae.dtype == torch.float32
    assert images(draw(technique, Order(1, REQUEST)), 1) == expected
    assert len(images(draw(technique, from_image()), 1)) == 1
    assert images(draw(technique, Order(1, REQUEST)), 1) == expected


def out_of_memory(*args, **kwargs):
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("kind", ["sdxl", "sd15"])
def test_numbers_that_run_away_are_told_and_never_shown_as_black(saved, kind):
    technique = loading.load(saved(kind), DeviceChoice("cpu", "float32", 1, "test"))
    with torch.no_grad():
        technique._pipeline.vae.decoder.conv_out.weight.fill_(float("nan"))
    (*_, event) = draw(technique, Order(1, dataclasses.replace(REQUEST, num_images=1)))
    assert (event.kind, event.message) == ("NoPicture", NoPicture.for_people)
