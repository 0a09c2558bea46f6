"""Short prompts mean what diffusers makes of them; long and odd ones still give their picture."""

import dataclasses
import functools
import io
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from generation.engine.engine import Engine
from generation.judging.scorer.choosing import open_scorer
from generation.language import text_encoder
from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion import loading
from generation.techniques.diffusion.prompts import PUSH, PromptEncoder, weighted_mean
from generation.techniques.diffusion.readers import TextArguments, readers_of
from generation.work.checkpoints import EMBEDDED, EMBEDDED_SCORER, read_checkpoint
from generation.work.orders import Order
from generation.work.remarks import Cut
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone

# diffusers' schedulers hand tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ONE_LANE = DeviceChoice("cpu", "float32", 1, "test")
LONG = (
    "a very old friendly brown bear who is sitting quietly on a small wooden chair near the window"
    " of a warm kitchen while eating a big bowl of sweet honey"
)


def request(*parts, **fields):
    prompts = tuple(WeightedPrompt(*each) for each in parts)
    plain = {"width": 32, "height": 32, "num_inference_steps": 2, "guidance_scale": 3.0}
    return Imagine(prompts=prompts, model="tiny", seed=7, num_images=1, **{**plain, **fields})


def pngs(technique, asked):
    events = []
    asked = dataclasses.replace(asked, model=technique.checkpoint.name)
    Engine.of(technique).draw([Order(1, asked)], events.append)
    (done,) = [event for event in events if isinstance(event, ImagesDone)]
    return [image.png for image in done.images]


@functools.cache
def embedded(name="atelier-emoji"):
    return read_checkpoint(EMBEDDED.with_name(name))


def texts_of(asked, checkpoint):
    """Return what the text encoder is given, and the remarks."""
    seen = []
    encode = lambda text: seen.append(text) or torch.zeros(1, 1, 1)  # noqa: E731
    encoder = PromptEncoder(checkpoint, encode, [text_encoder.reader()])
    encoder.prompt_embeds(asked)
    encoder.negative_prompt_embeds(asked)
    return seen, encoder.cuts(asked)


def test_a_short_prompt_is_encoded_as_the_stock_pipeline_does_to_the_bit(saved):
    technique = loading.load(saved("sd15"), ONE_LANE)
    asked = request(("a fox",), negative_prompt="snow")
    with torch.inference_mode():
        ours = technique._encoder.prompt_embeds(asked)
        against = technique._encoder.negative_prompt_embeds(asked)
        theirs = technique._pipeline.encode_prompt(
            ["a fox"], "cpu", 1, True, negative_prompt=["snow"]
        )
    assert torch.equal(ours, theirs[0])
    assert torch.equal(against, theirs[1])
    assert technique.remarks(asked) == ()


def test_a_long_prompt_keeps_its_look_and_where_it_was_cut_is_told():
    for style, template in embedded().styles.items():
        (shown, _), (cut,) = texts_of(request((LONG,), style=style), embedded())
        words = template.split("{prompt}")[1]
        assert shown.endswith(words)
        assert LONG.startswith(shown.removesuffix(words))
        assert shown.removesuffix(words).endswith(cut.read_up_to)
        assert text_encoder.reader().reads(shown)


def test_the_look_of_the_request_is_what_is_kept():
    asked = request((LONG,), template="an etching of {prompt}, framed")
    (shown, _), _ = texts_of(asked, embedded())
    assert shown.startswith("an etching of a very old")
    assert shown.endswith(", framed")


def test_each_part_and_what_to_avoid_are_cut_on_their_own():
    asked = request((LONG, 2.0), ("a fox", 1.0), (LONG, 0.5), negative_prompt=f"{LONG} and jam")
    shown, cuts = texts_of(asked, embedded())
    assert "a fox, 3d style" in shown
    assert [cut.field for cut in cuts] == ["prompt", "prompt", "negative_prompt"]
    assert len(shown[-1]) > len(shown[0].removesuffix(", 3d style"))  # no look to leave room for


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "sd3", "flux"])
def test_two_looks_of_a_long_prompt_are_two_pictures(saved, kind):
    technique = loading.load(saved(kind), ONE_LANE)
    asked = request(("a fox in a red hat",), height=48)
    drawn = {style: pngs(technique, dataclasses.replace(asked, style=style)) for style in STYLES}
    assert drawn["plain"] != drawn["bold"]


STYLES = ("plain", "bold")


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_long_prompt_is_told_once_however_many_encoders_cut_it(saved, kind):
    technique = loading.load(saved(kind), ONE_LANE)
    (cut,) = technique.remarks(request(("a fox in a red hat",), style="bold"))
    assert cut == Cut("prompt", "fox in a")
    assert technique.remarks(request(("a fox in a",), style="bold")) == ()


@pytest.mark.parametrize(("kind", "longest"), [("sd3", "prompt_3"), ("flux", "prompt_2")])
def test_an_encoder_that_reads_further_is_given_more_and_nothing_is_told(saved, kind, longest):
    technique = loading.load(saved(kind), ONE_LANE)
    texts = TextArguments(technique.checkpoint, technique._pipeline)
    asked = request(("a fox in a red hat",), style="bold")
    given = texts.of(asked)
    assert given["prompt"] == ["a fox in a, bold"]
    assert given[longest] == ["a fox in a red hat, bold"]
    assert technique.remarks(asked) == ()
    assert texts.of(request(("a fox",), style="bold")) == {"prompt": ["a fox, bold"]}


def test_past_what_the_longest_encoder_reads_it_is_told(saved):
    technique = loading.load(saved("flux"), ONE_LANE)
    (reader,) = readers_of(technique._pipeline)["prompt_2"]
    assert reader.max_tokens == 512  # the pipeline's own max_sequence_length
    words = " ".join(["fox"] * 200)
    (cut,) = technique.remarks(request((words,)))
    assert cut == Cut("prompt", "fox fox fox")


@given(
    weights=st.lists(st.floats(-100, 100), min_size=2, max_size=4).filter(
        lambda weights: sum(weights) > 0
    ),
    seed=st.integers(0, 99),
)
def test_no_weights_lead_further_out_than_the_words_themselves(weights, seed):
    chance = torch.Generator().manual_seed(seed)
    embeds = [torch.randn(1, 3, 8, generator=chance) for _ in weights]
    longest = max(part.norm(dim=-1).max() for part in embeds)
    assert weighted_mean(embeds, weights).norm(dim=-1).max() <= longest * (1 + 1e-4)


def test_weights_are_a_mean_and_negative_ones_push_away_on_the_same_line():
    fox, snow = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[0.0, 3.0]]])
    assert weighted_mean([fox], [3.0]) is fox
    assert weighted_mean([fox, snow], [3.0, 1.0]).tolist() == [[[2.25, 0.75]]]
    pushed = weighted_mean([fox, snow], [2.0, -1.0])
    assert pushed.norm() == pytest.approx(3.0)
    assert pushed[0, 0, 1] / pushed[0, 0, 0] == pytest.approx(-PUSH / 2 / (1 + PUSH / 2))
    assert torch.allclose(pushed, weighted_mean([fox, snow], [4.0, -2.0]))


@pytest.mark.parametrize("name", ["atelier-emoji-fast", "atelier-emoji"])
def test_weights_that_nearly_cancel_still_give_a_picture(name):
    checkpoint = embedded(name)
    technique = loading.load(checkpoint, ONE_LANE)
    scorer = open_scorer(Path(EMBEDDED_SCORER))
    wanted = scorer.embed_texts(["a cat, noto style"])

    def fits(*parts):
        asked = request(
            *parts,
            style="noto",
            width=128,
            height=128,
            num_inference_steps=checkpoint.num_inference_steps,
            guidance_scale=checkpoint.guidance_scale,
        )
        (png,) = pngs(technique, asked)
        with Image.open(io.BytesIO(png)) as opened:
            levels = torch.tensor(list(opened.convert("RGB").tobytes()), dtype=torch.float32)
        picture = levels.reshape(1, 128, 128, 3).permute(0, 3, 1, 2) / 127.5 - 1
        return float(scorer.embed_pictures(picture)[0] @ wanted[0])

    alone = fits(("a cat",))
    for weight in (-0.9, -0.999):
        assert fits(("a cat", 1.0), ("a dog", weight)) > alone / 2


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_request_is_drawn_in_the_words_that_its_style_had_when_it_was_asked(saved, kind):
    then = saved(kind)
    renamed = dataclasses.replace(then, styles={"new": "new {prompt}"}, default_style="new")
    asked = request(("a fox",), style="bold", height=48, template=then.styles["bold"])
    before, after = (pngs(loading.load(each, ONE_LANE), asked) for each in (then, renamed))
    assert before == after
    today = dataclasses.replace(asked, style="new", template=renamed.styles["new"])
    assert pngs(loading.load(renamed, ONE_LANE), today) != before
