"""What a checkpoint cannot know is told with what comes near it; what it knows is not."""

import dataclasses
import re

import pytest

from generation.language.remarking import remarks_on
from generation.language.text_encoder import PACKAGE
from generation.language.vocabulary import MAX_NEAR
from generation.work.checkpoints import PATTERN
from generation.work.remarks import UnknownWord
from generation.work.requests.imagine import WeightedPrompt

EMOJI = dataclasses.replace(
    PATTERN,
    styles={"noto": "{prompt}, noto style", "clay": "{prompt}, modelled in clay"},
    default_style="noto",
    vocabulary=(
        "dog face", "dog", "cat face", "cat", "horse", "person", "fox", "house", "bread", "car",
        "red apple", "cherries", "strawberry", "birthday cake", "snake", "bicycle", "guitar", "sun",
        "maple leaf", "crêpe", "sleepy face", "christmas tree", "mountain", "<3", "**bold**", "100",
    ),
    text_encoder=PACKAGE,
)  # fmt: skip


def unknown(text, checkpoint=EMOJI):
    said = remarks_on(checkpoint, (WeightedPrompt(text),))
    return {found.word: found.near for found in said if isinstance(found, UnknownWord)}


@pytest.mark.parametrize(
    "text",
    [
        "a fox", "FOXES", "two red cherries", "a cherry", "leaves", "crepes", "a dog's house",
        "puppies", "kitty", "automobile", "home", "serpent", "loaf", "bike", "sunshine",
    ],
)  # fmt: skip
def test_a_word_that_means_something_known_needs_no_note(text):
    assert unknown(text) == {}


@pytest.mark.parametrize(
    ("word", "near"),
    [("centaur", "horse"), ("toaster", "bread"), ("zebra", "horse"), ("piano", "guitar")],
)
def test_a_thing_that_is_not_there_is_told_with_what_comes_near(word, near):
    (found,) = remarks_on(EMOJI, (WeightedPrompt(f"a {word}"),))
    assert found.word == word
    assert near in found.near


@pytest.mark.parametrize(
    "word", ["pyramid", "submarine", "windmill", "fridge", "hammock", "lawyer", "democracy"]
)
def test_a_thing_that_is_not_there_is_never_passed_over(word):
    assert list(unknown(f"a cat and a {word}")) == [word]


@pytest.mark.parametrize(
    ("typed", "meant"), [("strawbery", "strawberry"), ("cristmas", "christmas tree")]
)
def test_a_misspelt_word_is_told_with_the_one_that_was_meant(typed, meant):
    assert unknown(f"a {typed}")[typed][0] == meant


def test_every_unknown_word_is_told_once_in_the_order_of_the_prompt():
    found = unknown("a Pyramid, a cat, a toaster and a second pyramid")
    assert [word.lower() for word in found] == ["pyramid", "toaster"]


def test_an_emoji_is_unknown_to_the_encoder_and_near_by_its_name():
    assert unknown("🦊")["🦊"][0] == "fox"


def test_colours_numbers_small_words_and_looks_are_passed_over():
    assert unknown("3 very big blue things, please: a photo of it, noto style, in clay, 4k") == {
        "things": unknown("things")["things"]
    }


def test_what_is_to_be_avoided_need_not_be_known():
    prompts = (WeightedPrompt("a fox"), WeightedPrompt("pyramid", -0.5))
    assert remarks_on(EMOJI, prompts) == ()


def test_suggestions_are_few_and_share_no_word_and_hold_no_markup():
    for near in unknown("kangaroo helicopter wedding dinosaur").values():
        words = [word for entry in near for word in entry.split()]
        assert 1 <= len(near) <= MAX_NEAR
        assert len(set(words)) == len(words)
        assert all(re.fullmatch(r"[\w '-]+", entry) for entry in near)


def test_what_cannot_be_said_is_not_suggested():
    odd = dataclasses.replace(EMOJI, vocabulary=("<3", "100", "**bold**"))
    assert unknown("a centaur", odd) == {"centaur": ()}


def test_only_names_of_things_are_suggested():
    few = dataclasses.replace(EMOJI, num_things=5)
    things = set(EMOJI.vocabulary[:5])
    (anything,), (thing,) = (unknown("a toaster", each).values() for each in (EMOJI, few))
    assert not set(anything) <= things
    assert thing
    assert set(thing) <= things
    assert unknown("a person", few) == {}
