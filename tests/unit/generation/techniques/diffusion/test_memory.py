"""What a checkpoint held is given back at once, and what a lack of memory broke is opened anew."""

import dataclasses
import gc
import weakref

import pytest
import torch
from diffusers import AutoencoderKL

from generation.engine.engine import Engine
from generation.engine.residents import Place, Residents
from generation.work.errors import CheckpointCorrupt
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone, OrderFailed

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

REQUEST = Imagine(
    prompts=(WeightedPrompt("a fox"),),
    model="tiny",
    seed=7,
    width=32,
    height=32,
    num_inference_steps=2,
    guidance_scale=3.0,
    num_images=1,
)
CPU = Place("cpu", "float32", 1, memory_bytes=0)


def asked(name, job_id=1):
    return Order(job_id, dataclasses.replace(REQUEST, model=name))


def ends(engine, *orders):
    events = []
    engine.draw(orders, events.append)
    return [event for event in events if isinstance(event, ImagesDone | OrderFailed)]


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_the_weights_of_an_evicted_checkpoint_are_gone_before_the_next_is_loaded(
    saved, monkeypatch, kind
):
    first, second = saved(kind), dataclasses.replace(saved("sd3"), name="second")
    residents = Residents({first.name: first, "second": second}, CPU)
    engine = Engine.of(residents.get(first.name))
    (done,) = ends(engine, asked(first.name))
    assert isinstance(done, ImagesDone)
    held = [
        weakref.ref(each)
        for each in residents.get(first.name)._pipeline.components.values()
        if isinstance(each, torch.nn.Module)
    ]
    assert held
    assert residents.get(first.name).memory_bytes > 0
    alive = []

    def look(checkpoint, choice):
        alive.extend(each() for each in held)
        raise CheckpointCorrupt("looked")

    monkeypatch.setattr("generation.techniques.diffusion.loading.load", look)
    del engine
    gc.disable()  # so that the moment of a collection is not luck
    try:
        with pytest.raises(CheckpointCorrupt, match="looked"):
            residents.get("second")
    finally:
        gc.enable()
    assert alive == [None] * len(held)


def test_a_checkpoint_whose_files_are_wrong_evicts_nobody(saved, tmp_path):
    good = saved("sd15")
    wrong = dataclasses.replace(good, name="wrong", source=str(tmp_path))
    residents = Residents({good.name: good, "wrong": wrong}, CPU)
    residents.get(good.name)
    with pytest.raises(CheckpointCorrupt):
        residents.get("wrong")
    assert list(residents.max_images) == [good.name]


@pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")
def test_out_of_memory_in_a_decoder_spoils_no_later_picture(saved, monkeypatch):
    """SDXL's pipeline turns its decoder to float32 for a while, and must not stay half-way."""
    checkpoint = saved("sdxl")
    engine = Engine({checkpoint.name: checkpoint}, device="cpu", dtype="float16", threads=1)
    (before,) = ends(engine, asked(checkpoint.name))
    decode, calls = AutoencoderKL.decode, []

    def lacking(self, *arguments, **options):
        calls.append(1)
        if len(calls) < 3:  # at the first try and when it is tried once more
            raise torch.OutOfMemoryError("no room in the decoder")
        return decode(self, *arguments, **options)

    monkeypatch.setattr(AutoencoderKL, "decode", lacking)
    (failed,) = ends(engine, asked(checkpoint.name))
    assert failed.kind == "OutOfMemory"
    (after,) = ends(engine, asked(checkpoint.name))
    assert after.images[0].pixels_sha256 == before.images[0].pixels_sha256
