"""Write a trained model as an ordinary diffusers folder."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import diffusers
import torch
from diffusers import (
    AutoencoderTiny,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)

from generation.text_encoder import PACKAGE, load_text_encoder
from generation.training.captions import styled
from generation.training.denoiser import NUM_TRAIN_TIMESTEPS
from generation.training.recipe import Recipe

STORAGE_DTYPE = torch.float16
MANIFEST = "atelier.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def scheduler() -> DPMSolverMultistepScheduler:
    """Return the sampler the checkpoint is stored with: DPM-Solver++(2M) on flow sigmas."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=NUM_TRAIN_TIMESTEPS,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=1.0,
        # Stable Diffusion's pipeline warns about, and overrides, any other offset.
        steps_offset=1,
    )


def pipeline(unet: UNet2DConditionModel, vae: AutoencoderTiny) -> StableDiffusionPipeline:
    """Return the stock pipeline around trained parts, for sample sheets during training."""
    text_encoder, tokenizer = load_text_encoder()
    drawn = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    drawn.set_progress_bar_config(disable=True)
    return drawn


def load(directory: Path) -> StableDiffusionPipeline:
    """Open a checkpoint folder through diffusers' own loader, in float32."""
    text_encoder, tokenizer = load_text_encoder()
    loaded = StableDiffusionPipeline.from_pretrained(
        directory,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        dtype=torch.float32,
    )
    loaded.set_progress_bar_config(disable=True)
    return loaded


def export(
    out: Path,
    recipe: Recipe,
    unet: UNet2DConditionModel,
    vae: AutoencoderTiny,
    vocabulary: Sequence[str],
    looks: Sequence[str],
) -> None:
    """Write weights, configurations and the manifest.

    The text encoder is not copied: it is an installed package, pinned by hash.

    Args:
        out: Folder to write; files already there are replaced.
        unet: Converted to the storage type in place.
        vae: Converted to the storage type in place.
        vocabulary: What the model was taught: concepts, then other words for them.
        looks: Looks it was taught, in the order to show them.
    """
    out.mkdir(parents=True, exist_ok=True)
    unet.to(STORAGE_DTYPE).save_pretrained(out / "unet")
    vae.to(STORAGE_DTYPE).save_pretrained(out / "vae")
    scheduler().save_pretrained(out / "scheduler")
    for part in ("unet", "vae"):
        _drop_config_keys(out / part / "config.json")
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
    model, template = recipe.model, recipe.captions.template
    manifest = {
        "name": model.name,
        "title": model.title,
        "width": model.width,
        "height": model.height,
        "num_inference_steps": model.num_inference_steps,
        "guidance_scale": model.guidance_scale,
        "styles": {look: styled("{prompt}", look, template) for look in looks},
        "default_style": model.default_style,
        "vocabulary": list(vocabulary),
        "text_encoder": PACKAGE,
        "sha256": {
            f"{part}/{WEIGHTS}": sha256_of(out / part / WEIGHTS) for part in ("unet", "vae")
        },
    }
    _write_json(out / MANIFEST, manifest)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _drop_config_keys(path: Path) -> None:
    """Remove where the weights lay before, and a key that AutoencoderTiny writes but warns about."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for key in ("_name_or_path", "block_out_channels" if path.parent.name == "vae" else ""):
        config.pop(key, None)
    _write_json(path, config)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
