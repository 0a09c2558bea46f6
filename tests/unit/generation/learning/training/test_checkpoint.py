"""What is exported is an ordinary diffusers folder that says truly what it is."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from generation.learning.recipes.work import Work
from generation.learning.training import checkpoint, diffusion, latents, noising
from generation.work import checkpoints, manifest
from generation.work.progress import silent
from tests.unit.generation.learning.training import toy

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = toy.toy_work(tmp_path_factory.mktemp("work"))
    recipe = dataclasses.replace(toy.DIFFUSION, run=dataclasses.replace(toy.RUN, steps=0))
    diffusion.train(work, recipe, silent)
    return work


@pytest.fixture(scope="module")
def folder(work: Work) -> Path:
    return work.checkpoint("diffusion")


@pytest.fixture(scope="module")
def pipe(folder: Path) -> StableDiffusionPipeline:
    return checkpoint.load(folder)


def test_weights_come_back_as_they_were_but_for_rounding(
    work: Work, pipe: StableDiffusionPipeline
) -> None:
    vae, _ = latents.load_vae(work)
    for name, weight in vae.state_dict().items():
        torch.testing.assert_close(pipe.vae.state_dict()[name], weight.half().float())


def test_export_leaves_the_trained_parts_as_they_are(work: Work, tmp_path: Path) -> None:
    vae, _ = latents.load_vae(work)
    unet = checkpoint.load(work.checkpoint("diffusion")).unet
    about = diffusion.about(toy.DIFFUSION, toy.write_dataset(work))
    checkpoint.export(tmp_path, "diffusion", about, unet, vae, noising.scheduler("flow"))
    assert (unet.dtype, vae.dtype) == (torch.float32, torch.float32)
    assert isinstance(checkpoint.load(tmp_path).unet, UNet2DConditionModel)


def test_folder_tells_the_bot_what_it_can_draw(folder: Path) -> None:
    described = checkpoints.read_checkpoint(folder)
    assert (described.name, described.title) == ("toy", "Toy")
    assert (described.width, described.height) == (toy.SIDE_PX, toy.SIDE_PX)
    assert (described.num_inference_steps, described.guidance_scale) == (4, 2.0)
    assert described.styled("a red circle", "outlined") == "a red circle, outlined style"
    assert described.default_style == "solid"
    checkpoints.verify(folder, described.sha256)
    weights = {f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")}
    assert set(described.sha256) == {*weights, checkpoints.MEANINGS}
    assert set(checkpoints.weights_in(described.sha256)) == weights


def test_folder_tells_nothing_of_where_it_was_made(folder: Path) -> None:
    written = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.json"))
    assert str(folder.parent) not in written


def test_half_written_folder_is_no_checkpoint(work: Work, tmp_path: Path) -> None:
    vae, _ = latents.load_vae(work)
    unet = checkpoint.load(work.checkpoint("diffusion")).unet
    about = diffusion.about(toy.DIFFUSION, toy.write_dataset(work))
    checkpoint.export(tmp_path, "diffusion", about, unet, vae, noising.scheduler("flow"))
    broken = dataclasses.replace(about, styles={"solid": object()})
    with pytest.raises(TypeError):
        checkpoint.export(tmp_path, "diffusion", broken, unet, vae, noising.scheduler("flow"))
    with pytest.raises(manifest.CheckpointMissing):
        manifest.read(tmp_path, "diffusion")


def test_vocabulary_holds_things_and_other_words_for_them_that_were_taught(tmp_path: Path) -> None:
    unseen = frozenset((f"red {shape}", look) for shape in toy.SHAPES for look in toy.LOOKS)
    words = checkpoint.vocabulary(toy.write_dataset(Work(tmp_path, "tiny"), unseen))
    assert words[:2] == ["green circle", "green square"]
    assert "circle in green" in words
    assert not {"a green circle", "red circle", "circle in red"} & set(words)
    things = checkpoint.concepts(toy.write_dataset(Work(tmp_path, "tiny"), unseen))
    assert words[: len(things)] == things
    assert "circle in green" not in things


def test_look_without_training_pictures_is_not_offered(tmp_path: Path) -> None:
    unseen = frozenset((f"{c} {s}", "outlined") for c in toy.COLOURS for s in toy.SHAPES)
    dataset = toy.write_dataset(Work(tmp_path, "tiny"), unseen)
    assert checkpoint.styles(dataset) == {"solid": "{prompt}, solid style"}


def test_look_of_two_words_is_a_style_of_one_that_asks_for_both(tmp_path: Path) -> None:
    dataset = toy.write_dataset(Work(tmp_path, "tiny"))
    rows = tuple(dataclasses.replace(row, look="line art") for row in dataset.rows)
    renamed = dataclasses.replace(dataset, rows=rows, looks=("line art",))
    assert checkpoint.styles(renamed) == {"line-art": "{prompt}, line art style"}


def test_what_a_distilled_checkpoint_has_built_in_cannot_be_asked_for(
    folder: Path, tmp_path: Path
) -> None:
    note = json.loads((folder / "atelier.json").read_text(encoding="utf-8"))
    note |= {"kind": "distill", "num_inference_steps": 1, "guidance_scale": 1.0}
    (tmp_path / "atelier.json").write_text(json.dumps(note), encoding="utf-8")
    described = checkpoints.read_checkpoint(tmp_path)
    assert described.num_inference_steps == 1
    assert described.honours == {"ar", "image", "weights"}
