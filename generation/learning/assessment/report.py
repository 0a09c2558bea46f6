"""Tell what an assessment found: to programs as JSON, to people as one page and one table."""

import base64
import dataclasses
import importlib.metadata
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from generation.learning.assessment import plots, sheets
from generation.learning.assessment.assess import Report
from generation.learning.assessment.explanations import HIGHER, LOWER, R_AT_1, explanation_of
from generation.learning.assessment.figures import (
    DRAWN,
    REAL,
    SHUFFLED,
    UNTRAINED,
    Estimate,
    Figure,
)
from generation.learning.assessment.targets import Outcome

SCHEMA_VERSION = 2
JSON_NAME, HTML_NAME, CLOSEST_NAME = "report.json", "report.html", "closest.png"
SHEET_NAME = "sheet.png"
TEMPLATES = Path(__file__).parent / "templates"
LIBRARIES = ("torch", "diffusers", "transformers", "numpy")
MET, NOT_MEASURED = "met", "not measured"
SURE = 2.0  # standard deviations between two values before they count as different


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One line of the table in a terminal, ready to print.

    Attributes:
        better: Which way is better.
        verdict: Against the untrained checkpoint: `better`, `worse`, `within noise`, or empty
            where better has no direction.
    """

    metric: str
    drawn: str
    untrained: str
    real: str
    shuffled: str
    better: str
    verdict: str


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One target in a terminal, ready to print.

    Attributes:
        drawn: What the checkpoint gets.
        verdict: `met`, `missed by` how much, or `not measured`.
    """

    target: str
    wanted: str
    real: str
    drawn: str
    verdict: str


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write `report.json`, `report.html`, the sheet and that of closest pairs; return the first two."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_page = folder / JSON_NAME, folder / HTML_NAME
    text = json.dumps(to_json(report), indent=1, ensure_ascii=False)
    as_json.write_text(f"{text}\n", encoding="utf-8")
    as_page.write_text(page(report), encoding="utf-8")
    if looks := [sheet for _, sheet in sheets.of_looks(report)]:
        sheets.stacked(looks).save(folder / SHEET_NAME, optimize=True)
    if report.closest:
        sheets.of_closest(report).save(folder / CLOSEST_NAME, optimize=True)
    return as_json, as_page


def to_json(report: Report) -> dict[str, Any]:
    """Return everything but the pictures as plain JSON."""
    rows = report.dataset.rows
    return {
        "schema_version": SCHEMA_VERSION,
        "checkpoint": {
            "name": report.about.name,
            "kind": report.about.kind,
            "side_px": report.about.side_px,
            "sha256": dict(report.about.sha256),
        },
        "dataset": {"fingerprint": report.dataset.fingerprint, "pictures": len(rows)},
        "scorer": {"sha256": dict(report.scorer_sha256)},
        "settings": dataclasses.asdict(dataclasses.replace(report.settings, everyday={}))
        | {"everyday": dict(report.settings.everyday)},
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "targets": [_target_to_json(outcome) for outcome in report.targets],
        "figures": [dataclasses.asdict(figure) for figure in report.figures],
        "of_scorer": {look: dataclasses.asdict(each) for look, each in report.of_scorer.items()},
        "timing": dataclasses.asdict(report.timing)
        | {"floor_s": report.timing.floor_s, "share": report.timing.share},
        "closest": [
            {
                "prompt": report.prompts[pair.prompt].text,
                "training_picture": rows[pair.row].key,
                "ratio": pair.ratio,
                **dataclasses.asdict(pair),
            }
            for pair in report.closest
        ],
        "prompts": [
            {"text": prompt.text, "group": prompt.group, "row": rows[prompt.row].key}
            for prompt in report.prompts
        ],
        "left_out": dict(report.left_out),
    }


def in_words(report: Report) -> tuple[str, ...]:
    """Return what was found in up to three sentences, for people who know none of the metrics."""
    rows = summary(report)
    return tuple(filter(None, (_recognised(report), _learned(rows), _reached(targets(report)))))


def _recognised(report: Report) -> str:
    everything = [each for each in report.figures if each.slice_kind == "all"]
    found = next((each for each in everything if each.metric.startswith(R_AT_1)), None)
    if found is None:
        return ""
    beside = [
        f"{100 * found.estimates[source].value:.0f} {words}"
        for source, words in ((REAL, "of real ones"), (SHUFFLED, "where words and picture differ"))
        if source in found.estimates
    ]
    share = f"Of 100 drawn pictures the scorer finds the words of {100 * found.drawn.value:.0f}"
    return f"{share}{' (' + ', '.join(beside) + ')' if beside else ''}."


def _learned(rows: Sequence[SummaryRow]) -> str:
    verdicts = Counter(row.verdict for row in rows if row.verdict)
    if not verdicts:
        return ""
    told = f"better in {verdicts['better']} of {verdicts.total()} figures"
    if verdicts["worse"]:
        told += f" and worse in {verdicts['worse']}"
    return f"Beside the same network untrained it is {told}."


def _reached(rows: Sequence[TargetRow]) -> str:
    if not rows:
        return ""
    met = sum(row.verdict == MET for row in rows)
    missed = [row.target for row in rows if row.verdict not in {MET, NOT_MEASURED}]
    rest = f"; not yet: {', '.join(missed)}" if missed else ""
    return f"It reaches {met} of its {len(rows)} targets{rest}."


def summary(report: Report) -> list[SummaryRow]:
    """Return the metrics over all prompts, one row each."""
    return [_summary_row(figure) for figure in report.figures if figure.slice_kind == "all"]


def targets(report: Report) -> list[TargetRow]:
    """Return what became of the targets, one row each."""
    return [
        TargetRow(
            target=outcome.target,
            wanted=_wanted(outcome),
            real=_told(outcome.real)
            + (f" (trained {_told(outcome.trained)})" if outcome.trained else ""),
            drawn=_drawn(outcome),
            verdict=_missed(outcome),
        )
        for outcome in report.targets
    ]


def verdict(figure: Figure) -> str:
    """Say whether a figure is better than the untrained checkpoint's by more than its noise."""
    better = explanation_of(figure.metric).better
    untrained = figure.estimates.get(UNTRAINED)
    if better not in {HIGHER, LOWER} or untrained is None:
        return ""
    gain = figure.drawn.value - untrained.value
    if better == LOWER:
        gain = -gain
    if abs(gain) <= SURE * np.hypot(figure.drawn.noise, untrained.noise):
        return "within noise"
    return "better" if gain > 0 else "worse"


def page(report: Report) -> str:
    """Return one HTML page that needs nothing else: plots, sheets and what they mean."""
    # Imported here: part of an optional extra.
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    metrics = list(dict.fromkeys(figure.metric for figure in report.figures))
    return environment.get_template("report.html").render(
        report=report,
        summary=summary(report),
        targets=targets(report),
        metrics=[
            {
                "name": metric,
                "explanation": explanation_of(metric),
                "plot": embed(plots.draw([f for f in report.figures if f.metric == metric])),
            }
            for metric in metrics
        ],
        looks=[{"look": look, "sheet": embed(each)} for look, each in sheets.of_looks(report)],
        closest=embed(sheets.of_closest(report)) if report.closest else "",
        closest_name=CLOSEST_NAME,
        details=json.dumps(
            {key: value for key, value in to_json(report).items() if key not in LONG}, indent=1
        ),
    )


LONG = (
    "figures",
    "targets",
    "of_scorer",
    "prompts",
    "left_out",
    "closest",
)  # in the JSON file, too long for the page


def embed(picture: Image.Image) -> str:
    """Return a picture as a data URL."""
    written = io.BytesIO()
    picture.save(written, "webp", quality=90)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"


def _summary_row(figure: Figure) -> SummaryRow:
    shown = {source: _told(estimate) for source, estimate in figure.estimates.items()}
    return SummaryRow(
        metric=figure.metric,
        drawn=shown[DRAWN],
        untrained=shown.get(UNTRAINED, ""),
        real=shown.get(REAL, ""),
        shuffled=shown.get(SHUFFLED, ""),
        better=explanation_of(figure.metric).better,
        verdict=verdict(figure),
    )


def _told(estimate: Estimate | None) -> str:
    return f"{estimate.value:.3g} ± {estimate.noise:.1g}" if estimate else ""


def _wanted(outcome: Outcome) -> str:
    border = f"{'at least' if outcome.is_least else 'at most'} {outcome.wanted:g}"
    return f"{border} of real" if outcome.of_real else border


def _drawn(outcome: Outcome) -> str:
    if outcome.figure is None or not outcome.of_real or outcome.found is None:
        return _told(outcome.found)
    return f"{outcome.figure.drawn.value:.3g} = {_told(outcome.found)} of real"


def _missed(outcome: Outcome) -> str:
    if outcome.missing is None:
        return NOT_MEASURED
    return f"missed by {outcome.missing:.2g}" if outcome.missing else MET


def _target_to_json(outcome: Outcome) -> dict[str, Any]:
    """Return a target with its derived values, without the figure that is listed elsewhere."""
    found, missing = outcome.found, outcome.missing
    return {
        "target": outcome.target,
        "wanted": outcome.wanted,
        "is_least": outcome.is_least,
        "of_real": outcome.of_real,
        "found": dataclasses.asdict(found) if found else None,
        "real": dataclasses.asdict(outcome.real) if outcome.real else None,
        "trained": dataclasses.asdict(outcome.trained) if outcome.trained else None,
        "missing": missing,
    }
