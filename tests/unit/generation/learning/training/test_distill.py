"""A student walks where its teacher walked, in steps that the stock pipeline takes."""

import dataclasses
from pathlib import Path

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from generation.learning.recipes.work import Work
from generation.learning.training import (
    checkpoint,
    conditions,
    diffusion,
    distill,
    noising,
    trajectories,
)
from generation.learning.training.distill import DistillRecipe, DistillSummary
from generation.learning.training.noising import PREDICTIONS
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.work import checkpoints
from generation.work.manifest import CheckpointMissing
from generation.work.progress import silent
from tests.unit.generation.learning.training import toy

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RECIPE = DistillRecipe(
    name="toy-fast",
    title="Toy Fast",
    num_inference_steps=2,
    teacher_steps=4,
    trajectories=32,
    held_out=16,
    wording=conditions.Wording(phrasings=1),
    optimizer=Optimizer(learning_rate=2e-3),
    schedule=Schedule(warmup=5),
    run=dataclasses.replace(toy.RUN, steps=24),
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = toy.toy_work(tmp_path_factory.mktemp("work"))
    diffusion.train(work, toy.DIFFUSION, silent)
    return work


@pytest.fixture(scope="module")
def summary(work: Work) -> DistillSummary:
    return distill.train(work, RECIPE, silent)


def test_student_is_closer_to_the_teacher_than_the_teacher_in_as_few_steps(
    summary: DistillSummary,
) -> None:
    assert summary.distance < 0.85 * summary.undistilled
    assert summary.distance < summary.undistilled_guided


def test_stored_student_is_as_close_as_the_trained_one(work: Work, summary: DistillSummary) -> None:
    # A second run finds everything done and the same snapshot, and measures again.
    again = distill.train(work, RECIPE, silent)
    assert again.distance == summary.distance
    pipe = checkpoint.load(summary.out)
    assert pipe.scheduler.config.solver_order == 1
    described = checkpoints.read_checkpoint(summary.out)
    assert (described.num_inference_steps, described.guidance_scale) == (2, 1.0)
    assert described.styles == checkpoints.read_checkpoint(work.checkpoint("diffusion")).styles


def test_pipeline_takes_the_steps_that_were_trained(work: Work, summary: DistillSummary) -> None:
    pipe = checkpoint.load(summary.out)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    stops: list[torch.Tensor] = []

    def keep(pipe: object, step: int, timestep: object, tensors: dict[str, torch.Tensor]) -> dict:
        stops.append(tensors["latents"])
        return {}

    prompt = "a red circle, solid style"
    pipe(
        prompt,
        num_inference_steps=2,
        guidance_scale=1.0,
        latents=noise,
        output_type="latent",
        callback_on_step_end=keep,
    )
    states = conditions.Encoder(torch.device("cpu"))([prompt]).float()
    with torch.no_grad():
        walked = trajectories.walk(pipe.unet, pipe.scheduler, noise, states, 2)
    assert len(stops) == 2
    for drawn, trained in zip(stops, walked[1:], strict=True):
        torch.testing.assert_close(drawn, trained, rtol=0, atol=5e-3)


def test_guided_walk_is_what_the_pipeline_draws_with_guidance(work: Work) -> None:
    pipe = checkpoint.load(work.checkpoint("diffusion"))
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    prompt = "a red circle, solid style"
    drawn = pipe(
        prompt,
        num_inference_steps=4,
        guidance_scale=2.0,
        latents=noise,
        output_type="latent",
    ).images
    encode = conditions.Encoder(torch.device("cpu"))
    with torch.no_grad():
        walked = trajectories.walk(
            pipe.unet, pipe.scheduler, noise, encode([prompt]).float(), 4, 2.0, encode([""]).float()
        )
    torch.testing.assert_close(drawn, walked[-1], rtol=0, atol=1e-2)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_student_stops_where_its_teacher_stopped(prediction: str, steps: int) -> None:
    teacher, few = noising.scheduler(prediction), noising.scheduler(prediction)
    student = DPMSolverMultistepScheduler.from_config(few.config, solver_order=1)
    teacher.set_timesteps(16)
    student.set_timesteps(steps)
    stride = 16 // steps
    torch.testing.assert_close(student.sigmas, teacher.sigmas[::stride], rtol=1e-5, atol=1e-6)
    assert torch.equal(student.timesteps, teacher.timesteps[::stride])


def test_teacher_draws_once(work: Work, summary: DistillSummary) -> None:
    (drawings,) = work.run("distill").glob("teacher-*.npy")
    before = drawings.stat().st_mtime_ns
    distill.prepare(work, RECIPE, toy.write_dataset(work), silent)
    assert drawings.stat().st_mtime_ns == before


def test_missing_teacher_says_what_to_train_first(tmp_path: Path) -> None:
    work = toy.toy_work(tmp_path)
    with pytest.raises(CheckpointMissing, match="atelier train diffusion"):
        distill.train(work, RECIPE, silent)


@pytest.mark.parametrize("preset", ["tiny", "embedded", "full"])
def test_every_preset_distils_what_it_trains(preset: str, tmp_path: Path) -> None:
    work = Work(tmp_path, preset)
    teacher = work.recipe(diffusion.DiffusionRecipe, "diffusion")
    student = work.recipe(DistillRecipe, "distill")
    assert student.num_inference_steps < teacher.num_inference_steps <= student.teacher_steps
    assert student.name != teacher.name


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num_inference_steps": 5}, "from 1 to 4"),
        ({"num_inference_steps": 3, "teacher_steps": 16}, "a multiple"),
        ({"held_out": 0}, "1 or more"),
        ({"num_inference_steps": 1}, "no way between"),
    ],
)
def test_impossible_recipe_is_refused(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(RECIPE, **wrong)
