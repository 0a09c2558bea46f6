"""How long the command line keeps somebody waiting who has not used it today."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from generation.work.checkpoints import EMBEDDED, MANIFEST

ROUNDS = 3


def run() -> Iterator[tuple[str, float, str]]:
    """Yield rows of name, value and unit."""
    yield "terminal: atelier --help", _elapsed_s("--help"), "s"
    if (EMBEDDED / MANIFEST).is_file():
        elapsed_s = _elapsed_s("imagine", "a red apple", "--seed", "7", "--json")
        yield "terminal: cold start of atelier imagine (≤ 12)", elapsed_s, "s"


def _elapsed_s(*arguments: str) -> float:
    """Return the median of a few runs, each a new process with an empty record."""
    durations_s = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            own = {"PYTHONPATH": str(Path.cwd()), "ATELIER_DATA_DIR": folder}
            environment = {**os.environ, **own}
            started_s = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "bot", *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
            )
            durations_s.append(time.monotonic() - started_s)
    return statistics.median(durations_s)
