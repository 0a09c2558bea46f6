"""A recipe is read as written or refused with the key to change."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from generation.learning.recipes import reading
from generation.learning.recipes.reading import RecipeError, read
from generation.learning.recipes.work import Work


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("rate must not be negative")


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    sizes: tuple[int, ...] = (1,)
    terms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    inner: Inner = dataclasses.field(default_factory=Inner)


def written(directory: Path, text: str) -> Path:
    path = directory / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_plain_values_become_the_annotated_types(tmp_path: Path) -> None:
    text = 'name = "a"\nsizes = [64, 128]\nterms = {pixels = 1}\n[inner]\nrate = 2\n'
    outer = read(Outer, written(tmp_path, text))
    assert outer == Outer("a", (64, 128), {"pixels": 1.0}, Inner(2.0))
    assert isinstance(outer.inner.rate, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a"\nsize = [1]', "unknown key 'size'; did you mean 'sizes'"),
        (
            'name = "a"\n[inner]\nzzz = 1',
            r"recipe.toml.inner: unknown key 'zzz'; known are \['rate'\]",
        ),
        ('name = "a"\nsizes = ["1"]', r"sizes\[0\]: expected"),
        ('name = "a"\nterms = {pixels = "1"}', r"terms.pixels: expected"),
        ('name = "a"\ninner = 3', "expected a table"),
        ('name = "a"\n[inner]\nrate = -1.0', "inner: rate must not be negative"),
        ("sizes = [1]", "name"),
        ("name = ", "recipe.toml"),
    ],
)
def test_what_does_not_fit_is_refused_by_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read(Outer, written(tmp_path, text))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml"):
        read(Outer, tmp_path / "none.toml")


def test_preset_is_a_name_or_a_folder_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "data.toml").write_text('name = "mine"', encoding="utf-8")
    assert reading.preset(Outer, str(own), "data").name == "mine"
    assert Work(tmp_path / "work", str(own)).data == tmp_path / "work" / "own" / "data"
    with pytest.raises(RecipeError, match=r"has no vae\.toml"):
        reading.preset(Outer, str(own), "vae")
    with pytest.raises(RecipeError, match=r"'huge' is none of .*tiny.*no folder"):
        reading.preset(Outer, "huge", "data")
