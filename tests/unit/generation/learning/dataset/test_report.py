"""The report: one file that shows everything, and believes no word it is given."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from generation.learning.dataset import report
from generation.learning.dataset.packages import Credit
from generation.learning.dataset.shards import ABOUT, Entry, directory_of
from generation.learning.dataset.stored import Dataset, Row, Split, pictures_file
from generation.learning.dataset.words import Meaning
from generation.work.progress import silent

SIDE = 32
HOSTILE = '<script>alert("fox")</script>'


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.titles: list[str] = []
        self.alts: list[str] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name == "src"]
        self.titles += [value or "" for name, value in attrs if name == "title"]
        self.alts += [value or "" for name, value in attrs if name == "alt"]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def picture(number: int) -> np.ndarray:
    canvas = Image.new("RGBA", (SIDE, SIDE))
    colour = (40 * number % 255, 90, 200 - 15 * number, 255)
    ImageDraw.Draw(canvas).regular_polygon((16, 16, 13), 3 + number % 5, fill=colour)
    return np.asarray(canvas)


def dataset_of(directory: Path) -> Dataset:
    """Six concepts in two looks, one with a name that no honest source would give."""
    things = ["fox", "owl", "star", "leaf", "gem", HOSTILE]
    splits = [Split.TRAIN, Split.UNSEEN_PAIR, Split.UNSEEN_CONCEPT]
    rows = tuple(
        Row(
            key=f"{look}/{number}", concept=concept, look=look, group="animals & nature",
            phrasings=(concept, f"a {concept}"), split=splits[number % 3],
            is_unseen_by_scorer=number == 0, may_mirror=True, licence="MIT",
        )
        for look in ("flat", "noto")
        for number, concept in enumerate(things)
    )  # fmt: skip
    np.save(pictures_file(directory, SIDE), np.stack([picture(i) for i in range(len(rows))]))
    template = "{prompt}, {look} style"
    return Dataset(directory, template, ("flat", "noto"), (SIDE,), rows, "f00d")


CREDIT = Credit(
    look="flat", title="Flat things", package="@example/flat", version="1.0.0", author="A. Maker",
    licence="MIT", url="https://example.org/flat",
)  # fmt: skip
DROPPED = {"flat/empty": "blank: 0.0% drawn", "flat/fox-2": "twin of flat/0"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    directory = tmp_path_factory.mktemp("report")
    dataset = dataset_of(directory)
    _drawn(directory, ["0", "empty", "fox-2"])
    path = report.write(directory / "out", dataset, DROPPED, [CREDIT], silent)
    assert path == directory / "out" / report.PAGE
    with Image.open(directory / "out" / report.MAP_PICTURE) as picture:
        assert picture.size[0] > 100
    return Page(path.read_text(encoding="utf-8"))


def _drawn(directory: Path, names: list[str]) -> None:
    """Leave what a build leaves of the pictures it drew."""
    shard = directory_of(directory / report.DRAWN, "flat", "0" * 64)
    shard.mkdir(parents=True)
    np.save(shard / f"{SIDE}.npy", np.stack([picture(i) for i in range(len(names))]))
    entries = [Entry(name, Meaning(concept=name), "", "") for name in names]
    about = {
        "credit": dataclasses.asdict(CREDIT),
        "unusable": {},
        "entries": [dataclasses.asdict(entry) for entry in entries],
    }
    (shard / ABOUT).write_text(json.dumps(about), encoding="utf-8")


def test_everything_is_in_the_one_file_and_nothing_runs(page: Page) -> None:
    assert page.sources
    assert all(source.startswith("data:image/webp;base64,") for source in page.sources)
    assert not {"script", "link", "iframe", "object"}.intersection(page.tags)
    assert not page.open


def test_names_are_shown_not_obeyed(page: Page) -> None:
    assert HOSTILE in page.words


def test_figures_are_those_of_the_dataset(page: Page) -> None:
    words = re.sub(r"\s+", " ", page.words)
    for name, figure in {"pictures": 12, "concepts": 6, "looks": 2, "left out": 2}.items():
        assert f"{name}{figure} " in words
    assert "6 concepts in 2 looks" in page.titles
    assert "12 under MIT." in words


def test_maker_licence_and_fingerprint_are_named(page: Page) -> None:
    for text in ("A. Maker", "@example/flat", "Flat things", "MIT", "f00d"):
        assert text in page.words


def test_captions_are_shown_as_training_hears_them(page: Page) -> None:
    assert re.search(r"(fox|owl|star|leaf|gem), (flat|noto) style", page.words)
    assert re.search(
        r"(fox|owl|star|leaf|gem) on an? \w+ background, (flat|noto) style", page.words
    )


def test_what_was_left_out_is_listed_with_its_picture_and_its_twin(page: Page) -> None:
    for key, reason in DROPPED.items():
        assert key in page.words
        assert reason in page.words
    assert "the one that stayed" in page.alts


def test_without_the_drawn_pictures_reasons_remain(tmp_path: Path) -> None:
    path = report.write(tmp_path / "out", dataset_of(tmp_path), DROPPED, [], silent)
    assert "blank: 0.0% drawn" in path.read_text(encoding="utf-8")


def test_the_same_dataset_gives_the_same_page(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    first = report.write(tmp_path / "one", dataset, {}, [CREDIT], silent)
    second = report.write(tmp_path / "two", dataset, {}, [CREDIT], silent)
    assert first.read_bytes() == second.read_bytes()
