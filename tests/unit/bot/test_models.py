"""What a checkpoint of the settings can follow is told from its files, not guessed."""

import json
from pathlib import Path

import pytest

from bot.models import checkpoints
from bot.settings import load_settings


@pytest.fixture
def described(tmp_path):
    """Describe a folder that has the settings of a pipeline, from a `[[models]]` table."""

    def describe(kind, table="", **parts):
        folder = tmp_path / "folder"
        index = parts.pop("index", {}) | {"_class_name": kind}
        for name, config in parts.items():
            (folder / name).mkdir(parents=True)
            (folder / name / "config.json").write_text(json.dumps(config))
        folder.mkdir(exist_ok=True)
        (folder / "model_index.json").write_text(json.dumps(index))
        file = tmp_path / "atelier.toml"
        file.write_text(f'[[models]]\nname = "mine"\nfolder = "{folder}"\n{table}')
        return checkpoints(load_settings(file))["mine"]

    return describe


@pytest.mark.parametrize(
    ("kind", "parts", "abilities"),
    [
        ("StableDiffusionPipeline", {"unet": {}}, "ar image negative quality stylize weights"),
        ("StableDiffusionXLPipeline", {"unet": {}}, "ar image negative quality stylize"),
        ("StableDiffusionXLPipeline", {"unet": {"time_cond_proj_dim": 256}}, "ar image quality stylize"),
        ("FluxPipeline", {"transformer": {"guidance_embeds": True}}, "ar image quality stylize"),
        ("FluxPipeline", {"transformer": {"guidance_embeds": False}}, "ar image quality"),
        ("FluxKontextPipeline", {"transformer": {"guidance_embeds": True}}, "ar quality stylize"),
        ("Flux2KleinPipeline", {"index": {"is_distilled": True}}, "ar quality"),
        ("Flux2KleinPipeline", {}, "ar quality stylize"),
        ("QwenImagePipeline", {}, "ar image negative quality stylize"),
        ("Krea2Pipeline", {}, "ar negative quality stylize"),
    ],
)  # fmt: skip
def test_what_a_class_can_follow_is_what_its_checkpoint_honours(described, kind, parts, abilities):
    assert described(kind, **parts).honours == set(abilities.split())


def test_an_operator_can_take_away_but_not_add(described):
    narrowed = described("Flux2KleinPipeline", 'honours = ["ar", "negative"]')
    assert narrowed.honours == {"ar"}


@pytest.mark.parametrize(
    ("side_px", "multiple"), [(1024, 32), (1040, 16)], ids=["a size that fits", "one that does not"]
)
def test_sizes_are_those_that_a_class_can_draw(described, side_px, multiple):
    made = described("SanaPipeline", f"width = {side_px}\nheight = {side_px}")
    assert made.size_multiple == multiple


@pytest.mark.parametrize("kind", ["AuraFlowPipeline", ["evil", "Evil"]])
def test_a_class_that_nobody_looked_at_takes_no_other_checkpoint_down(described, kind):
    assert described(kind).name == "mine"


def test_a_folder_that_is_not_there_takes_no_other_checkpoint_down(tmp_path):
    file = tmp_path / "atelier.toml"
    file.write_text(f'[[models]]\nname = "mine"\nfolder = "{tmp_path / "none"}"')
    assert Path(checkpoints(load_settings(file))["mine"].source).name == "none"
