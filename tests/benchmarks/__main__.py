"""`make bench`: every benchmark's rows in one table, beside the bar it is held to."""

import importlib
import re
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

LEAST_COLUMNS = 110
_BAR = re.compile(r"\s*\((?:≤|at most) (?P<bar>[0-9.]+)\)")


def main(names: list[str]) -> None:
    """Measure and print; a missed bar is shown, not punished: the machine may be busy."""
    console = Console()
    console.width = max(console.width, LEAST_COLUMNS)  # a file has no width of its own
    table = Table("what", "measured", "unit", "bar", "")
    for column in (1, 3):
        table.columns[column].justify = "right"
    modules = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    for module in [each for each in modules if not names or each.removeprefix("bench_") in names]:
        started_s = time.monotonic()
        with console.status(f"{module}: measuring"):
            rows = importlib.import_module(f"tests.benchmarks.{module}").run()
        print(f"{module}: {time.monotonic() - started_s:.0f} s", file=sys.stderr)  # noqa: T201
        for name, value, unit in rows:
            bar = _BAR.search(name)
            verdict = "" if bar is None else "ok" if value <= float(bar["bar"]) else "MISSED"
            shown = f"{value:,.3f}" if value < 10 else f"{value:,.1f}"
            table.add_row(
                _BAR.sub("", name), shown, unit, f"≤ {bar['bar']}" if bar else "", verdict
            )
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
