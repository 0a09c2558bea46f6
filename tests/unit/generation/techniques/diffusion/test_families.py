"""Every class in the table is asked in its own words, and keeps the same promises as all others."""

import dataclasses
import inspect
import io

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from generation.techniques import pictures
from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion import loading
from generation.techniques.diffusion.families import FAMILIES, OLD_CALLBACK, STEP_END, family_of
from generation.techniques.diffusion.pipelines import WholePipeline, unpacked
from generation.techniques.diffusion.shared import Decoding, Shared
from generation.work.checkpoints import ABILITIES
from generation.work.errors import InvalidRequest
from generation.work.inputs import Input, Role
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import EngineFingerprint
from tests.unit.generation.techniques.diffusion.classes import CLASSES
from tests.unit.generation.techniques.diffusion.conftest import DESCRIPTION

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAME_PICTURE = 2  # grey levels, as among kernels of one library
STEPS = 3
REQUEST = Imagine(
    prompts=(WeightedPrompt("a fox"),),
    model="tiny",
    seed=7,
    width=32,
    height=64,
    num_inference_steps=STEPS,
    guidance_scale=3.0,
    num_images=1,
)
# What a guidance of 3 is in the words of the classes that call it otherwise.
GUIDED_BY_3 = {
    "QwenImagePipeline": {"true_cfg_scale": 3.0, "negative_prompt": " "},
    "ZImagePipeline": {"guidance_scale": 2.0},
    "Krea2Pipeline": {"guidance_scale": 2.0},
    "FluxKontextPipeline": {"guidance_scale": 3.0, "max_area": 32 * 64},
    "SanaSprintPipeline": {"guidance_scale": 3.0, "intermediate_timesteps": None},
}
AS_ASKED = {"use_resolution_binning": False}


@pytest.fixture(scope="module", params=CLASSES)
def technique(request, tmp_path_factory):
    return made(request.param, tmp_path_factory.mktemp("class"))


def made(name, folder, **config):
    """Return a technique of a tiny pipeline."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pipeline = CLASSES[name](folder / "parts", **config)
    pipeline.set_progress_bar_config(disable=True)

    def configured(part, key):
        return getattr((getattr(pipeline, part) if part else pipeline).config, key, None)

    family = family_of(name, configured)
    return WholePipeline(DESCRIPTION, pipeline, family, EngineFingerprint({}))


def name_of(technique):
    return type(technique._pipeline).__name__


def draw(technique, request=REQUEST, blobs=()):
    """Return the pixels of a request's pictures."""
    slots = technique.begin(Order(1, request, blobs))
    for slot in slots:
        while slot.steps_done < slot.steps:
            technique.step([slot])
    return [np.asarray(image, dtype=int) for image in technique.pixels(slots)]


def gradient():
    """Return the file of a picture to start from."""
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, format="PNG")
    return file.getvalue()


def changed(**fields):
    return dataclasses.replace(REQUEST, **fields)


@pytest.fixture
def rows(technique):
    """How many rows went through the network, which is what guidance costs."""
    counted = []
    pipeline = technique._pipeline
    network = getattr(pipeline, "transformer", None) or pipeline.unet

    def count(module, args, kwargs):
        latents = args[0] if args else kwargs["hidden_states"]
        counted.append(len(latents))

    handle = network.register_forward_pre_hook(count, with_kwargs=True)
    yield counted
    handle.remove()


def test_the_table_and_the_tests_know_the_same_classes():
    assert FAMILIES.keys() == CLASSES.keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_class_knows_every_word_that_it_is_asked_with(name):
    family = FAMILIES[name]
    known = inspect.signature(getattr(diffusers, name).__call__).parameters
    asked = {*family.given, family.callback, "num_inference_steps", "width", "height", "prompt"}
    asked |= {word for word in (family.guidance, family.area) if word}
    asked |= {"negative_prompt"} if family.takes_negative else set()
    assert asked <= known.keys()
    assert family.abilities <= ABILITIES
    if family.from_image:
        known = inspect.signature(getattr(diffusers, family.from_image).__call__).parameters
        assert {"image", "strength", family.callback, family.guidance} <= known.keys()


def test_what_we_draw_is_what_the_class_draws_when_it_is_asked_in_its_own_words(technique):
    name = name_of(technique)
    binned = AS_ASKED if "use_resolution_binning" in technique._family.given else {}
    (expected,) = technique._pipeline(
        prompt="a fox",
        width=32,
        height=64,
        num_inference_steps=STEPS,
        generator=torch.Generator("cpu").manual_seed(7),
        **GUIDED_BY_3.get(name, {"guidance_scale": 3.0}),
        **binned,
    ).images
    (ours,) = draw(technique)
    assert np.abs(ours - np.asarray(expected, dtype=int)).max() <= SAME_PICTURE
    assert len(np.unique(ours)) > 10


def test_a_guidance_of_one_is_off_and_any_other_costs_what_the_table_says(technique, rows):
    family = technique._family
    (off,) = draw(technique, changed(guidance_scale=1.0))
    assert sum(rows) == STEPS
    rows.clear()
    (on,) = draw(technique)
    is_twice = bool(family.guidance) and family.off is not None
    assert sum(rows) == STEPS * (2 if is_twice else 1)
    assert ((off != on).any()) == bool(family.guidance)


def test_what_to_avoid_has_an_effect_or_is_refused(technique):
    wanting = changed(negative_prompt="blue sky")
    if not technique._family.takes_negative:
        with pytest.raises(InvalidRequest, match="negative_prompt"):
            technique.begin(Order(1, wanting))
        return
    assert (draw(technique, wanting)[0] != draw(technique)[0]).any()


def test_a_start_has_an_effect_by_its_strength_or_is_refused(technique):
    starting = changed(inputs=(Input(Role.START, "0" * 64),), num_inference_steps=4)
    if not technique._family.from_image:
        with pytest.raises(InvalidRequest, match="cannot start from a picture"):
            technique.begin(Order(1, starting, (gradient(),)))
        return
    near, far = (
        draw(technique, dataclasses.replace(starting, strength=strength), (gradient(),))[0]
        for strength in (0.3, 0.8)
    )
    assert near.shape == far.shape == (64, 32, 3)
    assert (near != far).any()


def test_each_step_is_told_and_a_cancelled_picture_takes_no_other(technique, rows):
    request = changed(guidance_scale=1.0, num_images=2)
    (slot, other) = technique.begin(Order(1, request))
    for done in range(1, STEPS):
        technique.step([slot])
        assert (slot.steps_done, slot.steps, len(rows)) == (done, STEPS, done)
    technique.drop([slot, other])
    assert (slot.drawn, len(rows)) == (None, STEPS - 1)
    assert not slot._thread.is_alive()


def test_a_picture_is_the_same_alone_and_beside_others(technique):
    alone = draw(technique)[0]
    (one,) = technique.begin(Order(1, REQUEST))
    (two,) = technique.begin(Order(2, changed(seed=99, prompts=(WeightedPrompt("an owl"),))))
    for _ in range(STEPS):
        technique.step([two])
        technique.step([one])
    beside, other = technique.pixels([one, two])
    assert (np.asarray(beside) == alone).all()
    assert (np.asarray(other) != alone).any()


def test_a_size_that_a_class_would_round_is_refused(technique):
    odd = changed(width=32 + technique._family.size_multiple // 2)
    with pytest.raises(InvalidRequest, match="a multiple of"):
        technique.begin(Order(1, odd))


def test_a_preview_shows_latents_as_the_class_itself_would_decode_them(technique):
    """After the last step, where a preview would be the picture."""
    pipeline, told = technique._pipeline, {}

    def tell(kind, step, timestep, tensors):
        told.update(tensors)
        return {}

    if technique._family.callback == STEP_END:
        told_by = {STEP_END: tell}
    else:
        told_by = {OLD_CALLBACK: lambda step, timestep, latents: told.update(latents=latents)}
    (slot,) = technique.begin(Order(1, REQUEST))
    arguments = slot._draw.args[2]
    with pytest.raises(Decoding) as decoding:
        Shared().copy_of(pipeline)(**arguments, **told_by)
    latents = unpacked(pipeline, told["latents"], REQUEST)
    if latents is None:
        assert name_of(technique) in {"Flux2Pipeline", "Flux2KleinPipeline"}
        return
    expected = decoding.value.latents
    if name_of(technique) == "SanaSprintPipeline":
        expected = expected / 2  # less contrast; it has two steps
    assert torch.allclose(
        pictures.unscaled(pipeline.vae, latents).to(expected), expected, atol=1e-5
    )


def test_a_preview_is_decoded_from_no_more_than_is_shown():
    large = torch.arange(4.0 * 96 * 128).view(1, 4, 96, 128)
    assert pictures.shrunk(large).shape == (1, 4, 24, 32)
    assert torch.allclose(pictures.shrunk(large).mean(), large.mean())
    assert pictures.shrunk(large[:, :, None]).shape == (1, 4, 1, 24, 32)
    small = torch.ones(1, 4, 16, 32)
    assert pictures.shrunk(small) is small


# Loading keeps some of Krea 2's norms in float32; `to` does not.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "bfloat16") for name in CLASSES),
        *((name, "float16") for name, family in FAMILIES.items() if family.from_image),
    ],
)
def test_in_half_precision_a_class_draws_previews_and_starts_from_a_picture(name, dtype, tmp_path):
    technique = made(name, tmp_path)
    technique._pipeline.to(getattr(torch, dtype))
    loading.lay_out(technique._pipeline, DeviceChoice("cpu", dtype, 1, "test"))
    (slot,) = technique.begin(Order(1, changed(num_inference_steps=2)))
    technique.step([slot])
    preview = technique.preview(slot)
    assert preview is None or preview.size == (32, 64)
    technique.step([slot])
    assert len(np.unique(technique.pixels([slot])[0])) > 10
    if technique._family.from_image:
        starting = changed(inputs=(Input(Role.START, "0" * 64),), num_inference_steps=2)
        (drawn,) = draw(technique, starting, (gradient(),))
        assert len(np.unique(drawn)) > 10


def test_a_distilled_network_has_nothing_to_guide(tmp_path):
    technique = made("Flux2KleinPipeline", tmp_path, is_distilled=True)
    assert technique._family.abilities == {"ar", "quality"}
    assert (draw(technique)[0] == draw(technique, changed(guidance_scale=1.0))[0]).all()
