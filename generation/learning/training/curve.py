"""The curves of a run, as numbers and as a picture."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

Point = Mapping[str, float]
WIDE = 5.0  # from here on a line is easier to read on a logarithmic axis


def write_csv(points: Sequence[Point], path: Path) -> None:
    """Write one line a point; values that were not measured at a step stay empty.

    Args:
        points: Each with `step` and any of the other columns.
    """
    columns = list(dict.fromkeys(key for point in points for key in point)) or ["step"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(points)


def draw(points: Sequence[Point], path: Path, title: str, best_step: int = 0) -> None:
    """Draw one panel a loss term, training beside validation.

    Args:
        points: Each with `step` and any of `<player>.<term>` and `validation.<term>`.
        path: PNG file to write.
        title: Above the plot.
        best_step: Where validation was best; 0 marks nothing. To its right a run overfits.
    """
    lines = list(dict.fromkeys(key for point in points for key in point if key != "step"))
    if not lines:
        return
    # Imported here: an optional extra, and its font cache costs seconds.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(key.rpartition(".")[2] for key in lines))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(7, 4 * columns), 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, number + 1)
        every = []
        for line in lines:
            if line.rpartition(".")[2] != panel:
                continue
            found = [(point["step"], point[line]) for point in points if line in point]
            every += [value for _, value in found]
            style = "o-" if line.startswith("validation.") else "-"
            axes.plot(*zip(*found, strict=True), style, markersize=3, linewidth=1.2, label=line)
        if best_step and any(line == f"validation.{panel}" for line in lines):
            axes.axvline(best_step, color="grey", linestyle=":", label=f"best: step {best_step}")
        falls_far = min(every) > 0 and max(every) > WIDE * min(every)
        axes.set(title=panel, xlabel="step", yscale="log" if falls_far else "linear")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend(fontsize="small")
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
