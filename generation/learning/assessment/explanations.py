"""What each metric means, in words for people, and which way is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

HIGHER, LOWER, NEAR_REAL = "higher", "lower", "near real"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One metric for people.

    Attributes:
        title: Its common name.
        better: `higher`, `lower`, or `near real` for what is no quality by itself.
        meaning: What it says and where it deceives.
    """

    title: str
    better: str
    meaning: str


R_AT_1 = "r@1"
EXPLANATIONS: Mapping[str, Explanation] = MappingProxyType(
    {
        "fd-scorer": Explanation(
            "Fréchet distance",
            LOWER,
            "How far the cloud of drawn pictures lies from the cloud of real ones, by their middles and"
            " spreads. It grows when there are fewer pictures, so only figures side by side compare.",
        ),
        "kd-scorer": Explanation(
            "kernel distance",
            LOWER,
            "The same question without assuming the shape of the clouds and without a bias from their"
            " size. Zero means: cannot be told apart; it may fall a little below zero by chance.",
        ),
        "is-scorer": Explanation(
            "Inception Score's definition",
            HIGHER,
            "High when the scorer is sure what each picture shows and all things occur. It does not"
            " look at the prompts or at real pictures, so nonsense that is varied enough scores too.",
        ),
        "precision-scorer": Explanation(
            "precision",
            HIGHER,
            "Share of drawn pictures that lie among the real ones. A generator that always draws the"
            " same good picture has all of it.",
        ),
        "recall-scorer": Explanation(
            "recall",
            HIGHER,
            "Share of real pictures that lie among the drawn ones: is everything there that should be?",
        ),
        R_AT_1: Explanation(
            "caption found",
            HIGHER,
            "Chance that the scorer, shown the picture, picks its own caption (thing and look) among"
            " so many. Guessing gets one in that number.",
        ),
        "look-accuracy": Explanation(
            "look recognised",
            HIGHER,
            "Share of pictures in which the scorer sees the look that was asked for.",
        ),
        "diversity-scorer": Explanation(
            "diversity",
            NEAR_REAL,
            "How different pictures of one prompt are from each other. 'Real' is how different the real"
            " drawings of one thing are, over all looks; 'shuffled' is the distance between drawn"
            " pictures of different prompts. Noise is diverse too, so more is not always better.",
        ),
        "memorisation-scorer": Explanation(
            "memorisation, in features",
            NEAR_REAL,
            "Share of drawn pictures that lie nearer to a training picture than any other training"
            " picture does. Real pictures show what is natural; far above it is copying. A checkpoint"
            " asked for exactly what it was taught should be above it: see the unseen prompts.",
        ),
        "memorisation-pixels": Explanation(
            "memorisation, in pixels",
            NEAR_REAL,
            "The same with the pixels themselves, at 32 px: only near-exact copies count.",
        ),
        "siblings-scorer": Explanation(
            "nearer than a sibling, in features",
            NEAR_REAL,
            "Share of drawn pictures that lie nearer to a training picture than that picture's nearest"
            " sibling, the same thing in another look. Sets draw one thing alike, so that half of the"
            " real pictures that nobody trained on do so too: what counts is the distance from 'real'.",
        ),
        "siblings-pixels": Explanation(
            "nearer than a sibling, in pixels",
            NEAR_REAL,
            "The same with the pixels themselves, at 32 px.",
        ),
        "psnr": Explanation(
            "reconstruction (dB)",
            HIGHER,
            "Peak signal-to-noise ratio of what the autoencoder repeats. 30 dB look alike.",
        ),
    }
)


def explanation_of(metric: str) -> Explanation:
    """Return what a metric means; every r@1 means the same, among however many."""
    return EXPLANATIONS[R_AT_1 if metric.startswith(R_AT_1) else metric]
