"""What `atelier doctor` says of one thing it looked at."""

import dataclasses
from enum import StrEnum


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    SKIPPED = "-"
    FAILED = "FAILED"


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and the remedy if it failed."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""
