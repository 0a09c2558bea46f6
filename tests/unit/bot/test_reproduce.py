"""What `atelier reproduce` says of two engines promises neither too much nor too little."""

import json

import pytest

from bot.terminal.reproduce import engines_apart
from generation.work.results import EngineFingerprint

TODAY = EngineFingerprint({"torch": "2.13", "variables": "MKL_CBWR=AVX2", "sha256:unet": "1"})


def test_a_record_that_does_not_say_all_promises_nothing_and_blames_nothing():
    said = engines_apart('{"torch": "2.13", "sha256:unet": "1"}', TODAY)
    assert said.strip() == "an older record: it does not say variables"


@pytest.mark.parametrize("recorded", [None, "{}"])
def test_a_record_without_an_engine_is_told_as_such(recorded):
    assert engines_apart(recorded, TODAY).strip() == "the record does not say which engine drew it"


def test_what_really_differs_is_named_with_both_values():
    said = engines_apart(json.dumps({**TODAY.fields, "torch": "2.12"}), TODAY)
    assert "torch: 2.12 -> 2.13" in said
    assert "older record" not in said


def test_equal_engines_with_unequal_pixels_are_a_bug_to_report():
    assert "please report this" in engines_apart(TODAY.to_json(), TODAY)
