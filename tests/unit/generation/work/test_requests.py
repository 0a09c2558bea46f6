"""Requests: what a record says is read whatever it says, and refused only when it is drawn."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.work.errors import InvalidRequest
from generation.work.inputs import Input, Role
from generation.work.requests.imagine import MAX_SEED, Imagine, WeightedPrompt
from generation.work.requests.reading import Unreadable, from_json, to_json

SHA256 = "0123456789abcdef" * 4
REQUEST = Imagine(
    prompts=(WeightedPrompt("a fox", 2.0), WeightedPrompt("snow", -0.5)),
    model="m",
    seed=7,
    width=128,
    height=64,
    num_inference_steps=8,
    guidance_scale=4.0,
    style="3d",
    template="{prompt}, 3d style",
    strength=0.5,
    inputs=(Input(Role.START, SHA256, image_id=3),),
)
# As the first version of this program wrote them.
WORDS = {
    "kind": "TextToImage",
    "prompts": [{"text": "a fox", "weight": 1.0}],
    "model": "m",
    "seed": 7,
    "width": 128,
    "height": 128,
    "num_inference_steps": 8,
    "guidance_scale": 4.0,
    "negative_prompt": "blur",
    "style": None,
    "num_images": 2,
    "num_spare": 1,
}
PICTURE = {**WORDS, "kind": "ImageToImage", "image": SHA256, "strength": 0.3}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def test_a_request_reads_back_as_it_was_written():
    assert from_json(json.loads(json.dumps(to_json(REQUEST)))) == REQUEST


def test_requests_of_the_first_version_are_imagine_with_and_without_a_start():
    words, picture = from_json(WORDS), from_json(PICTURE)
    assert (words.negative_prompt, words.num_candidates, words.start) == ("blur", 3, None)
    assert (picture.start, picture.strength) == (Input(Role.START, SHA256), 0.3)
    assert type(words) is type(picture) is Imagine
    words.check()
    picture.check()


@pytest.mark.parametrize(
    "change",
    [
        {"verb": "hallucinate"},
        {"version": 3},
        {"version": "2"},
        {"mood": "sad"},
        {"prompts": "a fox"},
        {"seed": "7"},
        {"inputs": [{"role": "muse", "sha256": SHA256, "image_id": None, "weight": 1.0}]},
    ],
)
def test_what_another_version_wrote_is_shown_and_fails_only_when_it_is_drawn(change):
    written = {**to_json(REQUEST), **change}
    request = from_json(written)
    assert isinstance(request, Unreadable)
    assert to_json(request) == written, "writing it again loses nothing"
    assert (request.model, request.width) == ("m", 128)
    assert dict(request.facts())["verb"] == written["verb"]
    with pytest.raises(InvalidRequest):
        request.check()


@given(JSON | st.dictionaries(st.sampled_from(sorted(to_json(REQUEST))), JSON))
def test_no_record_is_too_odd_to_be_read(value):
    request = from_json(value)
    assert isinstance(request.prompt, str)
    assert all(isinstance(fact, str) for pair in request.facts() for fact in pair)


@pytest.mark.parametrize(
    "change",
    [
        {"num_inference_steps": 9_999},
        {"width": 12},
        {"seed": MAX_SEED + 1},
        {"num_images": 9},
        {"guidance_scale": float("nan")},
        {"strength": 0.0},
        {"template": "3d"},
        {"prompts": ()},
        {"inputs": (Input(Role.START, "../../etc/passwd"),)},
        {"inputs": (Input(Role.MASK, SHA256),)},
    ],
)
def test_a_value_out_of_todays_range_is_read_and_not_drawn(change):
    request = dataclasses.replace(REQUEST, **change)
    if "guidance_scale" not in change:
        assert from_json(to_json(request)) == request or isinstance(
            from_json(to_json(request)), Unreadable
        )
    with pytest.raises(InvalidRequest):
        request.check()


def test_a_price_counts_the_passes_that_are_really_taken():
    words = dataclasses.replace(REQUEST, inputs=())
    assert words.passes() == 16
    assert dataclasses.replace(words, guidance_scale=1.0).passes() == 8
    assert REQUEST.passes() == 8, "half of the steps are skipped"
    assert dataclasses.replace(REQUEST, strength=0.01).passes() == 2, "one step is left"


def test_pictures_share_a_pass_whatever_their_words_steps_and_starts():
    other = dataclasses.replace(REQUEST, inputs=(), num_inference_steps=3, seed=1, style=None)
    assert other.alike() == REQUEST.alike()
    assert dataclasses.replace(REQUEST, width=64).alike() != REQUEST.alike()
    assert dataclasses.replace(REQUEST, guidance_scale=1.0).alike() != REQUEST.alike()
