"""A build is cached, goes on where it was killed, and names what it could not use."""

import dataclasses
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from generation.learning.dataset import build as building
from generation.learning.dataset import raster, stored
from generation.learning.dataset.attribution import table
from generation.learning.dataset.build import build
from generation.learning.dataset.clean import Cleaning
from generation.learning.dataset.packages import Credit, SourceError
from generation.learning.dataset.recipe import Captions, DataRecipe, Source
from generation.learning.dataset.scenes import Scenes
from generation.learning.dataset.shards import ABOUT, FEW
from generation.learning.dataset.split import Splitting
from generation.learning.dataset.stored import DatasetError, Split
from generation.learning.recipes.work import Work
from generation.work.progress import silent

SIDE_PX = 32
SHAPES = ("circle", "square", "bar", "ring")
COLOURS = ("red", "green", "blue", "orange", "purple", "black")
ROOT = Path(__file__).parents[5]


def draw(folder: Path, background: str) -> None:
    """Draw every shape in every colour, each told from the others by more than colour."""
    folder.mkdir(parents=True)
    for number, colour in enumerate(COLOURS):
        for shape in SHAPES:
            picture = Image.new("RGB", (64, 64), background)
            pen = ImageDraw.Draw(picture)
            box = (6 + 3 * number, 6, 57, 57 - 5 * number)
            if shape == "circle":
                pen.ellipse(box, fill=colour)
            elif shape == "square":
                pen.rectangle(box, fill=colour)
            elif shape == "bar":
                pen.line(box, fill=colour, width=9)
            else:
                pen.ellipse(box, outline=colour, width=8)
            picture.save(folder / f"{colour}-{shape}.png")


def recipe_of(root: Path, **changes: object) -> DataRecipe:
    sources = tuple(
        Source(look=look, kind="folder", path=str(root / look)) for look in ("plain", "yellow")
    )
    recipe = DataRecipe(
        name="small", default_look="plain", sizes_px=(SIDE_PX, 2 * SIDE_PX), sources=sources
    )
    return dataclasses.replace(recipe, **changes)  # type: ignore[arg-type]


@pytest.fixture
def recipe(tmp_path: Path) -> DataRecipe:
    draw(tmp_path / "plain", "white")
    draw(tmp_path / "yellow", "yellow")
    return recipe_of(tmp_path)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "work", "small")


def files_of(work: Work) -> dict[str, bytes]:
    names = [stored.INDEX, building.CREDITS, "dropped.json"]
    names += [f"pictures-{side}.npy" for side in (SIDE_PX, 2 * SIDE_PX)]
    return {name: (work.data / name).read_bytes() for name in names}


def test_build_gives_every_picture_in_every_size_with_its_words(
    work: Work, recipe: DataRecipe
) -> None:
    told: list[str] = []
    summary = build(work, recipe, lambda stage, *_: told.append(stage))
    dataset = stored.load(work.data)
    assert summary.looks == {"plain": 24, "yellow": 24}
    assert dataset.concepts[0] == "black bar"
    assert {"collect", "draw", "clean", "write"} <= set(told)
    for side in (SIDE_PX, 2 * SIDE_PX):
        assert dataset.pictures(side).shape == (48, side, side, 4)
    (number,) = [i for i, row in enumerate(dataset.rows) if row.key == "yellow/red-square"]
    assert dataset.rows[number].phrasings[:2] == ("red square", "a red square")
    assert dataset.pictures(SIDE_PX)[number, 16, 16].tolist() == [255, 0, 0, 255]
    assert dataset.pictures(SIDE_PX)[number, 0, 0].tolist() == [255, 255, 0, 255]


def test_second_build_changes_nothing(work: Work, recipe: DataRecipe) -> None:
    first = build(work, recipe, silent)
    before = {path: path.stat().st_mtime_ns for path in work.data.rglob("*")}
    second = build(work, recipe, silent)
    assert (first.was_cached, second.was_cached) == (False, True)
    assert {path: path.stat().st_mtime_ns for path in work.data.rglob("*")} == before
    same = {"was_cached": True, "seconds": 0.0}
    assert dataclasses.replace(first, **same) == dataclasses.replace(second, **same)  # type: ignore[arg-type]


def test_new_wording_draws_nothing_again(work: Work, recipe: DataRecipe) -> None:
    build(work, recipe, silent)
    told: list[str] = []
    reworded = dataclasses.replace(
        recipe,
        captions=Captions(template="{look}: {prompt}"),
        synonyms={"red bar": ("stick",)},
        splitting=Splitting(unseen_concepts=0.4),
    )
    summary = build(work, reworded, lambda stage, *_: told.append(stage))
    dataset = stored.load(work.data)
    assert not summary.was_cached
    assert "draw" not in told
    assert dataset.template == "{look}: {prompt}"
    assert any("a stick" in row.phrasings for row in dataset.rows)
    assert 0 < summary.splits[Split.UNSEEN_CONCEPT] < 48


def test_changed_folder_draws_only_its_own_pictures_again(
    work: Work, recipe: DataRecipe, tmp_path: Path
) -> None:
    build(work, recipe, silent)
    (tmp_path / "yellow" / "red-square.png").unlink()
    looks: set[str] = set()

    def tell(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "draw":
            looks.add(note)

    assert build(work, recipe, tell).looks == {"plain": 24, "yellow": 23}
    assert looks == {"yellow"}
    assert len(list((work.data / building.DRAWN).iterdir())) == 2


def test_damaged_picture_is_left_out_and_named(
    work: Work, recipe: DataRecipe, tmp_path: Path
) -> None:
    (tmp_path / "plain" / "blue-ring.png").write_bytes(b"nonsense")
    (tmp_path / "plain" / "IMG_7.png").write_bytes(b"nonsense")
    summary = build(work, recipe, silent)
    assert summary.looks["plain"] == 23
    assert list(summary.damaged) == ["plain/blue-ring"]
    assert "plain/blue-ring" in summary.sentence()
    assert "no caption" in summary.dropped["plain/IMG_7"]
    assert "plain/blue-ring" not in {row.key for row in stored.load(work.data).rows}


def test_twins_are_left_out_and_every_row_keeps_its_own_picture(
    work: Work, recipe: DataRecipe, tmp_path: Path
) -> None:
    twin = (tmp_path / "plain" / "black-bar.png").read_bytes()
    (tmp_path / "plain" / "a-copy.png").write_bytes(twin)
    summary = build(work, recipe, silent)
    assert len([key for key in summary.dropped if key.startswith("plain/")]) == 1
    dataset = stored.load(work.data)
    for number, row in enumerate(dataset.rows):
        look, name = row.key.split("/")
        encoded = (tmp_path / look / f"{name}.png").read_bytes()
        (drawn,) = raster.rasterise(raster.Picture(encoded), (SIDE_PX,))
        np.testing.assert_array_equal(dataset.pictures(SIDE_PX)[number], drawn)


def test_cleaning_that_leaves_nothing_says_why(work: Work, recipe: DataRecipe) -> None:
    strict = dataclasses.replace(recipe, cleaning=Cleaning(least_contrast=1.0))
    with pytest.raises(DatasetError, match=r"plain/black-bar: .*soften \[cleaning\]"):
        build(work, strict, silent)


def test_scenes_follow_the_drawings_in_every_size_and_change_none(
    work: Work, recipe: DataRecipe, tmp_path: Path
) -> None:
    build(work, recipe, silent)
    plain = stored.load(work.data)
    other = Work(tmp_path / "other", "small")
    build(other, dataclasses.replace(recipe, scenes=Scenes(beside=0.5, coloured=0.25)), silent)
    dataset = stored.load(other.data)
    made = dataset.numbers_of({Split.SCENE})
    assert dataset.rows[: len(plain.rows)] == plain.rows
    assert made.tolist() == list(range(len(plain.rows), len(dataset.rows)))
    assert len(made) > len(plain.rows) / 4
    assert dataset.fingerprint != plain.fingerprint
    for side in dataset.sizes_px:
        pictures = dataset.pictures(side)
        assert np.array_equal(pictures[: len(plain.rows)], plain.pictures(side))
        assert all(pictures[number].any() for number in made)


def test_words_that_tell_left_from_right_forbid_mirroring(work: Work, recipe: DataRecipe) -> None:
    sided = dataclasses.replace(recipe, one_sided=("red ring",), one_sided_words=("bar",))
    build(work, sided, silent)
    fixed = {row.concept for row in stored.load(work.data).rows if not row.may_mirror}
    assert fixed == {"red ring", *(f"{colour} bar" for colour in COLOURS)}


def test_only_named_sources_are_taken(work: Work, recipe: DataRecipe) -> None:
    assert build(work, recipe, silent, ["yellow"]).looks == {"yellow": 24}
    with pytest.raises(DatasetError, match=r"'pink'.*'plain', 'yellow'"):
        build(work, recipe, silent, ["pink"])


def test_opt_in_source_must_be_named(work: Work, recipe: DataRecipe) -> None:
    plain, yellow = recipe.sources
    asked = dataclasses.replace(
        recipe, sources=(plain, dataclasses.replace(yellow, is_opt_in=True))
    )
    assert build(work, asked, silent).looks == {"plain": 24}
    assert build(work, asked, silent, ["plain", "yellow"]).looks == {"plain": 24, "yellow": 24}


def test_source_that_cannot_be_had_leaves_the_older_dataset_whole(
    work: Work, recipe: DataRecipe, tmp_path: Path
) -> None:
    build(work, recipe, silent)
    before = files_of(work)
    shutil.rmtree(tmp_path / "yellow")
    with pytest.raises(SourceError, match="there is no folder"):
        build(work, recipe, silent)
    assert files_of(work) == before


KILLED = """
import sys
from pathlib import Path
from generation.learning.dataset.build import build
from generation.learning.recipes.work import Work
from tests.unit.generation.learning.dataset.test_build import recipe_of

def tell(stage, done, total, note=""):
    print(stage, note, flush=True)
    if stage == "draw" and note == "yellow":
        sys.stdin.read()  # until it is killed

if __name__ == "__main__":
    build(Work(Path(sys.argv[2]), "small"), recipe_of(Path(sys.argv[1])), tell)
"""


def test_killed_build_goes_on_to_the_same_bytes(tmp_path: Path, recipe: DataRecipe) -> None:
    undisturbed, killed = (Work(tmp_path / name, "small") for name in ("undisturbed", "killed"))
    build(undisturbed, recipe, silent)
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), str(killed.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("draw yellow"):
                break
        os.killpg(process.pid, signal.SIGKILL)
    with pytest.raises(DatasetError, match="atelier data build"):
        stored.load(killed.data)
    (finished,) = (killed.data / building.DRAWN).glob(f"plain-*/{ABOUT}")
    before = finished.stat().st_mtime_ns
    build(killed, recipe, silent)
    assert finished.stat().st_mtime_ns == before
    assert files_of(killed) == files_of(undisturbed)


def test_dying_drawing_process_is_explained_and_the_next_build_goes_on(
    work: Work, recipe: DataRecipe, tmp_path: Path
) -> None:
    for copy in range(4 * FEW):
        shutil.copy(tmp_path / "plain" / "red-bar.png", tmp_path / "plain" / f"copied-{copy}.png")

    def kill(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "draw":
            for process in multiprocessing.active_children():
                process.kill()

    with pytest.raises(SourceError, match="goes on where it stopped"):
        build(work, recipe, kill)
    assert build(work, recipe, silent).looks["yellow"] == 24


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_full_disk_is_explained_and_nothing_is_lost(work: Work, recipe: DataRecipe) -> None:
    build(work, recipe, silent)
    pictures = stored.pictures_file(work.data, SIDE_PX)
    pictures.unlink()
    pictures.symlink_to("/dev/full")  # where every write finds no room
    reworded = dataclasses.replace(recipe, captions=Captions(tags=1))
    with pytest.raises(DatasetError, match=r"disk is full.*GiB are free.*--work"):
        build(work, reworded, silent)
    pictures.unlink()
    told: set[str] = set()
    build(work, reworded, lambda stage, *_: told.add(stage))
    assert "draw" not in told


def test_too_small_a_disk_is_noticed_before_anything_is_drawn(
    work: Work, recipe: DataRecipe
) -> None:
    huge = dataclasses.replace(recipe, sizes_px=(10_000_000,))
    with pytest.raises(DatasetError, match=r"not enough room.*GiB are needed"):
        build(work, huge, silent)


def test_credits_stand_beside_the_dataset(work: Work, recipe: DataRecipe) -> None:
    build(work, recipe, silent)
    page = (work.data / building.CREDITS_PAGE).read_text(encoding="utf-8")
    assert "`plain`" in page
    assert "`yellow`" in page


def test_attribution_links_author_and_licence() -> None:
    credit = Credit(
        look="flat",
        title="Icons",
        package="icons",
        version="1",
        author="Ann | Bob",
        licence="CC-BY-4.0",
        url="https://icons.example",
    )
    last = table([credit]).splitlines()[-1]
    assert last.startswith("| [Icons](https://icons.example) | Ann \\| Bob | [CC-BY-4.0](https://")
    assert last.endswith("| `icons` 1 | `flat` |")
