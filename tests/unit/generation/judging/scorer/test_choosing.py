"""Of several pictures, those that the scorer finds nearest to the words are given."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generation.engine.engine import Engine
from generation.judging.scorer import files
from generation.judging.scorer.choosing import open_scorer, ranked
from generation.judging.scorer.model import Scorer
from generation.learning.assessment.judge import Judge
from generation.techniques.diffusion import files as checkpoint_files
from generation.work import manifest
from generation.work.checkpoints import PATTERN, Checkpoint
from generation.work.errors import CheckpointCorrupt, InvalidRequest
from generation.work.orders import Order
from generation.work.prices import price
from generation.work.requests.imagine import MAX_SEED, Imagine, WeightedPrompt
from generation.work.requests.reading import from_json, to_json
from generation.work.results import DrawnImage, ImagesDone, OrderFailed

REQUEST = Imagine(
    prompts=(WeightedPrompt("a fox", 2.0), WeightedPrompt("snow", -0.5)),
    model="pattern",
    seed=MAX_SEED - 2,  # the seeds go on at 0
    width=64,
    height=48,
    num_inference_steps=2,
    guidance_scale=2.0,
    num_images=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scorer")
    with torch.random.fork_rng():
        torch.random.manual_seed(3)
        Scorer(32, (8, 16), embedding_size=16, looks=("plain",)).half().save_pretrained(folder)
    manifest.write(folder, files.KIND, {})
    return folder


@pytest.fixture
def checkpoint(folder: Path) -> Checkpoint:
    return dataclasses.replace(PATTERN, scorer=str(folder))


def drawn(checkpoint: Checkpoint, request: Imagine) -> tuple[DrawnImage, ...]:
    events: list[object] = []
    Engine({checkpoint.name: checkpoint}).draw(
        [Order(1, request)], events.append, lambda job: False
    )
    (done,) = [event for event in events if isinstance(event, ImagesDone)]
    return done.images


def keeping(count: int) -> Imagine:
    return dataclasses.replace(REQUEST, num_images=count, num_spare=6 - count)


def test_the_pictures_nearest_to_the_words_are_kept_and_the_nearest_comes_first(
    checkpoint: Checkpoint, folder: Path
) -> None:
    everything = drawn(checkpoint, REQUEST)
    judge = Judge(open_scorer(folder), batch_size=4)
    pictures = np.stack([np.asarray(Image.open(io.BytesIO(each.png))) for each in everything])
    styled = [checkpoint.styled(part.text, None) for part in REQUEST.prompts]
    wanted = np.array([2.0, -0.5]) @ judge.texts(styled)
    order = np.argsort(-(judge.drawn(pictures).meanings @ wanted))
    for count in range(1, 6):
        kept = drawn(checkpoint, keeping(count))
        assert [image.png for image in kept] == [everything[n].png for n in order[:count]]
        assert [image.index for image in kept] == list(range(count))


def test_every_kept_picture_is_the_one_that_its_seed_draws_alone(checkpoint: Checkpoint) -> None:
    request = keeping(3)
    seeds = {request.seed_of(index) for index in range(6)}
    kept = drawn(checkpoint, request)
    assert {image.seed for image in kept} < seeds
    for image in kept:
        (alone,) = drawn(PATTERN, request.only_seed(image.seed))
        assert (alone.seed, alone.sha256) == (image.seed, image.sha256)


def test_asking_for_all_changes_nothing(checkpoint: Checkpoint) -> None:
    images = drawn(checkpoint, REQUEST)
    assert images == drawn(PATTERN, REQUEST)
    assert [image.seed for image in images] == [REQUEST.seed_of(index) for index in range(6)]


def test_pictures_that_fit_equally_well_keep_their_order(folder: Path) -> None:
    (one, other, *_) = [Image.open(io.BytesIO(image.png)) for image in drawn(PATTERN, REQUEST)]
    order = ranked(open_scorer(folder), [WeightedPrompt("a fox")], [one, other, one, other])
    assert order in ([0, 2, 1, 3], [1, 3, 0, 2])


def test_without_a_scorer_there_is_nobody_to_pick() -> None:
    events: list[object] = []
    engine = Engine({"pattern": PATTERN})
    engine.draw([Order(1, keeping(1))], events.append, lambda job: False)
    (failure,) = events
    assert isinstance(failure, OrderFailed)
    assert "without a scorer" in failure.message


def test_spare_pictures_cost_as_much_as_shown_ones() -> None:
    assert price(keeping(1), {}) == price(REQUEST, {})


def test_requests_of_records_that_know_no_spare_pictures_are_read() -> None:
    written = to_json(REQUEST)
    del written["num_spare"]
    assert from_json(json.loads(json.dumps(written))) == REQUEST
    assert from_json(json.loads(json.dumps(to_json(keeping(2))))) == keeping(2)


@pytest.mark.parametrize(("num_images", "num_spare"), [(1, 8), (8, 1), (4, -1)])
def test_more_than_the_most_images_are_not_drawn(num_images: int, num_spare: int) -> None:
    with pytest.raises(InvalidRequest, match="num_spare"):
        dataclasses.replace(REQUEST, num_images=num_images, num_spare=num_spare).check()


@pytest.mark.parametrize("damage", ["weights", "hash", "kind", "absent"])
def test_a_scorer_that_is_not_the_recorded_one_is_refused_with_its_checkpoint(
    folder: Path, tmp_path: Path, damage: str
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    described = dataclasses.replace(PATTERN, family="slots", scorer=str(tmp_path))
    note = tmp_path / manifest.MANIFEST
    if damage == "weights":
        content = bytearray((tmp_path / files.WEIGHTS).read_bytes())
        content[-1] ^= 1
        (tmp_path / files.WEIGHTS).write_bytes(content)
    elif damage == "absent":
        note.unlink()
    else:
        key, value = ("sha256", {}) if damage == "hash" else ("kind", "vae")
        note.write_text(json.dumps({**json.loads(note.read_text()), key: value}))
    files.check(folder)
    with pytest.raises(CheckpointCorrupt, match=str(tmp_path)):
        checkpoint_files.check(described)
    with pytest.raises(CheckpointCorrupt):
        open_scorer(tmp_path)
