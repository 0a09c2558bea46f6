"""What is measured is shown at once, and a part that fails loses nothing but its own rest."""

import sys

import pytest

from tests.benchmarks.__main__ import main, run_each, show


def test_a_part_that_fails_loses_neither_its_rows_nor_those_of_others(
    capfd: pytest.CaptureFixture[str],
) -> None:
    row = "from tests.benchmarks.__main__ import show; show(('{}', 1.0, 's')); {}"
    rest = {"first": "", "broken": "raise RuntimeError('no device')", "last": ""}
    failed = run_each(
        {part: [sys.executable, "-c", row.format(part, after)] for part, after in rest.items()}
    )
    shown = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown if not line.startswith("---")] == list(rest)
    assert failed == ["broken"]


def test_a_bar_stands_beside_its_row_and_a_missed_one_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(("acknowledgement p99 (≤ 100)", 99.0, "ms"))
    show(("ratio to the bare model (at most 1.5)", 1.6, "x"))
    kept, missed = capsys.readouterr().out.splitlines()
    assert kept.split() == ["acknowledgement", "p99", "99.0", "ms", "≤", "100", "ok"]
    assert missed.split()[-3:] == ["≤", "1.5", "MISSED"]


def test_a_part_that_is_not_there_is_named_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["nothing"]) == 2
    assert "there are bot, engine" in capsys.readouterr().out
