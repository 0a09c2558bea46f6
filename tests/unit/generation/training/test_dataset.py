"""Building is cached; what the pictures depend on decides when to build again."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generation.training import dataset
from generation.training.recipe import RECIPES_DIRECTORY, Recipe, Variant, load


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    pass


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    for look, colour in (("plain", "red"), ("inverted", "cyan")):
        (tmp_path / look).mkdir()
        Image.new("RGB", (16, 16), colour).save(tmp_path / look / "square.png")
    return load(RECIPES_DIRECTORY / "tiny.toml")


def test_build_draws_every_variant_of_every_look(tmp_path: Path, recipe: Recipe) -> None:
    summary = dataset.build(tmp_path, recipe, silent)
    assert (summary.pictures, summary.looks) == (2, ("plain", "inverted"))
    pictures = dataset.load(tmp_path).pictures
    assert pictures.shape == (2, 32, 32, 3)
    assert pictures[0, 16, 16].tolist() == [255, 0, 0]
    assert pictures[1, 0, 0].tolist() == [255, 255, 255]


def test_second_build_changes_nothing(tmp_path: Path, recipe: Recipe) -> None:
    first = dataset.build(tmp_path, recipe, silent)
    before = (tmp_path / dataset.PICTURES).stat().st_mtime_ns
    second = dataset.build(tmp_path, recipe, silent)
    assert not first.was_cached
    assert second.was_cached
    assert (tmp_path / dataset.PICTURES).stat().st_mtime_ns == before
    assert second.fingerprint == first.fingerprint


def test_new_variant_builds_again(tmp_path: Path, recipe: Recipe) -> None:
    dataset.build(tmp_path, recipe, silent)
    wider = dataclasses.replace(recipe, variants=(*recipe.variants, Variant(scale=0.5)))
    summary = dataset.build(tmp_path, wider, silent)
    assert not summary.was_cached
    assert summary.pictures == 4


def test_longer_training_keeps_the_pictures(tmp_path: Path, recipe: Recipe) -> None:
    dataset.build(tmp_path, recipe, silent)
    longer = dataclasses.replace(recipe, denoiser=dataclasses.replace(recipe.denoiser, steps=999))
    assert dataset.build(tmp_path, longer, silent).was_cached


def test_killed_build_starts_over(tmp_path: Path, recipe: Recipe) -> None:
    np.save(tmp_path / dataset.PICTURES, np.zeros((1, 32, 32, 3), dtype=np.uint8))
    assert not dataset.build(tmp_path, recipe, silent).was_cached
