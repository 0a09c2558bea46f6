"""A moderator's search of the log, from its filters as typed."""

import dataclasses
import datetime as dt
import re

from bot.studio.refusals import Refused
from generation.work.jobs import JobState

# A page's button carries the whole search: with the largest numbers, this much text still fits
# into the 100 characters of a custom_id.
MAX_TEXT = 38
STATES = tuple(JobState)
UNITS_S = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

_SPAN = re.compile(
    r"(?:the )?(?:(?P<count>[0-9]{1,6})|an?|last|past)?\s*"
    r"(?P<unit>m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?|d(?:ays?)?|w(?:eeks?)?)(?: ago)?",
    re.ASCII,
)
_DAYS_AGO = {"today": 0, "yesterday": 1}
_SINCE_HELP = (
    "I read `since` as a span such as `90m`, `24h`, `3 days` or `last week`, as `today` or "
    "`yesterday`, or as a UTC date such as `2026-03-31`."
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
        if text in _DAYS_AGO:
            midnight = now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0)
            moment = midnight - dt.timedelta(days=_DAYS_AGO[text])
        elif span := _SPAN.fullmatch(text):
            length_s = int(span["count"] or 1) * UNITS_S[span["unit"][0]]
            moment = now - dt.timedelta(seconds=length_s)
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
