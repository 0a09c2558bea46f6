"""What a checkpoint's folder lacks is told without loading anything, and nothing in it is run."""

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from generation.techniques.diffusion.folder import lacking
from generation.work.checkpoints import shipped

(EMBEDDED, *_) = shipped()
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
}


def folder_at(place: Path) -> Path:
    """Lay out a whole folder in which everything is tiny."""
    for part, config in (
        ("unet", "config.json"),
        ("text_encoder", "config.json"),
        ("tokenizer", "tokenizer_config.json"),
        ("scheduler", "scheduler_config.json"),
    ):
        (place / part).mkdir()
        (place / part / config).write_text("{}")
    for part in ("unet", "text_encoder"):
        save_file({"x": np.zeros(1, np.float32)}, place / part / "model.safetensors")
    write_index(place)
    return place


def write_index(folder: Path, **changes: Any) -> None:
    (folder / "model_index.json").write_text(json.dumps({**INDEX, **changes}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_at(tmp_path)


def said(folder: Path) -> str:
    return lacking(dataclasses.replace(EMBEDDED, text_encoder=""), folder)


def test_nothing_is_lacking_in_a_whole_folder(folder: Path) -> None:
    assert said(folder) == ""


@pytest.mark.parametrize("checkpoint", shipped(), ids=lambda each: each.name)
def test_nothing_is_lacking_in_what_is_shipped(checkpoint: Any) -> None:
    assert lacking(checkpoint, Path(checkpoint.source)) == ""


def test_a_folder_without_an_index_is_none(tmp_path: Path) -> None:
    assert "no model_index.json" in said(tmp_path)
    (tmp_path / "model_index.json").write_text("[" * 100_000)
    assert "nested too deeply" in said(tmp_path)


def test_missing_parts_and_weights_are_named(folder: Path) -> None:
    (folder / "text_encoder/model.safetensors").unlink()
    assert "text_encoder has no weights" in said(folder)
    (folder / "unet/model.safetensors").unlink()
    (folder / "unet/config.json").unlink()
    (folder / "unet").rmdir()
    assert "unet is missing" in said(folder)


def test_a_pickle_is_named_and_never_read(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    (folder / "unet/model.safetensors").unlink()
    (folder / "unet/diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    assert "as a pickle" in said(folder)
    (folder / "unet/model.safetensors").write_bytes(pickle.dumps(Trap()))
    assert "is no safetensors file" in said(folder)
    assert not (tmp_path / "ran").exists()


def test_code_of_a_checkpoints_own_is_named(folder: Path) -> None:
    write_index(folder, unet=["my_unet", "Mine"])
    assert "no code from a checkpoint is run" in said(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 9, b"\x08" + bytes(7) + b"not json"])
def test_a_bad_header_is_named(folder: Path, content: bytes) -> None:
    (folder / "unet/model.safetensors").write_bytes(content)
    assert "is no safetensors file" in said(folder)
