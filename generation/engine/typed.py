"""Whether a value is what its annotation says, all the way down: standard library only."""

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def has_types(value: Any, hint: Any) -> bool:
    """Return whether a value read from JSON has the type that was promised.

    A whole number will do for a `float`, and a `bool` is no `int`. Dataclasses are looked into,
    field by field.

    >>> has_types((1, 2), tuple[int, ...]), has_types((1, "2"), tuple[int, ...])
    (True, False)
    """
    if hint is Any:
        return True
    if hint is float:
        return type(value) in {int, float}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {types.UnionType, Union}:
        return any(has_types(value, each) for each in arguments)
    if origin is Literal:
        return value in arguments
    if origin in {tuple, frozenset}:
        return type(value) is origin and all(has_types(each, arguments[0]) for each in value)
    if origin is Mapping:
        pairs = value.items() if isinstance(value, Mapping) else [(None, None)]
        return all(has_types(n, arguments[0]) and has_types(v, arguments[1]) for n, v in pairs)
    if not (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
        return type(value) is hint
    return isinstance(value, hint) and all(
        has_types(getattr(value, name), each) for name, each in _fields(hint).items()
    )


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    """Return field to annotation of a dataclass."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
