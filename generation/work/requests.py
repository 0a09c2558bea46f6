"""What someone wants drawn: frozen values that every layer passes on unchanged.

The words are diffusers' own. A request is complete: nothing is left to be filled in later, so the
same request on the same engine is the same picture.
"""

import dataclasses
import math
from typing import Any, Self

from generation.work.errors import InvalidRequest

MAX_SEED = 2**32 - 1
MAX_IMAGES = 8
MAX_PROMPT_LENGTH = 2_000
MAX_STEPS = 150


@dataclasses.dataclass(frozen=True, slots=True)
class WeightedPrompt:
    """One part of a multi-prompt.

    Args:
        text: The words, without flags; not empty.
        weight: Relative weight, finite; negative pushes away.
    """

    text: str
    weight: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextToImage:
    """Pictures from words.

    Args:
        prompts: One or more weighted parts; their weights add up to more than zero. Style words
            are not in here: the checkpoint's template adds them from `style`.
        negative_prompt: What to keep away from; may be empty.
        model: Name of a configured checkpoint.
        style: Name of one of the checkpoint's styles, or None.
        seed: Seed of the first image drawn, 0 to `MAX_SEED`; the i-th after it is drawn from
            `seed + i` (mod 2^32).
        num_images: How many are wanted, 1 to `MAX_IMAGES`.
        num_spare: How many more are drawn, of which only those that fit the words best are kept;
            0 keeps all in the order of their seeds. Together at most `MAX_IMAGES`.
        width: In pixels, a multiple of 8.
        height: In pixels, a multiple of 8.
        num_inference_steps: 1 to `MAX_STEPS`.
        guidance_scale: 1 (off) to 30.

    Raises:
        InvalidRequest: A field is out of its range.
    """

    prompts: tuple[WeightedPrompt, ...]
    model: str
    seed: int
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str = ""
    style: str | None = None
    num_images: int = 4
    num_spare: int = 0  # with a default: requests of older records say nothing about it

    def __post_init__(self) -> None:
        _check_prompts(self.prompts)
        if not 0 <= self.seed <= MAX_SEED:
            raise InvalidRequest("seed", self.seed, f"from 0 to {MAX_SEED}")
        if not 1 <= self.num_images <= MAX_IMAGES:
            raise InvalidRequest("num_images", self.num_images, f"from 1 to {MAX_IMAGES}")
        if not 0 <= self.num_spare <= MAX_IMAGES - self.num_images:
            most = MAX_IMAGES - self.num_images
            raise InvalidRequest("num_spare", self.num_spare, f"from 0 to {most}")
        for name, size_px in (("width", self.width), ("height", self.height)):
            if size_px % 8 or not 16 <= size_px <= 4096:
                raise InvalidRequest(name, size_px, "a multiple of 8 from 16 to 4096")
        if not 1 <= self.num_inference_steps <= MAX_STEPS:
            raise InvalidRequest(
                "num_inference_steps", self.num_inference_steps, f"from 1 to {MAX_STEPS}"
            )
        if not 1.0 <= self.guidance_scale <= 30.0:  # also refuses NaN
            raise InvalidRequest("guidance_scale", self.guidance_scale, "from 1 to 30")

    @property
    def prompt(self) -> str:
        """The prompt in multi-prompt notation, as people read it."""
        if len(self.prompts) == 1:
            return self.prompts[0].text
        return " ".join(f"{part.text}::{part.weight:g}" for part in self.prompts)

    @property
    def num_candidates(self) -> int:
        """How many pictures are drawn, the spare ones included."""
        return self.num_images + self.num_spare

    def seed_of(self, index: int) -> int:
        """Return the seed of candidate `index` (0-based)."""
        return (self.seed + index) % (MAX_SEED + 1)

    def only_seed(self, seed: int) -> Self:
        """Return the request that draws the picture of one seed alone."""
        return dataclasses.replace(self, seed=seed, num_images=1, num_spare=0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImageToImage(TextToImage):
    """Pictures from words and a picture.

    Args:
        image: SHA-256 of the stored PNG to start from, 64 hex digits.
        strength: How far to move away from it, above 0 to 1 (diffusers' `strength`).
    """

    image: str
    strength: float

    def __post_init__(self) -> None:
        # slots=True makes a new class, so the zero-argument super() would name the old one.
        TextToImage.__post_init__(self)
        if len(self.image) != 64 or not set(self.image) <= set("0123456789abcdef"):
            raise InvalidRequest("image", self.image, "a SHA-256 in hex")
        if not 0.0 < self.strength <= 1.0:
            raise InvalidRequest("strength", self.strength, "above 0 and at most 1")


def _check_prompts(prompts: tuple[WeightedPrompt, ...]) -> None:
    if not prompts or not all(part.text.strip() for part in prompts):
        raise InvalidRequest("prompt", "", "at least one word")
    length = sum(len(part.text) for part in prompts)
    if length > MAX_PROMPT_LENGTH:
        raise InvalidRequest("prompt", f"{length} characters", f"≤ {MAX_PROMPT_LENGTH} characters")
    if not all(math.isfinite(part.weight) and abs(part.weight) <= 100 for part in prompts):
        raise InvalidRequest("weight", [part.weight for part in prompts], "from -100 to 100")
    if sum(part.weight for part in prompts) <= 0:
        raise InvalidRequest("weights", [part.weight for part in prompts], "positive in sum")


def to_json(request: TextToImage) -> dict[str, Any]:
    """Return the request as JSON-ready values; `from_json` is its inverse."""
    return {"kind": type(request).__name__, **dataclasses.asdict(request)}


def from_json(value: dict[str, Any]) -> TextToImage:
    """Return the request that `to_json` wrote.

    Raises:
        InvalidRequest: The kind is unknown or a field is out of its range.
    """
    fields = dict(value)
    kind = fields.pop("kind", None)
    kinds: dict[str | None, type[TextToImage]] = {
        "TextToImage": TextToImage,
        "ImageToImage": ImageToImage,
    }
    if kind not in kinds:
        raise InvalidRequest("kind", kind, "one of TextToImage, ImageToImage")
    fields["prompts"] = tuple(WeightedPrompt(**part) for part in fields["prompts"])
    return kinds[kind](**fields)
