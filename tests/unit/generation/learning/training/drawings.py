"""Coloured circles and squares in two looks: what the scorer and the autoencoder are tried on."""

import numpy as np
from PIL import Image, ImageDraw

from generation.learning.dataset import stored
from generation.learning.dataset.stored import Dataset, Row, Split
from generation.learning.recipes.work import Work

SIDE_PX = 32
LOOKS = ("solid", "outlined")
CONCEPTS = tuple(
    f"{c} {s}" for c in ("red", "green", "blue", "black") for s in ("circle", "square")
)
UNSEEN = frozenset({("red circle", "outlined"), ("blue square", "solid")})


def draw(concept: str, look: str) -> Image.Image:
    colour, shape = concept.split()
    picture = Image.new("RGBA", (SIDE_PX, SIDE_PX), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    paint = pen.ellipse if shape == "circle" else pen.rectangle
    how = {"fill": colour} if look == "solid" else {"outline": colour, "width": 3}
    paint((4, 4, 27, 27), **how)
    return picture


def write_dataset(work: Work, unseen: frozenset[tuple[str, str]] = UNSEEN) -> Dataset:
    """Write eight things in two looks.

    Args:
        unseen: (concept, look) pairs that neither the scorer nor a generator may learn from.
    """
    pairs = [(concept, look) for look in LOOKS for concept in CONCEPTS]
    rows = tuple(
        Row(
            key=f"{look}/{concept}",
            concept=concept,
            look=look,
            group="",
            phrasings=(concept, f"a {concept}"),
            split=Split.UNSEEN_PAIR if (concept, look) in unseen else Split.TRAIN,
            is_unseen_by_scorer=(concept, look) in unseen,
            may_mirror=True,
            licence="CC0-1.0",
        )
        for concept, look in pairs
    )
    work.data.mkdir(parents=True)
    pictures = np.stack([np.asarray(draw(*pair)) for pair in pairs])
    np.save(stored.pictures_file(work.data, SIDE_PX), pictures)
    dataset = Dataset(work.data, "{prompt}, {look} style", LOOKS, (SIDE_PX,), rows, "drawings")
    stored.save(dataset)
    return dataset
