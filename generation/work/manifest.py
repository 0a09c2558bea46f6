"""The note beside exported weights: what they are, how good, and that they are whole."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generation.work import border
from generation.work.errors import CheckpointCorrupt, FileRefused

MANIFEST = "atelier.json"


class CheckpointMissing(CheckpointCorrupt):
    """What another trainer must have exported is not there, or is damaged."""


def write(folder: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write the manifest of a folder whose weights are already there.

    Args:
        kind: Which trainer exported it, for example `vae`.
        content: Plain JSON; the hash of every weight file is added.
    """
    hashes = {
        str(path.relative_to(folder)): sha256_of(path)
        for path in sorted(folder.rglob("*.safetensors"))
    }
    manifest = {"kind": kind, **content, "sha256": hashes}
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(f"{text}\n", encoding="utf-8")


def read(folder: Path, kind: str) -> dict[str, Any]:
    """Return the manifest after comparing every weight file with it.

    Raises:
        CheckpointMissing: There is no such checkpoint, or a file was changed.
    """
    advice = f"make it with `atelier train {kind}`"
    if not (folder / MANIFEST).exists():
        raise CheckpointMissing(f"no trained {kind} in {folder}; {advice}")
    try:
        manifest = border.json_of(folder / MANIFEST)
    except FileRefused as error:
        raise CheckpointMissing(f"{error}; {advice}") from error
    if not isinstance(manifest.get("sha256"), dict):
        raise CheckpointMissing(f"{folder / MANIFEST} records no hashes; {advice}")
    if manifest.get("kind") != kind:
        found = str(manifest.get("kind", "checkpoint of no kind"))
        raise CheckpointMissing(f"{folder} holds a {found}, not a {kind}; {advice}")
    for name, expected in manifest["sha256"].items():
        path = folder / name
        if not path.exists() or sha256_of(path) != expected:
            raise CheckpointMissing(f"{path} is damaged or not the file recorded; {advice}")
    return manifest


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
