"""Laws of prices: what is really drawn is what is paid for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.work.inputs import Input, Role
from generation.work.prices import Price, learned_s, padded, price, price_key
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.requests.reading import from_json

START = (Input(Role.START, "a" * 64),)


def request(**changes):
    fields = {
        "prompts": (WeightedPrompt("a fox"),),
        "model": "m",
        "seed": 1,
        "width": 128,
        "height": 128,
        "num_inference_steps": 8,
        "guidance_scale": 1.0,
        "num_images": 1,
    }
    return Imagine(**{**fields, **changes})


def test_a_measured_price_is_used_as_it_is():
    assert price_key(request()) == "m/128x128/8p"
    assert price(request(num_images=4), {"m/128x128/8p": 0.25}) == Price(1.0, 1.0)


def test_a_short_way_from_a_picture_is_another_kind_than_a_whole_picture():
    whole = request(num_inference_steps=50)
    short = request(num_inference_steps=50, inputs=START, strength=0.05)
    guided = request(num_inference_steps=50, guidance_scale=4.0)
    assert len({price_key(each) for each in (whole, short, guided)}) == 3
    assert price(whole, {}).alone_s == 25 * price(short, {}).alone_s
    assert price(guided, {}).alone_s == 2 * price(whole, {}).alone_s
    assert price_key(short) == price_key(request(num_inference_steps=2))


def test_one_short_picture_of_a_size_nobody_uses_does_not_make_that_size_cheap():
    honest = request(width=1024, height=1024, num_inference_steps=28)
    dear = request(width=1536, height=672, num_inference_steps=28)
    short = request(width=1536, height=672, num_inference_steps=28, inputs=START, strength=0.05)
    remembered_s = {price_key(honest): 28.0, price_key(short): 1.0}
    assert price(dear, remembered_s).alone_s == pytest.approx(28.0, rel=0.1)


def test_an_unmeasured_price_is_scaled_from_the_nearest_kind_of_the_same_model():
    remembered_s = {"m/128x128/4p": 0.5, "m/128x128/100p": 99.0, "other/128x128/8p": 7.0}
    assert price(request(), remembered_s).alone_s == 1.0


def test_a_model_name_with_slashes_keeps_its_own_prices():
    remembered_s = {"org/m/128x128/8p": 3.0, "m/128x128/4p": 1.0}
    assert price(request(model="org/m"), remembered_s).alone_s == 3.0


def test_without_measurements_a_price_grows_with_pixels_passes_and_images():
    assert price(request(), {}).alone_s == 1.0
    assert price(request(num_images=2), {}).alone_s == 2.0
    assert price(request(width=256), {}).alone_s == 2.0
    assert price(request(num_inference_steps=16), {}).alone_s == 2.0


def test_what_earlier_versions_remembered_by_steps_is_not_taken_for_passes():
    assert price(request(), {"m/128x128/8": 99.0, "m/128x128/4": 99.0}).alone_s == 1.0


def test_alone_pays_for_padding_and_shared_does_not():
    remembered_s = {"m/128x128/8p": 2.0}
    assert price(request(), remembered_s, max_images=4) == Price(8.0, 2.0)
    assert price(request(num_images=4), remembered_s, max_images=4) == Price(8.0, 8.0)
    assert price(request(num_images=5), remembered_s, max_images=4) == Price(16.0, 10.0)


def test_a_job_of_one_picture_does_not_make_a_job_of_four_dearer_on_a_device_that_pads():
    """A device that draws four at once takes 8 s for one picture and 8 s for four."""
    remembered_s = None
    for num_images in [4] * 20 + [1] * 10 + [4, 1, 1]:
        remembered_s = learned_s(remembered_s, 8.0, num_images=num_images, max_images=4)
        assert price(request(num_images=4), {"m/128x128/8p": remembered_s}).alone_s == 8.0


def test_a_share_of_a_full_batch_does_not_make_a_kind_cheaper():
    remembered_s = learned_s(2.0, 2.0, num_images=1, max_images=4)
    assert remembered_s == 2.0


@given(
    st.lists(st.tuples(st.floats(0.01, 100.0), st.integers(1, 8)), min_size=1, max_size=30),
    st.integers(1, 8),
)
def test_what_is_learned_lies_between_the_bounds_of_all_measurements(measured, max_images):
    remembered_s, least_s, most_s = None, [], []
    for elapsed_s, num_images in measured:
        remembered_s = learned_s(
            remembered_s, elapsed_s, num_images=num_images, max_images=max_images
        )
        least_s.append(elapsed_s / padded(num_images, max_images))
        most_s.append(elapsed_s / num_images)
    assert min(least_s) * 0.999 <= remembered_s <= max(most_s) * 1.001


def test_a_request_of_another_version_has_some_price():
    unreadable = from_json({"version": 9, "verb": "sculpt"})
    assert price(unreadable, {"/64x64/4p": 1.0}).alone_s > 0
