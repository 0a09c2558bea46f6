"""Plot one metric over all slices."""

import io
from collections.abc import Sequence

from PIL import Image

from generation.learning.assessment.figures import REAL, SHUFFLED, UNTRAINED, Figure

ROW_INCHES, HEAD_INCHES, WIDTH_INCHES = 0.24, 0.9, 8.0
MARKS = {REAL: ("D", "#1a7f37"), UNTRAINED: ("X", "#cf222e"), SHUFFLED: ("s", "#9a6700")}


def draw(figures: Sequence[Figure]) -> Image.Image:
    """Draw a bar with its noise for each slice, and marks for the references.

    Args:
        figures: One metric in several slices, at least one.
    """
    # Imported here: part of an optional extra, and its font cache costs seconds.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(
        figsize=(WIDTH_INCHES, HEAD_INCHES + ROW_INCHES * len(figures)), layout="constrained"
    )
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    places = range(len(figures))
    axes.barh(
        places,
        [figure.drawn.value for figure in figures],
        xerr=[figure.drawn.noise for figure in figures],
        color="#5865f2",
        error_kw={"elinewidth": 1, "capsize": 2},
        label="drawn",
    )
    for source, (marker, colour) in MARKS.items():
        found = [
            (figure.estimates[source].value, place)
            for place, figure in enumerate(figures)
            if source in figure.estimates
        ]
        if found:
            values, rows = zip(*found, strict=True)
            axes.scatter(values, rows, marker=marker, color=colour, s=24, label=source, zorder=3)
    axes.set_yticks(list(places), [label_of(figure) for figure in figures], fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.legend(fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    written = io.BytesIO()
    canvas.savefig(written, format="png", dpi=110)
    return Image.open(written).convert("RGB")


def label_of(figure: Figure) -> str:
    """Return what a slice is called beside its bar."""
    kind = "" if figure.slice_kind in {"all", "prompts"} else f"{figure.slice_kind} "
    return f"{kind}{figure.slice_name} ({figure.prompts})"
