"""Find pictures that would teach nothing or the wrong thing: blank, noisy, blurred, or twice there.

The thresholds were set on 16,427 icons of 14 sets at 64 and 128 px, looking at what each drops.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from generation.learning.dataset.stored import Pictures
from generation.work.progress import Progress

Floats = npt.NDArray[np.float32]
BLOCK = 32  # fits the processor's cache: twice as fast as 256
THUMBNAIL_PX = 32
PART_PX = 8
# A pixel that differs from white by less is not seen.
VISIBLE = 12 / 255
# Of the normal distribution: median of the absolute value over the standard deviation.
MEDIAN_TO_STD = 0.6745


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """Which pictures are left out; levels are of 0 to 1, pictures are seen on white.

    Attributes:
        is_on: Whether any picture is left out.
        least_coverage: Share of the picture that differs from white.
        least_contrast: Standard deviation of the picture.
        most_noise: Standard deviation of the noise, edges aside.
        least_sharpness: Standard deviation of the Laplacian over that of the picture.
        twin_bits: Most bits, of 64, in which the perceptual hashes of twins differ.
        twin_distance: Root mean square distance of twins in the part where they differ most.
    """

    is_on: bool = True
    least_coverage: float = 0.005
    least_contrast: float = 0.015
    most_noise: float = 0.1
    least_sharpness: float = 0.15
    twin_bits: int = 6
    twin_distance: float = 0.03


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Which pictures stay.

    Attributes:
        kept: Their numbers, int64, in order.
        reasons: Why each of the others goes, by its key.
    """

    kept: npt.NDArray[np.int64]
    reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class Measures:
    """One number a picture of each kind, float32 (n,), and what twins are known by.

    Attributes:
        hashes: Perceptual hashes, uint64 (n,).
        thumbnails: uint8 (n, 32, 32, 3), on white.
    """

    coverage: Floats
    contrast: Floats
    noise: Floats
    sharpness: Floats
    hashes: npt.NDArray[np.uint64]
    thumbnails: npt.NDArray[np.uint8]


def examine(rgba: Pictures, keys: Sequence[str], settings: Cleaning, report: Progress) -> Verdicts:
    """Judge pictures; of twins within one look the one with the shortest name stays.

    Twins in different looks both stay: their captions differ by the look, and a thing drawn the
    same way twice teaches that the looks agree on it.

    Args:
        rgba: uint8 (n, side, side, 4) with straight alpha; the side is a multiple of 32.
        keys: `<look>/<name>` of each.
        report: Told about every block of pictures.
    """
    if not settings.is_on:
        return Verdicts(np.arange(len(keys)), {})
    measures = measure(rgba, report)
    reasons = [_fault(measures, number, settings) for number in range(len(keys))]
    for number, twin in _twins(measures, keys, [not text for text in reasons], settings).items():
        reasons[number] = f"twin of {keys[twin]}"
    kept = np.array([number for number, text in enumerate(reasons) if not text], np.int64)
    return Verdicts(kept, {key: text for key, text in zip(keys, reasons, strict=True) if text})


def measure(rgba: Pictures, report: Progress) -> Measures:
    """Measure every picture.

    Args:
        rgba: uint8 (n, side, side, 4) with straight alpha; the side is a multiple of 32.

    Raises:
        ValueError: It is not.
    """
    if rgba.shape[1] % THUMBNAIL_PX:
        raise ValueError(f"clean pictures whose side is a multiple of {THUMBNAIL_PX} px")
    parts = []
    for start in range(0, len(rgba), BLOCK):
        block = _on_white(rgba[start : start + BLOCK])
        is_drawn = block.min(0) < 1 - VISIBLE
        grey = block.mean(0)
        thumbnails = _shrink(block)
        parts.append((
            is_drawn.mean((1, 2), dtype=np.float32),
            block.std((2, 3)).max(0),
            noise(grey, is_drawn),
            sharpness(grey),
            _hashes(thumbnails),
            thumbnails,
        ))  # fmt: skip
        report("clean", start + len(grey), len(rgba), "measure")
    return Measures(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def noise(grey: Floats, is_drawn: npt.NDArray[np.bool_]) -> Floats:
    """Estimate the standard deviation of the noise within each drawing's bounding box.

    The mask cancels flat areas and slopes. The median, where the paper has the mean, also leaves
    out edges: a drawing is mostly flat.

    Source: Immerkær, "Fast Noise Variance Estimation", Computer Vision and Image Understanding 64
    (1996), equation 2.

    Args:
        grey: (n, side, side) in [0, 1].
        is_drawn: Where it differs from white.

    Returns:
        (n,) in [0, 1]; 0 for a drawing smaller than the mask.
    """
    across = grey[:, :, :-2] - 2 * grey[:, :, 1:-1] + grey[:, :, 2:]
    response = np.abs(across[:, :-2] - 2 * across[:, 1:-1] + across[:, 2:])
    found = np.zeros(len(grey), np.float32)
    for number, drawn in enumerate(is_drawn):
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        if len(rows) > 2 and len(columns) > 2:
            box = response[number, rows[0] : rows[-1] - 1, columns[0] : columns[-1] - 1]
            found[number] = np.median(box)
    mask_norm = 6.0  # of (1, -2, 1) times (1, -2, 1): white noise comes out this much stronger
    return (found / (MEDIAN_TO_STD * mask_norm)).astype(np.float32)


def sharpness(grey: Floats) -> Floats:
    """Return the standard deviation of the Laplacian over that of the picture, (n,).

    Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000 (the
    variance of the Laplacian); divided by the contrast, so that pale drawings are not "blurred".

    Args:
        grey: (n, side, side) in [0, 1].
    """
    inner = grey[:, 1:-1, 1:-1]
    laplacian = (
        grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
    )
    found: Floats = laplacian.std((1, 2)) / np.maximum(grey.std((1, 2)), np.float32(1e-6))
    return found


def _fault(measures: Measures, number: int, settings: Cleaning) -> str:
    """Say what is wrong with one picture by itself; nothing if it is good."""
    if measures.coverage[number] < settings.least_coverage:
        return f"blank: {measures.coverage[number]:.1%} drawn"
    if measures.contrast[number] < settings.least_contrast:
        return f"blank: contrast {measures.contrast[number]:.3f}"
    if measures.noise[number] > settings.most_noise:
        return f"noise: {measures.noise[number]:.3f}"
    if measures.sharpness[number] < settings.least_sharpness:
        return f"blur: sharpness {measures.sharpness[number]:.2f}"
    return ""


def _twins(
    measures: Measures, keys: Sequence[str], is_good: Sequence[bool], settings: Cleaning
) -> dict[int, int]:
    """Return each dropped twin and the one that stays, among the good pictures of each look.

    Equal hashes are not enough: they do not see colour, and a red and a blue heart share one. So
    the pictures must agree as well, in every part: two clocks differ only at the hands.
    """
    of_look = defaultdict(list)
    # The shortest name is the plainest: France before Clipperton Island, guard before man guard.
    for number in sorted(range(len(keys)), key=lambda number: len(keys[number])):
        if is_good[number]:
            of_look[keys[number].split("/", 1)[0]].append(number)
    twin_of: dict[int, int] = {}
    for listed in of_look.values():
        numbers = np.array(listed)
        hashes = measures.hashes[numbers]
        for place, number in enumerate(listed):
            bits = np.bitwise_count(hashes[:place] ^ hashes[place])
            for earlier in numbers[:place][bits <= settings.twin_bits].tolist():
                thumbnails = measures.thumbnails[[earlier, number]]
                if earlier not in twin_of and _distance(*thumbnails) <= settings.twin_distance:
                    twin_of[number] = earlier
                    break
    return twin_of


def _distance(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> float:
    """Return the root mean square distance, of 0 to 1, in the part where it is largest."""
    squares = ((first.astype(np.float32) - second) / 255) ** 2
    parts = squares.reshape(THUMBNAIL_PX // PART_PX, PART_PX, THUMBNAIL_PX // PART_PX, PART_PX, 3)
    return float(np.sqrt(parts.mean((1, 3, 4)).max()))


def _hashes(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return perceptual hashes of 64 bits: which low frequencies are above their median."""
    import imagehash  # only building a dataset needs it

    hashes = (imagehash.phash(Image.fromarray(thumbnail)).hash for thumbnail in thumbnails)
    packed = np.stack([np.packbits(bits) for bits in hashes])
    return packed.view(np.uint64)[:, 0]


def _on_white(rgba: Pictures) -> Floats:
    """Return float32 (3, n, side, side) in [0, 1]; planes, which NumPy sums ten times as fast."""
    planes = np.ascontiguousarray(np.moveaxis(rgba, 3, 0)).astype(np.float32)
    alpha = planes[3] / 255
    picture: Floats = planes[:3] / 255 * alpha + (1 - alpha)
    return picture


def _shrink(planes: Floats) -> npt.NDArray[np.uint8]:
    """Return the mean of each block of pixels, uint8 (n, 32, 32, 3)."""
    step = planes.shape[-1] // THUMBNAIL_PX
    rows = sum(planes[:, :, first::step] for first in range(1, step)) + planes[:, :, ::step]
    blocks = sum(rows[..., first::step] for first in range(1, step)) + rows[..., ::step]
    thumbnails = np.rint(np.moveaxis(blocks, 0, 3) * (255 / step**2)).astype(np.uint8)
    return np.ascontiguousarray(thumbnails)
