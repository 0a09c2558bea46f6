"""Captions say what their picture shows, in the states that the pipeline draws with."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from generation.learning.dataset.stored import Dataset
from generation.learning.recipes.work import Work
from generation.learning.training import conditions
from generation.learning.training.conditions import Captions, Wording
from generation.learning.training.latents import Latents
from generation.work.progress import silent
from tests.unit.generation.learning.training import toy

CPU = torch.device("cpu")
WORDS = ("", "on a blue background")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.write_dataset(Work(tmp_path_factory.mktemp("work"), "tiny"))


def two_views() -> Latents:
    """Two pictures, the second view of each on blue."""
    values = np.zeros((2, 2, 4, 4, 4), np.float16)
    return Latents(np.array([0, 9]), np.array([[0, 1], [0, 1]]), WORDS, values)


@pytest.fixture(scope="module")
def captions(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Captions:
    folder = tmp_path_factory.mktemp("captions")
    wording = Wording(phrasings=3)
    return conditions.prepare(folder, dataset, two_views(), wording, CPU, silent)


@functools.cache
def encoder() -> conditions.Encoder:
    return conditions.Encoder(CPU)


def states_of(text: str) -> torch.Tensor:
    return encoder()([text])[0]


@pytest.mark.parametrize(
    ("position", "view", "phrasing", "text"),
    [
        (0, 0, 0, "red circle, solid style"),
        (0, 0, 2, "circle in red, solid style"),
        (1, 0, 1, "a red square, outlined style"),
        (1, 1, 0, "a red square on a blue background, outlined style"),
    ],
)
def test_caption_names_thing_background_and_look(
    captions: Captions, position: int, view: int, phrasing: int, text: str
) -> None:
    number = torch.tensor([captions.styled[position, view, phrasing]])
    torch.testing.assert_close(captions.at(number)[0], states_of(text), rtol=0, atol=4e-3)


def test_unstyled_caption_names_no_look(captions: Captions) -> None:
    number = torch.tensor([captions.unstyled[0, 0, 0]])
    torch.testing.assert_close(captions.at(number)[0], states_of("red circle"), rtol=0, atol=4e-3)


def test_each_text_is_kept_once(captions: Captions) -> None:
    # Per picture 3 with look, 3 without, 1 on blue; and the empty prompt.
    assert len(captions.states) == 2 * 7 + 1


def test_shares_of_captions_are_as_asked(captions: Captions) -> None:
    wording = Wording(phrasings=3, dropout=0.2, unstyled=0.3)
    many = 20_000
    positions, views = torch.zeros(many, dtype=torch.int64), torch.zeros(many, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    chosen = conditions.choose(captions, wording, positions, views, generator)
    shares = torch.bincount(chosen, minlength=len(captions.states)) / many
    assert shares[conditions.EMPTY].item() == pytest.approx(0.2, abs=0.015)
    unstyled = shares[torch.from_numpy(captions.unstyled[0, 0])]
    named = shares[torch.from_numpy(captions.styled[0, 0])]
    assert unstyled.sum().item() == pytest.approx(0.3, abs=0.015)
    assert named.sum().item() == pytest.approx(0.5, abs=0.015)
    assert named.min().item() > 0.5 * 0.1


def test_choice_depends_on_the_generator_alone(captions: Captions) -> None:
    positions, views = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 1])
    first, again, other = (
        conditions.choose(
            captions, Wording(phrasings=3), positions, views, torch.Generator().manual_seed(seed)
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_few_phrasings_take_turns_from_picture_to_picture(dataset: Dataset) -> None:
    row = dataset.rows[0]
    many = dataclasses.replace(row, phrasings=("x", "an x", "ex", "the letter", "mark"))
    heard = [conditions.phrasings_of(many, 3, turn) for turn in range(3)]
    assert heard == [["x", "an x", "ex"], ["x", "an x", "the letter"], ["x", "an x", "mark"]]
    assert conditions.phrasings_of(many, 12, 1) == ["x", "an x", "the letter", "mark", "ex"]
    assert conditions.phrasings_of(many, 1, 5) == ["x"]


@pytest.mark.parametrize(
    "wrong", [{"phrasings": 0}, {"dropout": 0.9, "unstyled": 0.2}, {"dropout": -0.1}]
)
def test_impossible_wording_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Wording(**wrong)
