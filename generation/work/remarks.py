"""What is said of a prompt beside its pictures: which of its words did not count, and why (pure)."""

import dataclasses
from typing import Any, Literal

Field = Literal["prompt", "negative_prompt"]


@dataclasses.dataclass(frozen=True, slots=True)
class UnknownWord:
    """A word of a prompt that the checkpoint cannot know.

    Args:
        word: As it was typed: letters only, or one emoji.
        near: Entries of the checkpoint's vocabulary that come nearest, the nearest first: letters,
            digits, spaces, hyphens and apostrophes only. May be empty.
    """

    word: str
    near: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """A text that is longer than the checkpoint reads; its end was left out, never its look.

    Args:
        field: Which of the request's texts.
        read_up_to: The last words that were read, as they were typed: a person's text.
    """

    field: Field
    read_up_to: str


@dataclasses.dataclass(frozen=True, slots=True)
class OtherLanguage:
    """A prompt that does not look like the English that the checkpoint was taught in."""


@dataclasses.dataclass(frozen=True, slots=True)
class SeveralThings:
    """A prompt that asks for more things in one picture than the checkpoint can hold.

    Args:
        things: The words for them as they were typed, letters only; at least two.
    """

    things: tuple[str, ...]


Remark = UnknownWord | Cut | OtherLanguage | SeveralThings
_KINDS = {kind.__name__: kind for kind in (UnknownWord, Cut, OtherLanguage, SeveralThings)}


def to_json(remark: Remark) -> dict[str, Any]:
    """Return a remark as JSON-ready values; `from_json` is its inverse."""
    return {"kind": type(remark).__name__, **dataclasses.asdict(remark)}


def from_json(value: dict[str, Any]) -> Remark:
    """Return the remark that `to_json` wrote.

    Raises:
        KeyError: It has no kind, or one that is not known.
        TypeError: It has not the fields of its kind.
    """
    fields = {name: _value(each) for name, each in value.items()}
    return _KINDS[fields.pop("kind")](**fields)


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
