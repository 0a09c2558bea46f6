"""Tell what an assessment found: to programs as JSON, to people as one page and one table."""

import base64
import dataclasses
import importlib.metadata
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from generation.assessment import plots
from generation.assessment.assess import Report
from generation.assessment.explanations import HIGHER, LOWER, explanation_of
from generation.assessment.figures import DRAWN, REAL, SHUFFLED, UNTRAINED, Figure
from generation.assessment.judge import Pictures, real_pictures, to_pictures
from generation.training import sheet

SCHEMA_VERSION = 1
JSON_NAME, HTML_NAME = "report.json", "report.html"
TEMPLATES = Path(__file__).parent / "templates"
LIBRARIES = ("torch", "diffusers", "transformers", "numpy")
SHEET_COLUMNS, SHEET_SIDE_PX = 8, 128
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


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write `report.json` and `report.html`; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_page = folder / JSON_NAME, folder / HTML_NAME
    text = json.dumps(to_json(report), indent=1, ensure_ascii=False)
    as_json.write_text(f"{text}\n", encoding="utf-8")
    as_page.write_text(page(report), encoding="utf-8")
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
        "settings": dataclasses.asdict(report.settings),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "figures": [dataclasses.asdict(figure) for figure in report.figures],
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
    }


def summary(report: Report) -> list[SummaryRow]:
    """Return the metrics over all prompts, one row each."""
    return [_summary_row(figure) for figure in report.figures if figure.slice_kind == "all"]


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
        metrics=[
            {
                "name": metric,
                "explanation": explanation_of(metric),
                "plot": embed(plots.draw([f for f in report.figures if f.metric == metric])),
            }
            for metric in metrics
        ],
        looks=list(_look_sheets(report)),
        closest=embed(_closest_sheet(report)) if report.closest else "",
        details=json.dumps(
            {key: value for key, value in to_json(report).items() if key not in LONG}, indent=1
        ),
    )


LONG = ("figures", "prompts", "closest")  # in the JSON file, too long for the page


def embed(picture: Image.Image) -> str:
    """Return a picture as a data URL."""
    written = io.BytesIO()
    picture.save(written, "webp", quality=90)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"


def _summary_row(figure: Figure) -> SummaryRow:
    shown = {
        source: f"{estimate.value:.3g} ± {estimate.noise:.1g}"
        for source, estimate in figure.estimates.items()
    }
    return SummaryRow(
        metric=figure.metric,
        drawn=shown[DRAWN],
        untrained=shown.get(UNTRAINED, ""),
        real=shown.get(REAL, ""),
        shuffled=shown.get(SHUFFLED, ""),
        better=explanation_of(figure.metric).better,
        verdict=verdict(figure),
    )


def _look_sheets(report: Report) -> Iterator[dict[str, str]]:
    """Yield for each look a sheet: what was drawn above what the dataset has."""
    for look in report.dataset.looks:
        asked = [
            number
            for number, prompt in enumerate(report.prompts)
            if report.dataset.rows[prompt.row].look == look
        ]
        # A few of each group of prompts, not only the first group's.
        stride = max(1, len(asked) // SHEET_COLUMNS)
        numbers = asked[::stride][:SHEET_COLUMNS]
        if numbers:
            prompts = [report.prompts[number] for number in numbers]
            drawn = report.pictures[0, numbers]
            real = _real(report, [prompt.row for prompt in prompts])
            labels = [prompt.text.removesuffix(f", {look} style") for prompt in prompts]
            labels += [prompt.group.value for prompt in prompts]
            both = np.concatenate([drawn, real])
            yield {"look": look, "sheet": embed(_sheet(both, labels, len(numbers)))}


def _closest_sheet(report: Report) -> Image.Image:
    """Draw each of the closest pairs: the drawn picture above the training picture."""
    drawn = report.pictures[
        [pair.turn for pair in report.closest], [pair.prompt for pair in report.closest]
    ]
    real = _real(report, [pair.row for pair in report.closest])
    labels = [report.prompts[pair.prompt].text for pair in report.closest]
    below = [f"{report.dataset.rows[pair.row].key} {pair.ratio:.2f}" for pair in report.closest]
    strips = [
        _sheet(
            np.concatenate([drawn[start:end], real[start:end]]),
            labels[start:end] + below[start:end],
            end - start,
        )
        for start, end in _spans(len(labels))
    ]
    sheet_image = Image.new(
        "RGB", (max(each.width for each in strips), sum(each.height for each in strips)), "white"
    )
    top = 0
    for strip in strips:
        sheet_image.paste(strip, (0, top))
        top += strip.height
    return sheet_image


def _spans(count: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, SHEET_COLUMNS):
        yield start, min(start + SHEET_COLUMNS, count)


def _real(report: Report, rows: Sequence[int]) -> Pictures:
    numbers = torch.tensor(rows, dtype=torch.int64)
    return to_pictures(real_pictures(report.dataset, numbers, report.about.side_px))


def _sheet(pictures: Pictures, labels: Sequence[str], columns: int) -> Image.Image:
    size = (SHEET_SIDE_PX, SHEET_SIDE_PX)
    images = [Image.fromarray(each).resize(size, Image.Resampling.BICUBIC) for each in pictures]
    return sheet.grid(images, labels, columns)
