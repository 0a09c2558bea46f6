"""From eight small drawings to a checkpoint that the stock pipeline draws with."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForImage2Image, StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageOps

from generation.training import checkpoint, conditions, train
from generation.training.recipe import RECIPES_DIRECTORY, load
from generation.training.train import TrainingSummary

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COLOURS = ("red", "green", "blue", "orange")


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    pass


def draw_examples(directory: Path) -> None:
    for look in ("plain", "inverted"):
        (directory / look).mkdir(parents=True)
    for colour in COLOURS:
        for shape in ("circle", "square"):
            picture = Image.new("RGB", (32, 32), "white")
            pen = ImageDraw.Draw(picture)
            draw = pen.ellipse if shape == "circle" else pen.rectangle
            draw((4, 4, 27, 27), fill=colour)
            picture.save(directory / "plain" / f"{colour}-{shape}.png")
            ImageOps.invert(picture).save(directory / "inverted" / f"{colour}-{shape}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainingSummary:
    directory = tmp_path_factory.mktemp("training")
    draw_examples(directory)
    recipe = load(RECIPES_DIRECTORY / "tiny.toml")
    threads = torch.get_num_threads()
    try:
        return train.train(directory, recipe, directory / "out", resume=False, report=silent)
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pipe(trained: TrainingSummary) -> StableDiffusionPipeline:
    return checkpoint.load(trained.out)


def test_summary_counts_what_was_trained(trained: TrainingSummary) -> None:
    assert (trained.concepts, trained.looks, trained.pictures) == (8, 2, 16)
    assert trained.views == 60 * 8
    assert np.isfinite(trained.loss)


def test_manifest_matches_the_files(trained: TrainingSummary) -> None:
    manifest = json.loads((trained.out / checkpoint.MANIFEST).read_text(encoding="utf-8"))
    assert manifest["styles"]["inverted"] == "{prompt}, inverted style"
    assert "red circle" in manifest["vocabulary"]
    for name, expected in manifest["sha256"].items():
        assert checkpoint.sha256_of(trained.out / name) == expected


def test_stock_pipeline_draws_from_words(pipe: StableDiffusionPipeline) -> None:
    pictures = pipe(
        ["a red circle, plain style", "a blue square, inverted style"],
        negative_prompt=["", ""],
        num_inference_steps=3,
        guidance_scale=2.0,
        generator=[torch.Generator().manual_seed(i) for i in range(2)],
    ).images
    assert [picture.size for picture in pictures] == [(32, 32), (32, 32)]


def test_stock_pipeline_remixes_a_picture(pipe: StableDiffusionPipeline) -> None:
    remix = AutoPipelineForImage2Image.from_pipe(pipe)
    remix.set_progress_bar_config(disable=True)
    picture = Image.new("RGB", (32, 32), "green")
    drawn = remix("a green square", image=picture, strength=0.7, num_inference_steps=4).images
    assert drawn[0].size == (32, 32)


def test_training_saw_the_states_the_pipeline_draws_with(pipe: StableDiffusionPipeline) -> None:
    texts = ["a red circle, plain style", ""]
    taught = conditions.encode_texts(texts, silent)
    embeds, negative_embeds = pipe.encode_prompt(
        texts[0], "cpu", 1, do_classifier_free_guidance=True, negative_prompt=texts[1]
    )
    drawn = torch.cat([embeds, negative_embeds])
    torch.testing.assert_close(taught, drawn.half(), rtol=0, atol=4e-3)


def test_unet_takes_a_time_for_each_picture(pipe: StableDiffusionPipeline) -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn((2, 4, 4, 4), generator=generator)
    states = conditions.encode_texts(["red", "blue"], silent).float()
    with torch.no_grad():
        together = pipe.unet(latents, torch.tensor([10, 900]), states).sample
        alone = pipe.unet(latents[1:], torch.tensor([900]), states[1:]).sample
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-4)
