"""Show a built dataset on one page: what is in it, what was left out, and what it lacks."""

import base64
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from generation.language import templates
from generation.learning.dataset import augment, shards
from generation.learning.dataset.augment import Augmentation
from generation.learning.dataset.map import Map, draw, survey
from generation.learning.dataset.packages import Credit
from generation.learning.dataset.stored import Dataset, Pictures, Row, Split
from generation.work.progress import Progress

PAGE = "report.html"
MAP_PICTURE = "map.png"
TEMPLATES = Path(__file__).parent / "templates"
DRAWN = "drawn"
SHEET = 22
EXAMPLES = 8
PHRASINGS = 9
BATCH = 18
DROPPED_SHOWN = 24
THUMBNAIL_PX = 64
MAP_PX = 1600
# Shown as an example; each trainer's recipe has its own.
VARIED = Augmentation(
    shrink=0.25, enlarge=0.08, shift=0.06, rotate_degrees=8, mirror=0.5,
    brightness=0.12, hue_degrees=8, background=0.6,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture on the page.

    Attributes:
        source: Address of the picture's data.
        title: What it is called.
        note: A second, smaller line; may be empty.
        twin: Address of a second picture, for comparison; may be empty.
    """

    source: str
    title: str
    note: str = ""
    twin: str = ""


def write(
    directory: Path,
    dataset: Dataset,
    dropped: Mapping[str, str],
    makers: Sequence[Credit],
    report: Progress,
) -> Path:
    """Write the page, with every picture in it, and the map as a file of its own.

    Args:
        directory: Made if it is not there.
        dropped: Why each picture that was collected is not in the dataset, by its key.
        makers: Who made the sources.
        report: Told what is being done.

    Returns:
        The page.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    directory.mkdir(parents=True, exist_ok=True)
    found = survey(dataset, report)
    drawn_map = draw(dataset, found, MAP_PX)
    drawn_map.save(directory / MAP_PICTURE, optimize=True)
    report("report", 0, 1)
    stored = dataset.pictures(_side_px(dataset))
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html").render(
        dataset=dataset,
        facts=_facts(dataset, dropped),
        looks=_looks(dataset),
        matrix=_matrix(dataset.rows),
        spread=_spread(dataset.rows),
        examples=_examples(dataset, stored),
        batch=_batch(dataset),
        sheets=_sheets(dataset, stored),
        map=_address(drawn_map),
        clusters=_clusters(dataset, found, stored),
        outliers=[_shown(dataset.rows[row], stored[row]) for row in found.outliers],
        gaps=found.gaps,
        dropped=_dropped(dataset, dropped, stored),
        licences=Counter(row.licence for row in dataset.rows).most_common(),
        makers=makers,
    )
    path = directory / PAGE
    path.write_text(page, encoding="utf-8")
    report("report", 1, 1)
    return path


def _side_px(dataset: Dataset) -> int:
    return min(dataset.sizes_px)


def _address(picture: Image.Image) -> str:
    """Return a picture as the address of its own data, so that the page is one file."""
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=85, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _thumbnail(pixels: Pictures) -> str:
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return _address(picture)


def _shown(row: Row, pixels: Pictures) -> Shown:
    return Shown(_thumbnail(pixels), row.concept, row.look)


def _facts(dataset: Dataset, dropped: Mapping[str, str]) -> dict[str, str]:
    """Return the figures at the top."""
    phrasings = {text for row in dataset.rows for text in row.phrasings}
    numbers = {
        "pictures": len(dataset.rows),
        "concepts": len(dataset.concepts),
        "looks": len({row.look for row in dataset.rows}),
        "phrasings": len(phrasings),
        "left out": len(dropped),
    }
    return {name: f"{number:,}" for name, number in numbers.items()}


def _looks(dataset: Dataset) -> list[dict[str, Any]]:
    """Count each look's pictures by what they may be used for."""
    of_look = defaultdict(list)
    for row in dataset.rows:
        of_look[row.look].append(row)
    return [
        {
            "look": look,
            "pictures": len(of_look[look]),
            "splits": {
                split.value: sum(row.split is split for row in of_look[look]) for split in Split
            },
            "unseen_by_scorer": sum(row.is_unseen_by_scorer for row in of_look[look]),
            "licences": sorted({row.licence for row in of_look[look]}),
        }
        for look in dataset.looks
    ]


def _matrix(rows: Sequence[Row]) -> dict[str, Any]:
    """Return groups, largest first, and each look's pictures of them, with heat in [0, 1]."""
    pairs = Counter((row.look, row.group or "no group") for row in rows)
    groups = [group for group, _ in Counter(row.group or "no group" for row in rows).most_common()]
    most = max(pairs.values(), default=1)
    lines = [
        # The square root lets small counts be told apart.
        (look, [(pairs[look, group], (pairs[look, group] / most) ** 0.5) for group in groups])
        for look in dict.fromkeys(row.look for row in rows)
    ]
    return {"groups": groups, "lines": lines}


def _spread(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Return how many concepts there are in so many looks; the basis of "this thing, that look"."""
    looks = defaultdict(set)
    for row in rows:
        looks[row.concept].add(row.look)
    return sorted(Counter(len(of_concept) for of_concept in looks.values()).items())


def _sample(numbers: Sequence[int], most: int) -> list[int]:
    """Return some numbers, by chance but always the same."""
    chosen = np.random.default_rng(0).permutation(len(numbers))[:most]
    return [numbers[place] for place in chosen]


def _examples(dataset: Dataset, stored: Pictures) -> list[tuple[Shown, str, tuple[str, ...]]]:
    """Return pictures, the plainest caption of each, and other ways to ask for it."""
    examples = []
    for number in _sample(range(len(dataset.rows)), EXAMPLES):
        row = dataset.rows[number]
        caption = templates.styled(row.phrasings[0], row.look, dataset.template)
        examples.append((_shown(row, stored[number]), caption, row.phrasings[1:PHRASINGS]))
    return examples


def _batch(dataset: Dataset) -> list[Shown]:
    """Return what a training batch looks like, with the captions it comes with."""
    rows = _sample(range(len(dataset.rows)), EXAMPLES + BATCH)[EXAMPLES:]
    pictures, words = augment.varied(
        dataset, torch.tensor(rows, dtype=torch.int64), _side_px(dataset), VARIED,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    pixels = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    shown = []
    for place, row in enumerate(rows):
        prompt = f"{dataset.rows[row].phrasings[0]} {words[place]}".strip()
        caption = templates.styled(prompt, dataset.rows[row].look, dataset.template)
        shown.append(Shown(_thumbnail(pixels[place]), caption))
    return shown


def _sheets(dataset: Dataset, stored: Pictures) -> list[tuple[str, list[Shown]]]:
    """Return some pictures of each look, labelled."""
    of_look: dict[str, list[int]] = {look: [] for look in dataset.looks}
    for number, row in enumerate(dataset.rows):
        of_look[row.look].append(number)
    return [
        (
            look,
            [
                Shown(_thumbnail(stored[number]), dataset.rows[number].concept)
                for number in _sample(numbers, SHEET)
            ],
        )
        for look, numbers in of_look.items()
        if numbers
    ]


def _clusters(dataset: Dataset, found: Map, stored: Pictures) -> list[tuple[str, int, list[Shown]]]:
    """Return each cluster's words, how many pictures it has, and its most typical ones."""
    return [
        (
            ", ".join(cluster.words) or "no telling word",
            len(cluster.members),
            [
                _shown(dataset.rows[row], stored[row])
                for row in found.rows[cluster.members[:6]].tolist()
            ],
        )
        for cluster in found.clusters
    ]


def _dropped(
    dataset: Dataset, dropped: Mapping[str, str], stored: Pictures
) -> list[tuple[str, int, list[Shown], list[tuple[str, str]]]]:
    """Return kind of reason, how many, some of the pictures and all of the keys."""
    pictures = _collected(dataset, dropped)
    kept = {row.key: number for number, row in enumerate(dataset.rows)}
    of_kind: dict[str, list[str]] = defaultdict(list)
    for key, reason in dropped.items():
        of_kind[_kind(reason)].append(key)
    result = []
    for kind, keys in sorted(of_kind.items(), key=lambda item: -len(item[1])):
        visible = [key for key in keys if key in pictures]
        shown = []
        for number in sorted(_sample(range(len(visible)), DROPPED_SHOWN)):
            key = visible[number]
            twin = kept.get(dropped[key].removeprefix("twin of "))
            beside = "" if twin is None else _thumbnail(stored[twin])
            shown.append(Shown(_thumbnail(pictures[key]), key, dropped[key], beside))
        result.append((kind, len(keys), shown, [(key, dropped[key]) for key in keys]))
    return result


def _kind(reason: str) -> str:
    """Return what is before the details.

    >>> _kind("blank: 0.0% drawn"), _kind("twin of noto/fox")
    ('blank', 'twin')
    """
    return re.split(r": | of ", reason, maxsplit=1)[0]


def _collected(dataset: Dataset, keys: Iterable[str]) -> dict[str, Pictures]:
    """Return those pictures that were drawn for the dataset but are not in it."""
    wanted, side_px = set(keys), _side_px(dataset)
    found: dict[str, Pictures] = {}
    for directory in sorted((dataset.directory / DRAWN).glob("*")):
        shard = shards.load(directory)
        if shard is None:
            continue
        pictures = shard.pictures(side_px)
        for number in shard.usable:
            key = f"{shard.credit.look}/{shard.entries[number].name}"
            if key in wanted:
                found[key] = pictures[number]
    return found
