"""A built dataset on disk: one index of rows, and one array of pictures for each size."""

import dataclasses
import functools
import json
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

INDEX = "rows.json"
Pictures = npt.NDArray[np.uint8]


class DatasetError(RuntimeError):
    """There is no dataset to use; the message says how to make one."""


class Split(StrEnum):
    """What a picture may be used for."""

    TRAIN = "train"
    UNSEEN_PAIR = "unseen pair"  # thing and look are both known, but not together
    UNSEEN_CONCEPT = "unseen concept"  # the thing is in no training picture
    SCENE = "scene"  # made of training pictures, for training alone


LEARNED = frozenset({Split.TRAIN, Split.SCENE})
HELD_OUT = frozenset({Split.UNSEEN_PAIR, Split.UNSEEN_CONCEPT})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One picture.

    Attributes:
        key: Unique and stable: `<look>/<name in its source>`.
        concept: What it shows, the same words in every look.
        look: The style word its source teaches.
        group: Coarse kind, such as `animals & nature`; empty if its source has none.
        phrasings: Ways to ask for it without naming the look, the plainest first; never empty.
        split: What the generators may use it for.
        is_unseen_by_scorer: Held out from the scorer by its own draw of lots, so that the scorer
            can be tested; independent of `split`.
        may_mirror: Whether left and right may be swapped (not for text, clock faces, arrows).
        licence: SPDX name.
    """

    key: str
    concept: str
    look: str
    group: str
    phrasings: tuple[str, ...]
    split: Split
    is_unseen_by_scorer: bool
    may_mirror: bool
    licence: str


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Rows, and their pictures in every built size.

    Attributes:
        template: Names a look, for example `{prompt}, {look} style`.
        looks: In the order of the recipe.
        fingerprint: SHA-256 of everything the pictures and captions depend on.
    """

    directory: Path
    template: str
    looks: tuple[str, ...]
    sizes_px: tuple[int, ...]
    rows: tuple[Row, ...]
    fingerprint: str

    @functools.cached_property
    def concepts(self) -> tuple[str, ...]:
        """Every concept once, in the order of the rows."""
        return tuple(dict.fromkeys(row.concept for row in self.rows))

    def pictures(self, side_px: int) -> Pictures:
        """Return RGBA pictures with straight alpha, uint8 (rows, side, side, 4), read as needed.

        Raises:
            DatasetError: This size was not built.
        """
        if side_px not in self.sizes_px:
            raise DatasetError(
                f"the dataset has sizes {list(self.sizes_px)}, not {side_px} px; add it to"
                " `sizes_px` in data.toml and run `atelier data build` again"
            )
        pictures: Pictures = np.load(pictures_file(self.directory, side_px), mmap_mode="r")
        return pictures

    def numbers_of(self, splits: Collection[Split]) -> npt.NDArray[np.int64]:
        """Return the row numbers of some splits, in order."""
        return np.array([i for i, row in enumerate(self.rows) if row.split in splits], np.int64)


def pictures_file(directory: Path, side_px: int) -> Path:
    """Return where the pictures of one size lie."""
    return directory / f"pictures-{side_px}.npy"


def load(directory: Path) -> Dataset:
    """Open a built dataset.

    Raises:
        DatasetError: There is none.
    """
    try:
        index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"no dataset in {directory}; make it with `atelier data build`"
        ) from error
    rows = tuple(
        Row(**{**row, "phrasings": tuple(row["phrasings"]), "split": Split(row["split"])})
        for row in index["rows"]
    )
    return Dataset(
        directory=directory,
        template=index["template"],
        looks=tuple(index["looks"]),
        sizes_px=tuple(index["sizes_px"]),
        rows=rows,
        fingerprint=index["fingerprint"],
    )


def save(dataset: Dataset) -> None:
    """Write the index; last of all, so that a killed build leaves none and goes on."""
    index = {
        "fingerprint": dataset.fingerprint,
        "template": dataset.template,
        "looks": dataset.looks,
        "sizes_px": dataset.sizes_px,
        "rows": [dataclasses.asdict(row) for row in dataset.rows],
    }
    unfinished = dataset.directory / f"{INDEX}.tmp"
    unfinished.write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(dataset.directory / INDEX)
