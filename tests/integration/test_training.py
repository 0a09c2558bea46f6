"""From eight small drawings to a checkpoint that the stock pipeline and the engine draw with."""

import dataclasses
import io
from collections.abc import Iterator

import pytest
import torch
from diffusers import AutoPipelineForImage2Image, StableDiffusionPipeline
from PIL import Image

from generation.engine.engine import Engine
from generation.learning.recipes.work import Work
from generation.learning.training import checkpoint, conditions, diffusion, distill
from generation.learning.training.diffusion import DiffusionSummary
from generation.learning.training.distill import DistillRecipe
from generation.techniques.device import choose
from generation.techniques.diffusion import loading
from generation.work import checkpoints
from generation.work.orders import Order
from generation.work.progress import silent
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone
from tests.unit.generation.learning.training import toy

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CPU = torch.device("cpu")
SHEET = ("a red circle, solid style", "a blue square, outlined style")


@pytest.fixture(scope="module", autouse=True)
def own_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    return toy.toy_work(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def trained(work: Work) -> DiffusionSummary:
    run = dataclasses.replace(toy.RUN, sheet_every=20, sheet=SHEET)
    return diffusion.train(work, dataclasses.replace(toy.DIFFUSION, run=run), silent)


@pytest.fixture(scope="module")
def pipe(trained: DiffusionSummary) -> StableDiffusionPipeline:
    return checkpoint.load(trained.out)


def test_summary_counts_what_was_trained(trained: DiffusionSummary) -> None:
    assert (trained.pictures, trained.steps, trained.views) == (16, 20, 20 * 8)
    assert 0 < trained.loss < 2
    assert "160 views of 16 pictures in 20 steps" in trained.sentence()


def test_curve_and_sheet_lie_beside_the_checkpoint(work: Work, trained: DiffusionSummary) -> None:
    assert (work.run("diffusion") / "curve.png").stat().st_size > 0
    with Image.open(work.run("diffusion") / "sheets" / "0000020.png") as sheet:
        assert sheet.width >= len(SHEET) * 128


def test_stock_pipeline_draws_from_words(pipe: StableDiffusionPipeline) -> None:
    pictures = pipe(
        list(SHEET),
        negative_prompt=["", ""],
        num_inference_steps=3,
        guidance_scale=2.0,
        generator=[torch.Generator().manual_seed(i) for i in range(2)],
    ).images
    assert [picture.size for picture in pictures] == [(toy.SIDE_PX, toy.SIDE_PX)] * 2


def test_stock_pipeline_remixes_a_picture(pipe: StableDiffusionPipeline) -> None:
    remix = AutoPipelineForImage2Image.from_pipe(pipe)
    remix.set_progress_bar_config(disable=True)
    picture = Image.new("RGB", (toy.SIDE_PX, toy.SIDE_PX), "green")
    drawn = remix("a green square", image=picture, strength=0.7, num_inference_steps=4).images
    assert drawn[0].size == (toy.SIDE_PX, toy.SIDE_PX)


def test_training_saw_the_states_the_pipeline_draws_with(pipe: StableDiffusionPipeline) -> None:
    texts = [SHEET[0], ""]
    taught = conditions.Encoder(CPU)(texts)
    embeds, negative_embeds = pipe.encode_prompt(
        texts[0], CPU, 1, do_classifier_free_guidance=True, negative_prompt=texts[1]
    )
    drawn = torch.cat([embeds, negative_embeds])
    torch.testing.assert_close(taught, drawn.half(), rtol=0, atol=4e-3)


def test_unet_takes_a_time_for_each_picture(pipe: StableDiffusionPipeline) -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn((2, 4, 8, 8), generator=generator)
    states = conditions.Encoder(CPU)(["red", "blue"]).float()
    with torch.no_grad():
        together = pipe.unet(latents, torch.tensor([10, 900]), states).sample
        alone = pipe.unet(latents[1:], torch.tensor([900]), states[1:]).sample
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-4)


def test_engine_draws_with_a_student_of_one_step(work: Work, trained: DiffusionSummary) -> None:
    recipe = DistillRecipe(
        name="toy-fast",
        title="Toy Fast",
        num_inference_steps=1,
        teacher_steps=2,
        trajectories=8,
        held_out=4,
        terms={"end": 1.0},
        run=dataclasses.replace(toy.RUN, steps=2, batch_size=4),
    )
    summary = distill.train(work, recipe, silent)
    described = checkpoints.read_checkpoint(summary.out)
    technique = loading.load(described, choose("cpu", "float32", 1))
    request = Imagine(
        prompts=(WeightedPrompt("a red circle"),),
        model=described.name,
        style="solid",
        seed=1,
        num_images=1,
        width=toy.SIDE_PX,
        height=toy.SIDE_PX,
        num_inference_steps=described.num_inference_steps,
        guidance_scale=described.guidance_scale,
    )
    reports: list[object] = []
    Engine.of(technique).draw([Order(job_id=1, request=request)], reports.append)
    (done,) = (report for report in reports if isinstance(report, ImagesDone))
    with Image.open(io.BytesIO(done.images[0].png)) as drawn:
        assert drawn.size == (toy.SIDE_PX, toy.SIDE_PX)
