"""Read a recipe from TOML into frozen dataclasses; a misspelt key is an error, never a default."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from generation.work import border
from generation.work.errors import FileRefused

RECIPES = Path(__file__).parent
Kind = TypeVar("Kind")


class RecipeError(ValueError):
    """The recipe file cannot be used; the message names the key to change."""


def presets() -> tuple[str, ...]:
    """Return the names of the recipe folders that come with Atelier."""
    return tuple(sorted(path.parent.name for path in RECIPES.glob("*/data.toml")))


def folder_of(preset: str) -> Path:
    """Return the recipe folder of a preset: one that comes with Atelier, or a folder of one's own.

    Args:
        preset: A name such as `tiny`, or the path of a folder.

    Raises:
        RecipeError: It is neither.
    """
    for folder in (RECIPES / preset, Path(preset)):
        if (folder / "data.toml").exists():
            return folder
    raise RecipeError(
        f"preset {preset!r} is none of {', '.join(presets())}, and no folder with a data.toml"
    )


def preset(kind: type[Kind], preset: str, name: str) -> Kind:
    """Read one recipe of a preset.

    Args:
        kind: Frozen dataclass that the file fills.
        preset: See `folder_of`.
        name: Which of its recipes: `data`, or what is trained.

    Raises:
        RecipeError: There is no such recipe, or it is wrong.
    """
    path = folder_of(preset) / f"{name}.toml"
    if not path.exists():
        raise RecipeError(f"preset {preset!r} has no {name}.toml; copy one from {RECIPES}")
    return read(kind, path)


def read(kind: type[Kind], path: Path) -> Kind:
    """Read and check one recipe file.

    Args:
        kind: Frozen dataclass that the file fills; its own `ValueError`s become `RecipeError`s.
        path: A TOML file.

    Raises:
        RecipeError: A key is unknown, missing, or its value is of the wrong type or refused.
    """
    try:
        table = border.toml_of(path)
    except FileRefused as error:
        raise RecipeError(str(error)) from error
    recipe: Kind = _convert(kind, table, path.name)
    return recipe


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
    for key in value:
        if key not in hints:
            near = get_close_matches(key, hints, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"known are {sorted(hints)}"
            raise RecipeError(f"{where}: unknown key {key!r}; {advice}")
    converted = {key: _convert(hints[key], entry, f"{where}.{key}") for key, entry in value.items()}
    try:
        return kind(**converted)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{where}: {error}") from error
