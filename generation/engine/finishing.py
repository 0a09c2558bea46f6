"""From finished pixels to files: a chain of small links, each of which knows only pictures.

    pixels -> pick the best -> encode

A link takes an order's pictures and returns what goes on; whatever changes, checks or marks
pictures is one more. It runs beside the drawing, on a thread of its own.
"""

import dataclasses
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from generation.work.checkpoints import Checkpoint
from generation.work.remarks import Remark
from generation.work.requests.imagine import Imagine
from generation.work.results import DrawnImage

# Drawings of 128 px take 0.9 ms and a grainy picture of 1024 px 134 ms; at level 6 it is twice that,
# for a tenth fewer bytes.
PNG_LEVEL = 3
PREVIEW_SIDE_PX = 256


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is drawn and no file yet.

    Args:
        seed: The seed that draws it alone.
        pixels: In RGB.
    """

    seed: int
    pixels: Image.Image


Link = Callable[[Sequence[Picture], Imagine, Checkpoint], Sequence[Picture]]


def pick_best(
    pictures: Sequence[Picture], request: Imagine, checkpoint: Checkpoint
) -> Sequence[Picture]:
    """Return as many pictures as were asked for.

    Of spare pictures, those that the checkpoint's scorer finds nearest to the words and the look
    are kept, the nearest first. Without spare ones nothing changes.

    Raises:
        CheckpointCorrupt: The scorer is missing or not the recorded one.
    """
    if not request.num_spare:
        return pictures
    from generation.judging.scorer.choosing import open_scorer, ranked
    from generation.language import reading, text_encoder

    captions = reading.captions(checkpoint, request, [text_encoder.reader()])
    scorer = open_scorer(Path(checkpoint.scorer))
    best = ranked(scorer, captions, [picture.pixels for picture in pictures])
    return [pictures[number] for number in best[: request.num_images]]


CHAIN: tuple[Link, ...] = (pick_best,)


def finish(
    pictures: Sequence[Picture], request: Imagine, checkpoint: Checkpoint
) -> tuple[DrawnImage, ...]:
    """Return an order's files after every link of the chain.

    Args:
        pictures: All candidates, in the order of their seeds.
        request: What was asked for.
        checkpoint: That drew them.

    Raises:
        GenerationError: A link cannot do its work.
    """
    for link in CHAIN:
        pictures = link(pictures, request, checkpoint)
    return tuple(
        DrawnImage(
            index,
            picture.seed,
            picture.pixels.width,
            picture.pixels.height,
            encode_png(picture.pixels),
            pixels_sha256(picture.pixels),
        )
        for index, picture in enumerate(pictures)
    )


def remarked(request: Imagine, checkpoint: Checkpoint) -> tuple[Remark, ...]:
    """Return what is to be said of a prompt's words, whatever drew them.

    Without a vocabulary, or without the text encoder that measures meanings, nothing is said.
    """
    if not (checkpoint.vocabulary and checkpoint.text_encoder):
        return ()
    from generation.language.remarking import remarks_on

    return remarks_on(checkpoint, request.prompts)


def pixels_sha256(image: Image.Image) -> str:
    """Return the SHA-256 that says what was drawn; see `DrawnImage.pixels_sha256`."""
    digest = hashlib.sha256(image.mode.encode("ascii"))
    digest.update(image.width.to_bytes(4) + image.height.to_bytes(4))
    digest.update(image.tobytes())
    return digest.hexdigest()


def encode_png(image: Image.Image) -> bytes:
    """Return the PNG file of an RGB picture: fixed settings and nothing but the pixels."""
    file = io.BytesIO()
    bare = image.copy()
    bare.info = {}
    bare.save(file, format="PNG", compress_level=PNG_LEVEL)
    return file.getvalue()


def encode_preview(image: Image.Image) -> bytes:
    """Return a PNG of at most `PREVIEW_SIDE_PX` a side, made fast rather than small."""
    small = image.copy()
    small.thumbnail((PREVIEW_SIDE_PX, PREVIEW_SIDE_PX), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, format="PNG", compress_level=1)
    return file.getvalue()
