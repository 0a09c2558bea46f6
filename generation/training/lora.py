"""Teach a checkpoint one's own pictures: a LoRA, on pictures that one may use.

Source: Hu et al., LoRA, arXiv 2106.09685, section 4.1; through peft, as diffusers loads it.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from generation.checkpoints import EMBEDDED, MANIFEST
from generation.dataset.captioned import Captioned, read_folder
from generation.dataset.captions import styled
from generation.diffusion import files
from generation.progress import Progress
from generation.training import manifest, sheet
from generation.training.base import Base, Latents, Words, open_base
from generation.training.loop import (
    Loop,
    Placement,
    Player,
    Run,
    TrainingStopped,
    generator_at,
    place,
)
from generation.training.optimizers import Optimizer, Schedule
from generation.training.work import Work

KIND = "lora"
GALLERY = "gallery"
WEIGHTS = "pytorch_lora_weights.safetensors"
CARD = "README.md"
PREDICTION = "prediction"
SHEET_COLUMNS = 4
VALIDATION_DRAWS = 4
VALIDATION_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRecipe:
    """What is taught to which checkpoint.

    Attributes:
        name: Of the LoRA, and after `--model` of the checkpoint with the LoRA in it.
        title: What people read.
        checkpoint: Folder of the checkpoint to start from; empty for the one that comes along.
        pictures: Folder of `<name>.png` with their words in `<name>.txt`; empty for the exported
            gallery, which holds only pictures whose makers agreed.
        permission: Why you may use the pictures of another folder, in a sentence: it is written
            into the card beside the weights.
        look: Style word that the pictures teach; empty if they are to need none.
        template: Names the look.
        rank: Of the two small matrices beside each large one.
        alpha: Their product counts alpha / rank times.
        targets: Endings of the names of the layers that learn. A checkpoint that looks at words only
            where its latents are small needs convolutions among them, or fine detail cannot change.
        dropout: Share of captions replaced by the empty prompt, which guidance needs.
        held_out: Share of the pictures that is only validated on.
        is_merged: Also write a whole checkpoint with the LoRA in it, as large as the base.
        gradient_checkpointing: Needs less memory and a third more time.
        terms: Weight of `prediction`, the mean square error of what the denoiser predicts.
    """

    name: str
    title: str
    checkpoint: str = ""
    pictures: str = ""
    permission: str = ""
    look: str = ""
    template: str = "{prompt}, {look} style"
    rank: int = 8
    alpha: float = 8.0
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    dropout: float = 0.1
    held_out: float = 0.1
    is_merged: bool = True
    gradient_checkpointing: bool = False
    terms: Mapping[str, float] = field(default_factory=lambda: {PREDICTION: 1.0})
    run: Run = field(default_factory=Run)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError("rank must be 1 or more")
        if not (0 <= self.dropout < 1 and 0 <= self.held_out < 1):
            raise ValueError("dropout and held_out are shares, from 0 to below 1")
        if self.pictures and not self.permission.strip():
            raise ValueError(
                "pictures of your own need a sentence on why you may use them:"
                ' permission = "..."; leave `pictures` out to take the exported gallery'
            )

    def caption(self, words: str) -> str:
        """Return a picture's words with its look."""
        return styled(words, self.look, self.template) if self.look else words


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
    base, pictures = training.base, training.pictures
    weights = export(work.run(KIND) / KIND, recipe, base, pictures)
    merged = merge(work.checkpoint(KIND), recipe, base, weights) if recipe.is_merged else None
    return LoraSummary(
        weights=weights,
        checkpoint=merged,
        pictures=len(pictures),
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


def export(out: Path, recipe: LoraRecipe, base: Base, pictures: Sequence[Captioned]) -> Path:
    """Write the LoRA as diffusers' `load_lora_weights` reads it, and a card beside it.

    Returns:
        The weights.
    """
    from peft import get_peft_model_state_dict

    # Under peft's names: diffusers' own exist for attention only, and of a mixture of both it reads
    # one half (diffusers 0.42.1, `PeftAdapterMixin.load_lora_adapter` looks at the first name).
    layers = get_peft_model_state_dict(base.unet)
    base.pipeline.save_lora_weights(
        out,
        unet_lora_layers={name: tensor.contiguous() for name, tensor in layers.items()},
        # Without it a rank that is not alpha would be scaled wrongly when loaded.
        unet_lora_adapter_metadata=base.unet.peft_config["default"].to_dict(),
        weight_name=WEIGHTS,
    )
    (out / CARD).write_text(_card(recipe, base, len(pictures)), encoding="utf-8")
    return out / WEIGHTS


def merge(out: Path, recipe: LoraRecipe, base: Base, weights: Path) -> Path:
    """Write a copy of the base with the LoRA in it, as any other checkpoint, and return it."""
    source = Path(base.description.source)
    full = open_base(source, Placement(torch.device("cpu"), torch.float32))
    full.pipeline.load_lora_weights(weights.parent, weight_name=weights.name)
    full.pipeline.fuse_lora()
    full.pipeline.unload_lora_weights()
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(source, out, ignore=shutil.ignore_patterns("unet", CARD))
    stored = torch.float16 if _is_half(source) else torch.float32
    full.unet.to(stored).save_pretrained(out / "unet")
    shutil.copyfile(source / "unet" / "config.json", out / "unet" / "config.json")
    shutil.copyfile(weights.parent / CARD, out / CARD)
    if (source / MANIFEST).exists():
        _write_manifest(source, out, recipe)
    return out


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
    return sheet.grid(pictures, prompts, SHEET_COLUMNS)


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


def _card(recipe: LoraRecipe, base: Base, pictures: int) -> str:
    """Return the model card: from what, on which right, how to use; no prompt and no member."""
    source, hashes = base.description, files.weight_hashes(base.description)
    right = recipe.permission or "their makers agreed that they may improve the models"
    unet = "\n".join(f"- `{name}`: {each}" for name, each in hashes.items() if "unet" in name)
    use = f"Ask for it with the words `{recipe.caption('a fox')}`.\n" if recipe.look else ""
    return f"""# {recipe.title}

A LoRA of rank {recipe.rank} for the denoiser of *{source.title}*, taught {pictures} pictures.
Why they may be used: {right}.

It fits the weights with these SHA-256:

{unet}

{use}
```python
pipeline.load_lora_weights("{WEIGHTS}")
```
"""


def _is_half(folder: Path) -> bool:
    from safetensors import safe_open

    first = next(iter(sorted((folder / "unet").glob("*.safetensors"))))
    with safe_open(first, framework="pt") as file:
        name = next(iter(file.keys()))
        return file.get_slice(name).get_dtype() != "F32"


def _write_manifest(source: Path, out: Path, recipe: LoraRecipe) -> None:
    content = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    if recipe.look:
        content["styles"] = {recipe.look: recipe.caption("{prompt}"), **content["styles"]}
        content["default_style"] = recipe.look
    content |= {"name": recipe.name, "title": recipe.title}
    manifest.write(out, KIND, {k: v for k, v in content.items() if k not in {"kind", "sha256"}})
