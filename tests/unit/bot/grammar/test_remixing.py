"""A form that is sent as it opens asks for the same picture again."""

import dataclasses

import pytest

from bot.grammar.prompts import PromptError, parse_jobs, resolve
from bot.grammar.remixing import asked_again, with_settings
from generation.work.checkpoints import PATTERN
from generation.work.requests.imagine import Imagine

ABLE = dataclasses.replace(PATTERN, honours=frozenset({"ar", "quality", "stylize", "negative"}))
CHECKPOINTS = {ABLE.name: ABLE}


def drawn(typed: str, **defaults: str) -> list[Imagine]:
    """Return what a text asks for, with somebody's own defaults."""
    return [
        resolve(parsed, checkpoint=ABLE, seed=1, num_images=4, **defaults).request  # type: ignore[arg-type]
        for parsed in parse_jobs(typed)
    ]


def sent(typed: str, request: Imagine) -> str:
    asked = asked_again(typed, request, CHECKPOINTS)
    return with_settings(asked.words, asked.settings)


@pytest.mark.parametrize(
    "typed",
    [
        "a fox",
        "a fox --ar 2:1 --q 2 --s 50",
        "a fox --seed 7 --no text, frame --iw 2",
        r"a set \{red, green\} of foxes",
        "a fox::2 snow::1 fog::-.5",
        "https://cdn.discordapp.com/attachments/1/2/a.png?ex=1 a fox --c 3 --tile",
        "a very " + "long " * 300 + "fox --ar 3:2 --no water",
    ],
)
def test_a_form_sent_as_it_opens_asks_for_the_same(typed: str) -> None:
    (before,) = drawn(typed)
    (after,) = drawn(sent(typed, before))
    assert after == before.reseeded(after.seed)
    assert "--seed" not in sent(typed, before)
    assert "http" not in sent(typed, before)


def test_each_of_several_jobs_comes_back_as_itself() -> None:
    typed = "a {red, green} fox --ar {3:2, 2:1}"
    for before in drawn(typed):
        (after,) = drawn(sent(typed, before))
        assert after.prompt == before.prompt


def test_ones_own_default_is_not_copied_and_the_shape_is() -> None:
    (before,) = drawn("a fox --ar 2:1 --no text", negative_prompt="blood")
    assert before.negative_prompt == "text, blood"
    asked = asked_again("a fox --no text", before, CHECKPOINTS)  # its shape was a default
    assert "blood" not in asked.settings
    (after,) = drawn(with_settings(asked.words, asked.settings), negative_prompt="blood")
    assert after == before.reseeded(after.seed)


@pytest.mark.parametrize("spare", [0, 1, 10, 14, 15, 25, 40, 200])
def test_no_flag_is_cut_however_long_the_words_are(spare: int) -> None:
    flags = " --ar 2:1 --style bold"
    typed = ("word " * 400)[: 2_000 - len(flags) - spare].rstrip() + flags
    (before,) = drawn(typed)
    asked = asked_again(typed, before, CHECKPOINTS)
    assert "--" not in asked.words
    (after,) = drawn(with_settings(asked.words, asked.settings))
    assert after == before.reseeded(after.seed)
    assert ("--model" in asked.settings) == (spare >= len(f" --model {ABLE.name}"))


def test_a_flag_among_the_words_wins_over_the_settings() -> None:
    text = with_settings("a green car --ar 1:1 --no rain", "--ar 3:2 --q 2 --no snow")
    (job,) = parse_jobs(text)
    assert (job.aspect, job.quality) == ((1, 1), 2)
    assert job.negative == ("rain", "snow")


def test_words_among_the_settings_are_refused() -> None:
    with pytest.raises(PromptError, match="field above"):
        with_settings("a fox", "in snow --ar 3:2")


def test_a_model_that_is_gone_is_not_asked_for() -> None:
    (before,) = drawn("a fox --style bold")
    asked = asked_again("a fox --style bold", dataclasses.replace(before, model="gone"), {})
    assert "gone" not in asked.settings
    assert "--style" not in asked.settings
