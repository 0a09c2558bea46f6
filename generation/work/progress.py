"""How long work tells how far it is, without knowing who shows it."""

from typing import Protocol


class Progress(Protocol):
    """Told how far a stage is; must be quick, is called from the working thread."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report `done` of `total` units of `stage`, with a short remark."""


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Tell nobody."""
