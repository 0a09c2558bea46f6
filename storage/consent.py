"""Consent: what each member allowed, when, and which words they read; only ever added to."""

import dataclasses
import datetime as dt
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

from storage import steps
from storage.database import Database
from storage.rows import know_person, member_of, to_text, to_time

REDRAWN = 50  # newest messages of somebody whose answer about remixes changed; older ones keep

_COLUMNS = f"""
  consents.id, {member_of("consents.person_id")} AS member_id, scope, given, text_version,
  text_sha256, given_at, interaction_id
"""
_THEIRS = "person_id = (SELECT people.id FROM people WHERE people.discord_id = ?)"
APPEND = """
  INSERT INTO consents (
    person_id, scope, given, text_version, text_sha256, given_at, interaction_id)
  VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
GET = f"SELECT {_COLUMNS} FROM consents WHERE id = ?"
HISTORY = f"SELECT {_COLUMNS} FROM consents WHERE {_THEIRS} ORDER BY consents.id"
AS_OF = f"""
  SELECT scope, given, text_sha256 FROM consents WHERE {_THEIRS} AND given_at <= ?
  ORDER BY consents.id
"""
CURRENT = f"""
  SELECT scope, given, text_sha256 FROM consents WHERE {_THEIRS} ORDER BY consents.id
"""
SHOWN_OF = """
  SELECT id FROM jobs WHERE person_id = ? AND state = 'posted' ORDER BY id DESC LIMIT ?
"""


class Scope(StrEnum):
    """What a member may allow."""

    GALLERY = "gallery"  # show their pictures in a gallery: was asked once, and is not any more
    REMIX = "remix"  # let others remix their pictures
    TRAINING = "training"  # use their pictures to improve the models


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRecord:
    """One answer to one question.

    Args:
        id: Number in the record.
        member_id: Who answered.
        scope: What was asked.
        given: The answer.
        text_version: Version of the text that was shown.
        text_sha256: Its hash, 64 hex digits.
        given_at: When.
        interaction_id: Discord's number for the click.
    """

    id: int
    member_id: int
    scope: Scope
    given: bool
    text_version: str
    text_sha256: str
    given_at: dt.datetime
    interaction_id: int


class Consents:
    """Every answer about consent; the last one on a scope is in force."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(
        self,
        member_id: int,
        answers: Mapping[Scope, bool],
        *,
        text_version: str,
        text_sha256: str | Mapping[Scope, str],
        interaction_id: int,
        now: dt.datetime,
    ) -> tuple[ConsentRecord, ...]:
        """Record a member's answers, all or none, and return them as recorded.

        Args:
            member_id: Who answered.
            answers: Scope to answer.
            text_version: Version of the text that was shown.
            text_sha256: Hash of what was read, of all of it or of what concerns each scope.
            interaction_id: Discord's number for the click.
            now: When.
        """
        records = []
        async with self._database.transaction() as connection:
            person_id = await know_person(connection, member_id)
            for scope, given in answers.items():
                read = text_sha256 if isinstance(text_sha256, str) else text_sha256[scope]
                asked = (person_id, scope, int(given), text_version, read)
                values = (*asked, to_text(now), interaction_id)
                ((number,),) = await connection.execute_fetchall(APPEND, values)
                (row,) = await connection.execute_fetchall(GET, (number,))
                records.append(_record_of(row))
            if Scope.REMIX in answers:  # their messages offer it, or do not
                newest = await connection.execute_fetchall(SHOWN_OF, (person_id, REDRAWN))
                for row in newest:
                    await steps.want_shown(connection, row["id"], now)
        return tuple(records)

    async def needs_answer(
        self, member_id: int, asked: Mapping[Scope, Collection[str]]
    ) -> frozenset[Scope]:
        """Return the scopes that a member was never asked about in the words of today.

        Args:
            member_id: Whom to ask.
            asked: Scope to the hashes of the words that an answer may have been given to.
        """
        rows = await self._database.all(CURRENT, (member_id,))
        read = {row["scope"]: row["text_sha256"] for row in rows}
        return frozenset(scope for scope, texts in asked.items() if read.get(scope) not in texts)

    async def current(
        self, member_id: int, asked: Mapping[Scope, Collection[str]] | None = None
    ) -> dict[Scope, bool] | None:
        """Return what a member allows now, or None if they were never asked.

        Args:
            member_id: Whose answers.
            asked: Scope to the hashes of the words that a yes may have been given to; a yes to
                other words is none. None takes every yes.
        """
        return _in_force(await self._database.all(CURRENT, (member_id,)), asked)

    async def as_of(self, member_id: int, when: dt.datetime) -> dict[Scope, bool] | None:
        """Return what a member allowed at a moment, or None if they had not been asked by then."""
        return _in_force(await self._database.all(AS_OF, (member_id, to_text(when))))

    async def history(self, member_id: int) -> list[ConsentRecord]:
        """Return all of a member's answers, oldest first."""
        return [_record_of(row) for row in await self._database.all(HISTORY, (member_id,))]


def _in_force(
    rows: Iterable[sqlite3.Row], asked: Mapping[Scope, Collection[str]] | None = None
) -> dict[Scope, bool] | None:
    # A scope that was never asked about is off: silence is not consent.
    rows = list(rows)
    if not rows:
        return None
    answers = dict.fromkeys(Scope, False)
    for row in rows:
        scope = Scope(row["scope"])
        is_of_today = asked is None or row["text_sha256"] in asked.get(scope, ())
        answers[scope] = bool(row["given"]) and is_of_today
    return answers


def _record_of(row: sqlite3.Row) -> ConsentRecord:
    return ConsentRecord(
        id=row["id"],
        member_id=row["member_id"],
        scope=Scope(row["scope"]),
        given=bool(row["given"]),
        text_version=row["text_version"],
        text_sha256=row["text_sha256"],
        given_at=to_time(row["given_at"]),
        interaction_id=row["interaction_id"],
    )
