"""Read a training recipe from TOML; a misspelt key is an error, never a silent default."""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECIPES_DIRECTORY = Path(__file__).parent / "recipes"


class RecipeError(ValueError):
    """The recipe file cannot be used; the message names the key to change."""


@dataclass(frozen=True, slots=True)
class Model:
    """What the checkpoint is called and how it asks to be sampled.

    Attributes:
        title: The name a person reads.
        width: Picture width in pixels.
        height: Picture height in pixels.
        num_inference_steps: Steps the engine takes unless told otherwise.
        guidance_scale: Classifier-free guidance unless told otherwise.
        default_style: The look drawn when a request names none.
    """

    name: str
    title: str
    default_style: str
    width: int = 128
    height: int = 128
    num_inference_steps: int = 12
    guidance_scale: float = 3.0


@dataclass(frozen=True, slots=True)
class Source:
    """One look: an npm package of drawings or a plain folder of PNG files with captions.

    Attributes:
        look: The style word this source teaches.
        kind: `iconify` (SVG in one JSON file), `assets` (one WebP file a code point) or `folder`.
        package: npm package name; empty for a folder.
        version: Exact npm version; empty for a folder.
        sha256: SHA-256 of the package's tarball; empty for a folder.
        path: Folder with `<name>.png` and optional `<name>.txt`, relative to the data directory;
            empty for a package.
        licence: SPDX name, copied into the model card.
    """

    look: str
    kind: str
    package: str = ""
    version: str = ""
    sha256: str = ""
    path: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Captions:
    """How a concept is put into words.

    Attributes:
        package: npm package of emojibase; empty to use the concept names alone.
        template: Wraps the words of a concept and a look.
        unstyled: Share of training captions that name no look.
        dropout: Share of training captions replaced by the empty prompt.
        tags: How many unambiguous emojibase tags may stand in for a concept.
    """

    package: str = ""
    version: str = ""
    sha256: str = ""
    template: str = "{prompt}, {look} style"
    unstyled: float = 0.06
    dropout: float = 0.12
    tags: int = 2


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to place a drawing on its white canvas.

    Attributes:
        scale: Longest side of the drawing as a share of the canvas.
        shift_x: Offset to the right as a share of the canvas.
        shift_y: Offset downwards as a share of the canvas.
        mirror: Swap left and right; skipped for concepts in `one_sided`.
        weight: How often this placement is drawn in training, relative to the others.
    """

    scale: float
    shift_x: float = 0.0
    shift_y: float = 0.0
    mirror: bool = False
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """Size and schedule of the picture autoencoder (joint phase, then decoder alone).

    Attributes:
        width: Channels of every stage.
        crop: Side of the training crops in pixels, joint phase.
        steps: Joint phase.
        decoder_steps: Decoder alone, on whole pictures, encoder frozen.
        latent_noise: Largest standard deviation of the noise the decoder learns to forgive.
    """

    width: int = 32
    latent_channels: int = 8
    encoder_blocks: tuple[int, ...] = (0, 2, 3, 3)
    decoder_blocks: tuple[int, ...] = (4, 4, 3, 1)
    crop: int = 64
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    steps: int = 4000
    decoder_steps: int = 1000
    decoder_batch_size: int = 8
    latent_noise: float = 0.1


@dataclass(frozen=True, slots=True)
class Denoiser:
    """Size and schedule of the flow-matching UNet.

    Attributes:
        block_out_channels: Channels at latent size, half and quarter.
        attention: Which of those levels look at the caption's words.
        time_mean: Mean of the logit of the noise level.
        time_std: Standard deviation of the logit of the noise level.
        decay: Last share of the steps in which the learning rate falls to zero.
        ema_decay: Ceiling of the moving average's decay.
    """

    block_out_channels: tuple[int, ...] = (64, 128, 224)
    attention: tuple[bool, ...] = (False, False, True)
    layers_per_block: int = 1
    norm_num_groups: int = 16
    heads: int = 8
    batch_size: int = 32
    learning_rate: float = 8e-4
    steps: int = 5000
    warmup: int = 100
    decay: float = 0.3
    ema_decay: float = 0.998
    time_mean: float = 0.4
    time_std: float = 1.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the run leaves behind and when.

    Attributes:
        save_every_s: Seconds between resumable snapshots.
        sheet_every_s: Seconds between sample sheets; 0 draws none.
        sheet: Prompts of the sample sheet.
        threads: Torch threads; 0 leaves torch's own choice.
    """

    seed: int = 0
    save_every_s: float = 180.0
    sheet_every_s: float = 0.0
    sheet: tuple[str, ...] = ()
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a checkpoint depends on, besides the code.

    Attributes:
        concepts: Concept name to its emoji; empty when every source is a folder.
        synonyms: Concept name to other words for it.
        one_sided: Concepts that must not be mirrored (text, clock faces, moons).
    """

    model: Model
    sources: tuple[Source, ...]
    variants: tuple[Variant, ...]
    captions: Captions = field(default_factory=Captions)
    autoencoder: Autoencoder = field(default_factory=Autoencoder)
    denoiser: Denoiser = field(default_factory=Denoiser)
    schedule: Schedule = field(default_factory=Schedule)
    concepts: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    one_sided: tuple[str, ...] = ()


def load(path: Path) -> Recipe:
    """Read and check one recipe file.

    Args:
        path: A TOML file.

    Raises:
        RecipeError: A key is unknown, missing, of the wrong type, or names an unknown concept.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    recipe: Recipe = _convert(Recipe, table, path.name)
    _check(recipe, path.name)
    return recipe


def _check(recipe: Recipe, where: str) -> None:
    for key, names in (("synonyms", recipe.synonyms), ("one_sided", recipe.one_sided)):
        if unknown := sorted(set(names) - set(recipe.concepts)):
            raise RecipeError(f"{where}: {key} names unknown concepts {unknown}")
    looks = [source.look for source in recipe.sources]
    if recipe.model.default_style not in looks:
        raise RecipeError(f"{where}: model.default_style is not one of the looks {looks}")
    for source in recipe.sources:
        needed = ("path",) if source.kind == "folder" else ("package", "version", "sha256")
        if source.kind not in {"folder", "iconify", "assets"}:
            raise RecipeError(f"{where}: sources.kind {source.kind!r} is unknown")
        for key in needed:
            if not getattr(source, key):
                raise RecipeError(f"{where}: source {source.look!r} needs {key}")


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Turn TOML's plain values into the annotated type, refusing what does not fit."""
    if dataclasses.is_dataclass(kind):
        return _convert_table(kind, value, where)
    origin = typing.get_origin(kind)
    if origin is tuple and isinstance(value, list):
        item = typing.get_args(kind)[0]
        return tuple(_convert(item, entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        item = typing.get_args(kind)[1]
        converted = {key: _convert(item, entry, f"{where}.{key}") for key, entry in value.items()}
        return types.MappingProxyType(converted)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise RecipeError(f"{where}: expected {kind}, got {value!r}")
    return value


def _convert_table(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise RecipeError(f"{where}: expected a table, got {value!r}")
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        raise RecipeError(f"{where}: unknown keys {unknown}; known are {sorted(hints)}")
    converted = {key: _convert(hints[key], entry, f"{where}.{key}") for key, entry in value.items()}
    try:
        return kind(**converted)
    except TypeError as error:
        raise RecipeError(f"{where}: {error}") from error
