"""Consent: what each member allowed, when, and which words they read; only ever added to."""

import dataclasses
import datetime as dt
import sqlite3
from collections.abc import Mapping
from enum import StrEnum

from storage.database import Database
from storage.rows import KNOW_PERSON, to_text, to_time

_COLUMNS = """
  id, member_id, scope, given, text_version, text_sha256, given_at, interaction_id
"""
APPEND = f"""
  INSERT INTO consents (
    member_id, scope, given, text_version, text_sha256, given_at, interaction_id)
  VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}
"""
HISTORY = f"SELECT {_COLUMNS} FROM consents WHERE member_id = ? ORDER BY id"
AS_OF = """
  SELECT scope, given FROM consents WHERE member_id = ? AND given_at <= ? ORDER BY id
"""
CURRENT = "SELECT scope, given FROM consents WHERE member_id = ? ORDER BY id"


class Scope(StrEnum):
    """What a member may allow."""

    GALLERY = "gallery"  # show their pictures in the gallery
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
        text_sha256: str,
        interaction_id: int,
        now: dt.datetime,
    ) -> tuple[ConsentRecord, ...]:
        """Record a member's answers, all or none, and return them as recorded."""
        given_at = to_text(now)
        records = []
        async with self._database.transaction() as connection:
            await connection.execute_fetchall(KNOW_PERSON, (member_id,))
            for scope, given in answers.items():
                values = (
                    member_id,
                    scope,
                    int(given),
                    text_version,
                    text_sha256,
                    given_at,
                    interaction_id,
                )
                (row,) = await connection.execute_fetchall(APPEND, values)
                records.append(_record_of(row))
        return tuple(records)

    async def current(self, member_id: int) -> dict[Scope, bool] | None:
        """Return what a member allows now, or None if they were never asked."""
        return _in_force(await self._database.all(CURRENT, (member_id,)))

    async def as_of(self, member_id: int, when: dt.datetime) -> dict[Scope, bool] | None:
        """Return what a member allowed at a moment, or None if they had not been asked by then."""
        return _in_force(await self._database.all(AS_OF, (member_id, to_text(when))))

    async def history(self, member_id: int) -> list[ConsentRecord]:
        """Return all of a member's answers, oldest first."""
        return [_record_of(row) for row in await self._database.all(HISTORY, (member_id,))]


def _in_force(rows: list[sqlite3.Row]) -> dict[Scope, bool] | None:
    # A scope that was never asked about is off: silence is not consent.
    if not rows:
        return None
    answers = dict.fromkeys(Scope, False)
    for row in rows:
        answers[Scope(row["scope"])] = bool(row["given"])
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
