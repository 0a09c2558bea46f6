"""What a request will cost, in device-seconds, from what others like it have cost.

A picture's price follows from the network passes it really takes and its pixels: two of fifty
steps cost two, guidance doubles them. It is remembered by model, size and passes, so a short way
from a picture never prices a whole one; a kind that was never measured is scaled from the nearest
one of its model.

A device draws in batches of a fixed size, and places that nobody takes are padded. So a request
has two prices: *alone*, when it pays for the padding too, and *shared*, when others fill its
batches. The same holds for what was measured, which therefore only bounds the price of a picture
from both sides.
"""

import dataclasses
import math
from collections.abc import Mapping

from generation.work.requests.imagine import Imagine

FIRST_PRICE_S = 1.0  # of one picture of FIRST_WORK, before anything was measured
FIRST_WORK = 128 * 128 * 8  # pixels times passes
LEARNING_RATE = 0.2  # how far a measurement moves the remembered price


@dataclasses.dataclass(frozen=True, slots=True)
class Price:
    """Device-seconds of a whole request.

    Args:
        alone_s: If nobody shares its batches.
        shared_s: If all its batches are full.
    """

    alone_s: float
    shared_s: float


def price_key(request: Imagine) -> str:
    """Return the key under which the price of one picture of this kind is remembered."""
    # The letter tells passes from the steps that earlier versions remembered by.
    return f"{request.model}/{request.width}x{request.height}/{_passes(request):g}p"


def price(request: Imagine, remembered_s: Mapping[str, float], *, max_images: int = 1) -> Price:
    """Return the estimated price of a request.

    Without a measurement of its kind, the nearest measured kind of the same model is scaled by
    pixels times passes; without any, an assumption that only has to be in proportion.

    Args:
        request: What is to be drawn.
        remembered_s: `price_key` to device-seconds of one picture in a full batch.
        max_images: Pictures that its checkpoint draws at once on this device.
    """
    one_s = _of_one_s(request, remembered_s)
    num_images = request.num_candidates
    return Price(padded(num_images, max_images) * one_s, num_images * one_s)


def learned_s(
    remembered_s: float | None, elapsed_s: float, *, num_images: int, max_images: int
) -> float:
    """Return the price to remember of one picture in a full batch, after one more measurement.

    Args:
        remembered_s: What was remembered; None for nothing.
        elapsed_s: Device-seconds that a request took, its share if it was drawn with others.
        num_images: How many pictures it drew.
        max_images: Pictures that its checkpoint draws at once on this device.
    """
    at_least_s = elapsed_s / padded(num_images, max_images)  # if it was alone
    at_most_s = elapsed_s / num_images  # if others filled its batches
    if remembered_s is None:
        return at_least_s
    nearest_s = min(max(remembered_s, at_least_s), at_most_s)
    return remembered_s + LEARNING_RATE * (nearest_s - remembered_s)


def padded(num_images: int, max_images: int) -> int:
    """Return how many places of full batches so many pictures take up."""
    return -(-num_images // max_images) * max_images


def _of_one_s(request: Imagine, remembered_s: Mapping[str, float]) -> float:
    key = price_key(request)
    if key in remembered_s:
        return remembered_s[key]
    work = max(request.width * request.height, 1) * _passes(request)
    measured = {
        name: _work(name)
        for name in sorted(remembered_s)
        if name.endswith("p") and name.rsplit("/", 2)[0] == request.model
    }
    if not measured:
        return FIRST_PRICE_S * work / FIRST_WORK
    nearest = min(measured, key=lambda name: abs(math.log(measured[name] / work)))
    return remembered_s[nearest] * work / measured[nearest]


def _passes(request: Imagine) -> float:
    return max(request.passes(), 1.0)  # a record of another version may say nothing about them


def _work(key: str) -> float:
    """Return pixels times passes of a `price_key`."""
    _, size, passes = key.removesuffix("p").rsplit("/", 2)
    width, height = size.split("x")
    return int(width) * int(height) * float(passes)
