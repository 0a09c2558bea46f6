"""Laws of how foreign text is shown, and of the custom_id grammar."""

import dataclasses
import datetime as dt
import re

import pytest
from discord.ui import TextDisplay
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.presses import NUMBERS, Action, Press, number_of
from bot.chat.views.press import form_values
from bot.chat.views.result import result
from bot.messages import (
    CONSENT,
    SAME_BEFORE,
    SHOWN_UNKNOWN,
    ConsentText,
    alt_text,
    duration,
    plain,
    remarks,
    span,
)
from bot.visible import visible
from generation.work.jobs import Image, Job, JobState, Place
from generation.work.remarks import Cut, OtherLanguage, SeveralThings, UnknownWord
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.requests.reading import from_json
from storage.consent import Scope

UNESCAPED = re.compile(r"(?<!\\)(?:\\\\)*[*_~`|>#\[\]()<@]")


@given(st.text(max_size=600))
def test_no_markdown_or_mention_survives_unescaped(text: str) -> None:
    assert not UNESCAPED.search(plain(text))


@given(st.text(max_size=2_000))
def test_shown_text_stays_on_one_line_and_short(text: str) -> None:
    shown = plain(text, limit=100)
    assert not set(shown) & set("\n\r\x00\u2028\u2029")
    assert len(shown.replace("\\", "")) <= 200  # at most the zero-width stops beside the text


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("fox \u202eknird", "fox knird"),  # would read "drink"
        ("a\u200bb\u2060c\ufeffd", "abcd"),
        ("fox\U000e0068\U000e0069", "fox"),  # tag characters spell a hidden "hi"
        ("z" + "\u0301" * 30 + "algo", "z\u0301\u0301algo"),
        ("caf\u00e9 \u0639\u0631\u0628\u064a", "caf\u00e9 \u0639\u0631\u0628\u064a"),
    ],
)
def test_shown_text_hides_reverses_and_stacks_nothing(typed: str, shown: str) -> None:
    assert plain(typed) == shown


@given(st.text(max_size=500))
def test_what_is_shown_is_what_the_grammar_reads(text: str) -> None:
    seen = "".join(letter for _, letter in kept) if (kept := visible(text)) is not None else text
    assert plain(text, limit=10**6) == plain(seen, limit=10**6)
    assert visible(seen) is None or [letter for _, letter in visible(seen) or ()] == list(seen)


@given(st.text(max_size=3_000), st.text(min_size=1, max_size=32))
def test_alt_text_fits_discord(prompt: str, style: str) -> None:
    assert len(alt_text(prompt, 0, 4, style)) <= 256


@st.composite
def presses(draw: st.DrawFn) -> Press:
    action = draw(st.sampled_from(Action))
    limits = draw(st.sampled_from(NUMBERS[action]))
    return Press(action, tuple(draw(st.integers(0, limit - 1)) for limit in limits))


@given(presses())
def test_press_parse_is_the_inverse_of_pack(press: Press) -> None:
    assert Press.parse(press.pack()) == press
    assert len(press.pack()) <= 100


@given(presses(), st.data())
def test_a_press_with_other_numbers_than_its_action_takes_is_not_ours(
    press: Press, data: st.DataObject
) -> None:
    limits = max(NUMBERS[press.action], key=len)
    too_many = dataclasses.replace(press, numbers=(0,) * (len(limits) + 1))
    too_few = dataclasses.replace(press, numbers=())
    place = data.draw(st.integers(0, len(limits) - 1))
    above = data.draw(st.integers(limits[place], 10**30))
    too_large = tuple(above if i == place else 0 for i in range(len(limits)))
    for forged in (too_many, too_few, dataclasses.replace(press, numbers=too_large)):
        assert Press.parse(forged.pack()) is None


@pytest.mark.parametrize(
    "custom_id",
    [
        "atelier:consentflip:0:0:0:8000000000",
        "atelier:consentsave:0:0:8",
        "atelier:vote:9223372036854775808",
        "atelier:vote:\u00b2",
        "atelier:vote:007",
        "atelier:vote:-1",
        "atelier:vote:1?words",
        "atelier:logpage:0:0:999999999999999:0",
        "atelier:nonesuch:1",
        "atelier:confirm",
        "atelier:",
        "other:vote:1",
    ],
)
def test_a_forged_custom_id_is_not_ours(custom_id: str) -> None:
    assert Press.parse(custom_id) is None


@pytest.mark.parametrize("value", ["", "\u00b2", "-1", "1" * 25, str(2**63), "0x1", " 1"])
def test_a_forged_form_value_is_no_number(value: str) -> None:
    assert number_of(value) is None
    assert number_of("17") == 17


@given(st.text(max_size=120))
def test_foreign_custom_ids_are_not_ours(custom_id: str) -> None:
    press = Press.parse(custom_id)
    assert press is None or press.pack() == custom_id


def test_the_consent_question_asks_once_for_every_scope_that_is_used() -> None:
    used = [scope.value for scope in Scope if scope is not Scope.GALLERY]
    assert [scope for scope, _ in CONSENT.choices] == used


def test_a_changed_question_has_another_hash() -> None:
    assert dataclasses.replace(CONSENT, text=CONSENT.text + " ").sha256 != CONSENT.sha256


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "about a second"), (45, "about 45 seconds"), (600, "about 10 minutes")],
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("at_least_s", "at_most_s", "words"),
    [
        (20.0, 20.0, "about 20 seconds"),
        (5.0, 20.0, "about 5 to 20 seconds"),
        (120.0, 480.0, "about 2 to 8 minutes"),
        (45.0, 180.0, "about 45 seconds to 3 minutes"),
        (0.5, 8.0, "about a second to 8 seconds"),
    ],
)
def test_a_range_reads_as_people_say_it(at_least_s: float, at_most_s: float, words: str) -> None:
    assert span(at_least_s, at_most_s) == words


def test_form_values_are_found_in_rows_and_labels() -> None:
    sent = [
        {"type": 1, "components": [{"type": 4, "custom_id": "a", "value": "x"}]},
        {"type": 18, "component": {"type": 3, "custom_id": "b", "values": ["y"]}},
        {"type": 18, "component": {"type": 3, "custom_id": "c", "values": []}},
    ]
    assert form_values(sent) == {"a": "x", "b": "y", "c": ""}


def test_unknown_words_are_told_with_what_is_near_and_none_in_silence() -> None:
    centaur = UnknownWord("centaur", ("horse", "person"))
    assert remarks("m", [centaur]) == ["`m` knows no “centaur” yet; near: horse, person."]
    assert remarks("m", [UnknownWord("🦊", ())]) == ["`m` knows no “🦊” yet."]
    assert remarks("m", []) == []
    said = remarks("m", [centaur] * (SHOWN_UNKNOWN + 2))
    assert len(said) == SHOWN_UNKNOWN + 1
    assert said[-1] == "Nor does it know 2 other words."
    assert len(remarks("m", [UnknownWord("x" * 2_000, ())])[0]) < 50


def test_where_a_text_was_cut_is_told_without_its_markdown() -> None:
    said = remarks("m", [Cut("prompt", "a *big* @everyone"), Cut("negative_prompt", "text")])
    assert said == [
        r"`m` read the prompt up to “a \*big\* \@everyone”; the rest has no effect.",
        "`m` read what to avoid up to “text”; the rest has no effect.",
    ]


def test_what_concerns_the_whole_prompt_is_told_before_single_words() -> None:
    several = SeveralThings(("dragon", "sword"))
    said = remarks("m", [UnknownWord("x", ()), several, OtherLanguage()])
    assert ["“dragon” and “sword”" in said[0], "English" in said[1], "“x”" in said[2]] == [True] * 3


def test_a_result_says_what_and_who_and_leaves_numbers_to_the_details() -> None:
    request = Imagine(
        prompts=(WeightedPrompt("a fox"),),
        model="m",
        seed=7,
        width=64,
        height=64,
        num_inference_steps=2,
        guidance_scale=2.0,
        num_images=2,
        num_spare=2,
    )
    asked_at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    place = Place(guild_id=None, channel_id=1)
    job = Job(
        id=1,
        member_id=2,
        place=place,
        typed="a fox",
        request=request,
        state=JobState.POSTED,
        cost_s=1.0,
        created_at=asked_at,
    )
    images = [
        Image(id=index, job_id=1, index=index, sha256="0" * 64, seed=seed, width=64, height=64)
        for index, seed in enumerate([9, 8])
    ]
    view = result(job, images, {}, may_remix=False, names={0: "a.png", 1: "b.png"})
    shown = [item.content for item in view.walk_children() if isinstance(item, TextDisplay)]
    assert shown == ["**a fox**\n-# <@2> · AI-generated"]


def test_the_first_question_said_the_same_of_remixes_and_training() -> None:
    first = ConsentText(
        version="1",
        text=(
            "### Before your first picture: three choices\n"
            "All are **off** until you turn them on. Your picture is drawn either way, and you can "
            "change your mind at any time with `/consent`.\n"
            "I keep your prompt, seed and pictures so that they can be redrawn and moderated; "
            "the server's moderators can read that record."
        ),
        choices=(("gallery", "Show my pictures in the gallery"), *CONSENT.choices),
    )
    assert (first.sha256,) == SAME_BEFORE


def test_a_request_of_another_version_is_shown_by_what_stands_in_its_record() -> None:
    written = {"version": 9, "verb": "sculpt", "model": "m", "mood": "*sad*"}
    facts = dict(from_json(written).facts())
    assert facts["verb"] == "sculpt"
    assert "version 9" in facts["Not understood"]
    assert plain(facts["mood"]) == "\\*sad\\*"
