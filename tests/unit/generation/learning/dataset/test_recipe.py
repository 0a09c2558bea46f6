"""A recipe says what it means, or is refused with the key to change."""

from pathlib import Path

import pytest

from generation.learning.dataset.recipe import DataRecipe
from generation.learning.recipes import reading
from generation.learning.recipes.reading import RecipeError

ROOT = Path(__file__).parents[5]
PRESETS = ("tiny", "embedded", "full")
SMALLEST = """
name = "small"
default_look = "plain"
sizes_px = [32]
[[sources]]
look = "plain"
kind = "folder"
path = "pictures"
"""


def read(tmp_path: Path, text: str) -> DataRecipe:
    path = tmp_path / "data.toml"
    path.write_text(text, encoding="utf-8")
    return reading.read(DataRecipe, path)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_can_be_read(name: str) -> None:
    recipe = reading.preset(DataRecipe, name, "data")
    assert recipe.default_look == "3d"


@pytest.mark.parametrize("name", PRESETS)
def test_share_alike_and_members_pictures_are_only_taken_by_name(name: str) -> None:
    for source in reading.preset(DataRecipe, name, "data").sources:
        assert source.is_opt_in == ("-SA-" in source.licence or source.look == "gallery")


def test_tiny_is_forty_things_in_four_looks() -> None:
    recipe = reading.preset(DataRecipe, "tiny", "data")
    assert len(recipe.concepts) == 40
    assert [s.look for s in recipe.sources if not s.is_opt_in] == ["3d", "flat", "noto", "twemoji"]
    assert recipe.sizes_px == (64,)


def test_embedded_is_everyday_things_in_eight_looks_and_holds_some_back_to_be_judged_by() -> None:
    recipe = reading.preset(DataRecipe, "embedded", "data")
    assert len(recipe.concepts) == 754
    assert len([source for source in recipe.sources if not source.is_opt_in]) == 8
    shares = recipe.splitting
    assert min(shares.unseen_pairs, shares.unseen_concepts, shares.scorer_pairs) > 0


def test_presets_pin_the_same_package_to_the_same_bytes() -> None:
    pins: dict[tuple[str, str], set[str]] = {}
    for name in PRESETS:
        for source in reading.preset(DataRecipe, name, "data").sources:
            for each in (source, *source.requires):
                pins.setdefault((each.package, each.version), set()).add(each.sha256)
    assert all(len(hashes) == 1 for hashes in pins.values())


def test_credits_name_every_set_the_shipped_checkpoint_learnt_from() -> None:
    page = (ROOT / "CREDITS.md").read_text(encoding="utf-8")
    for source in reading.preset(DataRecipe, "embedded", "data").sources:
        if not source.is_opt_in:
            (row,) = [line for line in page.splitlines() if f"`{source.package}`" in line]
            assert source.version in row
            assert source.licence in row
            assert f"`{source.look}`" in row


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("sizes_px", "size_px", "did you mean 'sizes_px'"),
        ('kind = "folder"', 'kind = "zip"', "'zip' is unknown"),
        ('path = "pictures"', "", "'plain' needs path"),
        ('default_look = "plain"', 'default_look = "3d"', "'3d' is not one of the looks"),
        ("[32]", "[64, 32]", "smallest first"),
        ("[32]", "[]", "smallest first"),
        ('kind = "folder"', 'kind = "folder"\nis_emoji = true', r"\[words\]"),
        ("[[sources]]", '[captions]\ntemplate = "{prompt}"\n[[sources]]', "{look}"),
    ],
)
def test_mistake_is_named(tmp_path: Path, wrong: str, right: str, said: str) -> None:
    read(tmp_path, SMALLEST)
    with pytest.raises(RecipeError, match=said):
        read(tmp_path, SMALLEST.replace(wrong, right))


def test_look_must_mean_one_source(tmp_path: Path) -> None:
    again = SMALLEST[SMALLEST.index("[[sources]]") :]
    with pytest.raises(RecipeError, match="plain"):
        read(tmp_path, SMALLEST + again)


def test_synonym_of_unknown_concept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="wolf"):
        read(tmp_path, SMALLEST + '[synonyms]\nwolf = ["big dog"]\n[concepts]\nfox = "🦊"\n')
