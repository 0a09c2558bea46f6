"""Lay a dataset out as a map, without being told what it shows: like beside like."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from generation.learning.dataset import augment
from generation.learning.dataset.stored import Dataset, Row
from generation.work.progress import Progress

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
FEATURES_PX = 32
MOST_PICTURES = 3000
BLOCK = 256
ORIENTATIONS = 8
COMPONENTS = 40
LAYOUT_STEPS = 400
OUTLIERS = 22
# A look is short of a group if it has less than this share of the pictures it would have if looks
# and groups were independent, and at least so many are missing.
GAP_SHARE = 0.25
GAP_PICTURES = 5
TELLING = 1.645  # standard deviations: nineteen times in twenty not by chance
SMALL_WORDS = frozenset({"and", "for", "the", "with", "without"})
INK, PAPER = (28, 30, 38), (250, 250, 252)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Pictures that look alike.

    Attributes:
        words: The words that set it apart, the most telling first; may be empty.
        members: Places in `Map.rows`, the most typical first.
    """

    words: tuple[str, ...]
    members: Numbers


@dataclass(frozen=True, slots=True)
class Gap:
    """Where a look has hardly a picture of a group although others have.

    Attributes:
        expected: Pictures it would have if looks and groups were independent.
    """

    look: str
    group: str
    pictures: int
    expected: float


@dataclass(frozen=True, slots=True)
class Map:
    """A dataset laid out.

    Attributes:
        rows: Row numbers of the mapped pictures (m,).
        points: Where they lie, float32 (m, 2) in [0, 1].
        cluster: Which cluster each belongs to, int64 (m,).
        outliers: Row numbers of the pictures least like their cluster, the oddest first.
        gaps: The largest first.
    """

    rows: Numbers
    points: Floats
    cluster: Numbers
    clusters: tuple[Cluster, ...]
    outliers: tuple[int, ...]
    gaps: tuple[Gap, ...]


def survey(
    dataset: Dataset, report: Progress, features: Floats | None = None, seed: int = 0
) -> Map:
    """Lay out at most 3,000 pictures of a dataset, find its clusters, outliers and gaps.

    Args:
        report: Told what is being done.
        features: One vector a row of the dataset, such as a trained scorer's; by default colours
            and edges, which need no training.
        seed: Of the sample, the clusters and the layout.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    chance = np.random.default_rng(seed)
    rows = np.sort(chance.permutation(len(dataset.rows))[:MOST_PICTURES]).astype(np.int64)
    report("map", 0, 3, "features")
    found = look_at(dataset, rows) if features is None else features[rows].astype(np.float32)
    if len(found) > 1:
        components = min(COMPONENTS, *found.shape)
        found = PCA(components, random_state=seed).fit_transform(found)
    report("map", 1, 3, "clusters")
    distinct = len(np.unique(found.round(4), axis=0))
    count = min(distinct, int(np.clip(np.sqrt(len(rows)) / 2.5, 2, 24)))
    grouping = KMeans(count, n_init=4, random_state=seed).fit(found)
    report("map", 2, 3, "layout")
    points = _lay_out(found, seed)
    report("map", 3, 3)
    cluster = grouping.labels_.astype(np.int64)
    distance = np.linalg.norm(found - grouping.cluster_centers_[cluster], axis=1)
    return Map(
        rows=rows,
        points=points,
        cluster=cluster,
        clusters=_describe([dataset.rows[row] for row in rows], cluster, distance, count),
        outliers=_oddest(rows, cluster, distance),
        gaps=gaps(dataset.rows),
    )


def look_at(dataset: Dataset, rows: Numbers) -> Floats:
    """Return colours and edges of pictures, a description that needs no training, (n, 320).

    An 8 x 8 picture of the colours, and in each of 4 x 4 cells how strong edges are in each of
    eight directions; both count the same in total.

    Source: the second half is Dalal and Triggs, "Histograms of Oriented Gradients for Human
    Detection", CVPR 2005, without their overlapping blocks.
    """
    colours, edges = [], []
    side_px = min(dataset.sizes_px)
    for start in range(0, len(rows), BLOCK):
        pictures = augment.plain(dataset, torch.from_numpy(rows[start : start + BLOCK]), side_px)
        small = torch.nn.functional.adaptive_avg_pool2d(pictures, FEATURES_PX)
        colours.append(torch.nn.functional.avg_pool2d(small, FEATURES_PX // 8).flatten(1).numpy())
        edges.append(_edges(small.mean(1).numpy()))
    return np.hstack([_even_out(np.concatenate(colours)), _even_out(np.concatenate(edges))])


def _edges(grey: Floats) -> Floats:
    """Return edge strength by cell and direction, (n, 4 * 4 * 8)."""
    down, right = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(down, right)
    # A direction and its opposite are the same edge.
    turn = np.arctan2(down, right) % np.pi
    direction = np.minimum(turn / np.pi * ORIENTATIONS, ORIENTATIONS - 1).astype(np.int64)
    count, side = len(grey), FEATURES_PX // 4
    planes = [
        np.where(direction == each, strength, 0).reshape(count, 4, side, 4, side).sum((2, 4))
        for each in range(ORIENTATIONS)
    ]
    # The square root keeps one hard edge from hiding all soft ones.
    edges: Floats = np.sqrt(np.stack(planes, 1)).reshape(count, -1).astype(np.float32)
    return edges


def _even_out(features: Floats) -> Floats:
    """Centre, and scale to a total variance of 1."""
    centred = features - features.mean(0)
    scaled: Floats = centred / max(float(np.sqrt(centred.var(0).sum())), 1e-6)
    return scaled


def _lay_out(reduced: Floats, seed: int) -> Floats:
    """Return points in [0, 1] where neighbours stay neighbours, (n, 2).

    Source: van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 9 (2008).
    """
    from sklearn.manifold import TSNE

    if len(reduced) < 4:  # too few for neighbours
        return np.linspace(0.1, 0.9, len(reduced), dtype=np.float32)[:, None].repeat(2, 1)
    points = TSNE(
        perplexity=min(30, (len(reduced) - 1) / 3),
        init="pca",
        learning_rate="auto",
        max_iter=LAYOUT_STEPS,
        random_state=seed,
    ).fit_transform(reduced)
    lowest, highest = points.min(0), points.max(0)
    placed: Floats = ((points - lowest) / np.maximum(highest - lowest, 1e-6)).astype(np.float32)
    return placed


def _describe(
    rows: Sequence[Row], cluster: Numbers, distance: Floats, count: int
) -> tuple[Cluster, ...]:
    """Name each cluster by its most telling words and order its members."""
    everywhere = Counter(word for row in rows for word in _words(row))
    described = []
    for number in range(count):
        members = np.flatnonzero(cluster == number)
        here = Counter(word for member in members.tolist() for word in _words(rows[member]))
        ordered = members[np.argsort(distance[members], kind="stable")]
        described.append(Cluster(telling_words(here, everywhere), ordered))
    return tuple(described)


def telling_words(here: Counter[str], everywhere: Counter[str], most: int = 3) -> tuple[str, ...]:
    """Return the words used here more than everywhere, beyond chance, the most telling first.

    Source: Monroe, Colaresi and Quinn, "Fightin' Words", Political Analysis 16 (2008), equations
    16 to 22: log-odds ratio with the whole as prior, divided by its standard deviation.

    Args:
        here: Counts of the words of one cluster.
        everywhere: Counts of the words of all, this one included.
    """
    elsewhere = everywhere - here
    prior, total = {word: float(count) for word, count in everywhere.items()}, everywhere.total()
    scores = {}
    for word, count in here.items():
        ours, theirs = count + prior[word], elsewhere[word] + prior[word]
        rest_here = here.total() + total - ours
        rest_elsewhere = elsewhere.total() + total - theirs
        if rest_here <= 0 or rest_elsewhere <= 0:
            continue
        log_odds = np.log(ours / rest_here) - np.log(theirs / rest_elsewhere)
        scores[word] = float(log_odds / np.sqrt(1 / ours + 1 / theirs))
    ranked = sorted(scores, key=lambda word: (-scores[word], word))
    return tuple(word for word in ranked if scores[word] > TELLING)[:most]


def _words(row: Row) -> set[str]:
    """Return a picture's words: those of its concept, its look, its group."""
    words = set(re.findall(r"[a-z]{3,}", row.concept.lower())) - SMALL_WORDS
    return words | {row.look, row.group} - {""}


def _oddest(rows: Numbers, cluster: Numbers, distance: Floats) -> tuple[int, ...]:
    """Return the rows farthest from their cluster, measured by how wide that cluster is."""
    width = np.array([
        np.median(distance[cluster == number]) for number in range(int(cluster.max()) + 1)
    ])  # fmt: skip
    order = np.argsort(-distance / np.maximum(width[cluster], 1e-6), kind="stable")
    return tuple(rows[order[:OUTLIERS]].tolist())


def gaps(rows: Sequence[Row], most: int = 12) -> tuple[Gap, ...]:
    """Return where a look lacks a group that it would have by chance, the largest gap first.

    Only groups that most looks have: nobody misses weather signs among portraits.
    """
    pairs = Counter((row.look, row.group) for row in rows if row.group)
    looks, groups = Counter[str](), Counter[str]()
    for (look, group), count in pairs.items():
        looks[look] += count
        groups[group] += count
    common = [
        group for group in groups if 2 * sum(pairs[look, group] > 0 for look in looks) > len(looks)
    ]
    found = []
    for look in looks:
        for group in common:
            expected = looks[look] * groups[group] / pairs.total()
            pictures = pairs[look, group]
            if pictures < GAP_SHARE * expected and expected - pictures >= GAP_PICTURES:
                found.append(Gap(look, group, pictures, expected))
    return tuple(sorted(found, key=lambda gap: gap.pictures - gap.expected)[:most])


def draw(dataset: Dataset, found: Map, side_px: int = 1600) -> Image.Image:
    """Draw the map: each picture near its point, none on another, clusters by name.

    Args:
        side_px: At most, of the square; whole cells are drawn.
    """
    cells = int(np.ceil(1.35 * np.sqrt(len(found.rows)))) + 1
    cell_px = max(8, min(side_px // cells, min(dataset.sizes_px) + 2))
    places = snap(found.points, cells)
    canvas = Image.new("RGB", (cells * cell_px, cells * cell_px), PAPER)
    stored = dataset.pictures(min(dataset.sizes_px))
    for row, (column, line) in zip(found.rows, places.tolist(), strict=True):
        thumbnail = Image.fromarray(stored[row])
        thumbnail.thumbnail((cell_px - 1, cell_px - 1))
        canvas.paste(thumbnail, (column * cell_px, line * cell_px), thumbnail)
    pen = ImageDraw.Draw(canvas, "RGBA")
    font = ImageFont.load_default(max(11, canvas.width // 90))
    for number, cluster in enumerate(found.clusters):
        column, line = np.median(places[found.cluster == number], axis=0)
        label = f"{number + 1} {', '.join(cluster.words[:2])}".strip()
        _write(pen, (column + 0.5) * cell_px, (line + 0.5) * cell_px, label, font, canvas.width)
    return canvas


def _write(
    pen: ImageDraw.ImageDraw,
    centre: float,
    middle: float,
    text: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    width: int,
) -> None:
    """Write a label on a pale plate, kept within the picture."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    half = (right - left) / 2 + 6
    centre = min(max(centre, half), width - half)
    box = (centre - half, middle - bottom / 2 - 3, centre + half, middle + bottom / 2 + 3)
    pen.rounded_rectangle(box, radius=6, fill=(*PAPER, 225), outline=(*INK, 60))
    pen.text((centre - half + 6 - left, middle - (top + bottom) / 2), text, font=font, fill=INK)


def snap(points: Floats, cells: int) -> Numbers:
    """Give each point the nearest cell that is still free.

    Args:
        points: (n, 2) in [0, 1].
        cells: Of the square grid a side; its square is at least n.

    Returns:
        Column and line of each, int64 (n, 2); no two alike.
    """
    column, line = np.meshgrid(np.arange(cells), np.arange(cells))
    grid = np.stack([column.ravel(), line.ravel()], 1)
    wanted = points * (cells - 1)
    is_free = np.ones(len(grid), np.bool_)
    places = np.zeros((len(points), 2), np.int64)
    # From the middle outwards: whoever is pushed aside moves towards the empty rim.
    for number in np.argsort(np.linalg.norm(points - points.mean(0), axis=1), kind="stable"):
        distance = np.where(is_free, ((grid - wanted[number]) ** 2).sum(1), np.inf)
        cell = int(distance.argmin())
        is_free[cell] = False
        places[number] = grid[cell]
    return places
