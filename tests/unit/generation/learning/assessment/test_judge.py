"""The judge sees the same in a picture whichever way it comes in."""

import dataclasses

import numpy as np
import pytest
import torch

from generation.learning.assessment.judge import Judge, real_pictures, to_pictures, to_tensor
from generation.learning.assessment.prompts import caption
from generation.learning.dataset import stored
from generation.learning.dataset.stored import Dataset
from generation.learning.recipes.work import Work
from generation.learning.training import scorer
from generation.work.progress import silent


@pytest.fixture(scope="module")
def judge(work: Work) -> Judge:
    return Judge(scorer.read(work.checkpoint("scorer")), batch_size=16)


def test_bytes_and_floats_of_a_picture_are_each_others_inverse() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert (to_pictures(to_tensor(levels)) == levels).all()
    assert to_pictures(torch.tensor([-9.0, 9.0, 0.0]).view(1, 3, 1, 1)).tolist() == [
        [[[0, 255, 128]]]
    ]


def test_a_perfect_copy_is_judged_like_the_real_picture(judge: Judge, dataset: Dataset) -> None:
    real = judge.real(dataset, 32, silent)
    copies = judge.drawn(to_pictures(real_pictures(dataset, torch.arange(54), 32)))
    for field in dataclasses.fields(real):
        found, expected = getattr(copies, field.name), getattr(real, field.name)
        np.testing.assert_allclose(found, expected, atol=0.02, err_msg=field.name)


def test_batches_do_not_change_what_is_seen(judge: Judge, dataset: Dataset) -> None:
    other = dataclasses.replace(judge, batch_size=7)
    together, apart = (each.real(dataset, 32, silent).features for each in (judge, other))
    np.testing.assert_allclose(together, apart, atol=1e-5)
    texts = [caption(dataset, row) for row in range(20)]
    np.testing.assert_allclose(judge.texts(texts), other.texts(texts), atol=1e-5)


def test_meanings_are_unit_vectors_and_the_nearest_name_is_likeliest(
    judge: Judge, dataset: Dataset
) -> None:
    meanings = judge.real(dataset, 32, silent).meanings
    names = judge.texts(dataset.concepts)
    np.testing.assert_allclose(np.linalg.norm(meanings, axis=1), 1, atol=1e-6)
    likely = judge.classes(meanings, names)
    np.testing.assert_allclose(likely.sum(axis=1), 1)
    assert (likely.argmax(axis=1) == (meanings @ names.T).argmax(axis=1)).all()


def test_distance_of_pixels_is_a_root_mean_square(judge: Judge) -> None:
    levels = np.zeros((2, 32, 32, 3), np.uint8)
    levels[1] = 51  # a fifth of the range
    pixels = judge.drawn(levels).pixels
    assert np.linalg.norm(pixels[0] - pixels[1]) == pytest.approx(0.2)


def test_real_pictures_come_from_the_smallest_stored_size_that_is_large_enough(
    dataset: Dataset,
) -> None:
    rows = torch.arange(3)
    large = np.full((54, 64, 64, 4), 255, np.uint8)
    np.save(stored.pictures_file(dataset.directory, 64), large)
    both = dataclasses.replace(dataset, sizes_px=(32, 64))
    assert real_pictures(both, rows, 32).equal(real_pictures(dataset, rows, 32))
    assert real_pictures(both, rows, 48).shape == (3, 3, 48, 48)
    assert real_pictures(both, rows, 48).min() == 1  # from the white ones
    assert real_pictures(both, rows, 96).shape == (3, 3, 96, 96)
