"""A recipe is read completely or refused."""

from pathlib import Path

import pytest

from generation.training.recipe import RECIPES_DIRECTORY, RecipeError, load

EMBEDDED = (RECIPES_DIRECTORY / "embedded.toml").read_text(encoding="utf-8")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["embedded.toml", "tiny.toml"])
def test_bundled_recipes_load(name: str) -> None:
    recipe = load(RECIPES_DIRECTORY / name)
    assert recipe.model.default_style in {source.look for source in recipe.sources}


def test_embedded_recipe_knows_what_the_documentation_promises() -> None:
    recipe = load(RECIPES_DIRECTORY / "embedded.toml")
    assert {"fox", "teacup without handle", "red apple", "pizza"} <= set(recipe.concepts)
    assert len(set(recipe.concepts.values())) == len(recipe.concepts)


@pytest.mark.parametrize(
    ("correct", "misspelt"),
    [
        ("[autoencoder]", "[autoencodr]"),
        ("ema_decay", "ema_dekay"),
        ("num_inference_steps", "steps"),
        ('licence = "MIT"', 'license = "MIT"'),
    ],
)
def test_misspelt_key_is_refused_by_name(tmp_path: Path, correct: str, misspelt: str) -> None:
    path = written(tmp_path, EMBEDDED.replace(correct, misspelt, 1))
    with pytest.raises(RecipeError, match=misspelt.split(" ", maxsplit=1)[0].strip("[]")):
        load(path)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('default_style = "3d"', 'default_style = "4d"', "default_style"),
        ('kind = "assets"', 'kind = "asset"', "kind"),
        ('version = "1.1.0"', 'version = ""', "version"),
        ("width = 128", 'width = "128"', "width"),
        ('"red apple" = ["apple"]', '"blue apple" = ["apple"]', "blue apple"),
    ],
)
def test_value_that_cannot_work_is_refused(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in EMBEDDED
    with pytest.raises(RecipeError, match=named):
        load(written(tmp_path, EMBEDDED.replace(old, new, 1)))


def test_broken_toml_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.toml"):
        load(written(tmp_path, "[model"))


def test_missing_required_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="title"):
        load(written(tmp_path, EMBEDDED.replace('title = "Atelier Emoji"', "")))
