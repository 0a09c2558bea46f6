"""The recipes of an assessment are read, and refused where they make no sense."""

from pathlib import Path

import pytest

from generation.learning.assessment.assess import Assessment
from generation.learning.assessment.prompts import Group
from generation.learning.dataset.captions import phrasings
from generation.learning.dataset.recipe import DataRecipe
from generation.learning.recipes import reading
from generation.learning.recipes.reading import RecipeError


@pytest.mark.parametrize("preset", ["tiny", "full", "embedded"])
def test_every_preset_says_how_thoroughly_to_assess(preset: str) -> None:
    settings = reading.preset(Assessment, preset, "assess")
    assert settings.seeds >= 2  # or nothing is said of diversity
    assert settings.counts.keys() == set(Group)
    assert settings.closest == 24


@pytest.mark.parametrize("preset", ["tiny", "embedded"])
def test_everyday_words_mean_a_listed_concept_and_are_no_caption_of_it(preset: str) -> None:
    everyday = reading.preset(Assessment, preset, "assess").everyday
    recipe = reading.preset(DataRecipe, preset, "data")
    assert set(everyday.values()) <= set(recipe.concepts)
    taught = {
        text
        for concept in recipe.concepts
        for text in phrasings(concept, recipe.synonyms.get(concept, ()), kind="emoji")
    }
    assert set(everyday).isdisjoint(taught)
    assert all(words == words.lower() for words in everyday)


@pytest.mark.parametrize("setting", ["seeds = 0", "batch_size = -1", "among = 1.5", "sedes = 2"])
def test_a_wrong_setting_is_named(setting: str, tmp_path: Path) -> None:
    path = tmp_path / "assess.toml"
    counts = "known_pairs = 1\nunseen_pairs = 1\nunseen_concepts = 1"
    path.write_text(f"{counts}\n{setting}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=setting.split(maxsplit=1)[0]):
        reading.read(Assessment, path)
