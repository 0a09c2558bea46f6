"""`make kills`: a real bot killed at random moments, and everything compared afterwards.

    make kills ARGS=500                    five hundred kills; progress is shown
    make kills ARGS="--seed 7 --life 12"   one life again, as its violation was printed

A life is one data directory and one Discord through ten kills; its dice are seed and number. Ends
with 1 if anything was lost, doubled, or said what the record does not say.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.kills.checker import Violation
from tests.kills.lives import KILLS_OF_A_LIFE, Told, live

SHOWN = 4  # violations of a kind


def main() -> int:
    """Run a campaign and return the exit status."""
    parser = argparse.ArgumentParser(prog="make kills", description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=100, help="how many (100)")
    parser.add_argument("--seed", type=int, help="dice of the campaign; drawn if absent")
    parser.add_argument("--life", type=int, help="go through this life alone")
    parser.add_argument("--keep", type=Path, help="keep lives with violations in this folder")
    asked = parser.parse_args()
    seed = random.randrange(10_000) if asked.seed is None else asked.seed
    numbers = itertools.count() if asked.life is None else iter([asked.life])
    kills = asked.kills if asked.life is None else KILLS_OF_A_LIFE
    keep = asked.keep or Path(tempfile.mkdtemp(prefix="atelier-kills-"))
    console = Console()
    console.print(f"seed {seed}; logs of lives with violations: {keep}")
    began_at_s = time.monotonic()
    lives: list[Told] = []
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_campaign(console, lives, seed, iter(numbers), kills, keep))
    elapsed_s = time.monotonic() - began_at_s
    _report(console, lives, elapsed_s)
    return 1 if any(told.violations for told in lives) else 0


async def _campaign(
    console: Console,
    lives: list[Told],
    seed: int,
    numbers: "itertools.count[int]",
    kills: int,
    keep: Path,
) -> None:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task("killing", total=kills)
        done = 0
        for number in numbers:
            told = await _one(
                seed, number, min(KILLS_OF_A_LIFE, kills - done), keep, lambda: bar.advance(task)
            )
            lives.append(told)
            done += sum(told.attacks.values())
            bar.update(task, completed=done)
            if not console.is_terminal:  # where the bar cannot move
                console.print(f"{done}/{kills}: life {number}, {told.kind}, Discord {told.mood}")
            for violation in told.violations:
                console.print(_line(told, violation), markup=False, highlight=False)
            if done >= kills:
                return


async def _one(seed, number, kills, keep, advance) -> Told:
    with tempfile.TemporaryDirectory(prefix="atelier-life-") as name:
        directory, told = Path(name), Told(seed, number)
        try:
            async for told in live(seed, number, directory, kills=kills):  # noqa: B007 - the last
                advance()
        except AssertionError as failure:
            told.violations.append(Violation("a life broke off", str(failure)))
        if told.violations:
            target = keep / f"life-{seed}-{number}"
            shutil.copytree(directory, target, dirs_exist_ok=True)
            (target / "blows.txt").write_text("\n".join(told.blows) + "\n")
    return told


def _line(told: Told, violation: Violation) -> str:
    last = told.blows[-1] if told.blows else "no blow"
    return (
        f"VIOLATION --seed {told.seed} --life {told.number} ({told.kind}, Discord {told.mood}, "
        f"last: {last}): {violation.kind}: {violation.detail}"
    )


def _report(console: Console, lives: list[Told], elapsed_s: float) -> None:
    attacks = sum((told.attacks for told in lives), Counter())
    moments = sum((told.moments for told in lives), Counter())
    states = sum((told.states for told in lives), Counter())
    kinds = Counter(told.kind for told in lives)
    table = Table(title=f"{attacks.total()} kills in {len(lives)} lives, {elapsed_s:.0f} s")
    table.add_column("what")
    table.add_column("how often", justify="right")
    for title, counted in (
        ("", attacks),
        ("at ", moments),
        ("a life on ", kinds),
        ("jobs ", states),
    ):
        for name, count in counted.most_common():
            table.add_row(f"{title}{name}", str(count))
        table.add_section()
    table.add_row("jobs", str(states.total()))
    table.add_row("interactions", str(sum(told.interactions for told in lives)))
    table.add_row("told, and so", str(sum(told.promises for told in lives)))
    table.add_row("requests", str(sum(told.requests for told in lives)))
    console.print(table)
    found: dict[str, list[str]] = defaultdict(list)
    for told in lives:
        for violation in told.violations:
            found[violation.kind].append(
                f"--seed {told.seed} --life {told.number}: {violation.detail}"
            )
    if not found:
        console.print("0 violations", style="green")
    for kind, details in sorted(found.items(), key=lambda item: -len(item[1])):
        console.print(f"{len(details)} x {kind}", style="red", markup=False)
        for detail in details[:SHOWN]:
            console.print(f"    {detail}", markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
