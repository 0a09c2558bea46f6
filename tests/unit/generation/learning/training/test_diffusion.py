"""A denoiser learns from latents and words, says how well, and never sees what it is tested on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from generation.learning.dataset.augment import Augmentation
from generation.learning.dataset.stored import Split
from generation.learning.recipes.work import Work
from generation.learning.training import diffusion, latents
from generation.learning.training.denoiser import Network
from generation.learning.training.latents import Latents
from generation.learning.training.loop import TrainingStopped
from generation.learning.training.noising import PREDICTIONS
from generation.learning.training.optimizers import Optimizer
from generation.work import manifest
from generation.work.manifest import CheckpointMissing
from generation.work.progress import silent
from tests.unit.generation.learning.training import toy

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CPU = torch.device("cpu")
UNSEEN = frozenset({("red circle", "outlined"), ("blue square", "solid")})


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return toy.toy_work(tmp_path)


def encode(work: Work, views: int, augmentation: Augmentation) -> Latents:
    dataset = toy.write_dataset(work)
    vae, note = latents.load_vae(work)
    rows, folder = np.arange(16), work.run("diffusion")
    return latents.prepare(
        folder, vae, note["sha256"], dataset, rows, toy.SIDE_PX, views, augmentation, CPU, silent
    )


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_loss_falls(work: Work, prediction: str) -> None:
    recipe = dataclasses.replace(toy.DIFFUSION, prediction=prediction)
    prepared = diffusion.prepare(work, recipe, toy.write_dataset(work), silent)
    curve = prepared.loop.run(silent).curve
    key = "diffusion.velocity"
    assert curve[-1][key] < 0.8 * curve[0][key]
    assert prepared.pictures == 16


def test_validation_pictures_are_the_unseen_pairs(work: Work) -> None:
    dataset = toy.write_dataset(work, UNSEEN)
    learned, left_out = diffusion.split(dataset, is_validated=True)
    assert {(dataset.rows[i].concept, dataset.rows[i].look) for i in left_out} == UNSEEN
    assert {dataset.rows[i].split for i in learned} == {Split.TRAIN}
    assert len(learned) == 14


def test_dataset_without_unseen_pairs_leaves_out_the_same_few_each_time(work: Work) -> None:
    dataset = toy.write_dataset(work)
    learned, left_out = diffusion.split(dataset, is_validated=True)
    assert len(left_out) == 1
    assert sorted([*learned, *left_out]) == list(range(16))
    # The lot falls on a picture, not on its place.
    turned = dataclasses.replace(dataset, rows=tuple(reversed(dataset.rows)))
    _, again = diffusion.split(turned, is_validated=True)
    assert turned.rows[again[0]].key == dataset.rows[left_out[0]].key


def test_run_that_does_not_validate_learns_from_all(work: Work) -> None:
    learned, left_out = diffusion.split(toy.write_dataset(work), is_validated=False)
    assert (len(learned), len(left_out)) == (16, 0)


def test_dataset_without_training_pictures_says_what_to_do(work: Work) -> None:
    everything = frozenset((f"{c} {s}", look) for c in toy.COLOURS for s in toy.SHAPES
                           for look in toy.LOOKS)  # fmt: skip
    with pytest.raises(TrainingStopped, match="atelier data build"):
        diffusion.split(toy.write_dataset(work, everything), is_validated=True)


def test_overfitting_ends_the_run_and_keeps_the_best_weights(work: Work) -> None:
    dataset = toy.write_dataset(work, UNSEEN)
    run = dataclasses.replace(toy.RUN, steps=60, validate_every=3, patience=2)
    recipe = dataclasses.replace(toy.DIFFUSION, run=run, optimizer=Optimizer(learning_rate=0.03))
    outcome = diffusion.prepare(work, recipe, dataset, silent).loop.run(silent)
    measured = [p["validation.velocity"] for p in outcome.curve if "validation.velocity" in p]
    assert outcome.steps < 60
    assert outcome.kept_step == outcome.steps - 6
    assert min(measured) == measured[-3]


def test_unknown_default_style_is_refused_before_training(work: Work) -> None:
    recipe = dataclasses.replace(toy.DIFFUSION, default_style="oil")
    with pytest.raises(TrainingStopped, match=r"'oil' is not one of .*solid, outlined"):
        diffusion.train(work, recipe, silent)
    assert not work.run("diffusion").exists()


def test_missing_autoencoder_says_what_to_train_first(tmp_path: Path) -> None:
    work = Work(tmp_path, "tiny")
    dataset = toy.write_dataset(work)
    with pytest.raises(CheckpointMissing, match="atelier train vae"):
        diffusion.prepare(work, toy.DIFFUSION, dataset, silent)


def test_changed_autoencoder_is_refused(work: Work) -> None:
    weights = next(work.checkpoint("vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointMissing, match="damaged"):
        latents.load_vae(work)


def test_first_view_is_the_picture_and_others_are_changed(work: Work) -> None:
    encoded = encode(work, 3, Augmentation(shift=0.3))
    plain = encode(work, 1, Augmentation())
    np.testing.assert_array_equal(encoded.values[:, 0], plain.values[:, 0])
    for view in (1, 2):
        assert not np.array_equal(encoded.values[:, view], plain.values[:, 0])
    assert not np.array_equal(encoded.values[:, 1], encoded.values[:, 2])


def test_views_on_a_colour_come_with_its_words(work: Work) -> None:
    always = Augmentation(background=1.0, backgrounds=("purple",))
    encoded = encode(work, 2, always)
    assert {encoded.words[i] for i in encoded.additions[:, 0]} == {""}
    assert {encoded.words[i] for i in encoded.additions[:, 1]} == {"on a purple background"}


def test_latents_come_back_by_position_and_view(work: Work) -> None:
    encoded = encode(work, 2, Augmentation(shift=0.3))
    positions, views = torch.tensor([3, 0]), torch.tensor([1, 0])
    found = encoded.at(positions, views)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found[0].numpy(), encoded.values[3, 1].astype(np.float32))
    np.testing.assert_array_equal(found[1].numpy(), encoded.values[0, 0].astype(np.float32))


def test_new_autoencoder_means_new_latents(work: Work) -> None:
    before = np.array(encode(work, 1, Augmentation()).values)
    vae, _ = latents.load_vae(work)
    with torch.no_grad():
        vae.encoder.layers[-1].bias.add_(1)
    vae.save_pretrained(work.checkpoint("vae"))
    manifest.write(work.checkpoint("vae"), "vae", {})
    after = encode(work, 1, Augmentation()).values
    np.testing.assert_allclose(after.astype(np.float32), before.astype(np.float32) + 1, atol=0.02)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"prediction": "epsilon"}, "not one of flow, sample, v_prediction"),
        ({"views": 0}, "views must be 1 or more"),
    ],
)
def test_impossible_recipe_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(toy.DIFFUSION, **wrong)


def test_network_needs_to_know_of_each_level_whether_it_looks_at_words() -> None:
    with pytest.raises(ValueError, match="one entry for each"):
        Network(block_out_channels=(16, 32, 32), attention=(True, False))
