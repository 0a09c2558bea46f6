"""What words a concept is asked for with."""

import pytest

from generation.training.captions import Names, phrasings, styled, unambiguous_tags, with_article


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("owl", "an owl"),
        ("red apple", "a red apple"),
        ("grapes", "grapes"),
        ("cactus", "a cactus"),
        ("fire", "fire"),
    ],
)
def test_article_fits_the_name(name: str, expected: str) -> None:
    assert with_article(name) == expected


def test_plain_name_comes_first_and_nothing_twice() -> None:
    texts = phrasings("Fox", ["red fox", "fox"], tags=["vixen"])
    assert texts[:2] == ("fox", "a fox")
    assert len(texts) == len(set(texts))
    assert texts[-1] == "vixen"


def test_template_wraps_prompt_and_look() -> None:
    assert styled("a fox", "3d", "{prompt}, {look} style") == "a fox, 3d style"


def test_braces_in_a_prompt_are_only_text() -> None:
    assert styled("a {look}", "3d", "{prompt}, {look} style") == "a {look}, 3d style"


def test_tag_of_two_concepts_speaks_for_neither() -> None:
    names = {
        "red apple": Names("red apple", ("fruit", "apple", "orchard")),
        "pear": Names("pear", ("fruit",)),
    }
    tags = unambiguous_tags(names, limit=3)
    assert tags == {"red apple": ("orchard",), "pear": ()}
