"""Ten kills at random moments; `make kills ARGS=500` is the same for as long as one likes."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.store import DATABASE_NAME, Store
from tests.integration.discord_objects import CHANNEL
from tests.integration.discord_server import DiscordServer
from tests.integration.life import TOKEN
from tests.kills import old_record
from tests.kills.checker import Checker
from tests.kills.lives import live

SEED = 7


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 2], ids=["new record", "old record"])
async def test_nothing_is_lost_or_doubled_or_left_by_kills_at_random_moments(
    tmp_path: Path, number: int
) -> None:
    async for told in live(SEED, number, tmp_path, kills=5):
        last = told
    assert last.attacks.total() == 5
    assert last.states.total() > 0
    assert last.violations == [], "\n".join(last.blows)


# What the comparison afterwards must see


def _no_message(discord: DiscordServer, _: Path) -> None:
    del discord.messages[min(discord.messages)]


def _two_messages(discord: DiscordServer, _: Path) -> None:
    first = discord.messages[min(discord.messages)]
    discord.messages[1] = {**first, "id": "1"}


def _stray_message(discord: DiscordServer, _: Path) -> None:
    stray = {"id": "1", "channel_id": str(CHANNEL), "content": "Reading …", "components": []}
    discord.messages[1] = {**discord.messages[min(discord.messages)], **stray}


def _unfinished_file(_: DiscordServer, data_dir: Path) -> None:
    (data_dir / "images" / "partial" / "tmp1").touch()


def _lost_file(_: DiscordServer, data_dir: Path) -> None:
    next(data_dir.glob("images/*/*.png")).unlink()


def _stays_public(_: DiscordServer, data_dir: Path) -> None:
    _change(data_dir, "UPDATE images SET taken_down_at = '2026-07-01' WHERE job_id = 1")


def _lost_job(_: DiscordServer, data_dir: Path) -> None:
    _change(data_dir, "UPDATE jobs SET state = 'running' WHERE id = 1")


def _forgotten_cancel(_: DiscordServer, data_dir: Path) -> None:
    _change(data_dir, "UPDATE jobs SET cancel_wanted_at = '2026-07-01' WHERE id = 1")


def _given_up(_: DiscordServer, data_dir: Path) -> None:
    _change(data_dir, "UPDATE messages SET wanted = wanted + 1 WHERE job_id = 1")


def _change(data_dir: Path, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(data_dir / DATABASE_NAME)) as record:
        record.execute(sql)
        record.commit()


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (None, None),
        (_no_message, "a job stands on no message"),
        (_two_messages, "a job stands on two messages"),
        (_stray_message, "a message of no job"),
        (_unfinished_file, "an unfinished file was left"),
        (_lost_file, "a row without its file"),
        (_stays_public, "a message says what the record does not"),
        (_lost_job, "a job is lost"),
        (_forgotten_cancel, "a cancel was forgotten"),
        (_given_up, "a message was given up"),
    ],
)
async def test_the_comparison_sees_each_kind_of_harm(
    tmp_path: Path, harm: Callable[[DiscordServer, Path], None] | None, kind: str | None
) -> None:
    discord, data_dir = DiscordServer(TOKEN), tmp_path / "data"
    old_record.write(data_dir, discord, ended=1, waiting=())
    await (await Store.open(data_dir)).close()
    if harm is not None:
        harm(discord, data_dir)
    found = {each.kind for each in await Checker(discord, data_dir, []).check()}
    assert (kind in found) if kind else not found
