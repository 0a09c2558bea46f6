"""Let several checkpoints answer the same prompts, for people to compare."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from generation.learning.assessment import samplers
from generation.learning.assessment.assess import Assessment
from generation.learning.assessment.human import Contender, write_page
from generation.learning.assessment.judge import Pictures
from generation.learning.assessment.prompts import Group, choose, untaught
from generation.learning.assessment.samplers import AssessmentError, Reconstruction
from generation.learning.dataset import stored
from generation.learning.recipes.work import Work
from generation.techniques import device
from generation.work.progress import Progress

BATCH = 8


def prepare(
    work: Work, checkpoints: Mapping[str, Path], count: int, out: Path, report: Progress
) -> Path:
    """Draw with two checkpoints and write the page on which people compare them.

    Args:
        work: Whose dataset the prompts are chosen from, evenly over its groups, and whose recipe
            knows everyday words.
        checkpoints: Two, name to folder.
        count: Questions, about.
        out: Folder for the page and its key.

    Returns:
        The page.

    Raises:
        AssessmentError: A checkpoint is none, or answers no prompts.
        DatasetError: There is no dataset.
        RecipeError: The preset's recipe is missing or wrong.
    """
    if len(checkpoints) != 2:
        raise AssessmentError("people compare two different checkpoints; name two")
    each = -(-count // len(Group))
    dataset = stored.load(work.data)
    everyday, _ = untaught(dataset, work.recipe(Assessment, "assess").everyday)
    chosen = choose(dataset, dict.fromkeys(Group, each), everyday, np.random.default_rng(0))
    prompts = [prompt.text for prompt in chosen[:count]]
    first, second = (
        Contender(name, _draw(folder, name, prompts, report))
        for name, folder in checkpoints.items()
    )
    return write_page(first, second, prompts, out)


def _draw(folder: Path, name: str, prompts: list[str], report: Progress) -> Pictures:
    sampler = samplers.open_sampler(folder, device.choose())
    if isinstance(sampler, Reconstruction):
        raise AssessmentError(f"{name} repeats pictures and answers no prompts")
    parts = []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        parts.append(sampler.draw(part, range(start, start + len(part))))
        report(f"draw {name}", start + len(part), len(prompts))
    return np.concatenate(parts)
