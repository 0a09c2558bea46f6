"""Messages between the bot and its worker, as length-prefixed frames on a pipe.

    frame  = length of header (4 bytes, big-endian) | header (JSON) | blobs, one after the other
    header = {"type": ..., "blobs": [length, ...], fields ...}

Pictures travel as blobs and so are never re-encoded. Decoding does no I/O and takes the bytes in
whatever pieces the pipe delivers, so a cancelled read loses nothing. Standard library only.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from generation.engine.typed import has_types
from generation.work import remarks
from generation.work.checkpoints import Checkpoint
from generation.work.orders import Order, WorkerReady
from generation.work.requests.reading import from_json, to_json
from generation.work.results import (
    DrawnImage,
    EngineFingerprint,
    ImagesDone,
    OrderCancelled,
    OrderFailed,
    OrderLost,
    Remarked,
    StepDone,
    WorkerEvent,
)

VERSION = 2  # both sides come from one folder, but an update may replace it under a running bot
MAX_HEADER_BYTES = 4 * 2**20
MAX_BLOB_BYTES = 64 * 2**20  # a 4096 px square of noise is 48 MiB
MAX_FRAME_BYTES = 8 * MAX_BLOB_BYTES  # of eight pictures, the most that one job has
MAX_BLOBS = 256
LENGTH_BYTES = 4


class WireError(Exception):
    """The other side sent something that is not a frame of ours."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a worker: what it may draw with, and where.

    Args:
        version: `VERSION` of whoever sends it.
        checkpoints: All it may load.
        device: As `generation.techniques.device.choose` takes it.
        dtype: As `generation.techniques.device.choose` takes it.
        threads: CPU cores to use; 0 for all.
        previews: Whether slow models should send previews.
        delay_s: How long to wait before starting: the back-off after crashes. The worker waits
            rather than the bot, so that the bot's event loop needs no clock for it.
    """

    version: int
    checkpoints: tuple[Checkpoint, ...]
    device: str
    dtype: str
    threads: int
    previews: bool
    delay_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """Load this checkpoint ahead of its first order; answered by `Loaded` or `LoadFailed`."""

    model: str


@dataclasses.dataclass(frozen=True, slots=True)
class Admit:
    """Draw this order; `ticket` is new each time and comes back with every event."""

    ticket: int
    order: Order


@dataclasses.dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the order of this ticket at its next step."""

    ticket: int


@dataclasses.dataclass(frozen=True, slots=True)
class StartFailed:
    """The worker could not start; `kind` is a class name from `generation.work.errors`."""

    kind: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Loading:
    """A sign of life, told now and then while a checkpoint is fetched or loaded.

    Args:
        model: Which.
        elapsed_s: Since when.
        done_bytes: What of its files has been fetched; 0 where nothing is.
        total_bytes: How much that is in all; 0 where it is not known.
    """

    model: str
    elapsed_s: float
    done_bytes: int = 0
    total_bytes: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Resident:
    """What is loaded now: name to how many pictures are drawn at once. Told when it changes."""

    max_images: Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """The checkpoint of a `Load` is loaded, with what its pictures' bits depend on."""

    model: str
    fingerprint: EngineFingerprint


@dataclasses.dataclass(frozen=True, slots=True)
class LoadFailed:
    """The checkpoint of a `Load` cannot be; `kind` as in `StartFailed`."""

    model: str
    kind: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Happened:
    """Something happened to the order of this ticket."""

    ticket: int
    event: WorkerEvent


Message = (
    Setup
    | Load
    | Admit
    | Cancel
    | WorkerReady
    | StartFailed
    | Loading
    | Resident
    | Loaded
    | LoadFailed
    | Happened
)
Frame = tuple[dict[str, Any], Sequence[bytes]]


def encode(message: Message) -> bytes:
    """Return the frame of a message; `Decoder` is its inverse.

    Raises:
        WireError: It is larger than a frame may be.
    """
    fields, blobs = _to_frame(message)
    lengths = [len(blob) for blob in blobs]
    if not _may_carry(lengths):
        raise WireError(f"{type(message).__name__} carries too much")
    header = {**fields, "blobs": lengths}
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise WireError(f"header of {type(message).__name__} has {len(text)} bytes")
    return b"".join((len(text).to_bytes(LENGTH_BYTES), text, *blobs))


class Decoder:
    """Turns the bytes of a pipe, in any pieces, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: dict[str, Any] | None = None
        self._needed = LENGTH_BYTES

    def feed(self, piece: bytes) -> Iterator[Message]:
        """Take in the next bytes and yield every message that is complete by now.

        Raises:
            WireError: They do not make frames of ours; nothing after them can be read.
        """
        self._buffer += piece
        while len(self._buffer) >= self._needed:
            if self._header is None:
                if self._needed == LENGTH_BYTES:
                    length = int.from_bytes(self._buffer[:LENGTH_BYTES])
                    if not 0 < length <= MAX_HEADER_BYTES:
                        raise WireError(f"a header of {length} bytes was announced")
                    self._needed = LENGTH_BYTES + length
                    continue
                self._header = _parse_header(bytes(self._buffer[LENGTH_BYTES : self._needed]))
                del self._buffer[: self._needed]
                self._needed = sum(self._header["blobs"])
                continue
            yield self._take_message()

    def _take_message(self) -> Message:
        header, start = dict(self._header or {}), 0
        blobs = []
        for length in header.pop("blobs"):
            blobs.append(bytes(self._buffer[start : start + length]))
            start += length
        del self._buffer[:start]
        self._header, self._needed = None, LENGTH_BYTES
        kind = header.get("type")
        try:
            message = _from_frame(header, blobs)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise WireError(f"{kind!r} is not a message") from error
        if not has_types(message, type(message)):
            raise WireError(f"{kind!r} has a field of another type")
        return message


def _parse_header(text: bytes) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("a header is not JSON") from error
    lengths = header.get("blobs") if isinstance(header, dict) else None
    if not isinstance(lengths, list) or not all(type(each) is int for each in lengths):
        raise WireError("a header announces no list of blobs")
    if not _may_carry(lengths):
        raise WireError("a header announces too much")
    return header


def _may_carry(lengths: Sequence[int]) -> bool:
    is_each_right = all(0 <= length <= MAX_BLOB_BYTES for length in lengths)
    return is_each_right and len(lengths) <= MAX_BLOBS and sum(lengths) <= MAX_FRAME_BYTES


def _to_frame(message: Message) -> Frame:
    fields: dict[str, Any] = {"type": type(message).__name__}
    match message:
        case Setup():
            rest = {name: getattr(message, name) for name in _SETUP_FIELDS}
            listed = [_checkpoint_to_json(checkpoint) for checkpoint in message.checkpoints]
            return {**fields, **rest, "checkpoints": listed}, ()
        case Admit(ticket, order):
            rest = {"job_id": order.job_id, "request": to_json(order.request)}
            return {**fields, "ticket": ticket, **rest}, order.blobs
        case Loaded(model, fingerprint):
            return {**fields, "model": model, "fingerprint": dict(fingerprint.fields)}, ()
        case Happened(ticket, event):
            event_fields, blobs = _event_to_frame(event)
            return {**fields, "ticket": ticket, "event": event_fields}, blobs
        case Resident(max_images):
            return {**fields, "max_images": dict(max_images)}, ()
        case Load() | Cancel() | WorkerReady() | StartFailed() | Loading() | LoadFailed():
            return {**fields, **dataclasses.asdict(message)}, ()


def _from_frame(fields: dict[str, Any], blobs: Sequence[bytes]) -> Message:
    match fields.pop("type"):
        case "Setup":
            listed = fields.pop("checkpoints")
            return Setup(checkpoints=tuple(map(_checkpoint_from_json, listed)), **fields)
        case "Admit":
            request = from_json(fields["request"])
            return Admit(fields["ticket"], Order(fields["job_id"], request, tuple(blobs)))
        case "Loaded":
            return Loaded(fields["model"], EngineFingerprint(fields["fingerprint"]))
        case "Happened":
            return Happened(fields["ticket"], _event_from_frame(fields["event"], blobs))
        case str(name) if name in _PLAIN:
            return _PLAIN[name](**fields)
        case name:
            raise WireError(f"unknown type of message: {name!r}")


def _event_to_frame(event: WorkerEvent) -> Frame:
    fields: dict[str, Any] = {"type": type(event).__name__, "job_id": event.job_id}
    match event:
        case StepDone(_, step, num_inference_steps, preview):
            fields |= {"step": step, "num_inference_steps": num_inference_steps}
            return fields, () if preview is None else (preview,)
        case ImagesDone(_, images, fingerprint, elapsed_s):
            fields |= {"fingerprint": dict(fingerprint.fields), "elapsed_s": elapsed_s}
            fields["images"] = [
                {name: getattr(image, name) for name in _IMAGE_FIELDS} for image in images
            ]
            return fields, [image.png for image in images]
        case Remarked(_, said):
            return {**fields, "remarks": list(map(remarks.to_json, said))}, ()
        case OrderFailed() | OrderCancelled() | OrderLost():
            return {**fields, **dataclasses.asdict(event)}, ()


def _event_from_frame(fields: Mapping[str, Any], blobs: Sequence[bytes]) -> WorkerEvent:
    job_id = fields["job_id"]
    match fields["type"]:
        case "StepDone":
            preview = blobs[0] if blobs else None
            return StepDone(job_id, fields["step"], fields["num_inference_steps"], preview)
        case "ImagesDone":
            images = tuple(
                DrawnImage(**image, png=png)
                for image, png in zip(fields["images"], blobs, strict=True)
            )
            fingerprint = EngineFingerprint(fields["fingerprint"])
            return ImagesDone(job_id, images, fingerprint, fields["elapsed_s"])
        case "Remarked":
            return Remarked(job_id, tuple(map(remarks.from_json, fields["remarks"])))
        case "OrderFailed":
            return OrderFailed(job_id, fields["kind"], fields["message"])
        case "OrderCancelled":
            return OrderCancelled(job_id)
        case "OrderLost":
            return OrderLost(job_id, fields["reason"])
        case name:
            raise WireError(f"unknown type of event: {name!r}")


def _checkpoint_to_json(checkpoint: Checkpoint) -> dict[str, Any]:
    fields = {field.name: getattr(checkpoint, field.name) for field in _CHECKPOINT_FIELDS}
    mappings = {name: dict(value) for name, value in fields.items() if isinstance(value, Mapping)}
    return {
        **fields,
        **mappings,
        "honours": sorted(checkpoint.honours),
        "verbs": sorted(checkpoint.verbs),
    }


def _checkpoint_from_json(fields: Mapping[str, Any]) -> Checkpoint:
    plain = {**fields, "honours": frozenset(fields["honours"]), "verbs": frozenset(fields["verbs"])}
    return Checkpoint(**{**plain, "vocabulary": tuple(fields["vocabulary"])})


_CHECKPOINT_FIELDS = dataclasses.fields(Checkpoint)
_SETUP_FIELDS = ("version", "device", "dtype", "threads", "previews", "delay_s")
_IMAGE_FIELDS = ("index", "seed", "width", "height", "pixels_sha256")
_PLAIN: Mapping[str, Callable[..., Message]] = {
    kind.__name__: kind
    for kind in (Load, Cancel, WorkerReady, StartFailed, Loading, Resident, LoadFailed)
}
