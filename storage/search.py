"""Search over the record of jobs: filters and words become one full-text expression.

The index holds, beside the words people wrote, one word for each filter (server, member, state).
FTS5 walks the posting lists of all of them together, newest first, and stops after a page, so a
page costs about the same in a log of a thousand jobs and of a million.
"""

import dataclasses
import datetime as dt

from generation.work.jobs import JobState
from storage.rows import JOB_COLUMNS, to_text

NEWEST = 2**63 - 1
COUNT_LIMIT = 1_000

# The first job since a moment, by number. A small set is looked at instead of only the earliest,
# because a clock that was set back makes numbers and times disagree for a while.
FIRST_SINCE = """
  CASE WHEN :since = '' THEN 0 ELSE coalesce((SELECT min(id) FROM (
    SELECT id FROM jobs WHERE created_at >= :since ORDER BY created_at LIMIT 1000)), :newest) END
"""
_MATCHING = f"""
  FROM prompts CROSS JOIN jobs ON jobs.id = prompts.rowid
  WHERE prompts MATCH :match AND prompts.rowid < :before_id
    AND prompts.rowid >= {FIRST_SINCE} AND jobs.created_at >= :since
  ORDER BY prompts.rowid DESC LIMIT :limit
"""
_EVERY = f"""
  FROM jobs
  WHERE jobs.id < :before_id AND jobs.id >= {FIRST_SINCE} AND jobs.created_at >= :since
  ORDER BY jobs.id DESC LIMIT :limit
"""
SEARCH_MATCHING = f"SELECT {JOB_COLUMNS} {_MATCHING}"
SEARCH_EVERY = f"SELECT {JOB_COLUMNS} {_EVERY}"
COUNT_MATCHING = f"SELECT count(*) FROM (SELECT 1 {_MATCHING})"
COUNT_EVERY = f"SELECT count(*) FROM (SELECT 1 {_EVERY})"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a search asks for; None leaves a filter out.

    Args:
        guild_id: Jobs of this server.
        member_id: Jobs of this member.
        text: Words that all occur in the prompts; the last may be the beginning of one.
        since: Jobs created at this time or later.
        state: Jobs in this state.
    """

    guild_id: int | None = None
    member_id: int | None = None
    text: str | None = None
    since: dt.datetime | None = None
    state: JobState | None = None

    def match(self) -> str | None:
        """Return the FTS5 expression, or None if nothing but time limits the search."""
        parts = [f'facets : "{facet}"' for facet in self._facets()]
        words = quoted_words(self.text or "")
        if words:
            parts.append(f"words : ({' '.join(words)} *)")
        return " AND ".join(parts) or None

    def params(self, *, before_id: int | None, limit: int) -> dict[str, object]:
        """Return the named parameters of the statements above."""
        return {
            "match": self.match(),
            "since": to_text(self.since) if self.since else "",
            "newest": NEWEST,
            "before_id": NEWEST if before_id is None else before_id,
            "limit": limit,
        }

    def _facets(self) -> list[str]:
        # The same words as the generated column `jobs.facets`.
        return [
            f"{letter}{value}"
            for letter, value in (
                ("g", self.guild_id),
                ("m", self.member_id),
                ("s", self.state),
            )
            if value is not None
        ]


def quoted_words(text: str) -> list[str]:
    """Return the words of what a person typed, each quoted so that it is no FTS5 operator.

    FTS5 reads its expression as a C string, so a NUL would cut it off inside the quotes; a lone
    surrogate has no UTF-8. Both become a question mark, which no word contains.
    """
    readable = text.encode("utf-8", "replace").decode().replace("\x00", "?")
    return ['"' + word.replace('"', '""') + '"' for word in readable.split()]
