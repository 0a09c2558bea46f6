"""What can go wrong while drawing.

GenerationError
├── InvalidRequest        a field is out of its range; the person can change it
├── ImageRefused          an uploaded file is not a picture we accept; the person can change it
├── FileRefused           a file that a person wrote or downloaded is not what it should be
├── UnknownCheckpoint     no checkpoint of that name is configured
├── CheckpointCorrupt     a weight file is missing or its SHA-256 is not the recorded one
├── FetchFailed           a checkpoint could not be downloaded
├── DrawingFailed         one job could not be drawn; the worker lives on
│   ├── OutOfMemory       the device had no room for it
│   └── NoPicture         the network's numbers ran away
└── WorkerCrashed         the worker process died; its jobs may be started again
"""

from typing import ClassVar


class GenerationError(Exception):
    """Base of everything this package raises on purpose.

    Attributes:
        for_people: What a member is told, where the message is for the operator: it may quote
            paths and libraries. Empty where the message is for everybody.
    """

    for_people: ClassVar[str] = ""


class InvalidRequest(GenerationError):
    """A request field lies outside its range.

    Args:
        field: Name of the field, as in `generation.work.requests`.
        value: What was given.
        allowed: The allowed range, in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field} must be {allowed}, not {value!r}")
        self.field = field
        self.value = value
        self.allowed = allowed


class ImageRefused(GenerationError):
    """An uploaded file was not accepted; the message is one sentence for the uploader."""


class FileRefused(GenerationError):
    """A file that a person wrote or downloaded cannot be read; the message names it and the place."""


class UnknownCheckpoint(GenerationError):
    """No checkpoint of this name is configured."""


class CheckpointCorrupt(GenerationError):
    """A weight file is missing or differs from its recorded SHA-256."""

    for_people = "The model could not be loaded. The operator can see why in the log."


class FetchFailed(GenerationError):
    """A checkpoint could not be downloaded from its hub."""

    for_people = "The model could not be downloaded. The operator can see why in the log."


class DrawingFailed(GenerationError):
    """One job could not be drawn."""

    for_people = "The model could not draw this. The operator can see why in the log."


class OutOfMemory(DrawingFailed):
    """The device had no room for this job."""

    for_people = "The device has no room for pictures of this size; a smaller one may fit."


class NoPicture(DrawingFailed):
    """What came out is no picture: there are values in it that are no numbers."""

    for_people = (
        "The model's numbers ran away, so there is no picture. "
        "Another seed, other words or less `--s` may help."
    )


class WorkerCrashed(GenerationError):
    """The worker process died while it held jobs."""
