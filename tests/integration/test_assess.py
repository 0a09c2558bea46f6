"""From a folder of drawings to a report: build, train every part for seconds, assess."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from generation.learning.assessment import report
from generation.learning.assessment.assess import Assessment, Report, assess, run
from generation.learning.assessment.figures import (
    DRAWN,
    REAL,
    SHUFFLED,
    UNTRAINED,
    Comparing,
    Figure,
)
from generation.learning.assessment.samplers import AssessmentError
from generation.learning.dataset import stored
from generation.learning.dataset.build import build
from generation.learning.dataset.recipe import DataRecipe, Source
from generation.learning.dataset.split import Splitting
from generation.learning.dataset.stored import LEARNED
from generation.learning.recipes.work import Work
from generation.learning.training import diffusion, scorer, vae
from generation.learning.training.diffusion import DiffusionRecipe, Network
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Run
from generation.learning.training.scorer import ScorerRecipe
from generation.learning.training.vae import VaeRecipe
from generation.work.manifest import CheckpointMissing
from generation.work.progress import silent

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDE_PX = 32
LOOKS = ("solid", "outlined", "small")
COLOURS = ("red", "green", "blue", "orange", "purple")
SHAPES = ("circle", "square", "bar")
SETTINGS = Assessment(
    known_pairs=12,
    unseen_pairs=6,
    unseen_concepts=4,
    everyday={
        "a crimson disc": "red circle",
        "an emerald box": "green square",
        "a violet disc": "purple circle",
        "a tangerine": "orange circle",
    },
    among=20,
    closest=4,
    batch_size=13,
    comparing=Comparing(k=1),
)
CLEAR = ("fd-scorer", "kd-scorer", "is-scorer", "r@1-of-20", "look-accuracy")
DIRECTED = (*CLEAR, "precision-scorer", "recall-scorer")


def draw_folder(root: Path) -> None:
    for colour, shape, look in itertools.product(COLOURS, SHAPES, LOOKS):
        picture = Image.new("RGBA", (SIDE_PX, SIDE_PX), (0, 0, 0, 0))
        pen = ImageDraw.Draw(picture)
        low, high = (9, 22) if look == "small" else (3, 28)
        box = (low, 12, high, 19) if shape == "bar" else (low, low, high, high)
        how = {"outline": colour, "width": 3} if look == "outlined" else {"fill": colour}
        (pen.ellipse if shape == "circle" else pen.rectangle)(box, **how)
        folder = root / look
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{colour}-{shape}.png")
        (folder / f"{colour}-{shape}.txt").write_text(f"{colour} {shape}\n{shape} in {colour}\n")


@pytest.fixture(scope="module", autouse=True)
def own_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = Work(tmp_path_factory.mktemp("assess"), "tiny")
    draw_folder(work.root)
    recipe = DataRecipe(
        name="toy",
        default_look=LOOKS[0],
        sizes_px=(SIDE_PX,),
        sources=tuple(
            Source(look=look, kind="folder", path=look, licence="CC0-1.0") for look in LOOKS
        ),
        splitting=Splitting(unseen_pairs=0.15, unseen_concepts=0.1, scorer_pairs=0.3),
    )
    build(work, recipe, silent)
    train(work)
    return work


def train(work: Work) -> None:
    warm = Schedule(warmup=10)
    scorer.train(
        work,
        ScorerRecipe(
            side_px=SIDE_PX,
            widths=(16, 32),
            embedding_size=32,
            run=Run(steps=150, batch_size=16, threads=1),
        ),
        silent,
    )
    vae.train(
        work,
        VaeRecipe(
            side_px=SIDE_PX,
            width=16,
            latent_channels=4,
            encoder_blocks=(0, 1, 1),
            decoder_blocks=(1, 1, 0),
            terms={"pixels": 1.0, "edges": 0.3},
            run=Run(steps=200, batch_size=8, threads=1),
            schedule=warm,
        ),
        silent,
    )
    diffusion.train(
        work,
        DiffusionRecipe(
            name="toy",
            title="Toy",
            side_px=SIDE_PX,
            num_inference_steps=4,
            guidance_scale=1.5,
            network=Network(
                block_out_channels=(16, 32), attention=(False, True), norm_num_groups=8, heads=4
            ),
            run=Run(steps=200, batch_size=8, threads=1, ema_decay=0.97),
            optimizer=Optimizer(learning_rate=2e-3),
            schedule=warm,
        ),
        silent,
    )


@pytest.fixture(scope="module")
def found(work: Work) -> Report:
    dataset = stored.load(work.data)
    return assess(work.checkpoint("diffusion"), dataset, work.checkpoint("scorer"), SETTINGS)


def figures_of(found: Report, kind: str, name: str) -> dict[str, Figure]:
    chosen = (each for each in found.figures if (each.slice_kind, each.slice_name) == (kind, name))
    return {figure.metric: figure for figure in chosen}


def test_training_improves_every_metric_that_has_a_direction(found: Report) -> None:
    verdicts = {row.metric: row.verdict for row in report.summary(found)}
    assert {metric: verdicts[metric] for metric in CLEAR} == dict.fromkeys(CLEAR, "better")
    for metric, figure in figures_of(found, "all", "all").items():
        untrained = figure.estimates[UNTRAINED].value
        if metric in DIRECTED:
            gain = figure.drawn.value - untrained
            assert (gain < 0) == (metric in {"fd-scorer", "kd-scorer"}), metric


def test_real_pictures_are_the_better_and_shuffled_captions_the_worse_reference(
    found: Report,
) -> None:
    figures = figures_of(found, "all", "all")
    for metric in ("r@1-of-20", "look-accuracy"):
        estimates = figures[metric].estimates
        assert estimates[SHUFFLED].value < estimates[DRAWN].value <= estimates[REAL].value


def test_every_look_group_and_kind_of_prompt_has_figures(found: Report) -> None:
    slices = {(figure.slice_kind, figure.slice_name) for figure in found.figures}
    assert {name for kind, name in slices if kind == "look"} == set(LOOKS)
    assert {name for kind, name in slices if kind == "prompts"} >= {"known pairs", "everyday words"}


def test_time_is_told_beside_what_the_operations_alone_would_take(found: Report) -> None:
    assert 0 < found.timing.floor_s < found.timing.seconds
    assert found.timing.operations > 1e6


def test_closest_pairs_name_training_pictures(found: Report) -> None:
    assert len(found.closest) == SETTINGS.closest
    assert all(found.dataset.rows[pair.row].split in LEARNED for pair in found.closest)
    assert [pair.ratio for pair in found.closest] == sorted(pair.ratio for pair in found.closest)


def test_the_autoencoder_is_assessed_by_what_it_repeats(work: Work) -> None:
    scorer_folder = work.checkpoint("scorer")
    dataset = stored.load(work.data)
    found = assess(work.checkpoint("vae"), dataset, scorer_folder, SETTINGS)
    rows = {row.metric: row for row in report.summary(found)}
    assert rows["psnr"].verdict == rows["fd-scorer"].verdict == "better"
    assert "memorisation-scorer" not in rows
    assert found.closest == found.targets == ()
    assert "reconstruction" in report.page(found)


def test_a_report_is_written_whole(found: Report, tmp_path: Path) -> None:
    as_json, as_page = report.write(found, tmp_path)
    assert len(json.loads(as_json.read_text(encoding="utf-8"))["figures"]) == len(found.figures)
    assert as_page.stat().st_size < 2_000_000


def test_the_preset_says_how_thoroughly_and_a_missing_scorer_what_to_do(
    work: Work, tmp_path: Path
) -> None:
    elsewhere = Work(tmp_path, "tiny")
    shutil.copytree(work.data, elsewhere.data)
    with pytest.raises(AssessmentError, match="atelier train diffusion"):
        run(elsewhere)
    with pytest.raises(CheckpointMissing, match="atelier train scorer"):
        run(elsewhere, work.checkpoint("diffusion"))
