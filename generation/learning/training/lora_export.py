"""A trained LoRA as files: by itself, and in a whole checkpoint."""

import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open

from generation.learning.training import checkpoint
from generation.learning.training.base import Base, open_base
from generation.learning.training.lora_recipe import LoraRecipe
from generation.learning.training.run import Placement
from generation.techniques.diffusion import files
from generation.work import manifest
from generation.work.checkpoints import MANIFEST

KIND = "lora"
WEIGHTS = "pytorch_lora_weights.safetensors"
CARD = "README.md"
ADDED_CARD = "LORA.md"


def export(out: Path, recipe: LoraRecipe, base: Base, pictures: int) -> Path:
    """Write the LoRA as diffusers' `load_lora_weights` reads it, and a card beside it.

    Args:
        out: Folder for both.
        pictures: How many it was taught.

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
    (out / CARD).write_text(_card(recipe, base, pictures), encoding="utf-8")
    return out / WEIGHTS


def merge(out: Path, recipe: LoraRecipe, base: Base, weights: Path) -> Path:
    """Write a copy of the base with the LoRA in it, as any other checkpoint, and return it."""
    source = Path(base.description.source)
    full = open_base(source, Placement(torch.device("cpu"), torch.float32))
    full.pipeline.load_lora_weights(weights.parent, weight_name=weights.name)
    full.pipeline.fuse_lora()
    full.pipeline.unload_lora_weights()
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(source, out, ignore=shutil.ignore_patterns("unet"))
    full.unet.to(_stored_dtype(source)).save_pretrained(out / "unet")
    shutil.copyfile(source / "unet" / "config.json", out / "unet" / "config.json")
    shutil.copyfile(weights.parent / CARD, out / ADDED_CARD)  # the base's own card stays
    if (source / MANIFEST).exists():
        _write_manifest(source, out, recipe)
    return out


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


def _stored_dtype(folder: Path) -> torch.dtype:
    first = min((folder / "unet").glob("*.safetensors"))
    with safe_open(first, framework="pt") as file:
        dtype: torch.dtype = file.get_tensor(next(iter(file.keys()))).dtype
    return dtype


def _write_manifest(source: Path, out: Path, recipe: LoraRecipe) -> None:
    content = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    if recipe.look:
        style = checkpoint.style_name(recipe.look)
        content["styles"] = {style: recipe.caption("{prompt}"), **content["styles"]}
        content["default_style"] = style
    content |= {"name": recipe.name, "title": recipe.title}
    manifest.write(out, KIND, {k: v for k, v in content.items() if k not in {"kind", "sha256"}})
