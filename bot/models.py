"""The checkpoints an operator has: the shipped ones, the test pattern, and those of the settings."""

import dataclasses
import math
from collections.abc import Mapping

from bot.settings import ModelSettings, Settings
from generation.techniques.diffusion import files
from generation.work.checkpoints import (
    MANIFEST,
    PATTERN,
    PIPELINE_ABILITIES,
    Checkpoint,
    read_checkpoint,
    shipped,
)
from generation.work.errors import CheckpointCorrupt, GenerationError, UnknownCheckpoint


def checkpoints(settings: Settings) -> dict[str, Checkpoint]:
    """Return every checkpoint by its name, the default one first.

    Raises:
        CheckpointCorrupt: A folder's description cannot be read.
        UnknownCheckpoint: The default is none of them, or two have one name.
    """
    found = [*shipped(), PATTERN, *(_described(model) for model in settings.models)]
    by_name = {checkpoint.name: checkpoint for checkpoint in found}
    if len(by_name) < len(found):
        raise UnknownCheckpoint(
            "two checkpoints have one name; rename the [[models]] table among "
            + ", ".join(checkpoint.name for checkpoint in found)
        )
    if settings.default_model not in by_name:
        raise UnknownCheckpoint(
            f"default_model {settings.default_model!r} is none of {', '.join(by_name)}"
        )
    return {settings.default_model: by_name[settings.default_model], **by_name}


def offered(known: Mapping[str, Checkpoint], default_model: str) -> dict[str, Checkpoint]:
    """Return what people are told of and may ask for: the test pattern only where it is meant."""
    return {
        name: checkpoint
        for name, checkpoint in known.items()
        if checkpoint is not PATTERN or name == default_model
    }


def taking_uploads(settings: Settings, known: Mapping[str, Checkpoint]) -> frozenset[str]:
    """Return which checkpoints may start from uploaded pictures: ours, and those that say so."""
    closed = {model.name for model in settings.models if not model.uploads}
    return frozenset(known) - closed


def _described(model: ModelSettings) -> Checkpoint:
    try:
        return _checkpoint(model)
    except ValueError as error:
        raise CheckpointCorrupt(f"model {model.name!r}: {error}") from error


def _checkpoint(model: ModelSettings) -> Checkpoint:
    scorer = str(model.scorer or "")
    if model.folder is not None and (model.folder / MANIFEST).is_file():
        described = read_checkpoint(model.folder)
        return dataclasses.replace(described, name=model.name, scorer=scorer)
    checkpoint = Checkpoint(
        name=model.name,
        title=model.title or model.name,
        family="pipeline",
        source=str(model.folder or model.hub_id),
        revision=model.revision,
        width=model.width,
        height=model.height,
        size_multiple=model.size_multiple,
        num_inference_steps=model.num_inference_steps,
        guidance_scale=model.guidance_scale,
        styles=model.styles,
        default_style=model.default_style,
        honours=frozenset(model.honours) or PIPELINE_ABILITIES,
        sha256=model.sha256,
        scorer=scorer,
    )
    return _as_its_class_can(checkpoint, frozenset(model.honours))


def _as_its_class_can(checkpoint: Checkpoint, wanted: frozenset[str]) -> Checkpoint:
    """Return a description that claims what its files allow, where they are here already.

    What is wrong with them is told when it is loaded, and by `atelier doctor`.

    Args:
        checkpoint: As the settings have it.
        wanted: The abilities that the operator named; empty for all.
    """
    try:
        folder = files.fetched(checkpoint)
        family = None if folder is None else files.family_in(folder)
    except (GenerationError, OSError):
        return checkpoint
    if family is None:
        return checkpoint
    multiple = math.lcm(checkpoint.size_multiple, family.size_multiple)
    is_fit = checkpoint.width % multiple == checkpoint.height % multiple == 0
    return dataclasses.replace(
        checkpoint,
        honours=wanted & family.abilities if wanted else family.abilities,
        size_multiple=multiple if is_fit else checkpoint.size_multiple,
    )
