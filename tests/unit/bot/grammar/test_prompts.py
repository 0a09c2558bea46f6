"""Laws of the prompt grammar and of resolving, one case each."""

import dataclasses
import re
import unicodedata
from pathlib import Path

import pytest

from bot.grammar.elsewhere import ELSEWHERE, elsewhere_table
from bot.grammar.flags import BY_SPELLING, FLAGS, flag_table
from bot.grammar.prompts import (
    CONFIRM_ABOVE,
    MAX_JOBS,
    ParsedPrompt,
    PromptError,
    check_style,
    choose_model,
    expand,
    parse,
    parse_jobs,
    resolve,
    to_text,
)
from bot.grammar.resolution import strength_of
from generation.work.checkpoints import ABILITIES, PATTERN, Checkpoint
from generation.work.errors import InvalidRequest, UnknownCheckpoint
from generation.work.inputs import Input, Role
from generation.work.requests.imagine import MAX_SEED, Imagine, WeightedPrompt

DOCUMENT = (Path(__file__).parents[4] / "docs" / "prompts.md").read_text(encoding="utf-8")
SHA256 = "0123456789abcdef" * 4
START = Input(Role.START, SHA256)


def refused(text):
    with pytest.raises(PromptError) as caught:
        parse_jobs(text)
    return caught.value


def pointed_at(text):
    error = refused(text)
    return text[error.position : error.position + error.length]


# --- flags ---------------------------------------------------------------------------------


def test_every_flag_is_read():
    parsed = parse(
        "a fox --ar 3:2 --seed 7 --no text, big frame --style 3d --s 250 --c 30 --q .5 --iw 1.5"
        " --tile --model m-1"
    )
    assert parsed == ParsedPrompt(
        prompts=(WeightedPrompt("a fox"),),
        aspect=(3, 2),
        seed=7,
        negative=("text", "big frame"),
        style="3d",
        stylize=250,
        chaos=30,
        quality=0.5,
        image_weight=1.5,
        tile=True,
        model="m-1",
    )
    assert parsed.given == {flag.field for flag in FLAGS} - {"repeat"}


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.field)
def test_every_spelling_means_the_same_with_any_dash_and_in_any_case(flag):
    value = flag.example.partition(" ")[2]
    expected = parse_jobs(f"a fox {flag.example}")
    for spelling in flag.spellings:
        for dashes in ("--", "—", "–"):
            for name in (spelling, spelling.upper()):
                assert parse_jobs(f"a fox {dashes}{name} {value}") == expected


def test_zero_is_a_value_and_not_an_absence():
    parsed = parse("a fox --seed 0 --s 0 --c 0 --iw 0")
    assert (parsed.seed, parsed.stylize, parsed.chaos, parsed.image_weight) == (0, 0, 0, 0.0)
    assert parsed.given == {"seed", "stylize", "chaos", "image_weight"}
    assert parse(to_text(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "offending"),
    [
        ("a fox --seed -1", "-1"),
        (f"a fox --seed {MAX_SEED + 1}", str(MAX_SEED + 1)),
        ("a fox --seed 1e3", "1e3"),
        ("a fox --seed nan", "nan"),
        ("a fox --seed ١٢", "١٢"),
        ("a fox --seed " + "9" * 1000, "9" * 1000),
        ("a fox --ar 16:1", "16:1"),
        ("a fox --ar 1:3.5", "1:3.5"),
        ("a fox --ar 0:0", "0:0"),
        ("a fox --ar 16x9", "16x9"),
        ("a fox --ar -3:2", "-3:2"),
        ("a fox --s 1001", "1001"),
        ("a fox --c 101", "101"),
        ("a fox --q 3", "3"),
        ("a fox --q inf", "inf"),
        ("a fox --iw 3.1", "3.1"),
        ("a fox --iw NaN", "NaN"),
        ("a fox --r 0", "0"),
        ("a fox --r 41", "41"),
        ("a fox --style @everyone", "@everyone"),
        ("a fox --model `rm`", "`rm`"),
        ("a fox --ar", "--ar"),
        ("a fox --ar --seed 7", "--ar"),
        ("a fox --no", "--no"),
        ("a fox --no , ,", ", ,"),
        ("a fox --tile yes", "yes"),
        ("a fox --arr 3:2", "--arr"),
        ("a fox --ar16:9", "--ar16:9"),
        ("a fox --seed=7", "--seed=7"),
        ("a fox--ar 3:2", "--ar"),
        ("a fox -ar 3:2", "-ar"),
        ("a fox --été", "--été"),
        ("a fox—ar 3:2", "—ar"),
        ("a fox–s 50 --ar 3:2", "–s"),
        ("a fox—style 3d", "—style"),
        ("a fox -- ar 3:2", "-- ar"),
        ("a fox — ar 3:2", "— ar"),
        ("a fox -- tile", "-- tile"),
        ("a fox --ar 16:9, --s 50", ","),
        ("a fox --seed 7.", "."),
        ("a fox --style 3d、", "、"),
        ("a fox --ar 16:10:9,", "16:10:9,"),
        ("a fox --seed 7 in the snow", "in the snow"),
        ("a fox --seed 7 --tile --seed 8", "--seed"),
        ("a fox --seed 7 --r 2", "--r 2"),
        ("a fox::nan", "nan"),
        ("a fox::inf b", "inf"),
        ("a fox::1e9 b", "1e9"),
        ("a fox::101 b", "101"),
        ("a fox::0.00001 b", "0.00001"),
        ("a fox::1 snow::-2", "a fox::1 snow::-2"),
        ("::2 fox", "::"),
        ("fox:: ::2", "::"),
        ("fox::--ar 3:2", "--ar"),
        ("a fox https://example.com/a.png", "https://example.com/a.png"),
        ("https://é.com/a.png a fox", "https://é.com/a.png"),
        ("a {fox", "{"),
        ("a fox}", "}"),
        ("a {} fox", "{}"),
        (r"a \\{b}", "}"),  # the second backslash escapes the brace
        ("a {fox, owl", "{"),
        ("{a,b} --ar {1:1, 9:1}", "9:1"),
    ],
)
def test_what_is_wrong_is_pointed_at(text, offending):
    assert pointed_at(text) == offending


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("a fox --arr 3:2", "--ar"),
        ("a fox --stylise 3", "--stylize"),
        ("a fox --v 6", None),
        ("a fox --stile 3d", "--style"),
        ("a fox --fast", None),
        ("a fox --w 250", None),
        ("a fox --sw 3", None),
        ("a fox --aspct 3:2", "--aspect"),
        ("a fox --negative text", "--no"),
        ("a fox--ar 3:2", "--ar"),
        ("a fox—ar 3:2", "--ar"),
        ("a fox -- ar 3:2", "--ar"),
        ("a fox --ar 16:9, --s 50", "--ar 16:9"),
        ("a fox --seed7", "--seed 7"),
        ("a fox -ar 3:2", "--ar"),
        ("a fox --qqqqqq", None),
    ],
)
def test_the_nearest_correct_spelling_is_suggested(text, suggestion):
    assert refused(text).suggestion == suggestion


@pytest.mark.parametrize(
    "text",
    [
        "owl—fox",
        "a house—no people",
        "a house — no people",
        "art deco—style of the twenties",
        "the sea — seed pods drifting",
        "a -- b",
    ],
)
def test_a_dash_in_prose_is_a_dash(text):
    assert parse(text).prompts == (WeightedPrompt(text),)


@pytest.mark.parametrize(
    "text",
    [
        "/imagine prompt: a fox",
        "/imagine prompt:a fox",
        "/IMAGINE a fox",
        " /imagine /imagine a fox",
    ],
)
def test_the_command_that_was_copied_along_is_passed_over(text):
    assert parse(text).prompts == (WeightedPrompt("a fox"),)
    assert parse("a fox /imagine").prompts == (WeightedPrompt("a fox /imagine"),)
    assert refused("/imagine").message.startswith("The prompt is empty")


@pytest.mark.parametrize("flag", ELSEWHERE, ids=lambda flag: flag.spellings[0])
def test_each_flag_of_midjourney_is_answered_in_a_sentence_of_its_own(flag):
    for spelling in flag.spellings:
        assert spelling not in BY_SPELLING
        error = refused(f"a fox --{spelling.upper()} 6")
        assert error.message.startswith(
            f"`--{spelling}` {flag.does} and has no effect here; leave it"
        )
        assert error.message.endswith(flag.instead or "leave it out.")


def test_several_flags_without_effect_are_told_at_once():
    message = refused("a fox --v 6 --style raw --stop 80 --weird 3").message
    assert message.endswith("Leave out `--stop` and `--weird` too.")


def test_a_style_of_midjourney_is_answered_too():
    with pytest.raises(PromptError, match="one of Midjourney's") as caught:
        resolved("a fox --style raw")
    assert caught.value.suggestion is None
    own = dataclasses.replace(EMOJI, styles={"raw": "{prompt}"}, default_style=None)
    assert resolved("a fox --style RAW", own).request.style == "raw"


@pytest.mark.parametrize("name", ["aquarelle", "öl", "水彩", "акварель", "หมึก", "जल-रंग", "v1.5_b"])
def test_a_style_has_a_name_in_any_script(name):
    checkpoint = dataclasses.replace(EMOJI, styles={name: "{prompt}"}, default_style=None)
    typed = unicodedata.normalize("NFD", name).upper()
    assert resolved(f"a fox --style {typed}", checkpoint).request.style == name


def test_a_list_of_what_to_avoid_may_have_commas_of_other_keyboards():
    assert parse("一只狐狸 --no 文字，边框、水印").negative == ("文字", "边框", "水印")


def test_the_pointer_is_two_lines_with_carets_below_the_place():
    text = "word " * 100 + "--arr 3:2 " + "--tile " * 3
    window, carets = refused(text).pointer().splitlines()
    start = carets.index("^")
    assert window[start : start + carets.count("^")] == "--arr"


def test_the_pointer_counts_in_the_text_as_typed():
    text = "a\u200b \u202e fox\n\n\t --arr"
    error = refused(text)
    assert text[error.position :][: error.length] == "--arr"
    window, carets = error.pointer().splitlines()
    assert window[carets.index("^") :].startswith("--arr")


@pytest.mark.parametrize(
    "text", ["a --style @everyone", "a --évil@here", "a::1e9@x::nan", "x <https://evil>"]
)
def test_messages_hold_none_of_the_persons_words(text):
    message = refused(text).message
    assert not set("@[]<>") & set(message)
    assert "vil" not in message


# --- links, weights, permutations ------------------------------------------------------------


def test_links_come_first_and_lose_their_brackets_and_commas():
    parsed = parse("<https://a.example/1.png>, http://b.example/2.webp?x=1&y={2} a fox")
    assert parsed.image_urls == ("https://a.example/1.png", "http://b.example/2.webp?x=1&y=2")
    assert parsed.prompts == (WeightedPrompt("a fox"),)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("fox::2 snow::1", [("fox", 2), ("snow", 1)]),
        ("hot:: dog", [("hot", 1), ("dog", 1)]),
        ("hot::dog", [("hot", 1), ("dog", 1)]),
        ("cube::3d render", [("cube", 1), ("3d render", 1)]),
        ("fox::2, snow::.5", [("fox", 2), ("snow", 0.5)]),
        ("fox snow::-.5 ice", [("fox snow", -0.5), ("ice", 1)]),
        ("fox::-0 ice", [("fox", 0), ("ice", 1)]),
        ("fox::", [("fox", 1)]),
        ("1:2 scale", [("1:2 scale", 1)]),
    ],
)
def test_two_colons_split_and_weigh(text, parts):
    assert [(part.text, part.weight) for part in parse(text).prompts] == parts


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("{red, green} {fox, owl}", ["red fox", "red owl", "green fox", "green owl"]),
        ("a {b {c, d}, e}", ["a b c", "a b d", "a e"]),
        (r"{red\, round, green} apple", ["red, round apple", "green apple"]),
        (r"\{a, b\}", ["{a, b}"]),
        (r"a \\\{b\} \c", [r"a \\{b} \c"]),
        ("{, big} fox", ["fox", "big fox"]),
        ("pre{a,b}post", ["preapost", "prebpost"]),
        ("fox", ["fox"]),
    ],
)
def test_braces_stand_for_every_combination(text, texts):
    assert list(expand(text)) == texts


def test_permutations_span_flags():
    jobs = parse_jobs("a fox --ar {1:1, 2:3} {--tile, --seed 7}")
    assert [(job.aspect, job.tile, job.seed) for job in jobs] == [
        ((1, 1), True, None),
        ((1, 1), False, 7),
        ((2, 3), True, None),
        ((2, 3), False, 7),
    ]


def test_repeats_multiply_permutations():
    jobs = parse_jobs("{a, b} fox --r 2")
    assert [job.prompts[0].text for job in jobs] == ["a fox", "a fox", "b fox", "b fox"]


def test_forty_jobs_are_the_most_and_five_need_no_question():
    assert len(parse_jobs("a fox --r 40")) == MAX_JOBS == 40
    assert CONFIRM_ABOVE == 5
    assert pointed_at("{a, b} fox --r 21") == "--r 21"
    assert pointed_at("a {1,2,3,4,5,6,7} b {1,2,3,4,5,6} c") == "{1,2,3,4,5,6,7} b {1,2,3,4,5,6}"
    assert refused("{a,b}" * 300).length == 1500


def test_parse_reads_one_job_only():
    with pytest.raises(PromptError, match="2 jobs"):
        parse("{a, b}")


def test_nesting_has_an_end():
    assert expand("{" * 8 + "a" + "}" * 8) == ("a",)
    assert "deep" in refused("{" * 900 + "a" + "}" * 900).message


# --- hostile text ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "   ", "\n\t", "\u200b\u200d\u2060", "\u202e", "\x00", "\u3164"]
)
def test_text_without_anything_visible_is_empty(text):
    assert refused(text).message.startswith("The prompt is empty")


@pytest.mark.parametrize("length", [2_001, 6_000, 20_001, 1_000_000])
def test_a_text_that_is_too_long_is_refused(length):
    error = refused("a" * length)
    assert "2,000" in error.message
    assert error.position == 2_000
    assert len(error.pointer().splitlines()) == 2


def test_two_thousand_visible_characters_are_enough():
    assert len(parse("\u200b".join("a" * 2_000)).prompts[0].text) == 2_000


@pytest.mark.parametrize(
    ("typed", "clean"),
    [
        ("a\u200bb", "ab"),
        ("abc\u202edef\u202c", "abcdef"),
        ("a\x00\x1b[31mb", "a[31mb"),
        ("a\u00a0\u3000\n b", "a b"),
        ("z\u0335\u0321\u0322\u0348a", "z\u0335\u0321a"),
        ("Vie\u0323\u0302t", "Vie\u0323\u0302t"),
        ("\U0001f469\u200d\U0001f680 x", "\U0001f469\u200d\U0001f680 x"),
        ("\u2764\ufe0f\u200d\U0001f525", "\u2764\ufe0f\u200d\U0001f525"),
        ("fox\u200d\u200dowl", "foxowl"),
        ("a\U000e0061\U000e0100b", "ab"),
        ("\ud800fox\uffff", "fox"),
        ("مرحبا שלום", "مرحبا שלום"),
        ("हिन्दी ไก่", "हिन्दी ไก่"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क\u094d\u200dष ന\u0d4d\u200d", "क\u094d\u200dष ന\u0d4d\u200d"),
        ("f\u200cox ف\u200c \u200dف", "fox ف ف"),
        ("သို့ שּׁ\u05b8", "သို့ שּׁ\u05b8"),
        ("x" + "\u05b8" * 9 + "\u0301" * 9, "x" + "\u05b8" * 4),
        ("@everyone **x** `y`", "@everyone **x** `y`"),
    ],
)
def test_cleaning_removes_what_cannot_be_seen_and_nothing_else(typed, clean):
    assert parse(typed).prompts[0].text == clean


# --- the document ----------------------------------------------------------------------------


def blocks(heading):
    section = DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```text\n(.*?)```", section, re.DOTALL)


def test_the_documented_table_of_flags_is_the_codes():
    assert flag_table() in DOCUMENT


def test_the_documented_table_of_midjourneys_flags_is_the_codes():
    assert elsewhere_table() in DOCUMENT


def test_every_documented_example_is_accepted():
    first = re.findall(r"```text\n(.*?)```", DOCUMENT, re.DOTALL)[0]
    examples = [*first.splitlines(), *blocks("Examples")[0].splitlines()]
    assert len(examples) > 10
    for example in examples:
        for job in parse_jobs(example):
            assert parse(to_text(job)) == job


def test_every_documented_refusal_is_refused():
    for example in blocks("Refused")[0].splitlines():
        assert refused(example).pointer()


def test_the_numbers_in_the_document_are_the_codes():
    assert f"at most {MAX_JOBS} jobs" in DOCUMENT
    assert f"more than {CONFIRM_ABOVE} are confirmed" in DOCUMENT
    assert strength_of(None) == strength_of(1) == 0.6
    assert [strength_of(weight) for weight in (0, 2, 3)] == [0.9, 0.3, 0.05]


# --- resolving -------------------------------------------------------------------------------

EMOJI = Checkpoint(
    name="atelier-emoji",
    title="Atelier Emoji",
    family="slots",
    source="somewhere",
    width=128,
    height=128,
    size_multiple=32,
    num_inference_steps=12,
    guidance_scale=2.5,
    styles={"3d": "{prompt}, 3d style", "flat": "{prompt}, flat style"},
    default_style="3d",
    vocabulary=("fox", "red apple", "cherries", "police car", "heart eyes face"),
    honours=frozenset({"ar", "negative", "image", "weights", "quality", "stylize"}),
)
PLAIN = dataclasses.replace(
    EMOJI, name="plain", styles={}, default_style=None, vocabulary=(), honours=frozenset()
)


def resolved(text, checkpoint=EMOJI, **changes):
    arguments = {"checkpoint": checkpoint, "seed": 1, "num_images": 4, **changes}
    return resolve(parse(text), **arguments)


def test_a_bare_prompt_is_drawn_as_the_checkpoint_likes_it_without_notes():
    assert resolved("a fox") == type(resolved("a fox"))(
        Imagine(
            prompts=(WeightedPrompt("a fox"),),
            model="atelier-emoji",
            seed=1,
            width=128,
            height=128,
            num_inference_steps=12,
            guidance_scale=2.5,
            style="3d",
            template="{prompt}, 3d style",
            num_images=4,
        ),
        (),
    )


def test_flags_go_before_the_other_arguments():
    request = resolved(
        "a fox --seed 7 --style FLAT --no text", negative_prompt="frame", default_style="3d"
    ).request
    assert (request.seed, request.style, request.negative_prompt) == (7, "flat", "text, frame")


def test_the_usual_number_is_drawn_for_a_scorer_to_pick_from_and_the_reply_says_so():
    judged = dataclasses.replace(EMOJI, scorer="folder")
    request, notes = (
        (found := resolved("a fox", judged, num_images=1, usual_images=4)).request,
        found.notes,
    )
    assert (request.num_images, request.num_candidates) == (1, 4)
    assert any("best 1 of 4" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "scorer", "usual_images"),
    [("a fox", "", 4), ("a fox --seed 7", "folder", 4), ("a fox", "folder", 2)],
)
def test_nothing_is_picked_without_a_scorer_from_a_given_seed_or_where_all_are_wanted(
    text, scorer, usual_images
):
    judged = dataclasses.replace(EMOJI, scorer=scorer)
    found = resolved(text, judged, num_images=2, usual_images=usual_images)
    assert (found.request.num_images, found.request.num_spare, found.notes) == (2, 0, ())


@pytest.mark.parametrize(
    ("text", "expected", "note"),
    [
        ("a fox --ar 16:9", {"width": 160, "height": 96}, "`--ar 16:9` becomes 160×96 (5:3)."),
        ("a fox --ar 2:1", {"width": 192, "height": 96}, "trained on square pictures"),
        ("a fox --s 0", {"guidance_scale": 1.0}, None),
        ("a fox --s 50", {"guidance_scale": 1.75}, None),
        ("a fox --s 100", {"guidance_scale": 2.5}, None),
        ("a fox --s 1000", {"guidance_scale": 5.0}, None),
        ("a fox --q .5", {"num_inference_steps": 6}, None),
        ("a fox --q 2", {"num_inference_steps": 24}, None),
        ("a fox --tile", {}, "`--tile` has no effect on `atelier-emoji`."),
        ("a fox --c 10", {}, "`--c` has no effect on `atelier-emoji`."),
        ("a fox --iw 2", {}, "`--iw` has no effect without a picture."),
        ("a fox::3", {"prompts": (WeightedPrompt("a fox"),)}, "only one part"),
        ("https://a.example/b.png a fox", {}, "The link has no effect"),
        ("a fox --s 0 --no text", {"negative_prompt": "text"}, "without guidance"),
    ],
)
def test_each_adjustment_is_made_and_said(text, expected, note):
    result = resolved(text)
    assert {name: getattr(result.request, name) for name in expected} == expected
    assert (note is None) == (result.notes == ())
    assert note is None or any(note in said for said in result.notes)


def test_weights_reach_a_checkpoint_that_honours_them():
    request = resolved("fox::2 heart::-.5").request
    assert request.prompts == (WeightedPrompt("fox", 2.0), WeightedPrompt("heart", -0.5))


def test_a_checkpoint_without_weights_draws_one_prompt_and_avoids_the_negative_parts():
    checkpoint = dataclasses.replace(EMOJI, honours=frozenset({"negative"}))
    result = resolved("fox::2 apple::1 heart::-.5", checkpoint)
    assert result.request.prompts == (WeightedPrompt("fox, apple"),)
    assert result.request.negative_prompt == "heart"
    assert len(result.notes) == 1


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.field)
def test_a_checkpoint_that_honours_nothing_says_so_for_every_flag(flag):
    if flag.field in {"seed", "repeat", "model", "style"}:
        return  # these are honoured, or refused, for every checkpoint
    result = resolved(f"a fox {flag.example}", PLAIN, image=START)
    assert any("no effect" in note for note in result.notes)
    assert type(result.request) is Imagine


@pytest.mark.parametrize("ability", sorted(ABILITIES - {"chaos", "tile"}))
def test_what_a_checkpoint_honours_changes_the_request_and_needs_no_excuse(ability):
    texts = {
        "ar": "a fox --ar 2:1",
        "negative": "a fox --no text",
        "image": "a fox --iw 1.5",
        "weights": "a fox::2 snow::1",
        "quality": "a fox --q 2",
        "stylize": "a fox --s 500",
    }
    checkpoint = dataclasses.replace(PLAIN, honours=frozenset({ability}))
    image = START if ability == "image" else None
    result = resolved(texts[ability], checkpoint, image=image)
    assert result.notes == ()
    assert result.request != resolved("a fox", checkpoint).request


def test_a_picture_to_start_from_gets_its_strength_from_its_weight():
    request = resolved("a fox --iw 2", image=START).request
    assert (request.start, request.strength) == (START, 0.3)
    assert resolved("a fox", image=START).request.strength == 0.6


def test_more_guidance_and_steps_than_there_are_become_the_most():
    checkpoint = dataclasses.replace(EMOJI, guidance_scale=20.0, num_inference_steps=100)
    result = resolved("a fox --s 1000 --q 2", checkpoint)
    assert (result.request.guidance_scale, result.request.num_inference_steps) == (30.0, 150)
    assert len(result.notes) == 2


def test_a_style_the_checkpoint_lacks_is_refused_at_its_place_with_the_nearest():
    with pytest.raises(PromptError, match="Did you mean `flat`") as caught:
        resolved("a fox --style flatt")
    error = caught.value
    assert error.text[error.position :][: error.length] == "--style flatt"
    with pytest.raises(PromptError) as caught:
        check_style("flatt", EMOJI)
    assert caught.value.pointer() == ""


def test_a_usual_style_the_checkpoint_lacks_is_left_out_and_said():
    result = resolved("a fox", default_style="oil")
    assert result.request.style == "3d"
    assert "usual style" in result.notes[0]


def test_the_model_is_chosen_by_name_or_is_the_usual_one():
    checkpoints = {"atelier-emoji": EMOJI, "pattern": PATTERN}
    assert choose_model(None, checkpoints, "pattern") is PATTERN
    assert choose_model("Pattern", checkpoints, "atelier-emoji") is PATTERN
    with pytest.raises(PromptError, match="Did you mean `pattern`"):
        choose_model("patern", checkpoints, "pattern")
    with pytest.raises(UnknownCheckpoint):
        choose_model(None, checkpoints, "gone")


def test_an_unknown_model_is_pointed_at_where_it_was_typed():
    parsed = parse("a fox --model patern")
    with pytest.raises(PromptError) as caught:
        choose_model(parsed.model, {"pattern": PATTERN}, "pattern", parsed=parsed)
    assert caught.value.pointer().splitlines()[1].count("^") == len("--model patern")


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(InvalidRequest, match="seed"):
        resolved("a fox", seed=seed)
