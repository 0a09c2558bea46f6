"""What drawn pictures are measured against, and the scores that each picture gets by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from generation.learning.assessment.copying import NEW, trained
from generation.learning.assessment.figures import (
    DRAWN,
    REAL,
    SHUFFLED,
    UNTRAINED,
    Evidence,
    Numbers,
    Slice,
)
from generation.learning.assessment.judge import Judge, Judged
from generation.learning.assessment.prompts import Group, Prompt, caption
from generation.learning.dataset.stored import LEARNED, Dataset
from generation.learning.metrics import memorisation
from generation.learning.metrics.accuracy import hits
from generation.learning.metrics.by_look import LookFigures, by_look
from generation.learning.metrics.distances import Features
from generation.learning.metrics.diversity import mean_pairwise_distance
from generation.learning.metrics.retrieval import recall_at_1
from generation.learning.training.scorer import REAL_SPLITS

ANSWERS, HELD_OUT = "answers", "held out"  # the slice of prompts that no training picture answers
HELD_OUT_GROUPS = (Group.UNSEEN_PAIRS, Group.UNSEEN_CONCEPTS)
EVERYONE = "all looks"


@dataclass(frozen=True, slots=True)
class Closest:
    """The training picture that one drawn picture comes closest to.

    Attributes:
        prompt: Number of the prompt.
        turn: Which of its pictures.
        row: Row number of the training picture.
        distance: In the scorer's features.
        neighbour_distance: From that training picture to the nearest other one.
        pixel_distance: Root mean square, of 0 to 1.
    """

    prompt: int
    turn: int
    row: int
    distance: float
    neighbour_distance: float
    pixel_distance: float

    @property
    def ratio(self) -> float:
        """Below 1: a copy."""
        return self.distance / max(self.neighbour_distance, 1e-12)  # twins have no distance


class References:
    """The dataset through a judge's eyes, and the tasks that drawn pictures are put to.

    Args:
        real: Every row, judged.
        population: Row numbers of real pictures to compare sets of pictures with.
        among: Captions that a picture's own must stand out from, itself included; fewer if the
            population has fewer.

    Made scenes count as training pictures and nowhere else: nobody drew them.
    """

    def __init__(
        self,
        dataset: Dataset,
        prompts: Sequence[Prompt],
        judge: Judge,
        real: Judged,
        population: Numbers,
        among: int,
        generator: np.random.Generator,
    ) -> None:
        self.dataset = dataset
        self.prompts = prompts
        self.real = real
        self.rows = np.array([prompt.row for prompt in prompts])
        self.population = np.union1d(population, self.rows)
        self._judge = judge
        self._real_rows = dataset.numbers_of(REAL_SPLITS)
        self._unseen_by_scorer = np.array(
            [row for row in self._real_rows.tolist() if dataset.rows[row].is_unseen_by_scorer], int
        )
        offered = np.union1d(self.population, self._unseen_by_scorer).tolist()
        texts = list(dict.fromkeys(caption(dataset, row) for row in offered))
        self._number_of = {text: number for number, text in enumerate(texts)}
        self._own = self._captions_of(self.rows)
        self._captions = judge.texts(texts)
        concepts = dict.fromkeys(dataset.rows[row].concept for row in self._real_rows.tolist())
        self._concepts = judge.texts(list(concepts))
        self.among = min(among, len(texts))
        self.training = dataset.numbers_of(LEARNED)
        learned = [dataset.rows[row] for row in self.training.tolist()]
        self._trained = {
            "scorer": trained(learned, real.features[self.training]),
            "pixels": trained(learned, real.pixels[self.training]),
        }
        self._others = _derangement(len(prompts), generator)

    def of_scorer(self) -> dict[str, LookFigures]:
        """Return how well the scorer does on real pictures that it was not trained on.

        Returns:
            Of all looks and of each; nothing if the dataset holds none back from it.
        """
        rows = self._unseen_by_scorer
        if not len(rows):
            return {}
        judged = self.real.take(rows)
        looks = [self.dataset.rows[row].look for row in rows.tolist()]
        own = self._captions_of(rows)
        found = recall_at_1(judged.meanings, self._captions, own, self.among)
        seen = hits([self._judge.looks[look] for look in judged.looks], looks)
        return by_look([EVERYONE] * len(rows), found, seen) | by_look(looks, found, seen)

    def slices(self) -> tuple[Slice, ...]:
        """Return everything, the groups of prompts, the looks and the groups of things."""
        everyone = np.arange(len(self.prompts))
        slices = [Slice("all", "all", everyone, self.population)]
        for group in Group:
            members = [i for i, prompt in enumerate(self.prompts) if prompt.group is group]
            slices.append(Slice("prompts", group.value, np.array(members, int), self.population))
        held_out = [i for i, each in enumerate(self.prompts) if each.group in HELD_OUT_GROUPS]
        slices.append(Slice(ANSWERS, HELD_OUT, np.array(held_out, int), self.population))
        for kind in ("look", "group"):
            values = [getattr(row, kind) for row in self.dataset.rows]
            asked = [values[row] for row in self.rows]
            real = (values[row] for row in self._real_rows)
            for name in dict.fromkeys(value for value in real if value):
                members = [i for i, value in enumerate(asked) if value == name]
                alike = [row for row in self.population.tolist() if values[row] == name]
                slices.append(Slice(kind, name, np.array(members, int), np.array(alike, int)))
        return tuple(slices)

    def evidence(self, drawn: Judged, untrained: Judged) -> Evidence:
        """Put drawn pictures to every task.

        Args:
            drawn: All prompts with the first seed, then all with the second, and on.
            untrained: The same of the checkpoint before it learned anything.
        """
        sources = {DRAWN: drawn, UNTRAINED: untrained, REAL: self.real.take(self.rows)}
        scores: dict[str, dict[str, Features]] = {}
        for source, judged in sources.items():
            own = self.rows if source == REAL else None
            for metric, values in self._scores(judged, own).items():
                scores.setdefault(metric, {})[source] = values
        for metric, values in self._shuffled(drawn).items():
            scores.setdefault(metric, {})[SHUFFLED] = values
        scores["diversity-scorer"] = self._diversity(sources)
        return Evidence(
            rows=self.rows,
            everything=self.real.features,
            features={source: self._by_seed(each.features) for source, each in sources.items()},
            classes={
                source: self._by_seed(self._judge.classes(each.meanings, self._concepts))
                for source, each in sources.items()
            },
            scores={metric: values for metric, values in scores.items() if DRAWN in values},
        )

    def closest(self, drawn: Judged, count: int) -> tuple[Closest, ...]:
        """Return the drawn pictures that come closest to training pictures, each at most once."""
        trained = self._trained["scorer"]
        numbers, distance = memorisation.nearest(drawn.features, trained.features)
        _, neighbour_distance = trained.neighbours
        pixels = np.sqrt(((drawn.pixels - self.real.pixels[self.training][numbers]) ** 2).sum(1))
        found = [
            Closest(
                prompt=i % len(self.prompts),
                turn=i // len(self.prompts),
                row=int(self.training[numbers[i]]),
                distance=float(distance[i]),
                neighbour_distance=float(neighbour_distance[numbers[i]]),
                pixel_distance=float(pixels[i]),
            )
            for i in range(len(numbers))
        ]
        found.sort(key=lambda each: each.ratio)
        once = {pair.row: pair for pair in reversed(found)}
        return tuple(sorted(once.values(), key=lambda each: each.ratio)[:count])

    def _scores(self, judged: Judged, own: Numbers | None) -> dict[str, Features]:
        """Return what each picture gets by itself, as a mean over the seeds of its prompt."""
        seeds = len(judged.looks) // len(self.prompts)
        asked = [self.dataset.rows[row].look for row in self.rows] * seeds
        seen = [self._judge.looks[look] for look in judged.looks]
        found = recall_at_1(judged.meanings, self._captions, np.tile(self._own, seeds), self.among)
        values = {f"r@1-of-{self.among}": found, "look-accuracy": hits(seen, asked)}
        places = np.full(len(seen), NEW) if own is None else self._places(own)
        for name, pictures in (("scorer", judged.features), ("pixels", judged.pixels)):
            copied, nearer = self._trained[name].copies(pictures, places)
            values |= {f"memorisation-{name}": copied, f"siblings-{name}": nearer}
        return {name: self._by_seed(each).mean(axis=0) for name, each in values.items()}

    def _shuffled(self, drawn: Judged) -> dict[str, Features]:
        """Return what the pictures get when each is held against another prompt."""
        first = drawn.take(np.arange(len(self.prompts)))
        asked = [self.dataset.rows[row].look for row in self.rows[self._others]]
        seen = [self._judge.looks[look] for look in first.looks]
        captions = self._own[self._others]
        return {
            f"r@1-of-{self.among}": recall_at_1(
                first.meanings, self._captions, captions, self.among
            ),
            "look-accuracy": hits(seen, asked),
        }

    def _captions_of(self, rows: Numbers) -> Numbers:
        """Return which of the captions to choose from is each row's own."""
        return np.array([self._number_of[caption(self.dataset, row)] for row in rows.tolist()], int)

    def _places(self, rows: Numbers) -> Numbers:
        """Return where rows are among those trained on, or `NEW`."""
        places = np.searchsorted(self.training, rows)
        is_known = np.isin(rows, self.training)
        return np.where(is_known, places, NEW)

    def _diversity(self, sources: Mapping[str, Judged]) -> dict[str, Features]:
        """Return distances among the pictures of one prompt, and what to hold them against.

        Real: among all real drawings of the thing, in whatever look. Shuffled: among drawn
        pictures of different prompts.
        """
        found: dict[str, Features] = {}
        for source in sources.keys() - {REAL}:
            features = self._by_seed(sources[source].features)
            if len(features) > 1:
                of_prompts = [mean_pairwise_distance(each) for each in features.swapaxes(0, 1)]
                found[source] = np.array(of_prompts)
        numbers_of: dict[str, list[int]] = {}
        for number in self._real_rows.tolist():
            numbers_of.setdefault(self.dataset.rows[number].concept, []).append(number)
        others = [numbers_of[self.dataset.rows[row].concept] for row in self.rows]
        found[REAL] = np.array(
            [
                mean_pairwise_distance(self.real.features[each]) if len(each) > 1 else np.nan
                for each in others
            ]
        )
        first = sources[DRAWN].features[: len(self.prompts)]
        found[SHUFFLED] = np.sqrt(((first - first[self._others]) ** 2).sum(axis=1))
        return found

    def _by_seed(self, values: Features) -> Features:
        return values.reshape(-1, len(self.prompts), *values.shape[1:])


def _derangement(count: int, generator: np.random.Generator) -> Numbers:
    """Return another number for each of at least two."""
    order = generator.permutation(count)
    others = np.empty(count, np.int64)
    others[order] = np.roll(order, 1)
    return others
