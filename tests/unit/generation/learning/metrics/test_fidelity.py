"""Peak signal-to-noise ratio against its closed form."""

import numpy as np
import pytest

from generation.learning.metrics.fidelity import MOST_PSNR, psnr


def test_an_even_error_has_the_closed_form() -> None:
    originals = np.random.default_rng(0).uniform(0, 0.8, size=(3, 50))
    errors = np.array([[0.1], [0.01], [0.2]])
    expected = [20, 40, -20 * np.log10(0.2)]
    assert psnr(originals + errors, originals) == pytest.approx(expected)


def test_equal_pictures_get_the_ceiling() -> None:
    assert psnr(np.ones((2, 4)), np.ones((2, 4))).tolist() == [MOST_PSNR] * 2
