import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from generation.learning.assessment.human import (
    Contender,
    ResultsError,
    comparisons_in,
    write_page,
)
from generation.learning.metrics.preference import rank
from generation.work.comparisons import LOSS, TIE, WIN, Comparison

PROMPTS = tuple(f"thing {number}" for number in range(40))


def contender(name, grey):
    """Pictures that tell their question and their maker by colour."""
    pictures = np.full((len(PROMPTS), 4, 4, 3), grey, np.uint8)
    pictures[..., 0] = np.arange(len(PROMPTS))[:, None, None]
    return Contender(name, pictures)


def questions_of(page):
    html = page.read_text(encoding="utf-8")
    (found,) = re.findall(r'type="application/json">(.*?)</script>', html, re.DOTALL)
    return json.loads(found)


def pixel(url):
    encoded = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    return Image.open(io.BytesIO(encoded)).getpixel((0, 0))


def key_of(page):
    return json.loads(page.with_name(f"{page.stem}.key.json").read_text())


def answer(folder, page, choices, name="answers.json", session="s", saved_at="2026-01-01"):
    path = folder / name
    saved = {
        "page": page.stem,
        "session": session,
        "saved_at": saved_at,
        "choices": [{"choice": choice, "seconds": 1.0} for choice in choices],
    }
    path.write_text(json.dumps(saved))
    return path


@pytest.fixture
def page(tmp_path):
    return write_page(contender("old", 10), contender("new", 20), PROMPTS, tmp_path / "out")


def test_every_question_shows_both_pictures_of_its_prompt_on_the_sides_of_the_key(page):
    questions, key = questions_of(page), key_of(page)
    assert sorted(q["prompt"] for q in questions) == sorted(PROMPTS)
    for question, left in zip(questions, key["lefts"], strict=True):
        number = PROMPTS.index(question["prompt"])
        greys = (10, 20) if left == "old" else (20, 10)
        for side, grey in zip(("left", "right"), greys, strict=True):
            assert pixel(question[side]) == (number, grey, grey)


def test_lots_mix_order_and_sides_and_the_same_seed_draws_them_again(page, tmp_path):
    assert [q["prompt"] for q in questions_of(page)] != list(PROMPTS)
    assert 10 <= key_of(page)["lefts"].count("old") <= 30
    contenders = contender("old", 10), contender("new", 20)
    again = write_page(*contenders, PROMPTS, tmp_path / "again")
    other = write_page(*contenders, PROMPTS, tmp_path / "again", seed=1)
    assert again.read_bytes() == page.read_bytes()
    assert again.name == page.name != other.name
    assert key_of(other)["lefts"] != key_of(page)["lefts"]


def test_a_prompt_cannot_break_out_of_the_page(tmp_path):
    prompt = "</script><script>alert(1)</script>"
    pictures = np.zeros((1, 4, 4, 3), np.uint8)
    page = write_page(Contender("a", pictures), Contender("b", pictures), [prompt], tmp_path)
    assert questions_of(page)[0]["prompt"] == prompt
    assert "<script>alert" not in page.read_text(encoding="utf-8")


def test_the_page_asks_no_other_machine(page):
    html = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|src=\"(?!data:)|@import|url\(", html)


def test_answers_count_for_whom_the_key_says(page, tmp_path):
    lefts = key_of(page)["lefts"]
    choices = ["left" if left == "new" else "right" for left in lefts[:-2]] + ["tie"] * 2
    path = answer(tmp_path, page, choices)
    best, worst = rank(comparisons_in([path], page.parent)).standings
    assert (best.name, best.points, best.comparisons) == ("new", 39.0, 40)
    assert (worst.name, worst.points) == ("old", 1.0)


def test_sides_are_told_apart(page, tmp_path):
    left = key_of(page)["lefts"][0]
    (right,) = {"old", "new"} - {left}
    for choice, score in (("left", WIN), ("right", LOSS), ("tie", TIE)):
        path = answer(tmp_path, page, [choice])
        assert comparisons_in([path], page.parent) == [Comparison(left, right, score)]


def test_a_session_saved_twice_counts_once_and_the_later_file_counts(page, tmp_path):
    later = answer(tmp_path, page, ["left"] * 5, "all.json", saved_at="2026-01-02")
    early = answer(tmp_path, page, ["left"] * 2, "some.json", saved_at="2026-01-01")
    other = answer(tmp_path, page, ["left"], "other.json", session="t")
    for order in ([early, later], [later, early], [later, later]):
        assert len(comparisons_in(order, page.parent)) == 5
    assert len(comparisons_in([early, other], page.parent)) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold one JSON object"),
        ('{"x": ' * 100_000, "nested too deeply"),
        ('{"x": ' + "9" * 5_000 + "}", "a number in it is too large"),
        (
            '{"page": "' + "a" * 5_000 + '", "session": "s", "saved_at": "x", "choices": []}',
            "key is not in",
        ),
        ('{"choices": []}', "damaged"),
        ('{"page": "PAGE", "session": "s", "saved_at": "x", "choices": [{}]}', "damaged"),
        (
            '{"page": "PAGE", "session": "s", "saved_at": "x", "choices": [{"choice": "up"}]}',
            "damaged",
        ),
        ('{"page": "feed", "session": "s", "saved_at": "x", "choices": []}', "key is not in"),
        ('{"page": "../PAGE", "session": "s", "saved_at": "x", "choices": []}', "key is not in"),
    ],
)
def test_what_is_no_answer_is_refused_by_name(page, tmp_path, content, message):
    path = tmp_path / "answers.json"
    path.write_text(content.replace("PAGE", page.stem))
    with pytest.raises(ResultsError, match=message) as caught:
        comparisons_in([path], page.parent)
    assert "answers.json" in str(caught.value)


def test_more_answers_than_questions_are_refused(page, tmp_path):
    path = answer(tmp_path, page, ["tie"] * (len(PROMPTS) + 1))
    with pytest.raises(ResultsError, match="damaged"):
        comparisons_in([path], page.parent)


def test_a_missing_file_is_named(page, tmp_path):
    with pytest.raises(ResultsError, match="nowhere"):
        comparisons_in([tmp_path / "nowhere.json"], page.parent)


def test_two_of_one_name_cannot_be_told_apart(tmp_path):
    with pytest.raises(ValueError, match="both checkpoints are called 'a'"):
        write_page(contender("a", 1), contender("a", 2), PROMPTS, tmp_path)


def test_each_prompt_needs_both_pictures(tmp_path):
    with pytest.raises(ValueError, match="39 prompts, 40 and 40 pictures"):
        write_page(contender("a", 1), contender("b", 2), PROMPTS[1:], tmp_path)
