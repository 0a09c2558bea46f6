"""Every failure speaks to one reader: the person, or the operator."""

import sqlite3
from types import SimpleNamespace
from typing import Any

import aiohttp
import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.failures import DISCORD_ERRORS, DISCORD_FAILURES, sentence
from bot.grammar.prompts import PromptError, parse_jobs
from bot.studio.refusals import Gone, NotYours, Refused
from generation.work.errors import ImageRefused, InvalidRequest, OutOfMemory, UnknownCheckpoint
from generation.work.jobs import JobState
from storage.errors import NotFound, StorageError, TransitionRefused


def http_error(status: int, code: int = 0) -> discord.HTTPException:
    response: Any = SimpleNamespace(status=status, reason="")
    return discord.HTTPException(response, {"code": code, "message": "no"})


@pytest.mark.parametrize(
    "error",
    [
        Refused("The line is full."),
        NotYours(),
        Gone("It is gone."),
        PromptError("There are no words to draw."),
        InvalidRequest("seed", -1, "from 0"),
        ImageRefused("That is no picture."),
        UnknownCheckpoint("no checkpoint is called x"),
        NotFound("image", 7),
        TransitionRefused(1, {JobState.QUEUED}, JobState.POSTED),
        discord.app_commands.CheckFailure(),
        http_error(429),
        http_error(503),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientConnectionResetError(),
        TimeoutError(),
        ConnectionResetError(),
        *(http_error(403, code) for code in DISCORD_ERRORS),
    ],
)
def test_what_a_person_can_act_on_is_one_sentence_for_them(error: Exception) -> None:
    text = sentence(error)
    assert text
    assert "\n" not in text
    assert len(text) <= 200


@pytest.mark.parametrize(
    "error",
    [StorageError("disk"), OutOfMemory("cuda"), sqlite3.Error(), ValueError(), KeyError("x")],
)
def test_what_only_the_operator_can_fix_has_no_sentence(error: Exception) -> None:
    assert sentence(error) is None


@pytest.mark.parametrize(
    "error", [http_error(400), aiohttp.ServerDisconnectedError(), TimeoutError(), OSError()]
)
def test_every_way_a_request_to_discord_can_fail_is_in_one_place(error: Exception) -> None:
    assert isinstance(error, DISCORD_FAILURES)


def test_a_mistake_in_a_prompt_is_pointed_at() -> None:
    with pytest.raises(PromptError) as mistake:
        parse_jobs("a fox --seed x")
    assert sentence(mistake.value) is not None
    _, block = str(sentence(mistake.value)).split("```\n", 1)
    typed, carets, end = block.split("\n")
    assert typed[carets.index("^")] == "x"
    assert end == "```"


@given(st.text(max_size=200), st.integers(0, 199), st.integers(0, 20))
def test_no_prompt_breaks_out_of_its_block(text: str, position: int, length: int) -> None:
    error = PromptError("No.", text=text, position=min(position, len(text)), length=length)
    said = str(sentence(error))
    assert said.count("`") == (6 if text else 0)
    assert len(said) <= 2000
