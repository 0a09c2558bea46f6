"""Every kind of checkpoint opens as something that draws, trained and untrained."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from generation.learning.assessment import samplers
from generation.learning.assessment.samplers import (
    AssessmentError,
    Diffusion,
    OnePass,
    Reconstruction,
)
from generation.learning.recipes.work import Work
from generation.techniques.device import DeviceChoice
from generation.techniques.gan.model import Gan
from generation.techniques.gan.networks import Encoder, Mapping, Synthesis
from generation.work import manifest
from tests.unit.generation.learning.assessment import world

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CPU = DeviceChoice("cpu", "float32", 1, "the same everywhere")
PROMPTS = ["red circle, solid style", "blue bar, small style"]


def test_pictures_depend_on_their_own_prompt_and_seed_alone(work: Work) -> None:
    sampler = samplers.open_sampler(work.checkpoint("diffusion"), CPU)
    assert isinstance(sampler, Diffusion)
    together = sampler.draw(PROMPTS, [3, 4])
    assert (together.shape, together.dtype) == ((2, 32, 32, 3), np.uint8)
    alone = sampler.draw(PROMPTS[1:], [4])
    assert np.abs(together[1:].astype(int) - alone).max() <= 1
    assert (sampler.draw(PROMPTS[1:], [5]) != alone).any()
    assert (sampler.about.name, sampler.about.kind, sampler.about.side_px) == (
        "toy",
        "diffusion",
        32,
    )


def test_untrained_has_a_fresh_denoiser_and_the_same_autoencoder(work: Work) -> None:
    folder = work.checkpoint("diffusion")
    trained = samplers.open_sampler(folder, CPU).pipeline
    first, again, other = (samplers.untrained(folder, CPU, seed).pipeline for seed in (1, 1, 2))
    assert _same(trained.vae, first.vae)
    assert not _same(trained.unet, first.unet)
    assert _same(first.unet, again.unet)
    assert not _same(first.unet, other.unet)
    assert first.unet.config == trained.unet.config


def test_a_gan_draws_and_its_untrained_twin_draws_otherwise(tmp_path: Path) -> None:
    looks = world.LOOKS
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        Gan(
            Mapping(8, 16, len(looks), 1),
            Synthesis(32, 2, 16, (16, 32), (1, 1)),
            Encoder(32, 2, 16, (16, 32), (1, 1)),
            looks,
            "{prompt}, {look} style",
            32,
        ).save(tmp_path, {})
    trained, fresh = samplers.open_sampler(tmp_path, CPU), samplers.untrained(tmp_path, CPU, 1)
    assert isinstance(trained, OnePass)
    drawn = trained.draw(PROMPTS, [0, 1])
    assert drawn.shape == (2, 32, 32, 3)
    assert (fresh.draw(PROMPTS, [0, 1]) != drawn).any()


def test_an_autoencoder_repeats_what_it_is_shown(tmp_path: Path) -> None:
    _, vae = world.networks()
    vae.save_pretrained(tmp_path)
    manifest.write(tmp_path, "vae", {"side_px": 32})
    opened = samplers.open_sampler(tmp_path, CPU)
    assert isinstance(opened, Reconstruction)
    shown = np.random.default_rng(0).integers(256, size=(2, 32, 32, 3), dtype=np.uint8)
    repeated = opened.reconstruct(shown)
    with torch.no_grad():
        tensor = torch.from_numpy(shown).permute(0, 3, 1, 2) / 127.5 - 1
        expected = vae.decoder(vae.encoder(tensor)).clamp(-1, 1).add(1).mul(127.5)
    np.testing.assert_allclose(repeated, expected.permute(0, 2, 3, 1).numpy(), atol=0.51)


def test_a_folder_without_a_checkpoint_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(AssessmentError, match="atelier train diffusion"):
        samplers.open_sampler(tmp_path / "nothing", CPU)


def test_a_scorer_is_not_judged_by_itself(work: Work) -> None:
    with pytest.raises(AssessmentError, match="holds a scorer"):
        samplers.about(work.checkpoint("scorer"))


def test_a_damaged_checkpoint_is_refused(work: Work, tmp_path: Path) -> None:
    shutil.copytree(work.checkpoint("diffusion"), tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(AssessmentError, match="differs from its record"):
        samplers.open_sampler(tmp_path, CPU)
    (tmp_path / manifest.MANIFEST).write_text("{", encoding="utf-8")
    with pytest.raises(AssessmentError, match="is not JSON"):
        samplers.open_sampler(tmp_path, CPU)


def test_the_first_checkpoints_did_not_say_their_kind(work: Work, tmp_path: Path) -> None:
    shutil.copytree(work.checkpoint("diffusion"), tmp_path, dirs_exist_ok=True)
    path = tmp_path / manifest.MANIFEST
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["kind"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert samplers.about(tmp_path).kind == "diffusion"


def _same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(a.equal(b) for a, b in pairs)
