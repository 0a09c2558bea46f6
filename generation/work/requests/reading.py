"""Requests as records keep them: written with a version, read whatever they say.

A record outlives the program that wrote it. Reading one therefore never refuses a value that is
out of today's ranges, and a verb, version or field that this program does not know gives an
`Unreadable`, which can be shown and listed like any other and fails alone when it should be drawn.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from generation.work.errors import InvalidRequest
from generation.work.inputs import Input, Role
from generation.work.requests.imagine import Imagine, WeightedPrompt

VERSION = 2
VERBS: Mapping[str, type[Imagine]] = {Imagine.verb: Imagine}
FIRST_KINDS = frozenset({"TextToImage", "ImageToImage"})  # how version 1 called `imagine`


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable(Imagine):
    """A request of another version of this program: what of it can be shown, and all it says.

    Args:
        written: The record as it stands.
        problem: What this program does not understand of it.
    """

    written: Mapping[str, Any]
    problem: str

    def check(self) -> NoReturn:
        """Refuse to draw it.

        Raises:
            InvalidRequest: Always.
        """
        raise InvalidRequest("request", self.problem, "one that this version knows how to draw")

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what stands in the record, as name and value."""
        yield "Not understood", self.problem
        for name, value in self.written.items():
            yield name, str(value)


def to_json(request: Imagine) -> dict[str, Any]:
    """Return the request as JSON-ready values; `from_json` is its inverse."""
    if isinstance(request, Unreadable):
        return dict(request.written)
    return {"version": VERSION, "verb": request.verb, **dataclasses.asdict(request)}


def from_json(value: Any) -> Imagine:
    """Return the request that this or another version of the program wrote; never refuse one."""
    if not isinstance(value, dict):
        return _unreadable({"request": value}, "it is no object")
    fields = dict(value)
    version, verb = fields.pop("version", 1), fields.pop("verb", None)
    if version == 1 and fields.get("kind") in FIRST_KINDS:
        fields, verb = _from_version_1(fields), Imagine.verb
    elif version != VERSION or not isinstance(verb, str) or verb not in VERBS:
        return _unreadable(value, f"verb {verb!r} of version {version!r}")
    read, problems = _read(fields, VERBS[verb])
    if problems:
        return _unreadable(value, f"{verb}: {', '.join(sorted(problems))}")
    return VERBS[verb](**read)


def _from_version_1(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `imagine` that a record of the two old kinds holds."""
    rest = {name: value for name, value in fields.items() if name not in {"kind", "image"}}
    if "image" in fields:
        start = {"role": Role.START.value, "sha256": fields["image"]}
        rest["inputs"] = [{**start, "image_id": None, "weight": 1.0}]
    return rest


def _unreadable(written: Mapping[str, Any], problem: str) -> Unreadable:
    read, _ = _read(written, Imagine)
    blank = {
        "prompts": (WeightedPrompt(""),),
        "model": "",
        "seed": 0,
        "width": 0,
        "height": 0,
        "num_inference_steps": 0,
        "guidance_scale": 0.0,
    }
    return Unreadable(**{**blank, **read}, written=dict(written), problem=problem)


def _read(fields: Mapping[str, Any], kind: type[Imagine]) -> tuple[dict[str, Any], set[str]]:
    """Return the fields that can be used and the names of those that are unknown or missing."""
    known = {field.name: field for field in dataclasses.fields(kind)}
    read: dict[str, Any] = {}
    for name in known.keys() & fields.keys():
        try:
            read[name] = _READERS[name](fields[name])
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            continue
    has_default = {name for name, field in known.items() if field.default is not _MISSING}
    missing = known.keys() - has_default - read.keys()
    return read, {*missing, *(fields.keys() - read.keys())}


_MISSING = dataclasses.MISSING


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("not a whole number")
    return value


def _number(value: Any) -> float:
    if type(value) not in {int, float}:
        raise TypeError("not a number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _prompts(value: Any) -> tuple[WeightedPrompt, ...]:
    return tuple(WeightedPrompt(_text(part["text"]), _number(part["weight"])) for part in value)


def _inputs(value: Any) -> tuple[Input, ...]:
    return tuple(
        Input(
            Role(each["role"]),
            _text(each["sha256"]),
            None if each["image_id"] is None else _whole(each["image_id"]),
            _number(each["weight"]),
        )
        for each in value
    )


_READERS: Mapping[str, Any] = {
    "prompts": _prompts,
    "model": _text,
    "seed": _whole,
    "width": _whole,
    "height": _whole,
    "num_inference_steps": _whole,
    "guidance_scale": _number,
    "negative_prompt": _text,
    "style": _text_or_none,
    "template": _text,
    "num_images": _whole,
    "num_spare": _whole,
    "strength": _number,
    "inputs": _inputs,
}
