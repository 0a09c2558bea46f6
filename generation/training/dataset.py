"""Build the training set: placed pictures and their captions, cached on disk."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from generation.training import captions, sources
from generation.training.captions import Names
from generation.training.raster import place
from generation.training.recipe import Recipe
from generation.training.sources import Drawing, Progress

INDEX = "dataset.json"
PICTURES = "pictures.npy"


@dataclass(frozen=True, slots=True)
class Row:
    """One placed picture.

    Attributes:
        weight: How often training draws it, relative to the others.
    """

    concept: str
    look: str
    variant: int
    weight: float


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What a build left on disk.

    Attributes:
        pictures: Placed pictures, all variants counted.
        was_cached: True when nothing had to be drawn.
        fingerprint: SHA-256 of everything in the recipe that the pictures depend on.
    """

    concepts: tuple[str, ...]
    looks: tuple[str, ...]
    pictures: int
    captions: int
    was_cached: bool
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A built training set.

    Attributes:
        rows: One entry a picture.
        phrasings: Concept name to the ways of asking for it, the plainest first.
        pictures: uint8 of shape (rows, height, width, 3), read from disk as needed.
    """

    rows: tuple[Row, ...]
    phrasings: Mapping[str, tuple[str, ...]]
    pictures: npt.NDArray[np.uint8]
    fingerprint: str


def build(directory: Path, recipe: Recipe, report: Progress) -> DatasetSummary:
    """Collect, caption and draw the training set, unless it is already there.

    Args:
        directory: Keeps the packages, the pictures and their index.
        recipe: What to collect.
        report: Told about every stage.

    Raises:
        SourceError: A package cannot be had or does not match its pinned hash.
    """
    fingerprint = fingerprint_of(recipe)
    if (directory / INDEX).exists():
        cached = load(directory)
        if cached.fingerprint == fingerprint:
            return _summarise(cached, was_cached=True)
    directory.mkdir(parents=True, exist_ok=True)
    drawings = _collect(directory, recipe, report)
    phrasings = _caption(directory, recipe, drawings)
    rows = [
        Row(drawing.concept, drawing.look, number, variant.weight)
        for drawing in drawings
        for number, variant in enumerate(recipe.variants)
    ]
    size = (recipe.model.width, recipe.model.height)
    pictures = np.empty((len(rows), size[1], size[0], 3), dtype=np.uint8)
    for index, drawing in enumerate(drawings):
        for number, variant in enumerate(recipe.variants):
            is_kept = variant.mirror and drawing.concept in recipe.one_sided
            placed = dataclasses.replace(variant, mirror=False) if is_kept else variant
            pictures[index * len(recipe.variants) + number] = place(drawing.render, placed, size)
        report("draw", index + 1, len(drawings), drawing.concept)
    # The index is written last: a killed build leaves none and starts over.
    np.save(directory / PICTURES, pictures)
    index_text = json.dumps(
        {
            "fingerprint": fingerprint,
            "rows": [dataclasses.astuple(row) for row in rows],
            "phrasings": phrasings,
        }
    )
    (directory / INDEX).write_text(index_text, encoding="utf-8")
    return _summarise(load(directory), was_cached=False)


def load(directory: Path) -> Dataset:
    """Open a built training set; pictures stay on disk until they are read."""
    index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
    return Dataset(
        rows=tuple(Row(*row) for row in index["rows"]),
        phrasings={name: tuple(texts) for name, texts in index["phrasings"].items()},
        pictures=np.load(directory / PICTURES, mmap_mode="r"),
        fingerprint=index["fingerprint"],
    )


def fingerprint_of(recipe: Recipe) -> str:
    """Return the SHA-256 of the parts of a recipe that pictures and captions depend on."""
    parts = [
        [dataclasses.astuple(source) for source in recipe.sources],
        [dataclasses.astuple(variant) for variant in recipe.variants],
        dataclasses.astuple(recipe.captions),
        list(recipe.concepts.items()),
        {name: list(words) for name, words in recipe.synonyms.items()},
        [recipe.one_sided, recipe.model.width, recipe.model.height],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _collect(directory: Path, recipe: Recipe, report: Progress) -> list[Drawing]:
    found: list[Drawing] = []
    for number, source in enumerate(recipe.sources):
        report("collect", number, len(recipe.sources), source.look)
        found += sources.drawings(source, recipe.concepts, directory)
    report("collect", len(recipe.sources), len(recipe.sources), f"{len(found)} drawings")
    return found


def _caption(
    directory: Path, recipe: Recipe, drawings: list[Drawing]
) -> dict[str, tuple[str, ...]]:
    wording = recipe.captions
    names: dict[str, Names] = {}
    if wording.package:
        names = sources.word_list(
            sources.fetch_package(
                wording.package, wording.version, wording.sha256, directory / sources.CACHE
            ),
            recipe.concepts,
        )
    tags = captions.unambiguous_tags(names, wording.tags)
    result: dict[str, tuple[str, ...]] = {}
    for drawing in drawings:
        concept = drawing.concept
        if concept in result:
            continue
        words = list(recipe.synonyms.get(concept, ()))
        if drawing.caption:
            words.append(drawing.caption)
        if concept in names:
            words.append(names[concept].label)
        result[concept] = captions.phrasings(concept, words, tags.get(concept, ()))
    return result


def _summarise(dataset: Dataset, *, was_cached: bool) -> DatasetSummary:
    return DatasetSummary(
        concepts=tuple(dataset.phrasings),
        looks=tuple(dict.fromkeys(row.look for row in dataset.rows)),
        pictures=len(dataset.rows),
        captions=sum(len(texts) for texts in dataset.phrasings.values()),
        was_cached=was_cached,
        fingerprint=dataset.fingerprint,
    )
