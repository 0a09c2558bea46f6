"""Write a trained model as an ordinary diffusers folder, and open it again."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
from diffusers import (
    AutoencoderTiny,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)

from generation.language import meanings
from generation.language.templates import styled
from generation.language.text_encoder import PACKAGE, load_text_encoder
from generation.language.vocabulary import names_in
from generation.learning.dataset.stored import Dataset, Split
from generation.work import manifest

STORAGE_DTYPE = torch.float16
ARTICLES = ("a ", "an ")

Kind = Literal["diffusion", "distill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a checkpoint says of itself.

    Attributes:
        title: The name a person reads.
        side_px: Of its square pictures.
        num_inference_steps: Steps the engine takes unless told otherwise.
        guidance_scale: Classifier-free guidance unless told otherwise; 1 is none.
        styles: `style_name` to template with `{prompt}`, in the order to show them.
        default_style: The look drawn when a request names none.
        vocabulary: What it was taught: concepts, then other words for them.
        num_things: How many of these are concepts.
    """

    name: str
    title: str
    side_px: int
    num_inference_steps: int
    guidance_scale: float
    styles: Mapping[str, str]
    default_style: str
    vocabulary: Sequence[str]
    num_things: int


def concepts(dataset: Dataset) -> list[str]:
    """Return the concepts that generators are taught."""
    return [*dict.fromkeys(row.concept for row in dataset.rows if row.split is Split.TRAIN)]


def vocabulary(dataset: Dataset) -> list[str]:
    """Return the concepts that generators are taught, then the other words for them.

    A phrasing that holds the concept's name, or begins with an article, adds no word.
    """
    rows = [row for row in dataset.rows if row.split is Split.TRAIN]
    things = concepts(dataset)
    others = dict.fromkeys(
        text
        for row in rows
        for text in row.phrasings
        if row.concept.lower() not in text and not text.startswith(ARTICLES)
    )
    return [*things, *(text for text in others if text not in set(things))]


def styles(dataset: Dataset) -> dict[str, str]:
    """Return every look that generators are taught, with the words that ask for it."""
    known = {row.look for row in dataset.rows if row.split is Split.TRAIN}
    return {
        style_name(look): styled("{prompt}", look, dataset.template)
        for look in dataset.looks
        if look in known
    }


def style_name(look: str) -> str:
    """Return what people type after `--style`, which takes one word."""
    return "-".join(look.split())


def pipeline(
    unet: UNet2DConditionModel, vae: AutoencoderTiny, scheduler: DPMSolverMultistepScheduler
) -> StableDiffusionPipeline:
    """Return the stock pipeline around trained parts, on the denoiser's device."""
    text_encoder, tokenizer = load_text_encoder()
    made = StableDiffusionPipeline(
        vae=vae.to(unet.device),
        text_encoder=text_encoder.to(unet.device),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


def load(folder: Path) -> StableDiffusionPipeline:
    """Open a checkpoint folder through diffusers' own loader, in float32 on the CPU."""
    text_encoder, tokenizer = load_text_encoder()
    loaded = StableDiffusionPipeline.from_pretrained(
        folder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        use_safetensors=True,
        dtype=torch.float32,
    )
    loaded.set_progress_bar_config(disable=True)
    return loaded


def export(
    out: Path,
    kind: Kind,
    about: About,
    unet: UNet2DConditionModel,
    vae: AutoencoderTiny,
    scheduler: DPMSolverMultistepScheduler,
) -> None:
    """Write weights in float16, configurations, what the vocabulary means, and the manifest last.

    The text encoder is not copied: it is an installed package, pinned by hash.

    Args:
        out: Folder to write; files already there are replaced.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / manifest.MANIFEST).unlink(missing_ok=True)
    for name, part in (("unet", unet), ("vae", vae)):
        copy.deepcopy(part).to(device="cpu", dtype=STORAGE_DTYPE).save_pretrained(out / name)
        _drop_config_keys(out / name / "config.json")
    scheduler.save_pretrained(out / "scheduler")
    meanings.write(out, names_in(about.vocabulary))
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "text_encoder": ["transformers", "BertModel"],
        "tokenizer": ["transformers", "BertTokenizerFast"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny"],
    }
    _write_json(out / "model_index.json", index)
    content = {
        "name": about.name,
        "title": about.title,
        "width": about.side_px,
        "height": about.side_px,
        "num_inference_steps": about.num_inference_steps,
        "guidance_scale": about.guidance_scale,
        "styles": dict(about.styles),
        "default_style": about.default_style,
        "vocabulary": list(about.vocabulary),
        "num_things": about.num_things,
        "text_encoder": PACKAGE,
    }
    manifest.write(out, kind, content)


def _drop_config_keys(path: Path) -> None:
    """Remove where the weights lay before, and a key that AutoencoderTiny writes but warns about."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for key in ("_name_or_path", "block_out_channels" if path.parent.name == "vae" else ""):
        config.pop(key, None)
    _write_json(path, config)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
