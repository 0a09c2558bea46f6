"""Laws of how foreign text is shown, and of the custom_id grammar."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages import CONSENT, alt_text, duration, plain
from bot.views.press import Action, Press, form_values
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


@given(st.text(max_size=3_000), st.text(min_size=1, max_size=32))
def test_alt_text_fits_discord(prompt: str, style: str) -> None:
    assert len(alt_text(prompt, 0, 4, style)) <= 256


@given(st.sampled_from(Action), st.lists(st.integers(0, 2**63), max_size=3))
def test_press_parse_is_the_inverse_of_pack(action: Action, numbers: list[int]) -> None:
    press = Press(action, tuple(numbers))
    assert Press.parse(press.pack()) == press
    assert len(press.pack()) <= 100


@given(st.text(max_size=120))
def test_foreign_custom_ids_are_not_ours(custom_id: str) -> None:
    press = Press.parse(custom_id)
    assert press is None or press.pack() == custom_id


def test_the_consent_question_asks_for_every_scope_once() -> None:
    assert [scope for scope, _ in CONSENT.choices] == [scope.value for scope in Scope]


def test_a_changed_question_has_another_hash() -> None:
    import dataclasses

    assert dataclasses.replace(CONSENT, text=CONSENT.text + " ").sha256 != CONSENT.sha256


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "about a second"), (45, "about 45 seconds"), (600, "about 10 minutes")],
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_form_values_are_found_in_rows_and_labels() -> None:
    sent = [
        {"type": 1, "components": [{"type": 4, "custom_id": "a", "value": "x"}]},
        {"type": 18, "component": {"type": 3, "custom_id": "b", "values": ["y"]}},
        {"type": 18, "component": {"type": 3, "custom_id": "c", "values": []}},
    ]
    assert form_values(sent) == {"a": "x", "b": "y", "c": ""}
