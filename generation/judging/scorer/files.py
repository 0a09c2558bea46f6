"""A scorer's files, checked before anything heavy is imported: standard library only."""

from collections.abc import Mapping
from pathlib import Path

from generation.work import border
from generation.work.checkpoints import MANIFEST, verify
from generation.work.errors import CheckpointCorrupt, FileRefused

KIND = "scorer"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def check(folder: Path) -> Mapping[str, str]:
    """Return the recorded SHA-256 of a scorer's weights after comparing them with it.

    Raises:
        CheckpointCorrupt: The folder holds no scorer, or not the recorded one.
    """
    path = folder / MANIFEST
    try:
        manifest = border.json_of(path)
    except FileRefused as error:
        raise CheckpointCorrupt(str(error)) from error
    if manifest.get("kind") != KIND:
        raise CheckpointCorrupt(f"{folder} holds no scorer: its {MANIFEST} says otherwise")
    hashes = manifest.get("sha256")
    if not isinstance(hashes, dict) or not isinstance(hashes.get(WEIGHTS), str):
        raise CheckpointCorrupt(f"{path} records no hash of {WEIGHTS}")
    recorded = {WEIGHTS: hashes[WEIGHTS]}
    verify(folder, recorded)
    return recorded
