"""Only pinned, verified safetensors are loaded, and the fingerprint names all of them."""

import collections
import dataclasses
import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from huggingface_hub import constants
from torch.utils import deterministic
from transformers import CLIPConfig, CLIPImageProcessorPil

from generation.engine.engine import Engine
from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion import loading
from generation.techniques.diffusion.slots import Slots
from generation.work import hashes
from generation.work.checkpoints import EMBEDDED, EMBEDDED_SCORER, MEANINGS, read_checkpoint
from generation.work.errors import CheckpointCorrupt
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone
from tests.unit.generation.techniques.diffusion.conftest import DESCRIPTION

# diffusers' schedulers hand tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CHOICE = DeviceChoice("cpu", "float32", 1, "test")
REQUEST = Imagine(
    prompts=(WeightedPrompt("a fox"),),
    model="sd15",
    seed=1,
    width=32,
    height=32,
    num_inference_steps=1,
    guidance_scale=1.0,
)


@pytest.fixture
def copied(saved, tmp_path):
    """A checkpoint of its own folder with every weight file's hash on record."""
    source = saved("sd15")
    folder = tmp_path / "copy"
    shutil.copytree(source.source, folder)
    weights = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.safetensors")}
    sha256 = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in weights.items()}
    return dataclasses.replace(source, source=str(folder), sha256=sha256)


def load(checkpoint):
    return loading.load(checkpoint, CHOICE)


def test_every_weight_file_is_named_in_the_fingerprint(copied):
    fields = load(copied).fingerprint.fields
    assert len(copied.sha256) == 3
    assert {f"sha256:{name}": digest for name, digest in copied.sha256.items()}.items() <= (
        fields.items()
    )
    unrecorded = dataclasses.replace(copied, sha256={})
    assert load(unrecorded).fingerprint == load(copied).fingerprint


def test_the_scorer_that_picks_is_named_in_the_fingerprint(copied):
    judged = load(dataclasses.replace(copied, scorer=str(EMBEDDED_SCORER)))
    (name,) = judged.fingerprint.differences(load(copied).fingerprint)
    assert name.startswith("sha256:scorer:")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dtype": "bfloat16"}, "dtype"),
        ({"threads": 8}, "threads"),
    ],
)
def test_what_changes_the_bits_changes_the_fingerprint(copied, change, field):
    other = loading.load(copied, dataclasses.replace(CHOICE, **change))
    torch.set_num_threads(1)
    assert set(load(copied).fingerprint.differences(other.fingerprint)) == {field}


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("scheduler/scheduler_config.json", {"prediction_type": "v_prediction"}),
        ("unet/config.json", {"norm_eps": 1e-3}),
        ("vae/config.json", {"scaling_factor": 0.3}),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 12}),
    ],
)
def test_every_file_of_settings_that_is_read_is_named_in_the_fingerprint(copied, part, change):
    before = load(copied).fingerprint
    path = Path(copied.source) / part
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert list(load(copied).fingerprint.differences(before)) == [f"settings:{part}"]


def test_a_file_of_weights_is_hashed_once(monkeypatch):
    read = collections.Counter()
    file_digest = hashlib.file_digest

    def counting(file, kind):
        read[file.name] += 1
        return file_digest(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", counting)
    monkeypatch.setattr(hashes, "_known", {})
    shipped = dataclasses.replace(read_checkpoint(EMBEDDED), scorer=str(EMBEDDED_SCORER))
    for _ in range(2):
        load(shipped)
    assert len([name for name in read if name.endswith(".safetensors")]) >= 4
    assert set(read.values()) == {1}


def test_a_file_that_changes_is_hashed_again(tmp_path):
    path = tmp_path / "weights"
    digests = set()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        digests.add(hashes.sha256_of(path))
        os.utime(path, (1, 1))
        assert hashes.sha256_of(path) in digests
    assert len(digests) == 2


def test_stable_diffusion_goes_through_our_own_loop_whatever_its_table_says(saved):
    technique = load(dataclasses.replace(saved("sd15"), family="pipeline"))
    assert isinstance(technique, Slots)
    assert technique.fingerprint.fields["technique"] == "slots"


def test_a_single_file_is_refused_with_what_makes_a_folder_of_it(tmp_path):
    path = tmp_path / "style.safetensors"
    path.write_bytes(b"x")
    with pytest.raises(CheckpointCorrupt, match="from_single_file"):
        load(dataclasses.replace(DESCRIPTION, source=str(path), family="pipeline"))


@pytest.mark.parametrize("objects", [True, False])
def test_what_a_checkpoints_own_safety_checker_objects_to_comes_out_black(saved, objects):
    technique = load(saved("sd15"))
    order = Order(1, dataclasses.replace(REQUEST, num_images=2))
    free = drawn(technique, order)
    with_checker(technique._pipeline, objects=objects)
    checked = drawn(technique, order)
    assert [image.getextrema() for image in checked] == [((0, 0),) * 3] * 2 or not objects
    assert (checked == free) is not objects


def with_checker(pipeline, *, objects):
    """Give a pipeline a checker that objects to everything, or to nothing."""
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 4}
    config = CLIPConfig(
        vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=32
    )
    checker = StableDiffusionSafetyChecker(config).eval()
    checker.concept_embeds_weights.data.fill_(-2.0 if objects else 2.0)
    checker.special_care_embeds_weights.data.fill_(2.0)
    size = {"height": 32, "width": 32}
    extractor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size)
    pipeline.register_modules(safety_checker=checker, feature_extractor=extractor)


def drawn(technique, order):
    slots = technique.begin(order)
    while slots[0].steps_done < slots[0].steps:
        technique.step(slots)
    return technique.pixels(slots)


def test_a_class_that_nobody_looked_at_is_refused_in_words(copied):
    index = Path(copied.source) / "model_index.json"
    changed = json.loads(index.read_text()) | {"_class_name": "StableDiffusionPAGPipeline"}
    index.write_text(json.dumps(changed))
    with pytest.raises(CheckpointCorrupt, match=r"StableDiffusionPAGPipeline.*FluxPipeline"):
        load(dataclasses.replace(copied, family="pipeline"))


@pytest.fixture
def as_it_was():
    yield
    torch.use_deterministic_algorithms(mode=False)
    deterministic.fill_uninitialized_memory = True


@pytest.mark.usefixtures("as_it_was")
def test_on_a_gpu_convolutions_lie_as_they_are_fastest_and_nothing_is_filled_for_nobody(saved):
    on_gpu = dataclasses.replace(CHOICE, device="cuda")
    loading.make_deterministic(on_gpu)
    assert torch.are_deterministic_algorithms_enabled()
    assert not deterministic.fill_uninitialized_memory
    pipeline = loading.open_pipeline(saved("sdxl"), CHOICE)
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    loading.lay_out(pipeline, on_gpu)
    weight = pipeline.unet.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(before[name], v) for name, v in pipeline.unet.state_dict().items())


def test_a_changed_weight_file_is_refused(copied):
    path = Path(copied.source) / next(iter(copied.sha256))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match="differs"):
        load(copied)


def test_a_weight_file_without_a_recorded_hash_is_refused(copied):
    name = next(iter(copied.sha256))
    sha256 = {key: value for key, value in copied.sha256.items() if key != name}
    with pytest.raises(CheckpointCorrupt, match="no recorded hash"):
        load(dataclasses.replace(copied, sha256=sha256))


def test_pickled_weights_are_never_read(copied):
    for path in Path(copied.source).rglob("*.safetensors"):
        torch.save({}, path.with_suffix(".bin"))
        path.unlink()
    with pytest.raises(CheckpointCorrupt):
        load(dataclasses.replace(copied, sha256={}))


@pytest.mark.parametrize("part", ["_class_name", "unet"])
def test_code_in_a_checkpoint_is_never_run(copied, part):
    folder = Path(copied.source)
    ran = folder / "ran"
    code = f"import pathlib; pathlib.Path({str(ran)!r}).touch()\nclass Evil: pass\n"
    for place in (folder, folder / "unet"):
        (place / "evil.py").write_text(code)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, part: ["evil", "Evil"]}))
    with pytest.raises(CheckpointCorrupt):
        load(copied)
    assert not ran.exists()


def test_a_checkpoint_of_another_class_does_not_pass_for_slots(saved):
    with pytest.raises(CheckpointCorrupt, match="StableDiffusionXLPipeline"):
        load(dataclasses.replace(saved("sdxl"), family="slots"))


@pytest.mark.parametrize("revision", ["main", "v1.0", "abcdef1", "A" * 40, ""])
def test_a_hub_checkpoint_without_a_full_commit_is_refused(copied, revision):
    hub = dataclasses.replace(copied, source="someone/model", revision=revision, sha256={})
    with pytest.raises(CheckpointCorrupt):
        load(hub)


def test_a_folder_that_is_called_like_a_hubs_checkpoint_does_not_pass_for_it(
    copied, tmp_path, monkeypatch
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(copied.source, tmp_path / "someone/model")
    hub = dataclasses.replace(copied, source="someone/model", revision="a" * 40, sha256={})
    with pytest.raises(CheckpointCorrupt, match="has not been downloaded"):
        load(hub)


def test_a_folder_that_is_no_checkpoint_is_refused(copied, tmp_path):
    with pytest.raises(CheckpointCorrupt, match="model_index"):
        load(dataclasses.replace(copied, source=str(tmp_path), sha256={}))


def test_a_prompt_that_is_cut_off_is_not_quoted_in_the_log(copied, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    request = Imagine(
        prompts=(WeightedPrompt("a secret fox " * 20),),
        model="sd15",
        seed=1,
        width=32,
        height=32,
        num_inference_steps=1,
        guidance_scale=1.0,
        num_images=1,
    )
    Engine.of(load(copied)).draw([Order(1, request)], lambda event: None)
    printed = capsys.readouterr()
    assert "secret" not in printed.out + printed.err + caplog.text


def test_the_embedded_checkpoint_draws_the_same_bits_alone_and_in_company():
    checkpoint = read_checkpoint(EMBEDDED)
    technique = loading.load(checkpoint, dataclasses.replace(CHOICE, threads=2))
    assert any(name.startswith("sha256:text_encoder") for name in technique.fingerprint.fields)
    assert MEANINGS in checkpoint.sha256
    assert f"sha256:{MEANINGS}" not in technique.fingerprint.fields  # no bit depends on it
    request = Imagine(
        prompts=(WeightedPrompt("a red apple"),),
        model=checkpoint.name,
        seed=7,
        width=checkpoint.width,
        height=checkpoint.height,
        num_inference_steps=3,
        guidance_scale=checkpoint.guidance_scale,
        num_images=4,
    )
    mate = dataclasses.replace(request, prompts=(WeightedPrompt("an owl"),), num_images=1)

    def draw(*orders):
        events = []
        Engine.of(technique).draw(orders, events.append)
        return {event.job_id: event.images for event in events if isinstance(event, ImagesDone)}

    whole = draw(Order(1, request))[1]
    assert draw(Order(1, request.only_seed(request.seed_of(2))))[1][0].png == whole[2].png
    assert draw(Order(2, mate), Order(1, request))[1] == whole
