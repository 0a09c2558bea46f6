"""One small world for all assessment tests: built once, about four seconds."""

import pytest

from generation.learning.dataset import stored
from generation.learning.dataset.stored import Dataset
from generation.learning.recipes.work import Work
from tests.unit.generation.learning.assessment import world


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = Work(tmp_path_factory.mktemp("assessment"), "tiny")
    dataset = world.write_dataset(work)
    world.train_scorer(work)
    world.write_checkpoint(work.checkpoint("diffusion"), dataset)
    return work


@pytest.fixture(scope="session")
def dataset(work: Work) -> Dataset:
    return stored.load(work.data)
