"""The scorer: what counts as true, what it learns, what it leaves behind."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from generation.judging.scorer.model import Scorer
from generation.language import sentences
from generation.learning.dataset.augment import Augmentation, plain
from generation.learning.dataset.stored import Split
from generation.learning.recipes.work import Work
from generation.learning.training import scorer
from generation.learning.training.contrast import NO_LOOK, Captions, Claims, contrastive_loss
from generation.learning.training.loop import TrainingStopped
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.perceptual import perceptual_distance
from generation.learning.training.run import Run
from generation.learning.training.scorer import ScorerRecipe, ScorerSummary
from generation.work import manifest
from generation.work.manifest import CheckpointMissing
from generation.work.progress import silent
from tests.unit.generation.learning.training.drawings import LOOKS, SIDE_PX, write_dataset

RECIPE = ScorerRecipe(
    side_px=SIDE_PX,
    widths=(8, 16, 32),
    embedding_size=16,
    phrasings=2,
    run=Run(
        steps=60, batch_size=14, device="cpu", precision="float32", threads=1, ema_decay=0.8,
        log_every=10, validate_every=20,
    ),
    optimizer=Optimizer(learning_rate=1e-2),
    schedule=Schedule(warmup=5),
    augmentation=Augmentation(shift=0.05, background=0.2, backgrounds=("grey",)),
)  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = Work(tmp_path_factory.mktemp("scorer"), "toy")
    write_dataset(work)
    return work


@pytest.fixture(scope="module")
def trained(work: Work) -> ScorerSummary:
    return scorer.train(work, RECIPE, silent)


def claims(concepts: list[int], looks: list[int], backgrounds: list[int]) -> Claims:
    return Claims(torch.tensor(concepts), torch.tensor(looks), torch.tensor(backgrounds))


def some_pictures(count: int = 3, side_px: int = SIDE_PX) -> Tensor:
    return torch.rand(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(0))


def test_perfectly_aligned_pairs_cost_nothing() -> None:
    logits = torch.full((5, 5), -50.0).fill_diagonal_(50.0)
    assert contrastive_loss(logits, torch.eye(5, dtype=torch.bool)) < 1e-6


def test_knowing_nothing_costs_the_logarithm_of_the_choices() -> None:
    loss = contrastive_loss(torch.zeros(5, 5), torch.eye(5, dtype=torch.bool))
    assert loss.item() == pytest.approx(math.log(5))


def test_loss_with_one_truth_each_is_cross_entropy_both_ways() -> None:
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    own = torch.arange(6)
    cross_entropy = torch.nn.functional.cross_entropy
    expected = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(contrastive_loss(logits, torch.eye(6, dtype=torch.bool)), expected)


def test_a_caption_is_true_of_its_concept_and_of_what_it_names() -> None:
    pictures = claims([0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0])
    captions = claims([0, 0, 1], [0, NO_LOOK, 0], [0, 0, 0])
    expected = [
        [True, False, False, False],
        [True, True, False, False],
        [False, False, False, True],
    ]
    assert captions.is_true_of(pictures).tolist() == expected


def test_other_looks_are_not_pushed_away_from_a_caption_without_look() -> None:
    pictures, captions = claims([0, 0], [0, 1], [0, 0]), claims([0, 0], [NO_LOOK, 1], [0, 0])
    logits = torch.zeros(2, 2, requires_grad=True)
    contrastive_loss(logits, captions.is_true_of(pictures)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] <= 0  # the caption without look, the picture in the other look
    assert logits.grad[1, 0] > 0  # the caption that names its look, the picture in another


def test_a_held_back_look_is_no_wrong_answer(work: Work) -> None:
    dataset = scorer.load(work.data)
    captions = Captions(dataset, Augmentation(), 1, work.run("scorer"), CPU, silent)
    rows = torch.tensor(
        [dataset.concepts.index("red circle"), dataset.concepts.index("red square")]
    )
    logits = torch.zeros(2, len(LOOKS), requires_grad=True)
    captions.look_loss(logits, rows).backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == [0, 0]  # "red circle, outlined" is held back
    assert logits.grad[1, 1] > 0


def test_a_text_means_the_same_beside_a_longer_one() -> None:
    alone = sentences.encode(["a fox"])
    together = sentences.encode(["a rather long caption about a castle on a hill", "a fox"])
    torch.testing.assert_close(alone[0], together[1], atol=1e-5, rtol=1e-5)


def test_captions_are_encoded_once(tmp_path: Path) -> None:
    dataset, told = write_dataset(Work(tmp_path, "shapes")), list[str]()

    def report(stage: str, done: int, total: int, note: str = "") -> None:
        told.append(stage)

    first = Captions(dataset, Augmentation(), 1, tmp_path, CPU, report)
    assert told
    told.clear()
    again = Captions(dataset, Augmentation(), 1, tmp_path, CPU, report)
    assert torch.equal(again.states, first.states)
    assert not told


def test_training_finds_captions_of_unseen_pairs(trained: ScorerSummary) -> None:
    assert trained.figures.pictures == 2
    assert trained.figures.recall > 3 * trained.figures.recall_by_chance
    assert trained.figures.look_accuracy == 1


def test_every_look_is_counted_on_its_own_and_recorded(trained: ScorerSummary) -> None:
    figures = trained.figures
    assert sorted(figures.by_look) == sorted(LOOKS)
    counted = sum(each.pictures for each in figures.by_look.values())
    assert counted == figures.pictures
    shares = sum(each.recall * each.pictures for each in figures.by_look.values())
    assert shares / counted == pytest.approx(figures.recall)
    recorded = manifest.read(trained.checkpoint, "scorer")["by_look"]
    assert recorded == {look: dataclasses.asdict(each) for look, each in figures.by_look.items()}
    assert all(
        f"{look} {each.recall:.0%}" in trained.sentence() for look, each in figures.by_look.items()
    )


def test_made_scenes_are_no_captions_to_choose_from(work: Work, trained: ScorerSummary) -> None:
    dataset = scorer.load(work.data)
    scenes = tuple(
        dataclasses.replace(row, split=Split.SCENE, concept=f"{row.concept} {i}", phrasings=(text,))
        for i, row in enumerate(dataset.rows)
        for text in (f"{row.phrasings[0]} again {i}",)
    )
    larger = dataclasses.replace(dataset, rows=(*dataset.rows, *scenes))
    captions = Captions(larger, RECIPE.augmentation, 2, work.run("larger"), CPU, silent)
    held_out = torch.tensor([row.is_unseen_by_scorer for row in dataset.rows]).nonzero()[:, 0]
    measured = scorer.measure(scorer.read(trained.checkpoint), larger, captions, held_out)
    assert measured.recall == pytest.approx(trained.figures.recall)
    assert measured.recall_by_chance == trained.figures.recall_by_chance


def test_what_is_exported_is_what_was_measured(work: Work, trained: ScorerSummary) -> None:
    model = scorer.read(trained.checkpoint)
    dataset = scorer.load(work.data)
    rows = torch.arange(len(dataset.rows))
    held_out = torch.tensor([row.is_unseen_by_scorer for row in dataset.rows]).nonzero()[:, 0]
    captions = Captions(dataset, RECIPE.augmentation, 2, work.run("scorer"), CPU, silent)
    assert scorer.measure(model, dataset, captions, held_out) == trained.figures
    texts = [f"{row.concept}, {row.look} style" for row in dataset.rows]
    with torch.no_grad():
        pictures = model.embed_pictures(plain(dataset, rows, SIDE_PX))
        nearest = (pictures @ model.embed_texts(texts).T).argmax(1)
        looks = model.look_logits(plain(dataset, rows, SIDE_PX)).argmax(1)
    assert (nearest == rows).float().mean() > 0.8
    assert looks.tolist() == [LOOKS.index(row.look) for row in dataset.rows]
    assert (work.run("scorer") / scorer.SHEET).exists()


def test_a_changed_weight_file_is_refused(trained: ScorerSummary, tmp_path: Path) -> None:
    name = "diffusion_pytorch_model.safetensors"
    for file in (name, "config.json", manifest.MANIFEST):
        (tmp_path / file).write_bytes((trained.checkpoint / file).read_bytes())
    scorer.read(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointMissing, match="atelier train scorer"):
        scorer.read(tmp_path)


def test_finished_training_is_not_done_again(work: Work, trained: ScorerSummary) -> None:
    again = scorer.train(work, RECIPE, silent)
    assert again.figures == trained.figures
    assert again.seconds < trained.seconds


def test_a_dataset_without_held_out_pictures_is_refused(tmp_path: Path) -> None:
    work = Work(tmp_path, "toy")
    dataset = write_dataset(work, unseen=frozenset())
    with pytest.raises(TrainingStopped, match="scorer_pairs"):
        scorer.prepare(work, RECIPE, dataset, silent)


def test_features_of_a_picture_do_not_depend_on_its_neighbours_or_the_size_it_comes_in() -> None:
    model = scorer.create(RECIPE, LOOKS).eval()
    pictures = some_pictures()
    with torch.no_grad():
        together, alone = model.features(pictures), model.features(pictures[:1])
        larger = torch.nn.functional.interpolate(pictures, scale_factor=2, mode="nearest")
        halved = model.features(larger)
    torch.testing.assert_close(together[:1], alone)
    assert together.shape == (3, model.feature_size)
    assert halved.shape == together.shape


def test_looking_at_the_same_picture_makes_no_perceptual_distance() -> None:
    model = scorer.create(RECIPE, LOOKS).eval().requires_grad_(requires_grad=False)
    target = some_pictures()
    assert perceptual_distance(model, target, target) == 0
    other = (target + 0.1).requires_grad_()
    distance = perceptual_distance(model, other, target)
    distance.backward()
    assert 0 < distance.item() <= 4
    assert other.grad is not None
    assert other.grad.abs().sum() > 0


def test_widths_that_cannot_be_normalised_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        dataclasses.replace(RECIPE, widths=(12,))


def test_an_untrained_scorer_survives_being_saved(tmp_path: Path) -> None:
    model = scorer.create(RECIPE, LOOKS).eval()
    model.save_pretrained(tmp_path)
    loaded = Scorer.from_pretrained(tmp_path).eval()
    assert loaded.looks == LOOKS
    with torch.no_grad():
        assert torch.equal(loaded.features(some_pictures()), model.features(some_pictures()))
