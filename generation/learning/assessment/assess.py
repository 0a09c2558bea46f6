"""Assess a checkpoint: draw, judge, compare, and put reference points beside every figure."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from generation.learning.assessment import figures, samplers, timing
from generation.learning.assessment.figures import Comparing, Evidence, Figure
from generation.learning.assessment.judge import Judge, Pictures, real_pictures, to_pictures
from generation.learning.assessment.prompts import Group, Prompt, choose, untaught
from generation.learning.assessment.references import Closest, References
from generation.learning.assessment.samplers import About, Reconstruction, Sampler
from generation.learning.assessment.targets import Outcome, Targets, outcomes
from generation.learning.assessment.timing import Timing
from generation.learning.dataset import stored
from generation.learning.dataset.stored import Dataset
from generation.learning.metrics.by_look import LookFigures
from generation.learning.metrics.fidelity import psnr
from generation.learning.recipes.work import Work
from generation.learning.training import scorer
from generation.techniques import device
from generation.techniques.device import DeviceChoice, name_of
from generation.work import manifest
from generation.work.checkpoints import EMBEDDED_SCORER
from generation.work.progress import Progress, silent

UNTRAINED_SEED = 1
OF_DRAWING = (
    "diversity-scorer",
    "memorisation-scorer",
    "memorisation-pixels",
    "siblings-scorer",
    "siblings-pixels",
)
Artist = Callable[[Sequence[int], Sequence[int]], Pictures]
"""Numbers of prompts and as many seeds in, one picture each out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """How thoroughly a checkpoint is assessed: the recipe `assess.toml`.

    Attributes:
        known_pairs: Prompts that repeat a training picture's caption, at most.
        unseen_pairs: Prompts that pair a known thing with a known look anew, at most.
        unseen_concepts: Prompts for things in no training picture, at most.
        seeds: Pictures a prompt; diversity needs two.
        population: Real pictures to compare sets with, at most; those asked for come on top.
        among: Captions that a picture's own must stand out from, itself included.
        closest: Pairs on the sheet of pictures closest to a training picture.
        everyday: Words that people use and no caption has, with the concept that they mean; one
            prompt each, for a training picture.
        batch_size: Pictures drawn at a time.
        judge_batch_size: Pictures or captions judged at a time.
        seed: Chooses prompts and halves; pictures are drawn with this seed and those after it.
        device: `auto`, `cpu`, `cuda` or `mps`.
        dtype: `auto` (as the bot draws), `float32` or `bfloat16`.
        targets: What is told as met or missed.
    """

    known_pairs: int
    unseen_pairs: int
    unseen_concepts: int
    seeds: int = 2
    population: int = 2000
    among: int = 100
    closest: int = 12
    batch_size: int = 8
    judge_batch_size: int = 64
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    comparing: Comparing = field(default_factory=Comparing)
    targets: Targets = field(default_factory=Targets)
    everyday: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("seeds", "population", "among", "batch_size", "judge_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")

    @property
    def counts(self) -> Mapping[Group, int]:
        """Most prompts of each group."""
        return {
            Group.KNOWN_PAIRS: self.known_pairs,
            Group.UNSEEN_PAIRS: self.unseen_pairs,
            Group.UNSEEN_CONCEPTS: self.unseen_concepts,
            Group.EVERYDAY: len(self.everyday),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Everything found out about one checkpoint.

    Attributes:
        dataset: What it was held against.
        scorer_sha256: Weight files of the scorer that judged.
        left_out: Everyday words of the recipe that were not asked for, and why.
        figures: Every metric in every slice.
        targets: What became of each; of an autoencoder none.
        of_scorer: What it gets on real pictures of each look that it was not trained on.
        pictures: What was drawn, uint8 (seeds, prompts, height, width, 3).
    """

    about: About
    dataset: Dataset
    scorer_sha256: Mapping[str, str]
    settings: Assessment
    prompts: tuple[Prompt, ...]
    left_out: Mapping[str, str]
    figures: tuple[Figure, ...]
    targets: tuple[Outcome, ...]
    of_scorer: Mapping[str, LookFigures]
    closest: tuple[Closest, ...]
    pictures: Pictures
    timing: Timing


def run(work: Work, checkpoint: Path | None = None, report: Progress = silent) -> Report:
    """Assess a checkpoint with the dataset, the scorer and the recipe of a preset.

    Args:
        checkpoint: Its folder; None for the preset's own diffusion checkpoint.

    Raises:
        AssessmentError: There is no checkpoint.
        CheckpointMissing: There is no scorer.
        DatasetError: There is no dataset.
        RecipeError: The preset's recipe is missing or wrong.
    """
    chosen = checkpoint or work.checkpoint("diffusion")
    samplers.about(chosen)  # before a scorer is asked for: there is nothing to judge without it
    return assess(
        chosen,
        stored.load(work.data),
        scorer_for(work),
        work.recipe(Assessment, "assess"),
        report,
    )


def scorer_for(work: Work) -> Path:
    """Return the preset's own scorer; without one, the shipped one if it learned the same data.

    Raises:
        CheckpointMissing: There is neither.
        DatasetError: There is no dataset.
    """
    own = work.checkpoint(scorer.KIND)
    if own.exists() or manifest.read(EMBEDDED_SCORER, scorer.KIND)["dataset"] != (
        stored.load(work.data).fingerprint
    ):
        manifest.read(own, scorer.KIND)
        return own
    return EMBEDDED_SCORER


def assess(
    checkpoint: Path,
    dataset: Dataset,
    scorer_folder: Path,
    settings: Assessment,
    report: Progress = silent,
) -> Report:
    """Draw prompts of every group, judge the pictures, and compare.

    Raises:
        AssessmentError: There is no checkpoint.
        CheckpointMissing: There is no scorer.
        DatasetError: The dataset has too few pictures.
    """
    about = samplers.about(checkpoint)
    choice = device.choose(settings.device, settings.dtype)
    judge = Judge(scorer.read(scorer_folder).to(choice.device), settings.judge_batch_size)
    generator = np.random.default_rng(settings.seed)
    everyday, left_out = untaught(dataset, settings.everyday)
    prompts = choose(dataset, settings.counts, everyday, generator, about.kinds)
    rows = dataset.numbers_of(scorer.REAL_SPLITS)
    population = generator.choice(rows, min(settings.population, len(rows)), replace=False)
    real = judge.real(dataset, about.side_px, report)
    references = References(dataset, prompts, judge, real, population, settings.among, generator)

    originals = _originals(dataset, prompts, about.side_px)
    trained = _artist(samplers.open_sampler(checkpoint, choice), prompts, originals)
    drawn, seconds = _draw_all(trained, len(prompts), about, settings, "draw", report)
    measured = _time(trained, seconds, choice)
    untrained = _artist(samplers.untrained(checkpoint, choice, UNTRAINED_SEED), prompts, originals)
    before, _ = _draw_all(untrained, len(prompts), about, settings, "draw untrained", report)

    judged, judged_before = judge.drawn(_joined(drawn)), judge.drawn(_joined(before))
    evidence = references.evidence(judged, judged_before)
    if about.kind == samplers.VAE:
        evidence = _of_reconstructions(evidence, drawn[0], before[0], originals)
    found = figures.compute(
        evidence, references.slices(), settings.comparing, settings.seed, report
    )
    return Report(
        about=about,
        dataset=dataset,
        scorer_sha256=manifest.read(scorer_folder, scorer.KIND)["sha256"],
        settings=settings,
        prompts=prompts,
        left_out=left_out,
        figures=found,
        targets=() if about.kind == samplers.VAE else outcomes(found, settings.targets),
        of_scorer=references.of_scorer(),
        closest=() if about.kind == samplers.VAE else references.closest(judged, settings.closest),
        pictures=drawn,
        timing=measured,
    )


def _originals(dataset: Dataset, prompts: Sequence[Prompt], side_px: int) -> Pictures:
    """Return the pictures that would answer the prompts."""
    rows = torch.tensor([prompt.row for prompt in prompts])
    return to_pictures(real_pictures(dataset, rows, side_px))


def _artist(
    opened: Sampler | Reconstruction, prompts: Sequence[Prompt], originals: Pictures
) -> Artist:
    """Return what answers some of the prompts, by drawing or by repeating the originals."""
    if isinstance(opened, Reconstruction):
        return lambda numbers, seeds: opened.reconstruct(originals[list(numbers)])
    return lambda numbers, seeds: opened.draw([prompts[each].text for each in numbers], seeds)


def _draw_all(
    artist: Artist, count: int, about: About, settings: Assessment, stage: str, report: Progress
) -> tuple[Pictures, list[float]]:
    """Draw every prompt with every seed.

    Returns:
        Pictures, shape (seeds, prompts, height, width, 3), and the seconds a picture took in each
        full batch.
    """
    seeds = 1 if about.kind == samplers.VAE else settings.seeds
    parts: list[Pictures] = []
    seconds: list[float] = []
    for turn in range(seeds):
        for start in range(0, count, settings.batch_size):
            numbers = range(start, min(start + settings.batch_size, count))
            started_at = time.perf_counter()
            first = settings.seed + turn * count
            parts.append(artist(numbers, [first + number for number in numbers]))
            if len(numbers) == min(settings.batch_size, count):
                seconds.append((time.perf_counter() - started_at) / len(numbers))
            report(stage, turn * count + numbers[-1] + 1, seeds * count)
    pictures = np.concatenate(parts)
    return pictures.reshape(seeds, count, *pictures.shape[1:]), seconds


def _time(artist: Artist, seconds: list[float], choice: DeviceChoice) -> Timing:
    where, dtype = torch.device(choice.device), getattr(torch, choice.dtype)
    return Timing(
        seconds=timing.warm_median(seconds),
        operations=timing.operations_of(lambda: artist([0], [0])),
        matrix_rate=timing.matrix_rate(where, dtype),
        device=name_of(choice.device),
        dtype=choice.dtype,
    )


def _joined(pictures: Pictures) -> Pictures:
    """Return all prompts with the first seed, then all with the second, and on."""
    return pictures.reshape(-1, *pictures.shape[2:])


def _of_reconstructions(
    evidence: Evidence, drawn: Pictures, before: Pictures, originals: Pictures
) -> Evidence:
    """Add how well originals are repeated; leave out what asks whether anything is new."""
    kept = {
        metric: values for metric, values in evidence.scores.items() if metric not in OF_DRAWING
    }
    values = [each.reshape(len(each), -1) / 255 for each in (drawn, before, originals)]
    kept["psnr"] = {
        figures.DRAWN: psnr(values[0], values[2]),
        figures.UNTRAINED: psnr(values[1], values[2]),
    }
    return dataclasses.replace(evidence, scores=kept)
