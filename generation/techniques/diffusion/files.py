"""A checkpoint's files, checked before anything heavy is imported: standard library only.

Pinned, verified, safetensors only. A damaged checkpoint is told in milliseconds.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from generation.judging.scorer import files as scorer_files
from generation.techniques.diffusion.families import FAMILIES, Family, family_of
from generation.techniques.diffusion.folder import CONFIG, lacking
from generation.work import border, checkpoints
from generation.work.checkpoints import PIPELINE_INDEX, Checkpoint
from generation.work.errors import CheckpointCorrupt, FileRefused
from generation.work.hashes import sha256_of

NO_SETTINGS = {".safetensors", ".bin", ".md", ".png", ".jpg"}  # weights, and what people look at
PINNED_REVISION_LENGTH = 40  # a full commit; branch and tag names can move


def check(checkpoint: Checkpoint) -> None:
    """Check that a checkpoint is pinned and its files and its scorer's are the recorded ones.

    A folder without any recorded hash is the operator's own and taken as it is; its hashes still
    go into the fingerprint.

    Raises:
        CheckpointCorrupt: It is not pinned, not a diffusers folder, of a class that nothing here
            draws with, differs from its record, or holds weights that the record says nothing about.
    """
    if checkpoint.scorer:
        scorer_files.check(Path(checkpoint.scorer))
    if not is_local(checkpoint):
        if not is_pinned(checkpoint.revision):
            source, revision = checkpoint.source, checkpoint.revision
            raise CheckpointCorrupt(f"{source} must be pinned to a full commit, not {revision!r}")
        return
    folder = Path(checkpoint.source)
    if folder.is_file():
        written = "diffusers' from_single_file(FILE).save_pretrained(FOLDER) writes one of it"
        raise CheckpointCorrupt(f"{folder} is one file, not a diffusers folder; {written}")
    checkpoints.verify(folder, checkpoint.sha256)
    if not (folder / "model_index.json").is_file():
        raise CheckpointCorrupt(f"{folder} is not a diffusers folder: no model_index.json")
    family_in(folder)
    found = {path.relative_to(folder).as_posix() for path in _weights(folder)}
    if checkpoint.sha256 and (unknown := sorted(found - checkpoint.sha256.keys())):
        raise CheckpointCorrupt(f"{folder} has no recorded hash for {', '.join(unknown)}")


def is_local(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint is a folder rather than a pinned hub id.

    A folder here that is called like a hub's is not what was pinned.
    """
    return not checkpoint.revision


def cache_folder() -> Path:
    """Return where what comes from hubs is kept."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def fetched(checkpoint: Checkpoint) -> Path | None:
    """Return the folder of a checkpoint's files on this disk; None if some are still at the hub."""
    if is_local(checkpoint):
        return Path(checkpoint.source)
    repository = f"models--{checkpoint.source.replace('/', '--')}"
    folder = cache_folder() / repository / "snapshots" / (checkpoint.revision or "")
    return folder if not lacking(checkpoint, folder) and _has_all_shards(folder) else None


def variant_of(folder: Path) -> str | None:
    """Return diffusers' `variant` of a folder: `fp16` if it holds weights of that kind."""
    return "fp16" if any(".fp16" in path.name for path in _weights(folder)) else None


def _has_all_shards(folder: Path) -> bool:
    """Return whether every file that an index of weights names is there."""
    for index in folder.rglob("*.safetensors.index*.json"):
        names = border.json_of(index).get("weight_map", {})
        if not all((index.parent / name).is_file() for name in set(names.values())):
            return False
    return True


def is_pinned(revision: str | None) -> bool:
    """Return whether a hub revision can never mean other files: a full commit hash."""
    return (
        revision is not None
        and len(revision) == PINNED_REVISION_LENGTH
        and set(revision) <= set("0123456789abcdef")
    )


def weight_hashes(checkpoint: Checkpoint) -> dict[str, str]:
    """Return relative file to SHA-256 of every weight file that pictures depend on.

    A hub's commit pins its files, so those are named by the revision alone.
    """
    if checkpoint.sha256 or not is_local(checkpoint):
        return checkpoints.weights_in(checkpoint.sha256)
    folder = Path(checkpoint.source)
    hashes = {
        path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(_weights(folder))
    }
    return checkpoints.weights_in(hashes)


def family_in(folder: Path) -> Family:
    """Return how a folder's pipeline is asked, told from its settings alone.

    Raises:
        CheckpointCorrupt: Its class is none that can be drawn with, or they cannot be read.
    """
    try:
        index = border.json_of(folder / PIPELINE_INDEX)

        def configured(part: str, key: str) -> object:
            path = folder / part / CONFIG
            return (border.json_of(path) if part and path.is_file() else index).get(key)

        name = str(index.get("_class_name"))
        family = family_of(name, configured)
    except FileRefused as error:
        raise CheckpointCorrupt(str(error)) from error
    if family is None:
        known = ", ".join(FAMILIES)
        raise CheckpointCorrupt(f"{folder} is a {name}; what can be drawn with is {known}")
    return family


def settings_hashes(folder: Path) -> dict[str, str]:
    """Return relative file to SHA-256 of what a pipeline reads beside its weights.

    Of its scheduler, networks and tokenizers: every file in the folder of a part that the index
    names, and the index. Pictures depend on each.
    """
    parts = border.json_of(folder / PIPELINE_INDEX)
    found = [path for name in parts for path in (folder / name).rglob("*") if path.is_file()]
    found = [path for path in found if path.suffix not in NO_SETTINGS]
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted([*found, folder / PIPELINE_INDEX])
    }


def size_bytes(folder: Path) -> int:
    """Return what the weights in a folder take."""
    return sum(path.stat().st_size for path in _weights(folder))


def go_offline(all_checkpoints: Iterable[Checkpoint]) -> None:
    """Keep the hub's client off the network if nothing comes from a hub.

    Must come before that client is imported; it reads this once.
    """
    if all(map(is_local, all_checkpoints)):
        os.environ["HF_HUB_OFFLINE"] = "1"


def _weights(folder: Path) -> Iterable[Path]:
    return folder.rglob("*.safetensors")
