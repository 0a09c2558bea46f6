"""Teach a checkpoint one's own pictures: a LoRA, on pictures that one may use.

Source: Hu et al., LoRA, arXiv 2106.09685, section 4.1; through peft, as diffusers loads it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from generation.judging import contact_sheet
from generation.learning.dataset.captioned import Captioned, read_folder
from generation.learning.recipes.work import Work
from generation.learning.training import sheet
from generation.learning.training.base import Base, Latents, Words, open_base
from generation.learning.training.loop import Loop, Player, TrainingStopped
from generation.learning.training.lora_export import KIND, export, merge
from generation.learning.training.lora_recipe import PREDICTION, LoraRecipe
from generation.learning.training.run import generator_at, place
from generation.techniques.diffusion import files
from generation.work.checkpoints import EMBEDDED
from generation.work.progress import Progress

GALLERY = "gallery"
SHEET_COLUMNS = 4
VALIDATION_DRAWS = 4
VALIDATION_BATCH = 8


@dataclass(frozen=True, slots=True)
class LoraSummary:
    """What a run produced.

    Attributes:
        weights: The LoRA.
        checkpoint: The whole checkpoint with the LoRA in it, or None.
        pictures: How many it was taught.
        parameters: Weights of the LoRA.
        loss: Last point of the curve.
        seconds: Wall clock since the start or the resumption.
    """

    weights: Path
    checkpoint: Path | None
    pictures: int
    parameters: int
    loss: float
    seconds: float

    def sentence(self) -> str:
        """Say in one line what was trained and how well."""
        merged = f", and with it {self.checkpoint}" if self.checkpoint else ""
        return (
            f"{self.weights}: {self.parameters / 1e3:.0f} k weights taught {self.pictures} pictures"
            f" in {self.seconds / 60:.0f} minutes, loss {self.loss:.4f}{merged}"
        )


@dataclass(frozen=True, slots=True)
class LoraTraining:
    """A LoRA that is ready to be trained."""

    loop: Loop
    base: Base
    pictures: Sequence[Captioned]


def train(work: Work, recipe: LoraRecipe, report: Progress) -> LoraSummary:
    """Train a LoRA, or take up training, and export it.

    Raises:
        NotPermitted: Nobody said that the pictures may be used.
        CheckpointCorrupt: The checkpoint cannot be loaded.
        TrainingStopped: Training cannot go on; the message says what to do.
    """
    training = prepare(work, recipe, report)
    outcome = training.loop.run(report)
    base, pictures = training.base, len(training.pictures)
    weights = export(work.run(KIND) / KIND, recipe, base, pictures)
    merged = merge(work.checkpoint(KIND), recipe, base, weights) if recipe.is_merged else None
    return LoraSummary(
        weights=weights,
        checkpoint=merged,
        pictures=pictures,
        parameters=sum(p.numel() for p in base.unet.parameters() if p.requires_grad),
        loss=outcome.last(f"{KIND}.{PREDICTION}"),
        seconds=outcome.seconds,
    )


def prepare(work: Work, recipe: LoraRecipe, report: Progress) -> LoraTraining:
    """Encode pictures and captions once, put the LoRA beside the frozen weights, set up the loop.

    Raises:
        NotPermitted: Nobody said that the pictures may be used.
        CheckpointCorrupt: The checkpoint cannot be loaded.
        TrainingStopped: It has another layout, or a snapshot is of something else.
    """
    folder = Path(recipe.pictures) if recipe.pictures else work.root / GALLERY
    pictures = read_folder(folder, recipe.permission if recipe.pictures else "")
    base = open_base(Path(recipe.checkpoint) if recipe.checkpoint else EMBEDDED, place(recipe.run))
    latents = base.encode_pictures([picture.path for picture in pictures], report)
    captions = [recipe.caption(picture.caption) for picture in pictures]
    texts = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    words = base.encode_words(list(texts), report)
    text_of = torch.tensor([texts[caption] for caption in captions])
    seen, unseen = _split(len(pictures), recipe)
    _add_adapter(base, recipe)

    def losses(step: int, count: int) -> dict[str, Tensor]:
        generator = generator_at(recipe.run.seed, step)
        rows = seen[torch.randint(len(seen), (count,), generator=generator)]
        is_dropped = torch.rand(count, generator=generator) < recipe.dropout
        numbers = torch.where(is_dropped, len(texts), text_of[rows])
        clean = latents.draw(rows, generator)
        return {PREDICTION: base.error(clean, words, numbers, generator)}

    def validate() -> dict[str, float]:
        return {PREDICTION: _held_out_error(base, latents, words, unseen, text_of)}

    player = Player(
        name=KIND,
        modules={"unet": base.unet},
        losses=losses,
        terms=recipe.terms,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
    )
    loop = Loop(
        title=KIND,
        folder=work.run(KIND),
        run=recipe.run,
        place=base.at,
        players=[player],
        steps=recipe.run.total_steps(len(seen)),
        validate=validate if len(unseen) else None,
        draw_sheet=(lambda: _draw_sheet(recipe, base)) if recipe.run.sheet else None,
        fingerprint=_fingerprint(recipe, base, pictures),
    )
    return LoraTraining(loop, base, pictures)


def _split(count: int, recipe: LoraRecipe) -> tuple[Tensor, Tensor]:
    """Return the numbers of the pictures to train on, and of those held out."""
    lots = torch.randperm(count, generator=generator_at(recipe.run.seed + 1, 0))
    held_out = min(int(count * recipe.held_out), count - 1)
    return lots[held_out:].sort().values, lots[:held_out].sort().values


def _add_adapter(base: Base, recipe: LoraRecipe) -> None:
    """Let a LoRA learn and nothing else; everything computes in the format of the run."""
    from peft import LoraConfig

    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.targets),
        init_lora_weights="gaussian",
    )
    base.pipeline.to(base.at.dtype)
    try:
        with torch.random.fork_rng():
            torch.random.manual_seed(recipe.run.seed)  # initial weights only, forked
            base.unet.add_adapter(config)
    except ValueError as error:
        raise TrainingStopped(
            f"the denoiser has none of the layers {list(recipe.targets)}; correct `targets` in the"
            " recipe"
        ) from error
    if recipe.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    base.unet.train()


def _held_out_error(
    base: Base, latents: Latents, words: Words, rows: Tensor, text_of: Tensor
) -> float:
    """Return the error on held-out pictures: the same noise at the same levels every time."""
    generator = generator_at(0, 0)
    errors = [
        base.error(latents.draw(part, generator), words, text_of[part], generator).item()
        for _ in range(VALIDATION_DRAWS)
        for part in rows.split(VALIDATION_BATCH)
    ]
    return sum(errors) / len(errors)


def _draw_sheet(recipe: LoraRecipe, base: Base) -> Image.Image:
    prompts = [recipe.caption(words) for words in recipe.run.sheet]
    pictures = sheet.draw(
        base.pipeline,
        prompts,
        recipe.run.seed,
        base.description.num_inference_steps,
        base.description.guidance_scale,
    )
    return contact_sheet.grid(pictures, prompts, SHEET_COLUMNS)


def _fingerprint(recipe: LoraRecipe, base: Base, pictures: Sequence[Captioned]) -> str:
    """Return a SHA-256 of what is taught to what; a snapshot of anything else is not taken up."""
    content = [
        files.weight_hashes(base.description),
        [
            (recipe.caption(each.caption), hashlib.sha256(each.path.read_bytes()).hexdigest())
            for each in pictures
        ],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
