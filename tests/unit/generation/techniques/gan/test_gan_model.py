"""A GAN draws by prompt and seed alone, and is the same after a trip to the disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from generation.techniques.gan import model
from generation.techniques.gan.model import Gan
from generation.techniques.gan.networks import Discriminator, Encoder, Mapping, Synthesis, on_sphere
from generation.work.errors import NoPicture
from generation.work.manifest import CheckpointMissing

LOOKS = ("flat", "3d")
TEMPLATE = "{prompt}, {look} style"
PROMPTS = [f"a {thing}, {look} style" for look in LOOKS for thing in ("fox", "red house", "cat")]


@pytest.fixture(scope="module")
def gan() -> Gan:
    """Random weights, the zero ones too: every path shows."""
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        stack = ((16, 24), (1, 2))
        made = Gan(
            Mapping(8, 16, len(LOOKS), 1).eval(),
            Synthesis(32, 4, 16, *stack).eval(),
            Encoder(32, 4, 16, *stack).eval(),
            LOOKS,
            TEMPLATE,
            32,
        )
        for network in (made.synthesis, made.encoder):
            for weight in network.parameters():
                torch.nn.init.normal_(weight, std=0.2)
    return made


def test_a_picture_depends_on_its_prompt_and_seed_alone(gan: Gan) -> None:
    """Not on how many others are drawn with it, nor on which, nor on its place among them."""
    seeds = list(range(len(PROMPTS)))
    together = gan.draw(PROMPTS * 2, seeds + seeds[::-1])
    for number, (prompt, seed) in enumerate(zip(PROMPTS, seeds, strict=True)):
        assert np.array_equal(gan.draw([prompt], [seed])[0], together[number])
    assert together.dtype == np.uint8
    assert together.shape == (12, 32, 32, 3)


def test_seed_words_and_look_each_change_the_picture(gan: Gan) -> None:
    prompts = ["a fox, flat style", "a fox, flat style", "a cat, flat style", "a fox, 3d style"]
    pictures = gan.draw(prompts, [0, 1, 0, 0])
    for other in pictures[1:]:
        assert not np.array_equal(pictures[0], other)


def test_saved_and_loaded_it_draws_inverts_and_redraws_the_same(gan: Gan, tmp_path: Path) -> None:
    gan.save(tmp_path, {"title": "Toy"})
    pictures = gan.draw(PROMPTS, [3] * len(PROMPTS))
    loaded = model.load(tmp_path)
    assert np.array_equal(loaded.draw(PROMPTS, [3] * len(PROMPTS)), pictures)
    latents = gan.invert(pictures)
    assert torch.equal(loaded.invert(pictures), latents)
    assert np.array_equal(loaded.from_latent(latents), gan.from_latent(latents))


def test_numbers_that_run_away_make_no_black_picture() -> None:
    pixels = torch.zeros(2, 3, 4, 4)
    assert model.to_pictures(pixels).max() == 128
    pixels[1, 0, 0, 0] = torch.nan
    with pytest.raises(NoPicture):
        model.to_pictures(pixels)


def test_a_changed_weight_file_is_refused(gan: Gan, tmp_path: Path) -> None:
    gan.save(tmp_path, {})
    path = tmp_path / "encoder" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CheckpointMissing, match="encoder"):
        model.load(tmp_path)


def test_a_blend_starts_at_one_picture_and_ends_at_the_other(gan: Gan) -> None:
    one, other = gan.dream(PROMPTS[:2], [0, 0])
    blends = gan.from_latent(torch.stack([torch.lerp(one, other, s) for s in (0.0, 0.5, 1.0)]))
    assert np.array_equal(blends[[0, 2]], gan.draw(PROMPTS[:2], [0, 0]))
    assert not np.array_equal(blends[1], blends[0])


def test_only_the_direction_of_a_latent_counts(gan: Gan) -> None:
    latents = gan.dream(PROMPTS, [0] * len(PROMPTS))
    difference = gan.from_latent(3 * latents).astype(int) - gan.from_latent(latents)
    assert np.abs(difference).max() <= 1
    assert torch.allclose(latents.square().mean(1), torch.ones(len(latents)), atol=1e-4)
    assert torch.allclose(on_sphere(7 * latents), latents, atol=1e-4)


def test_pictures_of_another_size_are_refused(gan: Gan) -> None:
    with pytest.raises(ValueError, match="32 x 32"):
        gan.invert(np.zeros((1, 31, 32, 3), np.uint8))


@pytest.mark.parametrize(
    ("prompt", "number"),
    [("a fox, flat style", 0), ("a fox, 3d style", 1), ("a fox", -1), ("a fox, noto style", -1)],
)
def test_a_look_is_known_by_the_template(prompt: str, number: int) -> None:
    assert model.look_of(prompt, LOOKS, TEMPLATE) == number


def test_pictures_do_not_influence_each_others_score() -> None:
    """Otherwise the gradient of the summed scores were no penalty of single pictures."""
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        critic = Discriminator(32, 4, (16, 24), (1, 1), 16, 2)
        pictures, sentences = torch.randn(4, 3, 32, 32), torch.randn(4, 384)
    pictures.requires_grad_()
    scores = critic(pictures, sentences, torch.tensor([0, 1, -1, 0]))
    scores[1].backward()
    assert [bool(grad.any()) for grad in pictures.grad] == [False, True, False, False]


def test_a_size_that_cannot_be_halved_so_often_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        Synthesis(40, 4, 16, (16, 16, 16), (1, 1, 1))
