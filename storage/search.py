"""Search over the record of jobs: filters and words become one full-text expression.

The index holds, beside the words people wrote, one word for each filter (server, member, state).
FTS5 walks the posting lists of all of them together, newest first, and stops after a page, so a
page costs about the same in a log of a thousand jobs and of a million.

Chinese, Japanese, Korean, Thai and their neighbours are written without spaces, or glue endings to
words, and the tokenizer takes a whole run of them for one word. Words with such letters are
therefore indexed a second time, every letter a token of its own, and looked for as a phrase of
letters: any part of them is found, as if it stood alone.
"""

import dataclasses
import datetime as dt
import itertools
import re
import unicodedata

from generation.work.jobs import JobState
from storage.rows import JOB_COLUMNS, JOB_PLACE, to_text

NEWEST = 2**63 - 1
COUNT_LIMIT = 1_000

# The first job since a moment, by number. A small set is looked at instead of only the earliest,
# because a clock that was set back makes numbers and times disagree for a while.
FIRST_SINCE = """
  CASE WHEN :since = '' THEN 0 ELSE coalesce((SELECT min(id) FROM (
    SELECT id FROM jobs WHERE created_at >= :since ORDER BY created_at LIMIT 1000)), :newest) END
"""
_MATCHING = f"""
  FROM prompts CROSS JOIN jobs ON jobs.id = prompts.rowid {JOB_PLACE}
  WHERE prompts MATCH :match AND prompts.rowid < :before_id
    AND prompts.rowid >= {FIRST_SINCE} AND jobs.created_at >= :since
  ORDER BY prompts.rowid DESC LIMIT :limit
"""
_EVERY = f"""
  FROM jobs {JOB_PLACE}
  WHERE jobs.id < :before_id AND jobs.id >= {FIRST_SINCE} AND jobs.created_at >= :since
  ORDER BY jobs.id DESC LIMIT :limit
"""
SEARCH_MATCHING = f"SELECT {JOB_COLUMNS} {_MATCHING}"
SEARCH_EVERY = f"SELECT {JOB_COLUMNS} {_EVERY}"
COUNT_MATCHING = f"SELECT count(*) FROM (SELECT 1 {_MATCHING})"
COUNT_EVERY = f"SELECT count(*) FROM (SELECT 1 {_EVERY})"

# Words that were blanked in `jobs` still stand in older parts of the index until these are merged
# into one. FTS5's own `secure-delete` would spare that, but makes a file that SQLite before 3.42
# (Debian 12, and so the Docker image) cannot read any more.
FORGET_WORDS = "INSERT INTO prompts (prompts) VALUES ('optimize')"

# Thai and Lao, Tibetan to Myanmar, Hangul, Khmer, kana, Han, Hangul, Han, half-width kana, Han.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u0f00-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u31ff\u3400-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\uff66-\uffdc\U00020000-\U000323af]"
)
# A letter for private use that nobody types: it keeps a phrase from spanning two words.
_BETWEEN = "\ue000"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a search asks for; None leaves a filter out.

    Args:
        guild_id: Jobs of this server.
        person_id: Jobs of the person with this number in the record.
        text: Words that all occur in the prompts; the last may be the beginning of one.
        since: Jobs created at this time or later.
        state: Jobs in this state.
    """

    guild_id: int | None = None
    person_id: int | None = None
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
                ("m", self.person_id),
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
    words = [_letter_by_letter(word) or word for word in readable.split()]
    return ['"' + word.replace('"', '""') + '"' for word in words]


def letters_of(text: str) -> str | None:
    """Return the words with letters of scripts without spaces, letter by letter; None without any.

    Args:
        text: What somebody wrote.
    """
    words = dict.fromkeys(filter(None, map(_letter_by_letter, text.split())))
    return f" {_BETWEEN} ".join(words) or None


def _letter_by_letter(word: str) -> str | None:
    # Vowel and tone signs belong to the letter before them. The tokenizer drops some and splits at
    # others, so they are left out: like an accent elsewhere, they make no difference to a search.
    if not _SPACELESS.search(word):
        return None
    letters = "".join(char for char in word if not unicodedata.category(char).startswith("M"))
    runs = itertools.groupby(letters, key=lambda char: bool(_SPACELESS.match(char)))
    return " ".join(
        piece for is_spaceless, run in runs for piece in (run if is_spaceless else ["".join(run)])
    )
