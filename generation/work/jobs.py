"""A job and its life.

    held ──> queued ──> running ──> rendered ──> posted
      │         │  <───────┘            │
      └────> cancelled, failed, refused <┘

`held` waits for the member's first answer about consent. A running job whose worker died goes
back to queued once; `rendered` means the pictures are on disk and recorded but not yet shown.
"""

import dataclasses
import datetime as dt
from enum import StrEnum

from generation.work.requests.imagine import Imagine


class JobState(StrEnum):
    """Where a job stands."""

    HELD = "held"  # waits for the member's answer about consent
    QUEUED = "queued"  # waits for its turn
    RUNNING = "running"  # a worker has it
    RENDERED = "rendered"  # pictures recorded, message not yet edited
    POSTED = "posted"  # the message shows the pictures
    FAILED = "failed"  # could not be drawn; the member was told
    CANCELLED = "cancelled"  # withdrawn by its owner or a moderator
    REFUSED = "refused"  # the server's policy said no

    @property
    def is_final(self) -> bool:
        """Whether nothing happens to the job any more."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({JobState.POSTED, JobState.FAILED, JobState.CANCELLED, JobState.REFUSED})

TRANSITIONS = frozenset(
    {
        (JobState.HELD, JobState.QUEUED),
        (JobState.HELD, JobState.CANCELLED),
        (JobState.HELD, JobState.REFUSED),
        (JobState.QUEUED, JobState.RUNNING),
        (JobState.QUEUED, JobState.CANCELLED),
        (JobState.QUEUED, JobState.FAILED),
        (JobState.QUEUED, JobState.REFUSED),
        (JobState.RUNNING, JobState.RENDERED),
        (JobState.RUNNING, JobState.QUEUED),
        (JobState.RUNNING, JobState.CANCELLED),
        (JobState.RUNNING, JobState.FAILED),
        (JobState.RUNNING, JobState.REFUSED),
        (JobState.RENDERED, JobState.POSTED),
        (JobState.RENDERED, JobState.CANCELLED),
        (JobState.RENDERED, JobState.FAILED),
    }
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a job's message stands in Discord; `message_id` is None until it was sent."""

    guild_id: int | None
    channel_id: int
    message_id: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One `/imagine`, from asking to showing.

    Args:
        id: Number people and logs use.
        member_id: Who asked.
        place: Where its message stands.
        typed: The prompt exactly as typed.
        request: What is drawn.
        state: Where it stands.
        cost_s: Estimated device-seconds, for fairness and estimates.
        submission: Number of the first job of the same command; what a question is about.
        attempts: How often a worker ended while it drew this.
        notes: Sentences on what of the prompt the checkpoint could not honour.
        reason: Why it failed, was cancelled or refused; for people to read.
        parent_image_id: The image it was remixed from, or None.
        fingerprint: Canonical JSON of the engine that drew it, once rendered.
        elapsed_s: Device-seconds it took, once rendered.
        cancel_wanted_at: When somebody wished it cancelled while it was drawn, or None.
        cancel_wanted_by: Who.
    """

    id: int
    member_id: int
    place: Place
    typed: str
    request: Imagine
    state: JobState
    cost_s: float
    created_at: dt.datetime
    submission: int = 0
    notes: tuple[str, ...] = ()
    attempts: int = 0
    reason: str | None = None
    parent_image_id: int | None = None
    fingerprint: str | None = None
    elapsed_s: float | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    cancel_wanted_at: dt.datetime | None = None
    cancel_wanted_by: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A recorded picture.

    Args:
        id: Number in the record.
        job_id: The job that drew it.
        index: Its place in the job, from 0.
        sha256: Name of its file, 64 hex digits.
        pixels_sha256: Hash of its pixels before anything was marked; None in older records.
        seed: The seed that draws it alone.
        removed_at: When its file was removed on request, or None.
        taken_down_at: When a moderator hid it, or None; the file stays for an appeal.
    """

    id: int
    job_id: int
    index: int
    sha256: str
    seed: int
    width: int
    height: int
    pixels_sha256: str | None = None
    removed_at: dt.datetime | None = None
    taken_down_at: dt.datetime | None = None

    @property
    def is_shown(self) -> bool:
        """Whether people may see it."""
        return self.removed_at is None and self.taken_down_at is None
