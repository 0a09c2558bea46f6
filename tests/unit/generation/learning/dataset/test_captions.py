"""What words a concept is asked for with."""

import pytest

from generation.language.templates import styled
from generation.learning.dataset.captions import phrasings, unambiguous_tags, with_article


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("owl", "an owl"),
        ("red apple", "a red apple"),
        ("grapes", "grapes"),
        ("cactus", "a cactus"),
        ("fire", "fire"),
        ("cooked rice", "cooked rice"),
        ("fire engine", "a fire engine"),
        ("unicorn", "a unicorn"),
        ("hourglass", "an hourglass"),
        ("face with open eyes", "a face with open eyes"),
        ("hands of a potter", "hands of a potter"),
        ("a crimson box", "a crimson box"),
        ("3d printer", "3d printer"),
    ],
)
def test_article_fits_the_name(name: str, expected: str) -> None:
    assert with_article(name) == expected


def test_plain_name_comes_first_and_nothing_twice() -> None:
    texts = phrasings("Fox", ["red fox", "fox"], tags=["vixen"])
    assert texts[:2] == ("fox", "a fox")
    assert len(texts) == len(set(texts))
    assert texts[-1] == "vixen"


def test_group_and_kind_give_a_phrasing_each() -> None:
    texts = phrasings("fox", group="animals and nature", kind="emoji")
    assert "fox, animals and nature" in texts
    assert "fox emoji" in texts
    assert not any("emoji" in text or "," in text for text in phrasings("fox"))


def test_whole_caption_is_kept_as_it_is() -> None:
    assert "an old house by the sea" in phrasings("house", phrases=["An old house by the sea"])


def test_template_wraps_prompt_and_look() -> None:
    assert styled("a fox", "3d", "{prompt}, {look} style") == "a fox, 3d style"


def test_braces_in_a_prompt_are_only_text() -> None:
    assert styled("a {look}", "3d", "{prompt}, {look} style") == "a {look}, 3d style"


def test_tag_of_two_concepts_speaks_for_neither() -> None:
    tags = unambiguous_tags(
        [("red apple", ("fruit", "apple", "orchard")), ("pear", ("fruit",))], limit=3
    )
    assert tags == {"red apple": ("orchard",), "pear": ()}


def test_tag_of_one_concept_in_two_looks_still_speaks_for_it() -> None:
    tags = unambiguous_tags([("boar", ("hog",)), ("boar", ("hog",))], limit=3)
    assert tags == {"boar": ("hog",)}


def test_no_group_of_people_stands_for_a_thing() -> None:
    tags = unambiguous_tags([("rainbow", ("gay", "arc")), ("crescent moon", ("ramadan",))], limit=2)
    assert tags == {"rainbow": ("arc",), "crescent moon": ()}
