"""A terminal as people use it: a folder of one's own, a process for each command."""

import csv
import hashlib
import io
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


class Terminal:
    """A folder of one's own, and settings in the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = {name: v for name, v in os.environ.items() if not name.startswith("ATELIER_")}
        own.pop("DISCORD_TOKEN", None)
        root = str(Path(__file__).parents[2])
        self.environment = {
            **own,
            "ATELIER_DEFAULT_MODEL": "pattern",
            "PYTHONPATH": root,
            "XDG_DATA_HOME": str(folder / "home"),
        }
        self.record = folder / "home" / "atelier"

    def atelier(
        self, *arguments: str, code: int = 0, standing_in: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and check its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "bot", *arguments],
            cwd=self.folder / standing_in,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def record_instead(self, path: Path, pixels: str | None = None, **engine: str) -> None:
        """Make a file the record's only picture, drawn by an engine that differs in some fields.

        Args:
            path: The file.
            pixels: Its pixels' hash; a record of before there were such has none.
            engine: Fields of the fingerprint that differ.
        """
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        place = self.record / "images" / sha256[:2]
        place.mkdir(exist_ok=True)
        (place / f"{sha256}.png").write_bytes(content)
        with sqlite3.connect(self.record / "atelier.db") as connection:
            connection.execute("UPDATE images SET sha256 = ?, pixels_sha256 = ?", (sha256, pixels))
            for name, value in engine.items():
                connection.execute(
                    "UPDATE jobs SET fingerprint = json_set(fingerprint, '$.' || ?, ?)",
                    (name, value),
                )
        connection.close()

    def imagine(self, *arguments: str) -> list[dict[str, Any]]:
        """Draw, and return what was said about each picture."""
        return [
            json.loads(x) for x in self.atelier("imagine", *arguments, "--json").stdout.splitlines()
        ]


def rows_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    """Return the rows of a table, which begins with the mark that says UTF-8 to spreadsheets."""
    assert done.stdout.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(done.stdout[1:])))


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)
