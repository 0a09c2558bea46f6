"""What the loopback Discord remembers of a request, and how its answer can be made to differ."""

import asyncio
import dataclasses
import re
from typing import Any


class Refusal(Exception):
    """An answer of Discord's that is not a success."""

    def __init__(self, status: int, code: int, message: str = "refused") -> None:
        super().__init__(message)
        self.status, self.code = status, code


UNKNOWN_CHANNEL = Refusal(404, 10003, "Unknown Channel")
UNKNOWN_MESSAGE = Refusal(404, 10008, "Unknown Message")
UNKNOWN_WEBHOOK = Refusal(404, 10015, "Unknown Webhook")
UNKNOWN_INTERACTION = Refusal(404, 10062, "Unknown interaction")
TOKEN_EXPIRED = Refusal(401, 50027, "Invalid Webhook Token")
ALREADY_ANSWERED = Refusal(400, 40060, "Interaction has already been acknowledged.")
UNAVAILABLE = Refusal(503, 0, "Service Unavailable")
TOO_LARGE = Refusal(413, 40005, "Request entity too large")
NO_DIRECT_MESSAGES = Refusal(403, 50007, "Cannot send messages to this user")
ARCHIVED = Refusal(400, 50083, "Thread is archived")
MISSING_PERMISSION = Refusal(403, 50013, "Missing Permissions")


@dataclasses.dataclass
class Call:
    """One request of the bot: its JSON, its files, and how it was answered (0: not yet)."""

    method: str
    path: str
    payload: Any
    files: dict[str, bytes]
    at_s: float
    status: int = 0


@dataclasses.dataclass
class Rule:
    """What happens to the next matching requests.

    Args:
        method: HTTP method.
        path: Regular expression, searched in the path.
        times: How many requests it still applies to.
        refusal: Answered instead; None for the ordinary answer.
        retry_after_s: Makes the refusal a 429.
        has_effect: Whether Discord acts on the request before it refuses or waits.
        is_held: Whether the answer waits for `released`.
        is_cut: Whether the connection is cut instead of answering.
        with_files: Whether only requests that upload something match.
        delay_s: How long the answer takes.
    """

    method: str
    path: str
    times: int = 1
    refusal: Refusal | None = None
    retry_after_s: float | None = None
    has_effect: bool = False
    is_held: bool = False
    is_cut: bool = False
    with_files: bool = False
    delay_s: float = 0.0
    arrived: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    released: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    def matches(self, call: Call) -> bool:
        if self.times < 1 or (self.with_files and not call.files):
            return False
        return call.method == self.method and bool(re.search(self.path, call.path))


@dataclasses.dataclass
class Interaction:
    """A command or a click; `response_id` is its @original."""

    id: int
    token: str
    born_s: float
    dies_at_s: float
    message_id: int | None = None  # of the clicked button
    response_id: int | None = None
    is_answered: bool = False
    follow_up_ids: list[int] = dataclasses.field(default_factory=list)
