"""A moderator's search of the log: its filters as typed, and packed into the buttons of its pages.

Nothing is remembered between two pages: the button carries the whole search, so it works after a
restart and after a month.
"""

import dataclasses
import datetime as dt
import re

from bot.chat.failures import Refused
from bot.chat.views.press import Action, Press
from generation.work.jobs import JobState

# With the largest numbers, this much text still fits into the 100 characters of a custom_id.
MAX_TEXT = 38
STATES = tuple(JobState)
UNITS_S = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

_SPAN = re.compile(r"([0-9]{1,6})\s*([mhdw])", re.ASCII)
_SINCE_HELP = (
    "I read `since` as a span such as `90m`, `24h`, `7d` or `2w`, or as a UTC date such as "
    "`2026-03-31`."
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a moderator looks for; None and "" leave a filter out.

    Args:
        member_id: Jobs of this member.
        text: Words that all occur in the prompt; at most `MAX_TEXT` characters.
        since: Jobs asked for at this time or later, in whole seconds.
        state: Jobs in this state.
    """

    member_id: int | None = None
    text: str = ""
    since: dt.datetime | None = None
    state: JobState | None = None

    def press(self, before_id: int) -> Press:
        """Return the button of one page; `search_of` is its inverse.

        Args:
            before_id: The page holds jobs older than this one; 0 for the newest.
        """
        numbers = (
            self.member_id or 0,
            1 + STATES.index(self.state) if self.state else 0,
            int(self.since.timestamp()) if self.since else 0,
            before_id,
        )
        return Press(Action.LOG_PAGE, numbers, self.text)


def search_of(press: Press) -> tuple[Search, int]:
    """Return the search and the job before which its page begins, 0 for the newest page."""
    member_id, state, since_s, before_id = press.numbers
    search = Search(
        member_id=member_id or None,
        text=press.text,
        since=dt.datetime.fromtimestamp(since_s, dt.UTC) if since_s else None,
        state=STATES[state - 1] if 0 < state <= len(STATES) else None,
    )
    return search, before_id


def search_from(
    *,
    member_id: int | None,
    text: str | None,
    since: str | None,
    state: str | None,
    now: dt.datetime,
) -> Search:
    """Return the search that somebody typed.

    Raises:
        Refused: The text is too long, or the time or the state is none.
    """
    words = " ".join((text or "").split())
    if len(words) > MAX_TEXT:
        raise Refused(f"I search for at most {MAX_TEXT} characters; these are {len(words)}.")
    if state is not None and state not in STATES:
        raise Refused(f"A state is one of {', '.join(STATES)}.")
    return Search(
        member_id=member_id,
        text=words,
        since=_moment(since, now) if since else None,
        state=JobState(state) if state else None,
    )


def _moment(text: str, now: dt.datetime) -> dt.datetime:
    """Return the moment that a span back from now, or a date in UTC, names."""
    text = text.strip().lower()
    try:
        if span := _SPAN.fullmatch(text):
            moment = now - dt.timedelta(seconds=int(span[1]) * UNITS_S[span[2]])
        else:
            moment = dt.datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        moment = moment.astimezone(dt.UTC).replace(microsecond=0)
        is_in_range = moment.timestamp() > 0 and moment <= now
    except (ValueError, OverflowError):
        is_in_range = False
    if not is_in_range:
        raise Refused(_SINCE_HELP)
    return moment
