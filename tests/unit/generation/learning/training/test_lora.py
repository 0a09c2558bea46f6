"""A LoRA on tiny random checkpoints of the real classes, held to what diffusers makes of it."""

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from generation.learning.dataset.captioned import Consented, NotPermitted, write_consents
from generation.learning.recipes import reading
from generation.learning.recipes.work import Work
from generation.learning.training import lora, lora_export
from generation.learning.training.base import alphas_and_sigmas, is_straight, open_base, target
from generation.learning.training.loop import TrainingStopped
from generation.learning.training.lora_recipe import LoraRecipe
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Run, place
from generation.work.checkpoints import EMBEDDED, read_checkpoint
from generation.work.progress import silent
from tests.unit.generation.techniques.diffusion.conftest import BUILDERS, flow_solver, sd15, unet

# diffusers' DPM solver hands a tensor to NumPy in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PICTURES = 6
RUN = Run(
    steps=12,
    batch_size=4,
    device="cpu",
    precision="float32",
    threads=1,
    ema_decay=0.0,
    log_every=1000,
    save_every_s=1e9,
)
RECIPE = LoraRecipe(
    name="club",
    title="The club's pictures",
    rank=4,
    alpha=8.0,
    held_out=0.0,
    run=RUN,
    optimizer=Optimizer(learning_rate=2e-2),
    schedule=Schedule(name="constant", warmup=1),
)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Builds a tiny checkpoint of a kind once."""
    made = {}

    def make(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            if kind == "v":
                scheduler = DDIMScheduler(
                    prediction_type="v_prediction", clip_sample=False, steps_offset=1
                )
                pipeline = sd15(folder, scheduler)
            else:
                pipeline = BUILDERS[kind](folder)
            pipeline.save_pretrained(folder / "model")
            made[kind] = folder / "model"
        return made[kind]

    return make


@pytest.fixture
def work(tmp_path):
    """A work folder whose gallery holds consented pictures: squares in different places."""
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    consents = {}
    for number in range(PICTURES):
        pixels = np.full((40, 32, 4), 255, np.uint8)
        pixels[4 * number : 4 * number + 8, 8:16, :3] = (200, 20, 40 * number)
        path = gallery / f"image-{number}.png"
        Image.fromarray(pixels).save(path)
        path.with_suffix(".txt").write_text(f"square number {number % 3}\n")
        consents[path.name] = Consented(hashlib.sha256(path.read_bytes()).hexdigest(), number)
    write_consents(gallery, consents)
    return Work(tmp_path, "tiny")


def recipe_for(checkpoint, **changes):
    return dataclasses.replace(RECIPE, checkpoint=str(checkpoint), **changes)


def error_on(pipeline_folder, work, weights=None):
    """Return the error on the pictures themselves, with the same noise every time."""
    base = open_base(pipeline_folder, place(RUN))
    if weights:
        base.pipeline.load_lora_weights(weights.parent, weight_name=weights.name)
    latents = base.encode_pictures(sorted((work.root / "gallery").glob("*.png")), silent)
    words = base.encode_words(["square number 0", "square number 1", "square number 2"], silent)
    rows = torch.arange(PICTURES).repeat(4)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        return base.error(latents.draw(rows, generator), words, rows % 3, generator).item()


def draw(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return np.asarray(
        pipeline(
            "square number 1",
            num_inference_steps=2,
            guidance_scale=3.0,
            generator=torch.Generator().manual_seed(3),
            width=32,
            height=32,
            output_type="np",
        ).images[0]
    )


@pytest.mark.parametrize("kind", ["sd15", "v", "flow", "sdxl"])
def test_the_error_falls_and_the_stock_pipeline_draws_otherwise(kind, checkpoints, work):
    folder = checkpoints(kind)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    targets = (*RECIPE.targets, "conv1", "conv_in") if kind == "flow" else RECIPE.targets
    summary = lora.train(work, recipe_for(folder, is_merged=False, targets=targets), silent)
    assert {path: path.read_bytes() for path in before} == before
    assert summary.checkpoint is None
    assert error_on(folder, work, summary.weights) < 0.97 * error_on(folder, work)

    stock = DiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    plain = draw(stock)
    stock.load_lora_weights(summary.weights.parent, weight_name=summary.weights.name)
    taught = draw(stock)
    assert np.abs(taught - plain).max() > 0.002
    stock.unload_lora_weights()
    assert np.array_equal(draw(stock), plain)


def test_only_the_lora_learns_and_what_it_learned_is_what_is_saved(checkpoints, work):
    targets = ("to_q", "to_v", "conv1", "conv_in")
    training = lora.prepare(work, recipe_for(checkpoints("sd15"), targets=targets), silent)
    unet = training.base.unet
    frozen = {name: p.clone() for name, p in unet.named_parameters() if not p.requires_grad}
    training.loop.run(silent)
    learned = [name for name, _ in unet.named_parameters() if name not in frozen]
    assert all(".lora_" in name for name in learned)
    # Pairs: two attentions in each of four blocks; six pairs of convolutions, two in the middle.
    assert len(learned) == 2 * (2 * 2 * 4 + 8 + 1)
    for name, parameter in unet.named_parameters():
        assert name in learned or torch.equal(parameter, frozen[name])

    saved = lora_export.export(work.root / "out", RECIPE, training.base, PICTURES)
    stock = DiffusionPipeline.from_pretrained(checkpoints("sd15"), use_safetensors=True)
    stock.load_lora_weights(saved.parent, weight_name=saved.name)
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(2, 4, 16, 16, generator=generator)
    states = torch.randn(2, 16, 32, generator=generator)
    with torch.no_grad():
        ours, theirs = (each(noisy, 400, states).sample for each in (unet, stock.unet))
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_merged_checkpoint_draws_what_base_and_lora_draw_together(checkpoints, work):
    folder = checkpoints("sd15")
    summary = lora.train(work, recipe_for(folder), silent)
    stock = DiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    stock.load_lora_weights(summary.weights.parent, weight_name=summary.weights.name)
    merged = DiffusionPipeline.from_pretrained(summary.checkpoint, use_safetensors=True)
    assert np.abs(draw(merged) - draw(stock)).max() < 1e-4
    config = "unet/config.json"
    assert (summary.checkpoint / config).read_bytes() == (folder / config).read_bytes()
    assert "club" in summary.sentence() or str(summary.weights) in summary.sentence()


def test_a_checkpoint_of_ours_gets_a_style_of_ones_own(work):
    sheet = {"sheet_every": 1, "sheet": ("a cat",), "precision": "bfloat16"}
    run = dataclasses.replace(RUN, steps=1, batch_size=1, **sheet)
    summary = lora.train(work, dataclasses.replace(RECIPE, look="club", run=run), silent)
    with Image.open(work.run("lora") / "sheets" / "0000001.png") as drawn:
        assert len(drawn.getcolors(2**16)) > 100
    description = read_checkpoint(summary.checkpoint)
    assert (description.name, description.default_style) == ("club", "club")
    assert description.styled("a fox", None) == "a fox, club style"
    assert set(read_checkpoint(EMBEDDED).styles) < set(description.styles)
    unchanged = open_base(summary.checkpoint, place(RUN))  # also checks every hash
    assert unchanged.description.width == read_checkpoint(EMBEDDED).width
    for kept in ("vae/diffusion_pytorch_model.safetensors", "README.md"):
        assert (summary.checkpoint / kept).read_bytes() == (EMBEDDED / kept).read_bytes()
    assert "taught 6 pictures" in (summary.checkpoint / "LORA.md").read_text()
    unet_file = "unet/diffusion_pytorch_model.safetensors"
    ours, theirs = ((each / unet_file).stat().st_size for each in (summary.checkpoint, EMBEDDED))
    assert abs(ours - theirs) < 10_000  # stored in the same format


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_weights_and_curve(checkpoints, work):
    run = dataclasses.replace(RUN, steps=6, log_every=3, validate_every=3, ema_decay=0.9)
    recipe = recipe_for(checkpoints("sd15"), is_merged=False, held_out=0.34, run=run)
    whole = lora.train(work, recipe, silent)
    expected = load_file(whole.weights)
    curve = (work.run("lora") / "curve.csv").read_bytes()
    shutil.rmtree(work.run("lora"))

    code = textwrap.dedent("""
        import os, pickle, signal, sys
        from pathlib import Path
        from generation.learning.training import loop, lora

        recipe, work = pickle.loads(bytes.fromhex(sys.argv[1]))
        step = loop.Loop.step

        def step_until_killed(self, report):
            if self._state.step == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            step(self, report)

        loop.Loop.step = step_until_killed
        lora.train(work, recipe, lambda *_: None)
    """)
    killed = subprocess.run(
        [sys.executable, "-c", code, pickled(saving_every_step(recipe), work)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert list(work.run("lora").glob("snapshot-*"))
    assert not (work.run("lora") / "lora").exists()

    resumed = lora.train(work, recipe, silent)
    found = load_file(resumed.weights)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    assert (work.run("lora") / "curve.csv").read_bytes() == curve


def saving_every_step(recipe):
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, save_every_s=0.0))


def pickled(recipe, work):
    plain = dataclasses.replace(recipe, terms=dict(recipe.terms))
    return pickle.dumps((plain, work)).hex()


def test_other_pictures_are_not_taken_up_by_an_old_snapshot(checkpoints, work):
    recipe = recipe_for(checkpoints("sd15"), is_merged=False)
    lora.train(work, recipe, silent)
    (work.root / "gallery" / "image-0.txt").write_text("something else")
    with pytest.raises(TrainingStopped, match="other data"):
        lora.train(work, recipe, silent)


def test_pictures_that_nobody_allowed_are_refused(checkpoints, work):
    foreign = work.root / "gallery" / "found-somewhere.png"
    shutil.copy(work.root / "gallery" / "image-0.png", foreign)
    foreign.with_suffix(".txt").write_text("a picture from the web")
    recipe = recipe_for(checkpoints("sd15"), is_merged=False)
    with pytest.raises(NotPermitted, match=r"found-somewhere.png.*permission"):
        lora.train(work, recipe, silent)
    assert not work.run("lora").exists()


def test_pictures_of_ones_own_need_a_reason_which_is_written_into_the_card(checkpoints, work):
    own = work.root / "own"
    shutil.copytree(work.root / "gallery", own, ignore=shutil.ignore_patterns("consent.json"))
    with pytest.raises(ValueError, match="permission"):
        recipe_for(checkpoints("sd15"), pictures=str(own))
    reason = "drawn by the club for this purpose"
    summary = lora.train(
        work,
        recipe_for(
            checkpoints("sd15"), pictures=str(own), permission=reason, look="club", is_merged=False
        ),
        silent,
    )
    card = (summary.weights.parent / "README.md").read_text()
    assert reason in card
    assert "6 pictures" in card
    assert "`a fox, club style`" in card
    unet_file = checkpoints("sd15") / "unet" / "diffusion_pytorch_model.safetensors"
    assert hashlib.sha256(unet_file.read_bytes()).hexdigest() in card
    assert "square number" not in card


@pytest.mark.parametrize("kind", ["sd3", "inpaint"])
def test_other_layouts_are_refused_by_name(kind, checkpoints, tmp_path):
    if kind == "inpaint":
        pipeline = sd15(tmp_path)
        pipeline.register_modules(unet=unet(in_channels=9))
        pipeline.save_pretrained(tmp_path / "model")
        folder = tmp_path / "model"
    else:
        folder = checkpoints(kind)
    with pytest.raises(TrainingStopped, match=r"laid out like|mask"):
        open_base(folder, place(RUN))


def test_a_distilled_checkpoint_is_left_as_it_is(tmp_path):
    manifest = json.loads((EMBEDDED / "atelier.json").read_text())
    (tmp_path / "atelier.json").write_text(json.dumps({**manifest, "kind": "distill"}))
    with pytest.raises(TrainingStopped, match="distilled from"):
        open_base(tmp_path, place(RUN))


def test_a_target_that_no_layer_has_is_named(checkpoints, work):
    with pytest.raises(TrainingStopped, match=r"nowhere.*targets"):
        lora.train(work, recipe_for(checkpoints("sd15"), targets=("nowhere",)), silent)


def test_a_file_that_is_no_picture_is_named(checkpoints, work):
    bad = work.root / "gallery" / "image-3.png"
    bad.write_bytes(b"no picture")
    recipe = recipe_for(
        checkpoints("sd15"), pictures=str(work.root / "gallery"), permission="a test"
    )
    with pytest.raises(TrainingStopped, match=r"image-3\.png cannot be read"):
        lora.train(work, recipe, silent)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_targets_are_those_of_diffusers_own_scheduler(prediction_type):
    scheduler = DDPMScheduler(prediction_type=prediction_type, clip_sample=False)
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(5, 4, 3, 3, generator=generator) for _ in range(2))
    levels = torch.tensor([0.0, 0.2, 0.5, 0.9, 0.999])
    timesteps = (levels * 1000).long()
    alphas, sigmas = (part.view(-1, 1, 1, 1) for part in alphas_and_sigmas(scheduler, levels))
    noisy = alphas * clean + sigmas * noise
    assert torch.allclose(noisy, scheduler.add_noise(clean, noise, timesteps), atol=1e-6)
    said = target(prediction_type, clean, noise, alphas, sigmas)
    for row, timestep in enumerate(timesteps):
        step = scheduler.step(
            said[row : row + 1], timestep, noisy[row : row + 1], generator=generator
        )
        assert torch.allclose(step.pred_original_sample, clean[row : row + 1], atol=2e-3)


def test_the_flow_target_leads_the_shipped_scheduler_to_the_picture():
    scheduler = flow_solver()
    assert is_straight(scheduler)
    scheduler.set_timesteps(4)
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(1, 4, 3, 3, generator=generator) for _ in range(2))
    level = scheduler.sigmas[:1]
    alphas, sigmas = (part.view(-1, 1, 1, 1) for part in alphas_and_sigmas(scheduler, level))
    said = target("flow_prediction", clean, noise, alphas, sigmas)
    scheduler._init_step_index(scheduler.timesteps[0])
    found = scheduler.convert_model_output(said, sample=alphas * clean + sigmas * noise)
    assert torch.allclose(found, clean, atol=1e-5)


@pytest.mark.parametrize("preset", ["tiny", "full"])
def test_the_presets_recipes_can_be_read(preset):
    recipe = reading.preset(LoraRecipe, preset, "lora")
    assert recipe.pictures == ""
    assert json.dumps(dict(recipe.terms)) == '{"prediction": 1.0}'
