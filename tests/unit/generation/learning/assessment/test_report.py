"""A report says what was found: as a page on its own, as JSON, and in a table."""

import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from rich.table import Table

from bot.terminal import assessment as terminal
from generation.learning.assessment import plots, report
from generation.learning.assessment.assess import Assessment, Report, assess
from generation.learning.assessment.explanations import EXPLANATIONS, explanation_of
from generation.learning.assessment.figures import DRAWN, REAL, UNTRAINED, Estimate, Figure
from generation.learning.dataset.stored import Dataset
from generation.learning.recipes.work import Work
from tests.unit.generation.learning.assessment.world import EVERYDAY

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SETTINGS = Assessment(
    known_pairs=9,
    unseen_pairs=3,
    unseen_concepts=3,
    everyday={**EVERYDAY, "a red circle": "red circle"},
    population=30,
    among=10,
    closest=3,
    dtype="float32",
)


@pytest.fixture(scope="module")
def found(work: Work, dataset: Dataset) -> Report:
    return assess(work.checkpoint("diffusion"), dataset, work.checkpoint("scorer"), SETTINGS)


def figure(metric: str, drawn: float, untrained: float, noise: float = 0.1) -> Figure:
    values = {DRAWN: Estimate(drawn, noise), UNTRAINED: Estimate(untrained, noise)}
    return Figure(metric, "all", "all", 9, values)


def test_what_was_found_is_said_in_three_sentences_that_hold_the_figures(found: Report) -> None:
    recognised, learned, reached = report.in_words(found)
    (recall,) = (
        each for each in found.figures if each.slice_kind == "all" and each.metric[:3] == "r@1"
    )
    assert f"finds the words of {100 * recall.drawn.value:.0f}" in recognised
    verdicts = [row.verdict for row in report.summary(found) if row.verdict]
    assert f"better in {verdicts.count('better')} of {len(verdicts)} figures" in learned
    met = [row.target for row in report.targets(found) if row.verdict == "met"]
    assert f"reaches {len(met)} of its 6 targets" in reached
    assert not any(target in reached.partition("not yet")[2] for target in met)
    assert report.in_words(dataclasses.replace(found, targets=(), figures=())) == ()


def test_json_and_page_hold_what_was_found(found: Report, tmp_path: Path) -> None:
    as_json, as_page = report.write(found, tmp_path / "new" / "folder")
    read = json.loads(as_json.read_text(encoding="utf-8"))
    assert read == json.loads(json.dumps(report.to_json(found)))
    assert read["schema_version"] == report.SCHEMA_VERSION
    assert read["checkpoint"]["sha256"] == dict(found.about.sha256)
    assert len(read["figures"]) == len(found.figures)
    assert len(read["prompts"]) == 15 + len(EVERYDAY)
    assert len(read["targets"]) == len(found.targets) == 6
    assert read["left_out"] == {"a red circle": "it is a caption of the dataset"}
    with Image.open(as_page.with_name(report.SHEET_NAME)) as sheet:
        assert sheet.width > 100
    text = as_page.read_text(encoding="utf-8")
    for metric in {each.metric for each in found.figures}:
        assert metric in text
    for row in report.targets(found):
        assert row.target in text
    assert f'href="{report.CLOSEST_NAME}"' in text
    with Image.open(as_page.parent / report.CLOSEST_NAME) as sheet:
        assert sheet.width > 128 * len(found.closest)


def test_page_needs_nothing_else_and_believes_no_name(found: Report) -> None:
    text = report.page(found)
    assert set(re.findall(r'(?:src|href)="(\w+):', text)) == {"data"}
    assert "http" not in text.replace('http-equiv="Content', "")
    assert "Toy &lt;b&gt;" in text
    assert "Toy <b>" not in text


def printed(table: Table) -> str:
    console = Console(width=250, file=io.StringIO())
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_several_checkpoints_are_told_side_by_side(found: Report) -> None:
    other = dataclasses.replace(found, about=dataclasses.replace(found.about, name="other"))
    text = printed(terminal.metrics_table([found, other]))
    assert re.search(r"metric +┃ toy +┃ other +┃ untrained", text)
    for row in report.summary(found):
        (line,) = (line for line in text.splitlines() if f" {row.metric} " in line)
        assert line.count(row.drawn) >= 2
    targets = terminal.targets_table([found, other])
    assert targets is not None
    for row in report.targets(found):
        (line,) = (line for line in printed(targets).splitlines() if row.target in line)
        assert line.count(row.verdict) == 2


def test_what_draws_nothing_from_words_has_no_targets(found: Report) -> None:
    assert terminal.targets_table([dataclasses.replace(found, targets=())]) is None


def test_every_look_that_was_held_back_from_the_scorer_is_told(found: Report) -> None:
    text = printed(terminal.scorer_table(found.of_scorer))
    assert "all looks" in text
    assert all(look in text for look in found.of_scorer)


def test_every_metric_over_all_prompts_is_one_row(found: Report) -> None:
    rows = report.summary(found)
    expected = {*EXPLANATIONS, "r@1-of-10"} - {"r@1", "psnr"}
    assert {row.metric for row in rows} == expected
    assert len(rows) == len(expected)
    for row in rows:
        assert "±" in row.drawn
        assert "±" in row.untrained
        assert "±" in row.real


def test_two_untaught_checkpoints_are_not_told_apart_by_what_they_draw(found: Report) -> None:
    verdicts = {row.metric: row.verdict for row in report.summary(found)}
    assert verdicts["r@1-of-10"] == "within noise"
    assert verdicts["look-accuracy"] == "within noise"
    assert verdicts["diversity-scorer"] == ""


def test_better_depends_on_the_metrics_direction_and_on_noise() -> None:
    assert report.verdict(figure("fd-scorer", 1, 9)) == "better"
    assert report.verdict(figure("fd-scorer", 9, 1)) == "worse"
    assert report.verdict(figure("recall-scorer", 0.9, 0.1)) == "better"
    assert report.verdict(figure("recall-scorer", 0.5, 0.4)) == "within noise"
    assert report.verdict(figure("memorisation-scorer", 1, 0)) == ""


def test_recall_among_any_number_of_captions_has_one_explanation() -> None:
    assert explanation_of("r@1-of-100") is explanation_of("r@1-of-7") is EXPLANATIONS["r@1"]


def test_a_plot_grows_with_its_slices_and_shows_what_is_there() -> None:
    one = figure("fd-scorer", 1, 9)
    real_only = Figure(
        "fd-scorer", "look", "flat", 4, {DRAWN: Estimate(1, 0), REAL: Estimate(2, 0)}
    )
    short, long = plots.draw([one]), plots.draw([one, real_only] * 4)
    assert isinstance(short, Image.Image)
    assert long.height > short.height
    assert plots.label_of(one) == "all (9)"
    assert plots.label_of(real_only) == "look flat (4)"
