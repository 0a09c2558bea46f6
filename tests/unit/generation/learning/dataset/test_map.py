"""The map: like lies beside like, and what is missing is named."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw

from generation.learning.dataset.map import Map, draw, gaps, look_at, snap, survey, telling_words
from generation.learning.dataset.stored import Dataset, Row, Split, pictures_file
from generation.work.progress import silent

SIDE = 32
RED, GREEN, BLUE = (220, 40, 40), (40, 200, 60), (40, 60, 220)


def row(concept: str, look: str = "flat", group: str = "", number: int = 0) -> Row:
    return Row(
        key=f"{look}/{concept}-{number}", concept=concept, look=look, group=group,
        phrasings=(concept,), split=Split.TRAIN, is_unseen_by_scorer=False, may_mirror=True,
        licence="MIT",
    )  # fmt: skip


def shape(kind: str, colour: tuple[int, int, int], jitter: int) -> np.ndarray:
    canvas = Image.new("RGBA", (SIDE, SIDE))
    pen, box = ImageDraw.Draw(canvas), (4 + jitter, 4, 26 + jitter, 27)
    if kind == "disc":
        pen.ellipse(box, fill=(*colour, 255))
    else:
        pen.rectangle((4 + jitter, 13, 28, 17 + jitter), fill=(*colour, 255))
    return np.asarray(canvas)


ODD = 36
KINDS = [("disc", RED, "ruby"), ("disc", BLUE, "sapphire"), ("bar", GREEN, "grass")]


@pytest.fixture(scope="module")
def gems(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve each of red discs, blue discs and green bars, mixed; and one odd one."""
    directory = tmp_path_factory.mktemp("gems")
    pictures, rows = [], []
    for number in range(36):
        kind, colour, concept = KINDS[number % 3]
        pictures.append(shape(kind, colour, number // 3 % 4))
        rows.append(row(concept, number=number))
    chance = np.random.default_rng(0)
    pictures.append(chance.integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8))
    rows.append(row("ruby", number=ODD))
    np.save(pictures_file(directory, SIDE), np.stack(pictures))
    return Dataset(directory, "{prompt}, {look} style", ("flat",), (SIDE,), tuple(rows), "1")


@pytest.fixture(scope="module")
def surveyed(gems: Dataset) -> Map:
    return survey(gems, silent)


def test_a_clusters_pictures_are_alike_and_its_words_say_which(
    gems: Dataset, surveyed: Map
) -> None:
    assert len(surveyed.clusters) >= 2
    for cluster in surveyed.clusters:
        rows = [row for row in surveyed.rows[cluster.members].tolist() if row != ODD]
        kinds = {gems.rows[row].concept for row in rows}
        assert "grass" not in kinds or kinds == {"grass"}
        assert set(cluster.words) <= kinds


def test_every_picture_is_in_exactly_one_cluster(surveyed: Map) -> None:
    members = np.concatenate([cluster.members for cluster in surveyed.clusters])
    assert sorted(members.tolist()) == list(range(len(surveyed.rows)))
    for number, cluster in enumerate(surveyed.clusters):
        assert (surveyed.cluster[cluster.members] == number).all()


def test_neighbours_on_the_map_show_the_same_thing(gems: Dataset, surveyed: Map) -> None:
    points, concepts = surveyed.points[:36], [gems.rows[i].concept for i in range(36)]
    distance = np.linalg.norm(points[:, None] - points, axis=2) + 9 * np.eye(36)
    nearest = distance.argmin(1)
    agreeing = sum(concepts[i] == concepts[j] for i, j in enumerate(nearest))
    assert agreeing >= 33
    assert points.min() >= 0
    assert points.max() <= 1


def test_what_fits_no_cluster_is_the_first_outlier(surveyed: Map) -> None:
    assert surveyed.outliers[0] == ODD


def test_features_of_a_trained_network_take_the_place_of_colours(gems: Dataset) -> None:
    # They tell the first eighteen pictures from the others, which no colour does.
    features = np.repeat(np.eye(2, 4, dtype=np.float32), (18, 19), axis=0)
    found = survey(gems, silent, features)
    assert len(set(found.cluster[:18].tolist())) == 1
    assert set(found.cluster[:18].tolist()).isdisjoint(found.cluster[18:].tolist())


def test_the_same_seed_gives_the_same_map(gems: Dataset, surveyed: Map) -> None:
    again = survey(gems, silent)
    assert np.array_equal(again.points, surveyed.points)
    assert np.array_equal(again.cluster, surveyed.cluster)
    assert again.outliers == surveyed.outliers


def test_colour_and_shape_both_count(gems: Dataset) -> None:
    features = look_at(gems, np.arange(36))
    red, blue, green = features[0], features[1], features[2]
    same = np.linalg.norm(red - features[12])
    assert same < np.linalg.norm(red - blue)
    assert same < np.linalg.norm(blue - green)
    half = features.shape[1] * 192 // 320
    for part in (features[:, :half], features[:, half:]):
        assert part.var(0).sum() == pytest.approx(1, abs=1e-3)


def test_the_picture_shows_every_drawing(gems: Dataset, surveyed: Map) -> None:
    picture = draw(gems, surveyed, side_px=640)
    assert picture.size[0] == picture.size[1] <= 640
    colours = np.asarray(picture).reshape(-1, 3).tolist()
    for colour in (RED, GREEN, BLUE):
        assert list(colour) in colours


@given(
    points=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(0, 1, width=32)
    )
)
def test_no_two_pictures_share_a_cell(points: np.ndarray) -> None:
    places = snap(points, 6)
    assert len({tuple(place) for place in places.tolist()}) == len(points)
    assert places.min() >= 0
    assert places.max() < 6


def test_a_point_alone_keeps_its_cell() -> None:
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    assert snap(corners, 5).tolist() == [[0, 0], [4, 0], [0, 4], [4, 4]]


def test_telling_words_are_those_used_here_and_not_elsewhere() -> None:
    here = Counter({"clock": 30, "face": 30, "red": 3})
    elsewhere = Counter({"face": 300, "red": 30, "heart": 100})
    assert telling_words(here, here + elsewhere) == ("clock",)
    assert telling_words(Counter({"red": 5}), Counter({"red": 5})) == ()


def test_a_look_that_lacks_a_group_is_a_gap() -> None:
    rows = [
        row(f"{group} {i}", look, group) for look in "ABC" for group in "xyz" for i in range(30)
    ]
    assert gaps(rows) == ()
    lacking = [each for each in rows if (each.look, each.group) != ("B", "z")]
    (gap,) = gaps(lacking)
    assert (gap.look, gap.group, gap.pictures) == ("B", "z", 0)
    assert gap.expected == pytest.approx(60 * 60 / 240)
    # A group that one look alone has is that look's own.
    assert gaps([*rows, *(row(str(i), "C", "portraits") for i in range(90))]) == ()
    # Small sets do not allow the conclusion.
    assert gaps(rows[:3]) == ()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_hardly_any_pictures_still_make_a_map(tmp_path: Path, count: int) -> None:
    pictures = np.stack([shape("disc", RED, number) for number in range(count)])
    np.save(pictures_file(tmp_path, SIDE), pictures)
    rows = tuple(row("ruby", number=number) for number in range(count))
    dataset = Dataset(tmp_path, "{prompt}, {look} style", ("flat",), (SIDE,), rows, "1")
    found = survey(dataset, silent)
    assert len(found.rows) == count
    assert draw(dataset, found).size[0] > 0
