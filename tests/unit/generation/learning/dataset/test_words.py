"""What emoji mean, however a package spells them."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from generation.learning.dataset import words
from generation.learning.dataset.words import (
    WordList,
    code_point_key,
    plain_words,
    without_selectors,
)

TABLE = [
    {
        "label": "fox",
        "hexcode": "1F98A",
        "tags": ["animal", "vixen"],
        "group": 1,
    },
    {
        "label": "waving hand",
        "hexcode": "1F44B",
        "group": 0,
        "skins": [{"label": "waving hand: dark skin tone", "hexcode": "1F44B-1F3FF", "group": 0}],
    },
    {"label": "flag: Åland Islands", "hexcode": "1F1E6-1F1FD", "group": 2},
    {"label": "dark skin tone", "hexcode": "1F3FF", "group": 3},
    {"label": "wrapped gift", "hexcode": "1F381", "group": 1},
]
GROUPS = {"groups": {"0": "people-body", "1": "animals-nature", "2": "flags", "3": "component"}}


def tarball(tmp_path: Path) -> Path:
    shortcodes = {"1F381": ["gift", "present"]}
    files = {f"en/shortcodes/{preset}.json": shortcodes for preset in words.SHORTCODES}
    path = tmp_path / "emojibase.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"en/data.json": TABLE, "meta/groups.json": GROUPS, **files}.items():
            encoded = json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(encoded)
            archive.addfile(member, io.BytesIO(encoded))
    return path


@pytest.fixture
def everything(tmp_path: Path) -> WordList:
    return words.read(tarball(tmp_path), {})


def test_variation_selectors_do_not_matter() -> None:
    red_heart = "\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}"
    assert code_point_key(red_heart) == without_selectors("2764-FE0F") == "2764"


@pytest.mark.parametrize(
    ("label", "spoken"),
    [
        ("flag: Chad", "flag of chad"),
        ("keycap: 1", "keycap 1"),
        ("man: dark skin tone, beard", "man with dark skin tone and beard"),
        ("family: man, woman, boy", "family with man woman and boy"),
        ("Japanese “vacancy” button", "japanese vacancy button"),
    ],
)
def test_label_becomes_plain_words_without_a_comma(label: str, spoken: str) -> None:
    assert plain_words(label) == spoken


@pytest.mark.parametrize(
    ("name", "concept"),
    [
        ("fox", "fox"),
        ("foxface", "fox"),  # Unicode's name for it, run together
        ("fox-2", "fox"),
        ("present", "wrapped gift"),
        ("waving-hand-dark-skin-tone", "waving hand with dark skin tone"),
        ("waving-hand-dark", "waving hand with dark skin tone"),
        ("flag-for-aland-islands", "flag of åland islands"),
        ("flag-for-flag-aland-islands", "flag of åland islands"),
    ],
)
def test_name_is_known_in_any_spelling(everything: WordList, name: str, concept: str) -> None:
    meaning = everything.of_emoji_name(name)
    assert meaning is not None
    assert meaning.concept == concept


def test_skin_tones_and_flags_are_marked(everything: WordList) -> None:
    marks = {}
    for key in ("1f44b-1f3ff", "1f1e6-1f1fd", "1f98a"):
        meaning = everything.of_code_point(key)
        assert meaning is not None
        marks[key] = (meaning.has_tone, meaning.is_flag)
    assert list(marks.values()) == [(True, False), (False, True), (False, False)]


def test_group_and_tags_come_along(everything: WordList) -> None:
    fox = everything.of_code_point("1f98a")
    assert fox is not None
    assert (fox.group, fox.tags) == ("animals and nature", ("animal", "vixen"))


def test_a_mere_part_of_emoji_is_no_concept(everything: WordList) -> None:
    assert everything.of_code_point("1f3ff") is None
    assert everything.of_emoji_name("dark-skin-tone") is None


def test_ordinary_icon_is_only_the_emoji_that_is_called_so(everything: WordList) -> None:
    assert everything.of_label("fox") is not None
    assert everything.of_label("present") is None  # a short code: an icon may mean a slide show


def test_recipe_chooses_and_names_its_concepts(tmp_path: Path) -> None:
    chosen = words.read(tarball(tmp_path), {"present": "🎁"})
    gift = chosen.of_code_point("1f381")
    assert gift is not None
    assert (gift.concept, gift.words) == ("present", ("wrapped gift",))
    assert chosen.of_code_point("1f98a") is None
    assert chosen.is_restricted


def test_run_together_words_are_parted(everything: WordList) -> None:
    assert everything.split("wavingfox") == "waving fox"
    assert everything.split("blackscissors") == "black scissors"
    assert everything.split("zzz") == "zzz"
