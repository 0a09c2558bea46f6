"""The autoencoder: its mathematics, its training, its folder."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from generation.learning.dataset.augment import Augmentation, plain
from generation.learning.dataset.stored import Split, load
from generation.learning.recipes.work import Work
from generation.learning.training import autoencoding, loop, scorer, vae
from generation.learning.training.autoencoding import (
    Posterior,
    channel_statistics,
    kl_divergence,
    measure,
    normalise,
    picture_losses,
    psnr,
    standardised,
)
from generation.learning.training.discriminator import Critic
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Run
from generation.learning.training.vae import VaeSummary
from generation.learning.training.vae_recipe import DecoderPhase, VaeRecipe
from generation.work import manifest
from generation.work.manifest import CheckpointMissing
from generation.work.progress import silent
from tests.unit.generation.learning.training.drawings import SIDE_PX, write_dataset
from tests.unit.generation.learning.training.test_scorer import RECIPE as SCORER_RECIPE

RECIPE = VaeRecipe(
    side_px=SIDE_PX,
    width=8,
    latent_channels=3,
    encoder_blocks=(0, 0, 1),
    decoder_blocks=(1, 0, 0),
    terms={"pixels": 1.0, "edges": 0.5, "kl": 1e-4},
    decoder=DecoderPhase(steps=20, batch_size=4, optimizer=Optimizer(learning_rate=3e-3)),
    run=Run(
        steps=60, batch_size=14, device="cpu", precision="float32", threads=1, ema_decay=0.8,
        log_every=2, validate_every=20,
    ),
    optimizer=Optimizer(learning_rate=6e-3),
    schedule=Schedule(warmup=5),
    augmentation=Augmentation(shift=0.05, background=0.2),
)  # fmt: skip
EVERY_TERM = dataclasses.replace(
    RECIPE,
    crop_px=16,
    terms={
        "pixels": 1.0, "edges": 0.5, "kl": 1e-4, "perceptual": 0.1,
        "adversarial": 0.05,
    },
    critic=Critic(widths=(8, 8), starts_at=3),
    run=dataclasses.replace(RECIPE.run, steps=8, batch_size=4, validate_every=4),
    decoder=DecoderPhase(),
)  # fmt: skip


class Killed(BaseException):
    """Stands for the end of the process."""


def tiny() -> AutoencoderTiny:
    return autoencoding.create(8, 3, (1, 1), (1, 1), seed=0).eval()


def some_pictures() -> Tensor:
    return torch.rand((4, 3, 16, 16), generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = Work(tmp_path_factory.mktemp("vae"), "toy")
    write_dataset(work)
    return work


@pytest.fixture(scope="module")
def trained(work: Work) -> VaeSummary:
    return vae.train(work, RECIPE, silent)


def test_divergence_is_that_of_torch_s_distributions() -> None:
    means, deviations = some_pictures(), torch.tensor([0.1, 0.5, 2.0]).view(1, -1, 1, 1)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(means, deviations), normal(0.0, 1.0))
    torch.testing.assert_close(kl_divergence(means, deviations), expected.mean())


def test_posterior_has_its_mean_and_its_deviations() -> None:
    posterior = Posterior(2, 0.3)
    with torch.no_grad():
        posterior.log_deviations[1] = math.log(0.7)
    noise = torch.randn((1, 2, 300, 300), generator=torch.Generator().manual_seed(0))
    latents, _ = posterior(torch.full_like(noise, 5.0), noise)
    mean, std = channel_statistics([latents.detach()])
    torch.testing.assert_close(mean, torch.tensor([5.0, 5.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(std, torch.tensor([0.3, 0.7]), atol=0.01, rtol=0)


def test_normalised_latents_have_zero_mean_and_unit_variance() -> None:
    model, pictures = tiny(), some_pictures()
    with torch.no_grad():
        before = model.encoder(pictures)
        normalise(model, *channel_statistics([before[:2], before[2:]]))
        after = model.encoder(pictures)
    torch.testing.assert_close(after, standardised(before), atol=1e-4, rtol=1e-4)
    mean, std = channel_statistics([after])
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(3))


def test_picture_losses_are_zero_only_for_equal_pictures() -> None:
    target = some_pictures()
    assert all(loss == 0 for loss in picture_losses(target, target).values())
    shifted = picture_losses(target + 0.1, target)
    assert shifted["pixels"].item() == pytest.approx(0.01, abs=1e-6)
    assert shifted["edges"] < 1e-6  # an even error has no slopes


def test_stripes_cost_more_edges_than_pixels() -> None:
    target = torch.zeros((1, 3, 8, 8))
    stripes = target.clone()
    stripes[..., ::2], stripes[..., 1::2] = 0.1, -0.1
    losses = picture_losses(stripes, target)
    assert losses["pixels"].item() == pytest.approx(0.01)
    assert losses["edges"].item() == pytest.approx(0.02)  # 0.2 across, nothing down


def test_a_tenth_of_the_range_off_is_twenty_decibels() -> None:
    pictures = some_pictures()
    torch.testing.assert_close(psnr(pictures + 0.2, pictures), torch.full((4,), 20.0))


def test_sharpness_is_one_for_the_original_and_less_when_blurred() -> None:
    pictures = some_pictures()
    same = measure(lambda each: each, [pictures])
    assert same.sharpness == 1
    assert same.psnr_db == math.inf
    blur = torch.nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    assert measure(blur, [pictures]).sharpness < 0.5


def test_training_improves_unseen_pictures(work: Work, trained: VaeSummary) -> None:
    dataset = load(work.data)
    fresh = dataclasses.replace(RECIPE, run=dataclasses.replace(RECIPE.run, seed=1))
    elsewhere = Work(work.root / "fresh", "toy")
    untrained = vae.prepare(elsewhere, fresh, dataset, silent)
    held_out = plain(dataset, untrained.held_out, SIDE_PX)
    before = measure(lambda each: autoencoding.rebuild(untrained.vae, each), [held_out])
    assert [dataset.rows[row].split for row in untrained.held_out.tolist()] == [
        Split.UNSEEN_PAIR
    ] * 2
    assert trained.figures.psnr_db > before.psnr_db + 3
    assert trained.steps == 80


def test_exported_latents_are_normalised_and_figures_are_those_of_the_file(
    work: Work, trained: VaeSummary
) -> None:
    note = manifest.read(trained.checkpoint, "vae")
    model = AutoencoderTiny.from_pretrained(trained.checkpoint).float().eval()
    dataset = load(work.data)
    rows = torch.from_numpy(dataset.numbers_of({Split.TRAIN}))
    with torch.no_grad():
        latents = model.encode(plain(dataset, rows, SIDE_PX)).latents
    mean, std = channel_statistics([latents])
    torch.testing.assert_close(mean, torch.zeros(3), atol=0.01, rtol=0)  # stored in float16
    torch.testing.assert_close(std, torch.ones(3), atol=0.01, rtol=0)
    assert latents.shape[2:] == (8, 8)
    unseen = torch.from_numpy(dataset.numbers_of({Split.UNSEEN_PAIR}))
    held_out = plain(dataset, unseen, SIDE_PX)
    found = measure(lambda each: autoencoding.rebuild(model, each), [held_out])
    assert found.psnr_db == pytest.approx(note["psnr_db"], abs=1e-3)
    assert found.sharpness == pytest.approx(note["sharpness"], abs=1e-3)
    assert len(note["deviations"]) == 3
    assert all(0 < each < 1 for each in note["deviations"])
    assert (work.run("vae") / vae.SHEET).exists()


def test_killed_and_resumed_gives_the_same_weights_with_every_term(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer_run = dataclasses.replace(SCORER_RECIPE.run, steps=2)
    often = dataclasses.replace(
        EVERY_TERM, run=dataclasses.replace(EVERY_TERM.run, save_every_s=0.0)
    )
    monkeypatch.setattr(loop, "REPORT_EVERY_S", 0.0)

    def killed(stage: str, done: int, total: int, note: str = "") -> None:
        if done == 6:
            raise Killed

    finished = {}
    for name in ("straight", "killed"):
        here = Work(tmp_path / name, "toy")
        dataset = write_dataset(here)
        scorer.train(here, dataclasses.replace(SCORER_RECIPE, run=scorer_run), silent)
        if name == "killed":
            with pytest.raises(Killed):
                vae.prepare(here, often, dataset, silent).loop.run(killed)
        training = vae.prepare(here, EVERY_TERM, dataset, silent)
        outcome = training.loop.run(silent)
        finished[name] = (training, outcome)
    (straight, first), (resumed, second) = finished["straight"], finished["killed"]
    assert first.curve == second.curve
    for name, weights in straight.loop.weights.items():
        others = resumed.loop.weights[name].masters
        assert all(torch.equal(a, b) for a, b in zip(weights.masters, others, strict=True)), name
    keys = {key for point in first.curve for key in point}
    assert {"vae.adversarial", "vae.perceptual", "critic.penalty", "validation.sharpness"} <= keys
    assert "critic.pairing" not in first.curve[0]  # it comes in at step 3


def test_a_missing_scorer_is_named(tmp_path: Path) -> None:
    here = Work(tmp_path, "toy")
    dataset = write_dataset(here)
    with pytest.raises(CheckpointMissing, match="atelier train scorer"):
        vae.prepare(here, EVERY_TERM, dataset, silent)


@pytest.mark.parametrize(
    "change",
    [
        {"terms": {"pixels": 1.0, "perceptul": 1.0}},
        {"terms": {"edges": 1.0}},
        {"side_px": 30},
        {"encoder_blocks": (0, 1)},
    ],
)
def test_recipes_that_cannot_work_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"terms|side_px|encoder_blocks"):
        dataclasses.replace(RECIPE, **change)  # type: ignore[arg-type]
