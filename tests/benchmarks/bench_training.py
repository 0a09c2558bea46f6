"""How many pictures a second each trainer sees, and how much of the machine's matrix rate it uses."""

import dataclasses
import importlib
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from generation.learning.assessment.timing import matrix_rate, operations_of
from generation.learning.dataset import stored
from generation.learning.dataset.stored import Dataset, Row, Split
from generation.learning.recipes.work import Work
from generation.learning.training import chain
from generation.learning.training.loop import Loop
from generation.techniques.diffusion.loading import quieten
from generation.work.progress import silent

SIDE_PX = 64
CONCEPTS, LOOKS = 24, ("3d", "flat")
MEASURED_S = 3.0
MANY = 100_000  # steps that no measurement reaches: schedules end with them
TRAINERS = (
    "scorer",
    "vae",
    "diffusion",
    "distill",
    "gan",
    "lora",
)  # each after what it starts from


def run() -> Iterator[tuple[str, float, str]]:
    """Measure every trainer of preset tiny on drawings made up here."""
    quieten()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield from _rows(Work(Path(folder), "tiny"))
    finally:
        torch.set_num_threads(threads)


def _rows(work: Work) -> Iterator[tuple[str, float, str]]:
    rates: dict[torch.dtype, float] = {}
    dataset = _draw(work.data)
    for kind in TRAINERS:
        trainer = importlib.import_module(
            f"generation.learning.training.{chain.TRAINERS[kind].module}"
        )
        recipe = _quiet(chain.recipe_of(work, kind), MANY)
        if kind == "lora":
            folder = str(_draw_folder(work.root / "pictures"))
            recipe = dataclasses.replace(recipe, pictures=folder, permission="noise, made up here")
        needs = (dataset,) if kind != "lora" else ()  # it learns from a folder instead
        loop = trainer.prepare(work, recipe, *needs, silent).loop
        dtype = loop.place.dtype
        rate = rates.setdefault(dtype, matrix_rate(loop.place.device, dtype))
        steps_a_second = _steps_a_second(loop)
        # A GAN's penalties are part of every so many-th step only; all of a round are counted.
        round_steps = getattr(recipe, "penalty_every", 1)
        counted = sum(operations_of(partial(loop.step, silent)) for _ in range(round_steps))
        share = counted / round_steps * steps_a_second / rate
        yield f"train {kind}, one thread", steps_a_second * recipe.run.batch_size, "pictures/s"
        yield f"  of the {str(dtype).removeprefix('torch.')} matrix rate", 100 * share, "%"
        if kind == "diffusion":
            for what, run in (
                ("two threads", dataclasses.replace(recipe.run, threads=2)),
                ("two workers", dataclasses.replace(recipe.run, workers=2)),
            ):
                on_both = dataclasses.replace(recipe, run=run)
                rate_there = _steps_a_second(trainer.prepare(work, on_both, *needs, silent).loop)
                yield f"train {kind}, {what}", rate_there * run.batch_size, "pictures/s"
            torch.set_num_threads(1)
        trainer.train(work, _quiet(recipe, 2), silent)  # the next starts from its checkpoint


def _steps_a_second(loop: Loop) -> float:
    loop.step(silent)  # the first pays for memory and kernels
    steps, seconds = 0, 0.0
    started = time.perf_counter()
    while seconds < MEASURED_S:
        loop.step(silent)
        steps, seconds = steps + 1, time.perf_counter() - started
    return steps / seconds


def _quiet(recipe: Any, steps: int) -> Any:
    """Return the recipe with so many steps on one thread, without validation and sheets."""
    run = dataclasses.replace(
        recipe.run, steps=steps, epochs=0.0, threads=1, validate_every=0, sheet_every=0
    )
    return dataclasses.replace(recipe, run=run)


def _draw_folder(folder: Path) -> Path:
    folder.mkdir()
    lots = np.random.default_rng(1)
    for number in range(8):
        noise = lots.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"thing {number}", encoding="utf-8")
    return folder


def _draw(directory: Path) -> Dataset:
    """Make a dataset of coloured noise: how long a step takes does not depend on what it shows."""
    directory.mkdir(parents=True)
    lots = np.random.default_rng(0)
    rows = [
        Row(
            key=f"{look}/thing-{number}",
            concept=f"thing {number}",
            look=look,
            group="things",
            phrasings=(f"thing {number}", f"a picture of thing {number}"),
            split=Split.UNSEEN_PAIR if number < 4 and look == "flat" else Split.TRAIN,
            is_unseen_by_scorer=number >= CONCEPTS - 4,
            may_mirror=True,
            licence="CC0-1.0",
        )
        for look in LOOKS
        for number in range(CONCEPTS)
    ]
    shape = (len(rows), SIDE_PX, SIDE_PX, 4)
    np.save(
        stored.pictures_file(directory, SIDE_PX),
        lots.integers(0, 256, shape, dtype=np.uint8),
    )
    dataset = Dataset(
        directory=directory,
        template="{prompt}, {look} style",
        looks=LOOKS,
        sizes_px=(SIDE_PX,),
        rows=tuple(rows),
        fingerprint="made up",
    )
    stored.save(dataset)
    return dataset
