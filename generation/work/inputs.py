"""What a request starts from besides words: pictures, each in a role."""

import dataclasses
import math
from enum import StrEnum

from generation.work.errors import InvalidRequest

HEX_DIGITS = frozenset("0123456789abcdef")


class Role(StrEnum):
    """What a picture is for."""

    START = "start"  # drawn on from it
    MASK = "mask"  # where something may change
    STYLE = "style"  # its look is taken
    PART = "part"  # mixed with others
    REFERENCE = "reference"  # its subject is taken


@dataclasses.dataclass(frozen=True, slots=True)
class Input:
    """One picture that a request starts from.

    Args:
        role: What it is for.
        sha256: Name of the stored PNG, 64 hex digits.
        image_id: Number of the recorded picture; None for an upload, whose owner the record of
            files knows.
        weight: Its share among inputs of the same role, finite and not negative.
    """

    role: Role
    sha256: str
    image_id: int | None = None
    weight: float = 1.0

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            InvalidRequest: A field is out of its range.
        """
        if len(self.sha256) != 64 or not HEX_DIGITS.issuperset(self.sha256):
            raise InvalidRequest("image", self.sha256, "a SHA-256 in hex")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InvalidRequest("weight", self.weight, "0 or more")
