"""The GAN's trainer: exact, resumable, and its encoder finds what it has seen."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from generation.learning.dataset.augment import plain
from generation.learning.dataset.stored import Dataset, DatasetError, Split
from generation.learning.recipes import reading
from generation.learning.recipes.work import Work
from generation.learning.training import chain, gan, scorer
from generation.learning.training.gan import GanTraining
from generation.learning.training.gan_recipe import GanRecipe, Sizes
from generation.learning.training.loop import TrainingStopped
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Run
from generation.techniques.gan import model
from generation.work import manifest
from generation.work.progress import silent
from tests.unit.generation.learning.training import toy

UNSEEN = frozenset({("red circle", "solid"), ("blue square", "outlined")})
ADAM = Optimizer("adam", 2e-3, betas=(0.5, 0.99), clip_norm=0.0)
TOY = GanRecipe(
    sizes=Sizes(
        side_px=toy.SIDE_PX, patch_px=4, channels=(16, 32), blocks=(1, 1),
        noise_dim=8, latent_dim=16, features=16,
    ),
    run=Run(
        steps=6, batch_size=6, compile=False, threads=1, precision="float32", ema_decay=0.9,
        log_every=2, validate_every=3,
    ),
    generator=ADAM,
    discriminator=dataclasses.replace(ADAM, betas=(0.0, 0.99)),
    schedule=Schedule("constant", warmup=2),
    terms={"adversarial": 0.1, "pixels": 10.0, "latent": 0.1, "anchor": 0.1},
    penalty_every=2,
    phrasings=1,
)  # fmt: skip

ON_LATENTS = dataclasses.replace(
    TOY, latent_views=2, differentiable_augmentation=("translation", "cutout")
)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    work = Work(tmp_path, "tiny")
    toy.write_dataset(work, UNSEEN)
    return work


def prepared(work: Work, recipe: GanRecipe = TOY) -> GanTraining:
    return gan.prepare(work, recipe, toy.write_dataset(work, UNSEEN), silent)


def weights(training: GanTraining) -> dict[str, torch.Tensor]:
    return {
        f"{player}/{name}": master
        for player, held in training.loop.weights.items()
        for name, master in zip(held.names, held.masters, strict=True)
    }


def test_same_seed_same_weights(tmp_path: Path) -> None:
    ran = []
    for name in ("first", "second"):
        training = prepared(Work(tmp_path / name, "tiny"))
        for _ in range(2):
            training.loop.step(silent)
        ran.append(weights(training))
    assert all(torch.equal(ran[0][name], ran[1][name]) for name in ran[0])


def test_killed_and_resumed_both_players_go_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole, killed = Work(tmp_path / "whole", "tiny"), Work(tmp_path / "killed", "tiny")
    for each in (whole, killed):
        toy.write_dataset(each, UNSEEN)
    gan.train(whole, TOY, silent)

    def kill(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "gan" and done >= 3:
            raise KeyboardInterrupt

    saving = dataclasses.replace(TOY, run=dataclasses.replace(TOY.run, save_every_s=0.0))
    with pytest.raises(KeyboardInterrupt):
        gan.train(killed, saving, kill)
    assert list(killed.run("gan").glob("snapshot-*"))
    assert not killed.checkpoint("gan").exists()
    gan.train(killed, TOY, silent)
    for kind in ("mapping", "synthesis", "encoder"):
        name = f"{kind}/diffusion_pytorch_model.safetensors"
        first, second = whole.checkpoint("gan") / name, killed.checkpoint("gan") / name
        assert first.read_bytes() == second.read_bytes()
    curves = [(each.run("gan") / "curve.csv").read_text() for each in (whole, killed)]
    assert curves[0] == curves[1]


def test_only_the_recipes_groups_are_learnt(work: Work) -> None:
    dataset = toy.write_dataset(work, UNSEEN)
    rows = [
        dataclasses.replace(row, group="round" if "circle" in row.concept else "other")
        for row in dataset.rows
    ]
    grouped = dataclasses.replace(dataset, rows=tuple(rows))
    chosen = gan.prepare(work, dataclasses.replace(TOY, groups=("round",)), grouped, silent)
    assert len(chosen.seen) > 0
    assert {rows[number].group for number in chosen.seen.tolist()} == {"round"}
    with pytest.raises(DatasetError, match="groups"):
        gan.prepare(work, dataclasses.replace(TOY, groups=("nothing",)), grouped, silent)


@pytest.mark.parametrize("turn", [0, 1])
def test_a_turn_changes_its_own_side_only(work: Work, turn: int) -> None:
    training = prepared(work)
    before = {name: tensor.clone() for name, tensor in weights(training).items()}
    training.loop.players = (training.loop.players[turn],)
    training.loop.step(silent)
    changed = {
        name for name, now in weights(training).items() if not torch.equal(now, before[name])
    }
    assert {name.partition("/")[0] for name in changed} == {training.loop.players[0].name}


def test_penalties_are_taken_every_so_many_steps_and_count_so_many_times(work: Work) -> None:
    player = prepared(work).loop.players[0]
    assert set(player.losses(0, 4)) == {"adversarial", "r1", "r2"}
    assert set(player.losses(1, 4)) == {"adversarial"}
    assert player.terms["r1"] == 2 * TOY.discriminator_terms["r1"]


def test_a_step_of_one_picture_still_dreams_and_rebuilds(work: Work) -> None:
    """When memory is short the loop halves the batch down to one."""
    losses = prepared(work).loop.players[1].losses(0, 1)
    assert all(torch.isfinite(term) for term in losses.values())


def test_the_perceptual_term_looks_through_the_trained_scorer_and_says_if_it_is_missing(
    work: Work,
) -> None:
    seeing = dataclasses.replace(TOY, terms={**TOY.terms, "perceptual": 1.0})
    with pytest.raises(manifest.CheckpointMissing, match="atelier train scorer"):
        prepared(work, seeing)
    recipe = scorer.ScorerRecipe(side_px=toy.SIDE_PX, widths=(8, 16))
    scorer.create(recipe, toy.LOOKS).save_pretrained(work.checkpoint("scorer"))
    manifest.write(work.checkpoint("scorer"), "scorer", {})
    training = prepared(work, seeing)
    assert training.loop.players[1].losses(0, 4)["perceptual"] > 0
    training.loop.step(silent)


def test_on_latents_it_draws_rebuilds_and_comes_back_from_the_disk_as_pictures(work: Work) -> None:
    vae = toy.write_vae(work)
    summary = gan.train(work, ON_LATENTS, silent)
    loaded = model.load(summary.checkpoint)
    assert loaded.synthesis.config.out_channels == vae.config.latent_channels
    drawn = loaded.draw(["a red circle, solid style", "a blue square, solid style"], [0, 0])
    assert drawn.shape == (2, toy.SIDE_PX, toy.SIDE_PX, 3)
    pixels = torch.from_numpy(drawn).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    with torch.no_grad():
        seen = vae.half().float().encode(pixels).latents
        torch.testing.assert_close(loaded.invert(drawn), loaded.encoder(seen))
    loaded.save(work.root / "again", {})
    assert np.array_equal(
        model.load(work.root / "again").from_latent(loaded.invert(drawn)),
        loaded.from_latent(loaded.invert(drawn)),
    )


def test_on_latents_every_training_picture_is_kept_in_so_many_views(work: Work) -> None:
    vae = toy.write_vae(work)
    gan.train(work, ON_LATENTS, silent)
    (stored,) = work.run("gan").glob("latents-*.npy")
    training = prepared(work, ON_LATENTS)
    values = np.load(stored)["values"]
    assert values.shape[:2] == (len(training.seen), 2)
    pictures = plain(training.dataset, training.seen, toy.SIDE_PX)
    with torch.no_grad():
        expected = vae.encode(pictures).latents
    np.testing.assert_allclose(values[:, 0], expected.half().numpy(), atol=2e-3)


def test_on_latents_it_needs_the_autoencoder_and_its_patches(work: Work) -> None:
    assert chain.missing(work, "gan", ON_LATENTS) == ["vae"]
    with pytest.raises(manifest.CheckpointMissing, match="atelier train vae"):
        prepared(work, ON_LATENTS)
    toy.write_vae(work)
    assert chain.missing(work, "gan", ON_LATENTS) == []
    sizes = dataclasses.replace(TOY.sizes, patch_px=8)
    with pytest.raises(TrainingStopped, match="patch_px = 4"):
        prepared(work, dataclasses.replace(ON_LATENTS, sizes=sizes))


def test_only_training_pictures_are_trained_on(work: Work) -> None:
    training = prepared(work)
    splits = [training.dataset.rows[row].split for row in training.seen.tolist()]
    assert splits == [Split.TRAIN] * 14
    assert len(training.held_out) == len(UNSEEN)


def test_a_dataset_without_training_pictures_is_refused(work: Work) -> None:
    dataset = toy.write_dataset(work, UNSEEN)
    rows = tuple(dataclasses.replace(row, split=Split.UNSEEN_CONCEPT) for row in dataset.rows)
    with pytest.raises(DatasetError, match="splitting"):
        gan.prepare(work, TOY, dataclasses.replace(dataset, rows=rows), silent)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, gan.GanSummary]:
    """Train shortly on fourteen pictures."""
    work = Work(tmp_path_factory.mktemp("trained"), "tiny")
    dataset = toy.write_dataset(work, UNSEEN)
    longer = dataclasses.replace(
        TOY, run=dataclasses.replace(TOY.run, steps=120, batch_size=14, sheet=("a red circle",))
    )
    return dataset, gan.train(work, longer, silent)


def test_a_picture_inverts_to_the_latent_that_redraws_it_and_no_other(
    trained: tuple[Dataset, gan.GanSummary],
) -> None:
    dataset, summary = trained
    gan_ = model.load(summary.checkpoint)
    prompts = [f"{row.concept}, {row.look} style" for row in dataset.rows]
    seen = [i for i, row in enumerate(dataset.rows) if row.split is Split.TRAIN]
    drawn = gan_.draw([prompts[i] for i in seen], [0] * len(seen))
    redrawn = gan_.from_latent(gan_.invert(drawn))
    distances = np.abs(drawn[:, None].astype(float) - redrawn[None]).mean((2, 3, 4))
    nearest = distances.argmin(1)
    assert (nearest == np.arange(len(seen))).mean() > 0.7


def test_training_leaves_a_checkpoint_a_curve_and_a_sheet(
    trained: tuple[Dataset, gan.GanSummary],
) -> None:
    _, summary = trained
    note = manifest.read(summary.checkpoint, "gan")
    assert note["looks"] == list(toy.LOOKS)
    assert note["side_px"] == toy.SIDE_PX
    assert (summary.checkpoint.parent / "curve.png").exists()
    assert (summary.checkpoint.parent / "sheet.png").exists()
    assert summary.psnr_db > 10
    assert "dB" in summary.sentence()


@pytest.mark.parametrize("preset", ["tiny", "full"])
def test_the_presets_are_read_and_their_networks_have_the_promised_size(preset: str) -> None:
    recipe = reading.preset(GanRecipe, preset, "gan")
    with torch.device("meta"):
        made, discriminator = gan.create(recipe, ["a"] * 4, "{prompt}, {look} style")
    millions = 1 if preset == "tiny" else 10
    for network in (made.synthesis, made.encoder, discriminator):
        count = sum(weight.numel() for weight in network.parameters()) / 1e6
        assert 0.5 * millions < count < 1.5 * millions


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"run": Run()}, "compile"),
        ({"penalty_every": 0}, "penalty_every"),
        ({"differentiable_augmentation": ("color",)}, "color"),
        ({"terms": {"pixel": 1.0}}, "pixel"),
        ({"terms": {"perceptual": 1.0}, "latent_views": 1}, "perceptual"),
        ({"discriminator_terms": {"adversarial": 1.0}}, "r1"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_by_name(change: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(TOY, **change)
