"""Teach a trained denoiser to draw in a few steps without guidance what took it many with.

The teacher draws pictures once, through its own scheduler and with guidance; its latents are kept
at the noise levels where the student will stop. The student starts from the teacher's weights and
walks the same way in its own few steps, from the same noise, and learns to be where the teacher was.

Source: guidance baked into the weights, Meng et al., On Distillation of Guided Diffusion Models,
arXiv 2210.03142; regression on the teacher's own noise and picture pairs, Luhman and Luhman,
Knowledge Distillation in Iterative Generative Models, arXiv 2101.02388; a few steps on nested
grids, Salimans and Ho, Progressive Distillation, arXiv 2202.00512. Unlike there, all halvings are
one, because the teacher's way is kept at every stop, and the student meets its own errors.

Tried on toy drawings, two steps, distance to the teacher before 0.17: multistep consistency (Heek
et al., arXiv 2403.06807) reached 0.10 in 120 steps of the same cost and 0.09 in 360; this reached
0.06 in 120. Stopping anywhere (`path` weighed 0) reached 0.05, but then a picture to start from
(`strength`) is no state that the student knows.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderTiny, DPMSolverMultistepScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from torch.nn import functional

from generation.language.templates import styled
from generation.learning.dataset import stored
from generation.learning.dataset.augment import BACKGROUNDS, WHITE, background_words
from generation.learning.dataset.stored import LEARNED, Dataset
from generation.learning.recipes.work import Work
from generation.learning.training import checkpoint, conditions, kept, sheet
from generation.learning.training.conditions import Wording
from generation.learning.training.loop import Loop, Player
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Placement, Run, generator_at, place
from generation.learning.training.trajectories import Trajectories, walk
from generation.work import manifest
from generation.work.progress import Progress

KIND: checkpoint.Kind = "distill"
END, PATH = "end", "path"


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillRecipe:
    """How a student of few steps is made.

    Attributes:
        name: What people type after `--model`.
        title: What people read.
        num_inference_steps: Of the student, 1 to 4.
        teacher_steps: Of the teacher; a multiple of the student's.
        guidance_scale: That the teacher draws with; 0 takes its manifest's.
        trajectories: Pictures that the teacher draws to learn from.
        held_out: Further ones that only measure.
        background: Share of captions that name a background.
        wording: Of the captions; `dropout` is the share of empty prompts.
        terms: `end`, the square error of the finished latents, and `path`, of those on the way.
    """

    name: str
    title: str
    num_inference_steps: int = 4
    teacher_steps: int = 16
    guidance_scale: float = 0.0
    trajectories: int = 2048
    held_out: int = 64
    background: float = 0.0
    wording: Wording = field(default_factory=lambda: Wording(dropout=0.02))
    terms: Mapping[str, float] = field(default_factory=lambda: {END: 1.0, PATH: 1.0})
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(learning_rate=2e-4))
    schedule: Schedule = field(default_factory=Schedule)
    run: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        if not 1 <= self.num_inference_steps <= 4:
            raise ValueError("num_inference_steps must be from 1 to 4")
        if self.teacher_steps < 1 or self.teacher_steps % self.num_inference_steps:
            raise ValueError("teacher_steps must be a multiple of num_inference_steps")
        if self.num_inference_steps == 1 and self.terms.get(PATH):
            raise ValueError("one step has no way between start and end: set terms.path to 0")
        if self.held_out < 1 or self.trajectories < 1:
            raise ValueError("trajectories and held_out must be 1 or more")


@dataclass(frozen=True, slots=True)
class DistillSummary:
    """What a run produced. Distances are root mean squares of latents, which have unit variance.

    Attributes:
        parameters: Weights of the student.
        views: Teacher's drawings it saw, repetitions counted.
        distance: From the student's few steps to the teacher's many, on drawings held out.
        undistilled: From the teacher's own few steps without guidance, by the same solver.
        undistilled_guided: From the teacher's few steps with guidance, twice the work.
        seconds: Of the training loop, since its start or resumption.
    """

    out: Path
    num_inference_steps: int
    parameters: int
    views: int
    steps: int
    distance: float
    undistilled: float
    undistilled_guided: float
    seconds: float

    def sentence(self) -> str:
        """Say in one line what was trained and how well."""
        return (
            f"{self.num_inference_steps} steps without guidance, {self.distance:.3f} from the"
            f" teacher's full drawings; undistilled {self.undistilled:.3f}, with guidance"
            f" {self.undistilled_guided:.3f}; {self.views} views in {self.steps} steps and"
            f" {self.seconds / 60:.1f} minutes"
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A loop that is ready to step, and what it trains."""

    loop: Loop
    unet: UNet2DConditionModel
    vae: AutoencoderTiny
    scheduler: DPMSolverMultistepScheduler
    distance: Callable[[], float]
    undistilled: float
    undistilled_guided: float


def train(work: Work, recipe: DistillRecipe, report: Progress) -> DistillSummary:
    """Distil, or take up distilling, and export to `work.checkpoint("distill")`.

    Raises:
        DatasetError: The dataset is missing.
        TrainingStopped: The teacher is missing, or training cannot go on.
    """
    dataset = stored.load(work.data)
    prepared = prepare(work, recipe, dataset, report)
    outcome = prepared.loop.run(report)
    out = work.checkpoint(KIND)
    checkpoint.export(
        out,
        KIND,
        about(work, recipe),
        prepared.unet,
        prepared.vae,
        prepared.scheduler,
    )
    return DistillSummary(
        out=out,
        num_inference_steps=recipe.num_inference_steps,
        parameters=prepared.unet.num_parameters(),
        views=outcome.views,
        steps=outcome.steps,
        distance=prepared.distance(),
        undistilled=prepared.undistilled,
        undistilled_guided=prepared.undistilled_guided,
        seconds=outcome.seconds,
    )


def about(work: Work, recipe: DistillRecipe) -> checkpoint.About:
    """Return what the student says of itself: the teacher's words, its own steps, no guidance."""
    teacher = manifest.read(work.checkpoint("diffusion"), "diffusion")
    return checkpoint.About(
        name=recipe.name,
        title=recipe.title,
        side_px=teacher["width"],
        num_inference_steps=recipe.num_inference_steps,
        guidance_scale=1.0,
        styles=teacher["styles"],
        default_style=teacher["default_style"],
        vocabulary=teacher["vocabulary"],
        num_things=teacher["num_things"],
    )


def prepare(work: Work, recipe: DistillRecipe, dataset: Dataset, report: Progress) -> Prepared:
    """Let the teacher draw where that was not done yet, and set up the loop.

    Raises:
        TrainingStopped: The teacher is missing, or is damaged.
    """
    placement, folder = place(recipe.run), work.run(KIND)
    source = work.checkpoint("diffusion")
    teacher = manifest.read(source, "diffusion")
    pipe = checkpoint.load(source)
    unet: UNet2DConditionModel = pipe.unet
    guidance_scale = recipe.guidance_scale or float(teacher["guidance_scale"])
    ways = draw(
        folder,
        recipe,
        dataset,
        unet.to(placement.device),
        pipe.scheduler,
        guidance_scale,
        teacher["sha256"],
        placement,
        report,
    )
    scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, solver_order=1)
    held_out = torch.arange(recipe.trajectories, recipe.trajectories + recipe.held_out)

    def distance(
        steps: DPMSolverMultistepScheduler = scheduler, guidance_scale: float = 1.0
    ) -> float:
        here = Placement(placement.device, unet.dtype)
        total = 0.0
        for part in held_out.split(recipe.run.batch_size):
            nodes, states = ways.at(part, here)
            empty = ways.empty(len(part), here)
            with torch.no_grad():
                walked = walk(
                    unet, steps, nodes[0], states, recipe.num_inference_steps, guidance_scale, empty
                )
            total += functional.mse_loss(walked[-1], nodes[-1]).item() * len(part)
        return math.sqrt(total / len(held_out))

    undistilled, guided = distance(), distance(pipe.scheduler, guidance_scale)
    unet.train().requires_grad_(requires_grad=True)
    player = Player(
        name=KIND,
        modules={"unet": unet},
        losses=_losses(unet, recipe, ways, scheduler, placement),
        terms=recipe.terms,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        is_divisible=True,
    )

    def draw_sheet() -> Image.Image:
        steps = recipe.num_inference_steps
        own = DPMSolverMultistepScheduler.from_config(scheduler.config)
        return sheet.of(unet, pipe.vae, own, recipe.run.sheet, recipe.run.seed, steps, 1.0)

    loop = Loop(
        recipe.title,
        folder,
        recipe.run,
        placement,
        [player],
        recipe.run.total_steps(recipe.trajectories),
        lambda: {"distance": distance()},
        draw_sheet if recipe.run.sheet else None,
        fingerprint=" ".join([dataset.fingerprint, *teacher["sha256"].values()]),
    )
    return Prepared(loop, unet, pipe.vae, scheduler, distance, undistilled, guided)


def draw(
    folder: Path,
    recipe: DistillRecipe,
    dataset: Dataset,
    unet: UNet2DConditionModel,
    scheduler: DPMSolverMultistepScheduler,
    guidance_scale: float,
    teacher_identity: object,
    placement: Placement,
    report: Progress,
) -> Trajectories:
    """Let the teacher draw, and keep its latents at the student's stops; later runs read them.

    Args:
        folder: Keeps the drawings.
        unet: The teacher, on its device; stays as it is.
        teacher_identity: Plain JSON that changes with its weights.
    """
    count = recipe.trajectories + recipe.held_out
    texts: dict[str, int] = {"": conditions.EMPTY}
    wanted = _captions(recipe, dataset, count)
    captions = np.array([texts.setdefault(text, len(texts)) for text in wanted])
    states = conditions.encode_once(folder, list(texts), placement.device, report)
    teacher = UNet2DConditionModel.from_config(unet.config).eval()
    teacher.load_state_dict(unet.state_dict())
    teacher.to(placement.device, placement.dtype)
    stride = recipe.teacher_steps // recipe.num_inference_steps
    side, channels = unet.config.sample_size, unet.config.in_channels
    threads = torch.get_num_threads()

    @torch.no_grad()
    def compute(start: int, stop: int) -> npt.NDArray[np.float16]:
        torch.set_num_threads(threads)  # each worker has a number of its own
        own = DPMSolverMultistepScheduler.from_config(scheduler.config)  # and a count of steps
        generator = generator_at(recipe.run.seed, start)
        shape = (stop - start, channels, side, side)
        # As kept: the student starts from the rounded noise, so the teacher must too.
        noise = torch.randn(shape, generator=generator).half().float().to(placement.device)
        numbers = np.append(captions[start:stop], [conditions.EMPTY] * (stop - start))
        both = torch.from_numpy(states[numbers]).to(placement.device, placement.dtype)
        spoken, empty = both.chunk(2)
        nodes = walk(teacher, own, noise, spoken, recipe.teacher_steps, guidance_scale, empty)
        return torch.stack(nodes[::stride], dim=1).cpu().numpy().astype(np.float16)

    identity = [
        teacher_identity,
        dict(scheduler.config),
        guidance_scale,
        recipe.teacher_steps,
        wanted,
        recipe.run.seed,
        recipe.run.batch_size,
    ]
    shape = (count, recipe.num_inference_steps + 1, channels, side, side)
    at_once = recipe.run.batch_size
    workers = recipe.run.workers
    nodes = kept.array(
        folder, "teacher", identity, shape, np.float16, compute, at_once, report, workers
    )
    return Trajectories(nodes, captions, states)


def _captions(recipe: DistillRecipe, dataset: Dataset, count: int) -> list[str]:
    """Choose what the teacher is asked for: its training set, said as people say it."""
    rows = dataset.numbers_of(LEARNED)
    colours = [name for name in BACKGROUNDS if name != WHITE]
    texts = []
    for number in range(count):
        generator = generator_at(recipe.run.seed + 1, number)
        drop, with_background, which, colour = torch.rand(4, generator=generator).tolist()
        row_number = int(rows[torch.randint(len(rows), (), generator=generator)])
        row = dataset.rows[row_number]
        options = conditions.phrasings_of(row, recipe.wording.phrasings, row_number)
        text = options[int(which * len(options))]
        if with_background < recipe.background:
            text = f"{text} {background_words(colours[int(colour * len(colours))])}"
        if drop >= recipe.wording.dropout + recipe.wording.unstyled:
            text = styled(text, row.look, dataset.template)
        texts.append("" if drop < recipe.wording.dropout else text)
    return texts


def _losses(
    unet: UNet2DConditionModel,
    recipe: DistillRecipe,
    ways: Trajectories,
    scheduler: DPMSolverMultistepScheduler,
    placement: Placement,
) -> Callable[[int, int], Mapping[str, Tensor]]:
    steps = recipe.num_inference_steps

    def losses(step: int, batch_size: int) -> Mapping[str, Tensor]:
        generator = generator_at(recipe.run.seed, step)
        numbers = torch.randint(recipe.trajectories, (batch_size,), generator=generator)
        nodes, states = ways.at(numbers, placement)
        # A scheduler of its own: it keeps count of its steps, and batches are computed in parts.
        own = DPMSolverMultistepScheduler.from_config(scheduler.config)
        walked = walk(unet, own, nodes[0], states, steps)
        found = {END: functional.mse_loss(walked[-1], nodes[-1])}
        if recipe.terms.get(PATH):
            found[PATH] = functional.mse_loss(torch.stack(walked[1:-1]), nodes[1:-1])
        return found

    return losses
