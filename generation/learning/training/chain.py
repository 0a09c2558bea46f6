"""What is trained from what: the trainers by name, and what each of them needs first."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from generation.learning.recipes.work import Work
from generation.work.progress import Progress


class Summary(Protocol):
    """What a trainer returns."""

    def sentence(self) -> str:
        """Say in one line what was trained and how well."""


@dataclass(frozen=True, slots=True)
class Trainer:
    """One thing that can be trained.

    Attributes:
        module: In this package; has `train(work, recipe, report)`.
        recipe: Name of its recipe class, in the same module.
        about: For people.
        needs: Recipe to the names of the checkpoints it starts from.
    """

    module: str
    recipe: str
    about: str
    needs: Callable[[Any], tuple[str, ...]] = lambda recipe: ()


def _perceptual(recipe: Any) -> tuple[str, ...]:
    return ("scorer",) if recipe.terms.get("perceptual") else ()


def _of_gan(recipe: Any) -> tuple[str, ...]:
    return ("vae",) if recipe.latent_views else _perceptual(recipe)


TRAINERS: Mapping[str, Trainer] = {
    "scorer": Trainer("scorer", "ScorerRecipe", "judges pictures and captions; feeds assess"),
    "vae": Trainer("vae", "VaeRecipe", "pictures to latents and back", _perceptual),
    "diffusion": Trainer(
        "diffusion", "DiffusionRecipe", "draws from words, step by step", lambda recipe: ("vae",)
    ),
    "distill": Trainer(
        "distill", "DistillRecipe", "the same in one to four steps", lambda recipe: ("diffusion",)
    ),
    "gan": Trainer("gan", "GanRecipe", "draws and inverts in one pass", _of_gan),
    "lora": Trainer("lora", "LoraRecipe", "teaches a checkpoint one's own pictures"),
}


def recipe_of(work: Work, kind: str) -> Any:
    """Read the preset's recipe for a trainer.

    Raises:
        RecipeError: There is none, or it is wrong.
    """
    trainer = TRAINERS[kind]
    return work.recipe(getattr(_module(trainer), trainer.recipe), kind)


def missing(work: Work, kind: str, recipe: Any) -> list[str]:
    """Return what must be trained before, in order; what has a checkpoint is left as it is."""
    found: list[str] = []
    for need in TRAINERS[kind].needs(recipe):
        if not work.checkpoint(need).exists():
            found += missing(work, need, recipe_of(work, need))
            found.append(need)
    return list(dict.fromkeys(found))


def train(work: Work, kind: str, recipe: Any, report: Progress) -> Summary:
    """Train one thing, going on where an earlier run was stopped.

    Raises:
        TrainingStopped: It cannot go on; nothing saved is lost.
    """
    summary: Summary = _module(TRAINERS[kind]).train(work, recipe, report)
    return summary


def _module(trainer: Trainer) -> Any:
    return importlib.import_module(f"generation.learning.training.{trainer.module}")
