"""Pictures from words, and from a picture if there is one to start from."""

import dataclasses
import math
from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from generation.work.errors import InvalidRequest
from generation.work.inputs import Input, Role

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


@dataclasses.dataclass(frozen=True, slots=True)
class Alike:
    """What pictures must share to go through the denoiser together.

    Args:
        model: The same weights.
        width: Tensors of one shape.
        height: Tensors of one shape.
        is_guided: Guidance doubles the rows of a pass.
    """

    model: str
    width: int
    height: int
    is_guided: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Imagine:
    """Pictures from words.

    The words are diffusers' own. A request is complete: nothing is left to be filled in later, so
    the same request on the same engine is the same picture. Making one checks nothing, so that
    every record can be read; `check` does, before a request is recorded and before it is drawn.

    Args:
        prompts: One or more weighted parts; their weights add up to more than zero. Style words
            are not in here: `template` adds them.
        negative_prompt: What to keep away from; may be empty.
        model: Name of a configured checkpoint.
        style: Name of one of the checkpoint's styles, or None.
        template: The style's words around `{prompt}` when this was asked for, so that the record
            redraws what was drawn after they changed; empty for those of the checkpoint today.
        seed: Seed of the first image drawn, 0 to `MAX_SEED`; the i-th after it is drawn from
            `seed + i` (mod 2^32).
        num_images: How many are wanted, 1 to `MAX_IMAGES`.
        num_spare: How many more are drawn, of which only those that fit the words best are kept;
            0 keeps all in the order of their seeds. Together at most `MAX_IMAGES`.
        width: In pixels, a multiple of 8.
        height: In pixels, a multiple of 8.
        num_inference_steps: 1 to `MAX_STEPS`.
        guidance_scale: 1 (off) to 30.
        strength: How far to move away from the start, above 0 to 1 (diffusers' `strength`); it
            means nothing without one.
        inputs: At most one picture, in the role of a start.
    """

    verb: ClassVar[str] = "imagine"
    output: ClassVar[Literal["pictures", "words"]] = "pictures"

    prompts: tuple[WeightedPrompt, ...]
    model: str
    seed: int
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str = ""
    style: str | None = None
    template: str = ""
    num_images: int = 4
    num_spare: int = 0
    strength: float = 1.0
    inputs: tuple[Input, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            InvalidRequest: A field is out of its range.
        """
        _check_prompts(self.prompts)
        self._check_drawing()
        for each in self.inputs:
            each.check()
        roles = [each.role.value for each in self.inputs]
        if roles not in ([], [Role.START.value]):
            raise InvalidRequest("inputs", roles, "none, or one picture to start from")

    def _check_drawing(self) -> None:
        if self.template and "{prompt}" not in self.template:
            raise InvalidRequest("template", self.template, "words around {prompt}")
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
        if not 0.0 < self.strength <= 1.0:
            raise InvalidRequest("strength", self.strength, "above 0 and at most 1")

    @property
    def prompt(self) -> str:
        """The prompt in multi-prompt notation, as people read it."""
        if len(self.prompts) == 1:
            return self.prompts[0].text
        return " ".join(f"{part.text}::{part.weight:g}" for part in self.prompts)

    @property
    def start(self) -> Input | None:
        """The picture that is drawn on from, or None."""
        return next((each for each in self.inputs if each.role is Role.START), None)

    @property
    def start_step(self) -> int:
        """How many of the first steps are skipped because a picture is started from.

        Source: diffusers, `StableDiffusionImg2ImgPipeline.get_timesteps`, but never less than one
        step is left.
        """
        if self.start is None:
            return 0
        kept = int(self.num_inference_steps * self.strength)
        return self.num_inference_steps - max(kept, 1)

    @property
    def is_guided(self) -> bool:
        """Whether the words are weighed against what to avoid."""
        return self.guidance_scale > 1

    @property
    def num_candidates(self) -> int:
        """How many pictures are drawn, the spare ones included."""
        return self.num_images + self.num_spare

    def passes(self) -> float:
        """Return the network passes that one picture really takes; its price follows from them."""
        return (self.num_inference_steps - self.start_step) * (2 if self.is_guided else 1)

    def alike(self) -> Alike:
        """Return what must be equal to share a batch; steps, words and starts may differ."""
        return Alike(self.model, self.width, self.height, self.is_guided)

    def seed_of(self, index: int) -> int:
        """Return the seed of candidate `index` (0-based)."""
        return (self.seed + index) % (MAX_SEED + 1)

    def reseeded(self, seed: int) -> Self:
        """Return the same request with another seed."""
        return dataclasses.replace(self, seed=seed)

    def only_seed(self, seed: int) -> Self:
        """Return the request that draws the picture of one seed alone."""
        return dataclasses.replace(self, seed=seed, num_images=1, num_spare=0)

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what was asked for as name and value: raw text, for whoever shows it to escape."""
        yield "Prompt", self.prompt
        yield "Negative prompt", self.negative_prompt
        yield "Model", self.model
        yield "Style", self.style or ""
        yield "Seed", f"{self.seed}, for the first picture drawn, then counting up"
        yield "Size", f"{self.width}×{self.height} px"
        yield "Steps", str(self.num_inference_steps)
        yield "Guidance", f"{self.guidance_scale:g}"
        if self.start is not None:
            yield "Started from", f"{self.start.sha256} at strength {self.strength:g}"


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
