"""`make bench`: every benchmark's rows as they are measured, beside the bar each is held to.

Each part runs in a process of its own, so that one that fails or hangs in a library costs only its
own rows. A part is a module `bench_NAME` whose `run` yields name, value and unit of each row.
"""

import asyncio
import importlib
import inspect
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

Row = tuple[str, float, str]

_BAR = re.compile(r"\s*\((?:≤|at most) (?P<bar>[0-9.]+)\)")


def show(row: Row) -> None:
    """Print one row; a missed bar is shown, not punished: the machine may be busy."""
    name, value, unit = row
    bar = _BAR.search(name)
    verdict = "" if bar is None else "ok" if value <= float(bar["bar"]) else "MISSED"
    shown = f"{value:,.3f}" if value < 10 else f"{value:,.1f}"
    limit = f"≤ {bar['bar']}" if bar else ""
    line = f"{_BAR.sub('', name):<82} {shown:>12} {unit:<10} {limit:>7}  {verdict}"
    print(line.rstrip(), flush=True)  # noqa: T201


async def _show_all(rows: AsyncIterator[Row]) -> None:
    async for row in rows:
        show(row)


def measure(part: str) -> None:
    """Measure one part in this process and print each row when it is there."""
    rows: Iterator[Row] | AsyncIterator[Row] = importlib.import_module(
        f"tests.benchmarks.bench_{part}"
    ).run()
    if inspect.isasyncgen(rows):
        asyncio.run(_show_all(rows))
    else:
        for row in rows:  # type: ignore[union-attr]
            show(row)


def run_each(commands: Mapping[str, Sequence[str]]) -> list[str]:
    """Run each part's command after the other and return the parts that failed."""
    failed = []
    for part, command in commands.items():
        started_s = time.monotonic()
        print(f"--- {part}", flush=True)  # noqa: T201
        if subprocess.run(command, check=False).returncode:
            failed.append(part)
        print(f"--- {part}: {time.monotonic() - started_s:.0f} s", file=sys.stderr)  # noqa: T201
    return failed


def main(wanted: list[str]) -> int:
    """Measure what is wanted, everything by default; return 1 if a part failed."""
    parts = sorted(path.stem[6:] for path in Path(__file__).parent.glob("bench_*.py"))
    if unknown := sorted(set(wanted) - set(parts)):
        print(f"no such part: {', '.join(unknown)}; there are {', '.join(parts)}")  # noqa: T201
        return 2
    code = "import sys; from tests.benchmarks.__main__ import measure; measure(sys.argv[1])"
    failed = run_each({part: [sys.executable, "-c", code, part] for part in wanted or parts})
    if failed:
        print(f"failed: {', '.join(failed)}; their rows end where they failed")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
