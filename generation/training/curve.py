"""Draw the loss curve of a run."""

from collections.abc import Sequence
from pathlib import Path

from generation.training.stage import LOSS_WINDOW


def draw(losses: Sequence[float], path: Path, title: str) -> None:
    """Write the denoiser's loss curve as a PNG.

    Args:
        losses: One mean for every `LOSS_WINDOW` steps.
        path: PNG file to write.
        title: Above the plot.
    """
    # Imported here: an optional extra, and its font cache costs seconds.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([LOSS_WINDOW * (number + 1) for number in range(len(losses))], losses, linewidth=1.2)
    axes.set(title=title, xlabel="step", ylabel="mean squared error of the flow", yscale="log")
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, dpi=110)
