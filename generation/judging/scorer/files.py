"""A scorer's files, checked before anything heavy is imported: standard library only."""

import json
from collections.abc import Mapping
from pathlib import Path

from generation.work.checkpoints import MANIFEST, verify
from generation.work.errors import CheckpointCorrupt

KIND = "scorer"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def check(folder: Path) -> Mapping[str, str]:
    """Return the recorded SHA-256 of a scorer's weights after comparing them with it.

    Raises:
        CheckpointCorrupt: The folder holds no scorer, or not the recorded one.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointCorrupt(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise CheckpointCorrupt(f"{folder} holds no scorer: its {MANIFEST} says otherwise")
    hashes = manifest.get("sha256")
    if not isinstance(hashes, dict) or not isinstance(hashes.get(WEIGHTS), str):
        raise CheckpointCorrupt(f"{path} records no hash of {WEIGHTS}")
    recorded = {WEIGHTS: hashes[WEIGHTS]}
    verify(folder, recorded)
    return recorded
