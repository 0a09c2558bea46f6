"""From what was asked for to what this checkpoint draws, with a sentence for every difference."""

import dataclasses
import math
from collections.abc import Mapping

from bot.grammar.elsewhere import STYLES
from bot.grammar.flags import folded, near
from bot.grammar.parsed import ParsedPrompt
from bot.grammar.prompt_text import PromptError
from bot.messages import best_of
from generation.work.checkpoints import Checkpoint, size_for
from generation.work.errors import UnknownCheckpoint
from generation.work.inputs import Input
from generation.work.requests.imagine import MAX_STEPS, Imagine, WeightedPrompt

MAX_GUIDANCE = 30.0
DEFAULT_IMAGE_WEIGHT = 1.0  # strength 0.6
MIN_STRENGTH = 0.05

# What a request can carry. A checkpoint that could tile would still not be asked to.
_CARRIED = frozenset({"ar", "negative", "image", "weights", "quality", "stylize"})


@dataclasses.dataclass(frozen=True, slots=True)
class Resolved:
    """A complete request and what the person should know about it.

    Args:
        request: What is drawn.
        notes: One sentence for everything that was adjusted or cannot be honoured. They hold
            none of the person's own words.
    """

    request: Imagine
    notes: tuple[str, ...]


def choose_model(
    name: str | None,
    checkpoints: Mapping[str, Checkpoint],
    default: str,
    *,
    parsed: ParsedPrompt | None = None,
) -> Checkpoint:
    """Return the checkpoint of that name, in any case of letters, or the default one.

    Args:
        name: What was asked for, or None.
        checkpoints: By name.
        default: Name of the one for prompts that name none.
        parsed: Where `name` was typed, for the error to point at.

    Raises:
        PromptError: No checkpoint is called `name`.
        UnknownCheckpoint: None is called `default`.
    """
    if name is None:
        if default not in checkpoints:
            raise UnknownCheckpoint(f"the default model {default!r} is not configured")
        return checkpoints[default]
    return checkpoints[_choose("model", name, checkpoints, parsed)]


def check_style(name: str, checkpoint: Checkpoint, *, parsed: ParsedPrompt | None = None) -> str:
    """Return the style's own spelling.

    Raises:
        PromptError: The checkpoint has no such style.
    """
    return _choose("style", name, checkpoint.styles, parsed, of=checkpoint.name)


def _choose(
    kind: str,
    name: str,
    known: Mapping[str, object],
    parsed: ParsedPrompt | None,
    of: str | None = None,
) -> str:
    by_folded = {folded(own): own for own in known}
    if folded(name) in by_folded:
        return by_folded[folded(name)]
    meant = near(name, known)
    hint = f" Did you mean `{meant}`?" if meant else ""
    if kind == "style" and name.lower() in STYLES:
        meant, hint = None, " It is one of Midjourney's and has no effect here; leave it out."
    owner = f"`{of}` has" if of else "There is"
    some = ", ".join(f"`{own}`" for own in list(known)[:20]) or "none"
    message = f"{owner} no {kind} of that name.{hint} There are: {some}."
    if parsed is None:
        return _refuse(PromptError(message, suggestion=meant))
    return _refuse(parsed.error(kind, message, meant))


def _refuse(error: PromptError) -> str:
    raise error


def resolve(
    parsed: ParsedPrompt,
    *,
    checkpoint: Checkpoint,
    seed: int,
    num_images: int,
    usual_images: int = 0,
    negative_prompt: str = "",
    image: Input | None = None,
    default_style: str | None = None,
) -> Resolved:
    """Return the request that comes closest to what was asked for on this checkpoint.

    Args:
        parsed: What was asked for; what it says goes before the other arguments.
        checkpoint: What draws; chosen with `choose_model`.
        seed: Seed for a prompt without `--seed`.
        num_images: How many images are wanted.
        usual_images: How many are drawn anyway, to keep the best of them, where the checkpoint has
            a scorer and no `--seed` says which are meant.
        negative_prompt: Added to what `--no` says.
        image: The stored picture to start from, or None.
        default_style: Style for a prompt without `--style`; passed over if the checkpoint lacks it.

    Raises:
        PromptError: The checkpoint has no such style.
        InvalidRequest: `seed`, `num_images` or `negative_prompt` is out of range.
    """
    notes: list[str] = []
    style = _style(parsed, checkpoint, default_style, notes)
    width, height = _size(parsed, checkpoint, notes)
    prompts, pushed_away = _weighted(parsed, checkpoint, notes)
    guidance_scale = _guidance_scale(parsed, checkpoint, notes)
    negatives = [*parsed.negative, negative_prompt.strip(), *pushed_away]
    request = Imagine(
        prompts=prompts,
        model=checkpoint.name,
        seed=seed if parsed.seed is None else parsed.seed,
        width=width,
        height=height,
        num_inference_steps=_steps(parsed, checkpoint, notes),
        guidance_scale=guidance_scale,
        negative_prompt=_negative_prompt(negatives, guidance_scale, checkpoint, notes),
        style=style,
        template=checkpoint.styles[style] if style else "{prompt}",
        num_images=num_images,
        num_spare=_spare(parsed, checkpoint, usual_images - num_images),
    )
    if request.num_spare:
        notes.append(best_of(request.num_images, request.num_candidates))
    for field, flag in (("chaos", "--c"), ("tile", "--tile")):
        if field in parsed.given:
            notes.append(f"`{flag}` has no effect on `{checkpoint.name}`.")
    request = _with_image(request, parsed, checkpoint, image, notes)
    request.check()
    return Resolved(request, tuple(notes))


def _spare(parsed: ParsedPrompt, checkpoint: Checkpoint, fewer: int) -> int:
    return max(fewer, 0) if checkpoint.scorer and parsed.seed is None else 0


def _honours(checkpoint: Checkpoint, ability: str) -> bool:
    return ability in checkpoint.honours & _CARRIED


def _style(
    parsed: ParsedPrompt, checkpoint: Checkpoint, default: str | None, notes: list[str]
) -> str | None:
    if parsed.style is not None:
        return check_style(parsed.style, checkpoint, parsed=parsed)
    if default is None or default in checkpoint.styles:
        return default or checkpoint.default_style
    notes.append(f"`{checkpoint.name}` does not have the usual style, so it draws in its own.")
    return checkpoint.default_style


def _size(parsed: ParsedPrompt, checkpoint: Checkpoint, notes: list[str]) -> tuple[int, int]:
    native = (checkpoint.width, checkpoint.height)
    if parsed.aspect is None:
        return native
    if not _honours(checkpoint, "ar"):
        notes.append(f"`--ar` has no effect on `{checkpoint.name}`.")
        return native
    across, down = parsed.aspect
    width, height = size_for(checkpoint, parsed.aspect)
    if width * down != height * across:
        divisor = math.gcd(width, height)
        ratio = f"{width // divisor}:{height // divisor}"
        notes.append(f"`--ar {across}:{down}` becomes {width}×{height} ({ratio}).")
    # Only of checkpoints with a vocabulary, our own, is it known what they were trained on.
    if checkpoint.vocabulary and native[0] == native[1] and width != height:
        notes.append(f"`{checkpoint.name}` was trained on square pictures; others come out worse.")
    return width, height


def _weighted(
    parsed: ParsedPrompt, checkpoint: Checkpoint, notes: list[str]
) -> tuple[tuple[WeightedPrompt, ...], list[str]]:
    """Return the parts to draw and the words to push away from."""
    parts = parsed.prompts
    if len(parts) == 1:
        if parts[0].weight != 1:
            notes.append("The weight has no effect, because there is only one part to weigh.")
        return (WeightedPrompt(parts[0].text),), []
    if _honours(checkpoint, "weights"):
        return parts, []
    notes.append(
        f"`{checkpoint.name}` cannot weigh parts: they are drawn as one prompt, those with a"
        " negative weight as what to avoid."
    )
    wanted = ", ".join(part.text for part in parts if part.weight > 0)
    return (WeightedPrompt(wanted),), [part.text for part in parts if part.weight < 0]


def _guidance_scale(parsed: ParsedPrompt, checkpoint: Checkpoint, notes: list[str]) -> float:
    native = checkpoint.guidance_scale
    if parsed.stylize is None:
        return native
    if not _honours(checkpoint, "stylize") or native == 1.0:
        notes.append(f"`--s` has no effect on `{checkpoint.name}`.")
        return native
    stylize = parsed.stylize
    if stylize <= 100:
        wanted = 1.0 + (native - 1.0) * stylize / 100
    else:
        wanted = native * (1.0 + (stylize - 100) / 900)
    if wanted > MAX_GUIDANCE:
        notes.append(f"`--s {stylize}` is drawn with the most guidance there is, {MAX_GUIDANCE:g}.")
    return round(min(wanted, MAX_GUIDANCE), 4)


def _steps(parsed: ParsedPrompt, checkpoint: Checkpoint, notes: list[str]) -> int:
    native = checkpoint.num_inference_steps
    if parsed.quality is None:
        return native
    if not _honours(checkpoint, "quality"):
        notes.append(f"`--q` has no effect on `{checkpoint.name}`.")
        return native
    wanted = math.floor(native * parsed.quality + 0.5)
    steps = min(max(wanted, 1), MAX_STEPS)
    if steps != native * parsed.quality:
        notes.append(f"`--q {parsed.quality:g}` becomes {steps} steps; {native} are usual.")
    return steps


def _negative_prompt(
    negatives: list[str], guidance_scale: float, checkpoint: Checkpoint, notes: list[str]
) -> str:
    negative_prompt = ", ".join(words for words in negatives if words)
    if not negative_prompt:
        return ""
    if not _honours(checkpoint, "negative"):
        notes.append(f"What to avoid has no effect on `{checkpoint.name}`.")
        return ""
    if guidance_scale == 1.0:
        notes.append("What to avoid has no effect without guidance (`--s` above 0).")
    return negative_prompt


def _with_image(
    request: Imagine,
    parsed: ParsedPrompt,
    checkpoint: Checkpoint,
    image: Input | None,
    notes: list[str],
) -> Imagine:
    if len(parsed.image_urls) > 1:
        notes.append("Only one picture can be started from; the other links have no effect.")
    if image is None:
        if parsed.image_urls:
            notes.append("The link has no effect here; attach the picture as `image` instead.")
        if parsed.image_weight is not None:
            notes.append("`--iw` has no effect without a picture.")
        return request
    if not _honours(checkpoint, "image"):
        notes.append(f"`{checkpoint.name}` cannot start from a picture, so it has no effect.")
        return request
    strength = strength_of(parsed.image_weight)
    return dataclasses.replace(request, inputs=(image,), strength=strength)


def strength_of(image_weight: float | None) -> float:
    """Return diffusers' strength for an image weight of 0 to 3; None is `DEFAULT_IMAGE_WEIGHT`.

    It falls by 0.3 for each unit, from 0.9 at 0 over 0.6 at 1 to 0.05 at 3, because a strength
    of 0 would draw nothing.
    """
    weight = DEFAULT_IMAGE_WEIGHT if image_weight is None else image_weight
    return round(max(0.9 - 0.3 * weight, MIN_STRENGTH), 4)
