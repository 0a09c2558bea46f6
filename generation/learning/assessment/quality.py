"""Hold a checkpoint that is shipped to the figures it was shipped with: offline, in seconds.

Beside the weights lie `quality.json` (prompts, captions to choose from, figures with their noise)
and `quality.npy` (what the scorer sees in the real pictures that answer the prompts). The
prompts are drawn anew with the same seeds, so what differs is the machine, not the luck, and a
figure that moves by more than its noise is a defect.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from generation.learning.assessment import samplers
from generation.learning.assessment.figures import Estimate, Numbers, halves
from generation.learning.assessment.judge import Judge, Pictures
from generation.learning.assessment.prompts import Group, Prompt, caption, choose
from generation.learning.assessment.samplers import AssessmentError, Reconstruction, Sampler
from generation.learning.dataset.stored import Dataset
from generation.learning.metrics.accuracy import hits
from generation.learning.metrics.distances import Features
from generation.learning.metrics.frechet import frechet_distance
from generation.learning.metrics.retrieval import recall_at_1
from generation.learning.training import scorer
from generation.techniques import device
from generation.work import border, manifest
from generation.work.progress import Progress, silent

SCHEMA_VERSION = 1
RECORD, REAL_FEATURES = "quality.json", "quality.npy"
PROMPTS, CAPTIONS, AMONG, BATCH = 48, 200, 100, 8
SPLITS = 50
SURE = 2.0  # standard deviations that a figure may differ by


@dataclass(frozen=True, slots=True)
class Record:
    """What a checkpoint was shipped with.

    Attributes:
        prompts: What to draw; picture `i` with seed `i`.
        looks: The look that each prompt asks for.
        captions: The prompts, then others to tell them from.
        figures: Metric to value and noise.
        checkpoint: Weight files that the figures belong to, with their SHA-256.
        scorer: The same for the scorer that judged.
    """

    prompts: tuple[str, ...]
    looks: tuple[str, ...]
    captions: tuple[str, ...]
    figures: Mapping[str, Estimate]
    checkpoint: Mapping[str, str]
    scorer: Mapping[str, str]


def record(
    checkpoint: Path, dataset: Dataset, scorer_folder: Path, report: Progress = silent
) -> Record:
    """Draw what the checkpoint was taught, and write down beside it how well it did.

    Raises:
        AssessmentError: There is no checkpoint, or one that draws nothing.
        CheckpointMissing: There is no scorer.
    """
    generator = np.random.default_rng(0)
    counts = {group: PROMPTS if group is Group.KNOWN_PAIRS else 0 for group in Group}
    about = samplers.about(checkpoint)
    prompts = choose(dataset, counts, {}, generator, about.kinds)
    judge = _judge(scorer_folder)
    real = judge.real(dataset, about.side_px, report)
    # No safetensors: a weight file that the manifest does not name is refused at loading.
    np.save(checkpoint / REAL_FEATURES, real.take(_rows(prompts)).features.astype(np.float16))
    asked = tuple(prompt.text for prompt in prompts)
    rows = generator.permutation(dataset.numbers_of(scorer.REAL_SPLITS)).tolist()
    written = Record(
        prompts=asked,
        looks=tuple(dataset.rows[prompt.row].look for prompt in prompts),
        captions=tuple(dict.fromkeys([*asked, *(caption(dataset, row) for row in rows)]))[
            :CAPTIONS
        ],
        figures={},
        checkpoint=about.sha256,
        scorer=manifest.read(scorer_folder, scorer.KIND)["sha256"],
    )
    written = dataclasses.replace(written, figures=_measure(checkpoint, written, judge, report))
    text = json.dumps({"schema_version": SCHEMA_VERSION, **dataclasses.asdict(written)}, indent=1)
    (checkpoint / RECORD).write_text(f"{text}\n", encoding="utf-8")
    return written


def read(checkpoint: Path) -> Record:
    """Return what a checkpoint was shipped with.

    Raises:
        AssessmentError: Nothing was recorded.
    """
    if not (checkpoint / RECORD).exists():
        raise AssessmentError(
            f"{checkpoint} has no {RECORD}; docs/quality.md says how to record it"
        )
    content = border.json_of(checkpoint / RECORD)
    return Record(
        prompts=tuple(content["prompts"]),
        looks=tuple(content["looks"]),
        captions=tuple(content["captions"]),
        figures={name: Estimate(**value) for name, value in content["figures"].items()},
        checkpoint=content["checkpoint"],
        scorer=content["scorer"],
    )


def measure(
    checkpoint: Path, scorer_folder: Path, report: Progress = silent
) -> dict[str, Estimate]:
    """Draw the recorded prompts again and return the figures as they are now.

    Raises:
        AssessmentError: Nothing was recorded, or for another checkpoint or scorer.
        CheckpointMissing: There is no scorer.
    """
    recorded = read(checkpoint)
    found = {
        "checkpoint": samplers.about(checkpoint).sha256,
        "scorer": manifest.read(scorer_folder, scorer.KIND)["sha256"],
    }
    for part, hashes in found.items():
        if dict(hashes) != dict(getattr(recorded, part)):
            raise AssessmentError(
                f"{checkpoint / RECORD} was recorded with another {part}; docs/quality.md says how"
                " to record it again"
            )
    return _measure(checkpoint, recorded, _judge(scorer_folder), report)


def departures(
    recorded: Mapping[str, Estimate], found: Mapping[str, Estimate]
) -> dict[str, tuple[Estimate, Estimate]]:
    """Return the figures that differ from their record by more than its noise allows."""
    return {
        metric: (expected, found[metric])
        for metric, expected in recorded.items()
        if abs(found[metric].value - expected.value) > SURE * expected.noise
    }


def _judge(scorer_folder: Path) -> Judge:
    return Judge(scorer.read(scorer_folder), batch_size=PROMPTS)


def _measure(
    checkpoint: Path, recorded: Record, judge: Judge, report: Progress
) -> dict[str, Estimate]:
    sampler = samplers.open_sampler(checkpoint, device.choose("cpu"))
    if isinstance(sampler, Reconstruction):
        raise AssessmentError(f"{checkpoint} is an autoencoder: it draws nothing from words")
    judged = judge.drawn(_draw(sampler, recorded.prompts, report))
    numbers = {text: number for number, text in enumerate(recorded.captions)}
    own = np.array([numbers[text] for text in recorded.prompts])
    among = min(AMONG, len(recorded.captions))
    found = recall_at_1(judged.meanings, judge.texts(recorded.captions), own, among)
    is_look = hits([judge.looks[look] for look in judged.looks], recorded.looks)
    real: Features = np.load(checkpoint / REAL_FEATURES).astype(np.float64)
    count = len(own)
    return {
        f"r@1-of-{among}": _estimate(lambda some: float(found[some].mean()), count, 1 / count),
        "look-accuracy": _estimate(lambda some: float(is_look[some].mean()), count, 1 / count),
        "fd-scorer": _estimate(
            lambda some: frechet_distance(judged.features[some], real[some]), count, 0
        ),
    }


def _draw(sampler: Sampler, prompts: tuple[str, ...], report: Progress) -> Pictures:
    parts = []
    for start in range(0, len(prompts), BATCH):
        some = prompts[start : start + BATCH]
        parts.append(sampler.draw(some, range(start, start + len(some))))
        report("draw", start + len(some), len(prompts))
    return np.concatenate(parts)


def _estimate(figure: Callable[[Numbers], float], count: int, least: float) -> Estimate:
    """Return a figure of everything, with the spread of its halves for noise.

    Args:
        least: Noise never falls below it: of a share, one picture, or a perfect record would
            forgive nothing.
    """
    everyone = np.arange(count)
    values = [figure(half) for half in halves(everyone, SPLITS, np.random.default_rng(0))]
    return Estimate(figure(everyone), max(least, float(np.std(values, ddof=1))))


def _rows(prompts: tuple[Prompt, ...]) -> Numbers:
    return np.array([prompt.row for prompt in prompts])
