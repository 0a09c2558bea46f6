"""A small contrastive model of pictures and captions: it judges checkpoints and is a loss's eye."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from generation.judging import contact_sheet
from generation.judging.scorer.model import CHANNELS_PER_GROUP, Scorer
from generation.learning.dataset.augment import Augmentation, plain, varied
from generation.learning.dataset.stored import HELD_OUT, Dataset, Split, load
from generation.learning.metrics.by_look import LookFigures, by_look
from generation.learning.metrics.retrieval import recall_at_1
from generation.learning.recipes.work import Work
from generation.learning.training.contrast import Captions, contrastive_loss, plain_caption
from generation.learning.training.loop import Loop, Player, TrainingStopped
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Run, generator_at, place
from generation.work import manifest
from generation.work.progress import Progress

KIND = "scorer"
SHEET = "sheet.png"
RECALL_AMONG = 100
REAL_SPLITS = HELD_OUT | {Split.TRAIN}  # made scenes are no answers to choose from
MEASURE_BATCH = 64
SHEET_PICTURES, SHEET_COLUMNS, SHEET_SIDE_PX = 24, 6, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerRecipe:
    """How to train the scorer.

    Attributes:
        side_px: Side of the pictures it looks at.
        widths: Channels of each stage, multiples of 8; every stage halves the side.
        blocks: Residual blocks a stage.
        embedding_size: Of the space that pictures and captions share.
        phrasings: Most wordings of one picture that are trained on.
        lookless: Share of captions that name no look.
        terms: Weights of `contrastive` and `look`.
    """

    side_px: int
    widths: tuple[int, ...]
    blocks: int = 1
    embedding_size: int = 128
    phrasings: int = 4
    lookless: float = 0.2
    terms: Mapping[str, float] = field(default_factory=lambda: {"contrastive": 1.0, "look": 0.5})
    run: Run = field(default_factory=Run)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if not self.widths or any(width % CHANNELS_PER_GROUP for width in self.widths):
            raise ValueError(f"widths must be multiples of {CHANNELS_PER_GROUP}: {self.widths}")


@dataclass(frozen=True, slots=True)
class ScorerFigures:
    """How good a scorer is on pictures that it was not trained on.

    Attributes:
        recall: Chance that a picture's own caption beats 99 others (fewer if there are fewer).
        recall_by_chance: The same for guessing.
        look_accuracy: Share of pictures whose look it tells.
        pictures: How many pictures these are.
        by_look: The same, look by look.
    """

    recall: float
    recall_by_chance: float
    look_accuracy: float
    pictures: int
    by_look: Mapping[str, LookFigures]


@dataclass(frozen=True, slots=True)
class ScorerSummary:
    """What training left behind.

    Attributes:
        steps: Taken in all.
        kept_step: Whose weights were exported.
        seconds: Wall clock since the start or the resumption.
    """

    checkpoint: Path
    figures: ScorerFigures
    steps: int
    kept_step: int
    seconds: float

    def sentence(self) -> str:
        """Say in one line what was trained and how well."""
        figures = self.figures
        looks = ", ".join(
            f"{look} {each.recall:.0%} of {each.pictures}" for look, each in figures.by_look.items()
        )
        return (
            f"{self.checkpoint}: finds the caption of {figures.recall:.0%} of {figures.pictures}"
            f" unseen pictures (guessing: {figures.recall_by_chance:.0%}) and the look of"
            f" {figures.look_accuracy:.0%}, with the weights of step {self.kept_step};"
            f" captions by look: {looks}"
        )


@dataclass(frozen=True, slots=True)
class ScorerTraining:
    """A scorer that is ready to be trained.

    Attributes:
        held_out: Row numbers that it must not see, int64.
    """

    loop: Loop
    scorer: Scorer
    captions: Captions
    held_out: Tensor


def create(recipe: ScorerRecipe, looks: Sequence[str]) -> Scorer:
    """Return an untrained scorer."""
    with torch.random.fork_rng():
        torch.random.manual_seed(recipe.run.seed)  # initial weights only, forked
        return Scorer(recipe.side_px, recipe.widths, recipe.blocks, recipe.embedding_size, looks)


def read(folder: Path) -> Scorer:
    """Open an exported scorer, in float32 and evaluation mode.

    Raises:
        CheckpointMissing: There is none, or it is damaged.
    """
    manifest.read(folder, KIND)
    return Scorer.from_pretrained(folder).float().eval()


def prepare(work: Work, recipe: ScorerRecipe, dataset: Dataset, report: Progress) -> ScorerTraining:
    """Encode the captions and set the loop up.

    Raises:
        TrainingStopped: The dataset holds no pictures back from the scorer.
    """
    is_held_out = torch.tensor([row.is_unseen_by_scorer for row in dataset.rows])
    seen, held_out = (~is_held_out).nonzero()[:, 0], is_held_out.nonzero()[:, 0]
    if not len(held_out) or not len(seen):
        raise TrainingStopped(
            "the dataset holds no pictures back to test the scorer with; set `scorer_pairs` under"
            " [splitting] in data.toml and run `atelier data build` again"
        )
    at, folder, run = place(recipe.run), work.run(KIND), recipe.run
    captions = Captions(dataset, recipe.augmentation, recipe.phrasings, folder, at.device, report)
    scorer = create(recipe, dataset.looks)

    def terms(pictures: Tensor, rows: Tensor, words: Sequence[str], step: int) -> dict[str, Tensor]:
        generator = generator_at(run.seed + 1, step)
        states, claims = captions.choose(rows, words, recipe.lookless, generator)
        logits, looks = scorer(pictures, states)
        is_true = claims.is_true_of(captions.shown(rows, words)).to(at.device)
        return {
            "contrastive": contrastive_loss(logits, is_true),
            "look": captions.look_loss(looks, rows),
        }

    def losses(step: int, count: int) -> dict[str, Tensor]:
        generator = generator_at(run.seed, step)
        chosen = torch.randperm(len(seen), generator=generator)[:count]
        rows = seen[chosen]
        pictures, words = varied(
            dataset, rows, recipe.side_px, recipe.augmentation, generator, at.device
        )
        return terms(pictures, rows, words, step)

    def validate() -> dict[str, float]:
        shuffled = held_out[torch.randperm(len(held_out), generator=generator_at(run.seed, 0))]
        values = []
        for step, rows in enumerate(shuffled.split(run.batch_size)):
            pictures = plain(dataset, rows, recipe.side_px, at.device)
            found = terms(pictures, rows, [""] * len(rows), step)
            values.append(torch.stack([found["contrastive"], found["look"]]))
        contrastive, look = torch.stack(values).mean(0).tolist()
        figures = measure(scorer, dataset, captions, held_out)
        return {
            "contrastive": contrastive,
            "look": look,
            "recall": figures.recall,
            "look_accuracy": figures.look_accuracy,
            **{f"recall {look}": each.recall for look, each in figures.by_look.items()},
        }

    player = Player(
        name=KIND,
        modules={KIND: scorer},
        losses=losses,
        terms=recipe.terms,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
    )
    loop = Loop(
        KIND,
        folder,
        run,
        at,
        [player],
        run.total_steps(len(seen)),
        validate,
        fingerprint=dataset.fingerprint,
    )
    return ScorerTraining(loop, scorer, captions, held_out)


def train(work: Work, recipe: ScorerRecipe, report: Progress) -> ScorerSummary:
    """Train the scorer on the built dataset and export it.

    Raises:
        DatasetError: There is no dataset, or not in this size.
        TrainingStopped: Training cannot go on; the message says what to do.
    """
    dataset = load(work.data)
    training = prepare(work, recipe, dataset, report)
    outcome = training.loop.run(report)
    scorer, out = training.scorer, work.checkpoint(KIND)
    scorer.half().save_pretrained(out)
    scorer.float()  # measured as stored: rounded to float16
    figures = measure(scorer, dataset, training.captions, training.held_out)
    manifest.write(
        out,
        KIND,
        {
            "preset": work.preset,
            "looks": dataset.looks,
            "template": dataset.template,
            "dataset": dataset.fingerprint,
            "recall": figures.recall,
            "look_accuracy": figures.look_accuracy,
            "by_look": {look: dataclasses.asdict(each) for look, each in figures.by_look.items()},
            "steps": outcome.kept_step,
        },
    )
    draw_sheet(training, dataset).save(work.run(KIND) / SHEET)
    return ScorerSummary(out, figures, outcome.steps, outcome.kept_step, outcome.seconds)


@torch.no_grad()
def measure(scorer: Scorer, dataset: Dataset, captions: Captions, rows: Tensor) -> ScorerFigures:
    """Try a scorer on some pictures of the dataset, among the captions of all real ones."""
    texts, own = _candidates(dataset, captions, rows)
    found, looks = [], []
    for part in rows.split(MEASURE_BATCH):
        features = scorer.features(plain(dataset, part, scorer.side_px, scorer.device))
        found.append(scorer.embed_features(features).cpu())
        looks.append(scorer.look_head(features.to(scorer.dtype)).argmax(1).cpu())
    among = min(RECALL_AMONG, len(texts))
    recall = recall_at_1(
        torch.cat(found).double().numpy(),
        scorer.embed_sentences(texts).cpu().double().numpy(),
        own.numpy(),
        among,
    )
    hits = (torch.cat(looks) == captions.looks[rows]).double().numpy()
    return ScorerFigures(
        recall=float(recall.mean()),
        recall_by_chance=1 / among,
        look_accuracy=float(hits.mean()),
        pictures=len(rows),
        by_look=by_look([dataset.rows[row].look for row in rows.tolist()], recall, hits),
    )


def _candidates(dataset: Dataset, captions: Captions, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states of every real picture's plain caption once, and which is each row's own."""
    first: dict[str, int] = {}
    for row in dataset.numbers_of(REAL_SPLITS).tolist():
        first.setdefault(plain_caption(dataset, row), row)
    number_of = {text: number for number, text in enumerate(first)}
    states = captions.plain_states(torch.tensor(list(first.values())))
    own = [number_of[plain_caption(dataset, row)] for row in rows.tolist()]
    return states, torch.tensor(own)


@torch.no_grad()
def draw_sheet(training: ScorerTraining, dataset: Dataset) -> Image.Image:
    """Draw pictures that it has not seen, each above the caption it finds nearest."""
    scorer, rows = training.scorer, training.held_out[:SHEET_PICTURES]
    real = dataset.numbers_of(REAL_SPLITS)
    texts = [plain_caption(dataset, row) for row in real.tolist()]
    states = training.captions.plain_states(torch.from_numpy(real))
    pictures = plain(dataset, rows, scorer.side_px, scorer.device)
    nearest = (scorer.embed_pictures(pictures) @ scorer.embed_sentences(states).T).argmax(1)
    pixels = pictures.permute(0, 2, 3, 1).add(1).mul(127.5).round().byte().cpu().numpy()
    size = (SHEET_SIDE_PX, SHEET_SIDE_PX)
    images = [Image.fromarray(each).resize(size, Image.Resampling.BICUBIC) for each in pixels]
    labels = [texts[number] for number in nearest.tolist()]
    return contact_sheet.grid(images, labels, SHEET_COLUMNS)
