"""What comes back from a drawing: images, progress, and on which engine they were made."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Self

from generation.work.errors import GenerationError
from generation.work.remarks import Remark

FILE = "sha256:"  # a file's field; files of settings were not always recorded: "settings:"


@dataclasses.dataclass(frozen=True, slots=True)
class EngineFingerprint:
    """Everything outside the request that a picture's bits depend on.

    Two redraws on equal fingerprints are bit-identical; that is promised and tested.

    Args:
        fields: Names to values: versions, device, processor, dtype, micro-batch, threads, the
            variables that choose kernels, and `sha256:` of every file that was loaded.
    """

    fields: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted fields, 64 hex digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Return the fields as canonical JSON."""
        return json.dumps(dict(self.fields), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "EngineFingerprint":
        """Return the fingerprint that `to_json` wrote."""
        return cls(json.loads(text))

    def with_fields(self, **fields: str) -> Self:
        """Return it with some fields added, or changed."""
        return type(self)({**self.fields, **fields})

    def differences(self, other: "EngineFingerprint") -> dict[str, tuple[str, str]]:
        """Return the fields that differ, as name to (own value, other's value).

        One that only one of them has differs if it is a file's hash: the other had no such file.
        Any other is unknown to the other, which is older; see `unknown`.
        """
        unknown = self.unknown(other)
        names = sorted({*self.fields, *other.fields} - unknown)
        pairs = {name: (self.fields.get(name, ""), other.fields.get(name, "")) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def unknown(self, other: "EngineFingerprint") -> frozenset[str]:
        """Return the fields that only one of them has, of which nothing can be said."""
        alone = self.fields.keys() ^ other.fields.keys()
        return frozenset(name for name in alone if not name.startswith(FILE))


@dataclasses.dataclass(frozen=True, slots=True)
class DrawnImage:
    """One finished picture.

    Args:
        index: Its place in the job, from 0: the best first if the best were picked, otherwise in
            the order of the seeds.
        seed: The seed that draws it alone.
        width: In pixels.
        height: In pixels.
        png: The encoded file.
        pixels_sha256: SHA-256 of the pixels before anything was written into them or around them,
            64 hex digits: over the mode in ASCII (`RGB`), width and height as 4 bytes each, most
            significant first, and the rows from top to bottom. Encoders, and marks, may change;
            this says whether the same was drawn.
    """

    index: int
    seed: int
    width: int
    height: int
    png: bytes
    pixels_sha256: str = ""

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, 64 hex digits."""
        return hashlib.sha256(self.png).hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class StepDone:
    """A job is some denoising steps further.

    Args:
        job_id: Whose.
        step: Steps done, 1 to `num_inference_steps`, counted over all of its pictures.
        num_inference_steps: Steps in all, counted alike.
        preview: A small PNG of the first image so far, or None.
    """

    job_id: int
    step: int
    num_inference_steps: int
    preview: bytes | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ImagesDone:
    """A job is drawn. `Remarked` follows.

    Args:
        job_id: Whose.
        images: In order of their index.
        fingerprint: The engine that drew them.
        elapsed_s: Seconds the job is charged for: its share of each step, and its finishing.
    """

    job_id: int
    images: tuple[DrawnImage, ...]
    fingerprint: EngineFingerprint
    elapsed_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Remarked:
    """What is to be said of a drawn job, after its pictures; there may be nothing.

    Args:
        job_id: Whose.
        remarks: About its words.
    """

    job_id: int
    remarks: tuple[Remark, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class OrderFailed:
    """A job could not be drawn.

    Args:
        job_id: Whose.
        kind: A class name from `generation.work.errors`.
        message: One sentence for people; what only the operator should read is in the log.
    """

    job_id: int
    kind: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class OrderCancelled:
    """A job stopped at a step because it was cancelled."""

    job_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class OrderLost:
    """A job's worker died or hung while it held the job, which may be given again."""

    job_id: int
    reason: str


WorkerEvent = StepDone | ImagesDone | Remarked | OrderFailed | OrderCancelled | OrderLost


def failed(job_id: int, error: GenerationError) -> OrderFailed:
    """Return the event that ends a job with `error`, told in words for people."""
    return OrderFailed(job_id, type(error).__name__, error.for_people or str(error))
