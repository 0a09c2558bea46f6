"""From a folder of drawings to a judged checkpoint, by the commands that the README names."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from generation.learning.training import loop

PRESET = Path(__file__).parent / "preset"
SIDE_PX = 32
COLOURS = ("red", "green", "blue", "orange", "purple")
SHAPES = ("circle", "square", "bar")


def atelier(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder and check its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    return {**own, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}


def draw(work: Path) -> None:
    for colour, shape, look in itertools.product(COLOURS, SHAPES, ("solid", "outlined", "small")):
        picture = Image.new("RGBA", (SIDE_PX, SIDE_PX), (0, 0, 0, 0))
        pen = ImageDraw.Draw(picture)
        low, high = (9, 22) if look == "small" else (3, 28)
        box = (low, 12, high, 19) if shape == "bar" else (low, low, high, high)
        how = {"outline": colour, "width": 3} if look == "outlined" else {"fill": colour}
        (pen.ellipse if shape == "circle" else pen.rectangle)(box, **how)
        (work / look).mkdir(parents=True, exist_ok=True)
        picture.save(work / look / f"{colour}-{shape}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a dataset was built and everything up to diffusion trained."""
    folder = tmp_path_factory.mktemp("training")
    draw(folder / "work")
    built = atelier(folder, "data", "build", "--preset", str(PRESET), "--work", "work")
    assert "45 pictures of 15 concepts" in built.stdout
    done = atelier(folder, "train", "diffusion", "--preset", str(PRESET), "--work", "work")
    assert "diffusion needs a vae: training that first" in done.stderr
    return folder


def test_build_leaves_a_page_to_look_at(trained: Path) -> None:
    page = (trained / "work" / "preset" / "data" / "report.html").read_text(encoding="utf-8")
    assert "CC0-1.0" in page
    assert "outlined" in page


def test_training_leaves_curve_snapshot_and_checkpoint(trained: Path) -> None:
    run = trained / "work" / "preset" / "diffusion"
    assert (run / loop.CURVE_CSV).read_text(encoding="utf-8").count("\n") == 1 + 40 // 10
    assert (run / loop.CURVE_PNG).exists()
    manifest = json.loads((run / "checkpoint" / "atelier.json").read_text(encoding="utf-8"))
    assert manifest["styles"].keys() == {"solid", "outlined", "small"}


def test_trained_checkpoint_is_assessed_with_reference_points(trained: Path) -> None:
    both = ("diffusion", "work/preset/vae/checkpoint")
    arguments = ("--preset", str(PRESET), "--work", "work", "--json")
    done = atelier(trained, "assess", *both, *arguments)
    assert "assess needs a scorer: training that first" in done.stderr
    report, repeated = json.loads(done.stdout)
    assert (report["checkpoint"]["kind"], repeated["checkpoint"]["kind"]) == ("diffusion", "vae")
    assert (len(report["targets"]), len(repeated["targets"])) == (6, 0)
    overall = {f["metric"]: f["estimates"] for f in report["figures"] if f["slice_kind"] == "all"}
    assert {"fd-scorer", "look-accuracy", "r@1-of-20"} <= overall.keys()
    assert {"untrained", "shuffled"} <= overall["fd-scorer"].keys() | overall["r@1-of-20"].keys()
    (page,) = (trained / "work" / "preset").glob("assess-diffusion/report.html")
    assert "fd-scorer" in page.read_text(encoding="utf-8")


def test_people_compare_two_checkpoints_and_are_counted(trained: Path) -> None:
    place = ("--preset", str(PRESET), "--work", "work")
    sides = ("diffusion", "work/preset/diffusion/checkpoint/../checkpoint")
    done = atelier(trained, "assess", *place, "--human", *sides, "--prompts", "4", "--out", "pages")
    (page,) = (trained / "pages").glob("*.html")
    assert str(page.name) in done.stdout
    answers = {
        "page": page.stem,
        "session": "one",
        "saved_at": "2026-01-01T00:00:00Z",
        "choices": [{"choice": "left"}, {"choice": "tie"}],
    }
    (trained / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    ranked = atelier(trained, "assess", *place, "--ranking", "answers.json", "--out", "pages")
    assert "diffusion" in ranked.stdout
    assert "1.5/2" in ranked.stdout


def test_wrong_use_ends_with_a_sentence(tmp_path: Path) -> None:
    place = ("--work", "work")
    done = atelier(tmp_path, "data", "build", *place, "--preset", "huge", code=2)
    assert "preset 'huge' is none of embedded, full, tiny" in done.stderr
    done = atelier(tmp_path, "train", "vae", *place, "--preset", str(PRESET), code=3)
    assert "atelier data build" in done.stderr
    broken = tmp_path / "broken"
    broken.mkdir()
    text = (PRESET / "data.toml").read_text(encoding="utf-8")
    (broken / "data.toml").write_text(text.replace("sizes_px", "size_px"), encoding="utf-8")
    done = atelier(tmp_path, "data", "build", *place, "--preset", "broken", code=2)
    assert "unknown key 'size_px'; did you mean 'sizes_px'" in done.stderr
