"""Laws of the prompt grammar that hold for every text."""

import math
import time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bot.grammar.flags import MAX_JOBS, QUALITIES
from bot.grammar.prompt_text import Marked, clean
from bot.grammar.prompts import (
    ParsedPrompt,
    PromptError,
    expand,
    parse,
    parse_jobs,
    resolve,
    to_text,
)
from generation.work.checkpoints import ABILITIES, PATTERN
from generation.work.inputs import Input, Role
from generation.work.requests.imagine import MAX_SEED, WeightedPrompt

PIECES = """:: : -- - — – { } , \\ \\, \\{ a fox 2 -.5 --ar --no --tile ::3 nan 1e9 https:// < > . 🦊 é ☁
    \u0301 \u0301\u0323\u0300 \u200d \u200b \u202e \ufe0f \U0001f3fd \u2800 \U000e0061 {--tile,}"""
FRAGMENTS = st.sampled_from(
    [
        "می\u200cخ",
        "\u200c",
        "न\u094d\u200d",
        "\u05b8\u05bc\u05c1",
        "/imagine ",
        "prompt: ",
        "—ar",
        "-- ",
        "，",
        *PIECES.split(),
        " ",
        "\n",
        "\x00",
        "\ud800",
        "--ar 3:2",
        "--no x, y",
        "--seed 7",
        "--r 2",
    ]
) | st.sampled_from(["--style 3d", "—s 5", "--q .5", "--IW 1", "{a, b}", "https://a.b/c.png"])
HOSTILE = st.lists(FRAGMENTS, max_size=25).map("".join)
TEXTS = st.one_of(
    HOSTILE, st.text(max_size=60), st.tuples(HOSTILE, st.text(max_size=9)).map("".join)
)


def read(text):
    """Return the jobs, or none of them and the error."""
    try:
        return parse_jobs(text), None
    except PromptError as error:
        return (), error


@settings(max_examples=600)
@given(TEXTS)
@example("a : ::2 b::-.5")
@example("a::\u0301b")
@example("{x}\u0301\u0301{a}\u0301\u0301")
@example("a,\\{\\")
@example("\\\\{a}")
def test_a_job_written_as_text_is_the_same_job(text):
    for job in read(text)[0]:
        assert parse(to_text(job)) == job
        assert to_text(parse(to_text(job))) == to_text(job)


@settings(max_examples=600)
@given(TEXTS)
def test_any_text_is_read_or_refused_at_a_place_within_it(text):
    jobs, error = read(text)
    if error is None:
        assert 1 <= len(jobs) <= MAX_JOBS
        for job in jobs:
            assert all(part.text for part in job.prompts)
            assert sum(part.weight for part in job.prompts) > 0
        return
    assert error.text == text
    assert 0 <= error.position <= error.position + error.length <= len(text)
    if text:
        window, carets = error.pointer().split("\n")
        assert set(carets) <= {" ", "^"}
        assert "^" in carets
        assert len(carets) <= len(window) + 1


@given(TEXTS)
def test_cleaning_twice_is_cleaning_once(text):
    once = clean(Marked.of(text))
    assert clean(Marked.of(once.text)).text == once.text
    assert list(once.offsets) == sorted(set(once.offsets))
    for letter, offset in zip(once.text, once.offsets, strict=True):
        assert letter in (" ", text[offset])


WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8).map(
    lambda word: clean(Marked.of(word)).text or "x"
)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,10}", fullmatch=True)
PARTS = st.builds(
    WeightedPrompt,
    st.lists(WORDS, min_size=1, max_size=4).map(" ".join),
    st.integers(-1_000_000, 1_000_000).map(lambda weight: weight / 10_000),
)
PROMPTS = st.builds(
    ParsedPrompt,
    prompts=st.lists(PARTS, min_size=1, max_size=4).map(tuple),
    image_urls=st.lists(NAMES.map(lambda name: f"https://a.example/{name}"), max_size=2).map(tuple),
    aspect=st.none()
    | st.tuples(st.integers(1, 9999), st.integers(1, 9999)).filter(
        lambda ratio: max(ratio) <= 3 * min(ratio)
    ),
    seed=st.none() | st.integers(0, MAX_SEED),
    negative=st.lists(WORDS, max_size=3).map(tuple),
    style=st.none() | NAMES,
    stylize=st.none() | st.integers(0, 1000),
    chaos=st.none() | st.integers(0, 100),
    quality=st.none() | st.sampled_from(QUALITIES),
    image_weight=st.none() | st.integers(0, 300).map(lambda weight: weight / 100),
    tile=st.booleans(),
    model=st.none() | NAMES,
)


@given(PROMPTS)
def test_every_value_can_be_written_and_read_back(parsed):
    assume(sum(part.weight for part in parsed.prompts) > 0)
    assert parse(to_text(parsed)) == parsed


@given(st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=5))
def test_braces_make_the_product_of_their_options(choices):
    text = " and ".join("{" + ", ".join(options) + "}" for options in choices)
    count = math.prod(len(options) for options in choices)
    if count > MAX_JOBS:
        with pytest.raises(PromptError):
            expand(text)
    else:
        assert len(expand(text)) == count


def escaped(word):
    return word.replace("{", "\\{").replace("}", "\\}").replace(",", "\\,")


@given(st.lists(st.text("ab{},", min_size=1, max_size=5), min_size=1, max_size=6))
def test_escaped_characters_come_through_braces_unchanged(options):
    text = "{" + ",".join(escaped(option) for option in options) + "}"
    assert expand(text) == tuple(options)


@given(PROMPTS, st.frozensets(st.sampled_from(sorted(ABILITIES))), st.booleans())
def test_every_flag_is_honoured_or_spoken_of(parsed, honours, has_image):
    assume(sum(part.weight for part in parsed.prompts) > 0)
    checkpoint = PATTERN.__class__(
        name="m",
        title="M",
        family="slots",
        source="m",
        width=128,
        height=128,
        num_inference_steps=10,
        guidance_scale=4.0,
        styles={parsed.style: "{prompt}"} if parsed.style else {},
        honours=honours,
    )
    image = Input(Role.START, "0" * 64) if has_image else None
    request, notes = (
        (
            result := resolve(parsed, checkpoint=checkpoint, seed=1, num_images=4, image=image)
        ).request,
        result.notes,
    )
    said = " ".join(notes)
    assert len(set(notes)) == len(notes)
    for field, ability, flag, is_met in (
        ("aspect", "ar", "`--ar`", True),
        ("quality", "quality", "`--q`", request.num_inference_steps != 10),
        ("stylize", "stylize", "`--s`", request.guidance_scale != 4.0),
    ):
        if field in parsed.given:
            assert (f"{flag} has no effect" in said) == (ability not in honours)
            assert ability in honours or not (is_met and field != "aspect")
    assert ("`--tile` has no effect" in said) == parsed.tile
    assert ("`--c` has no effect" in said) == (parsed.chaos is not None)
    if parsed.negative:
        assert (request.negative_prompt != "") == ("negative" in honours)
    assert (request.start is not None) == (has_image and "image" in honours)


UNITS = """{ } {a, {a,b} \\ \\{ : :: a:: - -- x-- — a, https:// 🦊\u200d a\u0301 \u200b --ar , 9 < ::-
    x-—– --seed9"""


@pytest.mark.parametrize(
    "unit",
    [*UNITS.split(), " ", "\u3000", "\ud800", "a::2 ", "--x ", "--no ", "https://a ", "--ar "],
)
def test_time_grows_no_faster_than_the_text(unit):
    def seconds(length):
        texts = [(unit * length)[:length], ("a " + unit * length)[:length]]
        texts += ["https://" + text for text in texts] + ["a --no " + text for text in texts]
        best = math.inf
        for _ in range(3):
            started = time.thread_time()
            for text in texts:
                read(text)
            best = min(best, time.thread_time() - started)
        return best

    short, long = seconds(450), seconds(1800)
    assert long < 4 * 3 * max(short, 2e-4)  # four times the text; three for the noise


def test_a_text_beyond_all_limits_is_refused_unread():
    started = time.thread_time()
    with pytest.raises(PromptError):
        parse_jobs("{a, b}\u0301" * 2_000_000)
    assert time.thread_time() - started < 0.05
