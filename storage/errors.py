"""What can go wrong while remembering.

StorageError            the database or a file failed; only the operator can fix it
├── DatabaseTooNew      the file was written by a newer version of the program
├── NotFound            there is no such job, image or file
├── TransitionRefused   a job was no longer in the state that a step expected
└── LimitReached        too many jobs wait already; the member can try again later
"""

from collections.abc import Collection
from typing import Literal

from generation.work.jobs import JobState


class StorageError(Exception):
    """Base of everything this package raises on purpose."""


class DatabaseTooNew(StorageError):
    """The database was written by a newer version; older code must not touch it.

    Args:
        found: The file's schema version.
        known: The newest version this code knows.
    """

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"the database has schema version {found}, this program knows up to {known}; "
            "install the newer program or restore the backup made before the upgrade"
        )
        self.found = found
        self.known = known


class NotFound(StorageError):
    """There is no such record or file.

    Args:
        kind: What was looked for, as one word.
        key: Its number or name.
    """

    def __init__(self, kind: str, key: object) -> None:
        super().__init__(f"no {kind} {key}")
        self.kind = kind
        self.key = key


class TransitionRefused(StorageError):
    """A job was not in a state from which the step is allowed; nothing was changed.

    Args:
        job_id: Whose.
        expected: The states the caller allowed.
        actual: The state the job is in.
    """

    def __init__(self, job_id: int, expected: Collection[JobState], actual: JobState) -> None:
        names = ", ".join(sorted(expected))
        super().__init__(f"job {job_id} is {actual}, not {names}")
        self.job_id = job_id
        self.expected = frozenset(expected)
        self.actual = actual


class LimitReached(StorageError):
    """More jobs would wait than may; none of them was recorded or queued.

    Args:
        whose: The limit of one member, or of the whole server.
        waiting: How many wait already.
        limit: How many may.
    """

    def __init__(self, whose: Literal["member", "server"], waiting: int, limit: int) -> None:
        super().__init__(f"{waiting} jobs of the {whose} wait, {limit} may")
        self.whose = whose
        self.waiting = waiting
        self.limit = limit
