"""A record holds a checkpoint to what it was: the same passes, another does not."""

import json
import shutil
from pathlib import Path

import pytest

from generation.learning.assessment import quality
from generation.learning.assessment.figures import Estimate
from generation.learning.assessment.samplers import AssessmentError
from generation.learning.dataset.stored import Dataset
from generation.learning.recipes.work import Work
from generation.work import manifest

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def checkpoint(work: Work, tmp_path: Path) -> Path:
    return Path(shutil.copytree(work.checkpoint("diffusion"), tmp_path / "checkpoint"))


def test_the_same_checkpoint_keeps_to_its_record(
    work: Work, dataset: Dataset, checkpoint: Path
) -> None:
    scorer = work.checkpoint("scorer")
    recorded = quality.record(checkpoint, dataset, scorer)
    assert quality.read(checkpoint) == recorded
    found = quality.measure(checkpoint, scorer)
    assert found.keys() == {"r@1-of-54", "look-accuracy", "fd-scorer"}
    assert quality.departures(recorded.figures, found) == {}
    # What was drawn are no real pictures, and the record says so.
    assert recorded.figures["fd-scorer"].value > 1


def test_a_figure_that_moves_by_more_than_its_noise_departs() -> None:
    recorded = {"fd-scorer": Estimate(5.0, 0.5), "look-accuracy": Estimate(1.0, 0.02)}
    found = {"fd-scorer": Estimate(6.1, 0.5), "look-accuracy": Estimate(0.97, 0.02)}
    assert quality.departures(recorded, found).keys() == {"fd-scorer"}


def test_a_perfect_share_still_forgives_a_picture() -> None:
    assert quality._estimate(lambda some: 1.0, 40, 1 / 40) == Estimate(1.0, 1 / 40)


def test_figures_of_other_weights_are_no_record(
    work: Work, dataset: Dataset, checkpoint: Path
) -> None:
    scorer = work.checkpoint("scorer")
    quality.record(checkpoint, dataset, scorer)
    path = checkpoint / manifest.MANIFEST
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["sha256"]["vae/diffusion_pytorch_model.safetensors"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(AssessmentError, match="another checkpoint"):
        quality.measure(checkpoint, scorer)


def test_a_checkpoint_without_a_record_says_how_to_make_one(checkpoint: Path, work: Work) -> None:
    with pytest.raises(AssessmentError, match=r"docs/quality\.md"):
        quality.measure(checkpoint, work.checkpoint("scorer"))
