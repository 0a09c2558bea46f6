"""What was asked for, as a form shows it again: the words, and the settings beside them. Pure."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from bot.grammar.parsed import ParsedPrompt
from bot.grammar.prompts import (
    PromptError,
    flags_to_text,
    parse,
    parse_jobs,
    words_to_text,
)
from generation.work.checkpoints import MAX_RATIO, Checkpoint
from generation.work.requests.imagine import MAX_PROMPT_LENGTH, Imagine, WeightedPrompt

_LEFT_OUT_FIRST = ("model", "style", "aspect")
_NO_WORDS = (WeightedPrompt("x"),)
_NEITHER_WORDS_NOR = PromptError(
    "Only flags such as `--ar 3:2` belong into the settings. Write words into the field above."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """The two fields of a form.

    Args:
        words: What to draw.
        settings: Flags.
    """

    words: str
    settings: str


def asked_again(typed: str, request: Imagine, checkpoints: Mapping[str, Checkpoint]) -> Asked:
    """Return how a picture was asked for, without its seed and links.

    Look, model and shape are those that were drawn, since whoever asks again has other defaults.
    What to keep away from is only what was typed: the rest was a default of the one who asked.

    Args:
        typed: Of the job, links and flags included; other jobs may have come of the same text.
        request: Of the job.
        checkpoints: By name; a model that is not there any more is not asked for.
    """
    parsed = _parsed(typed, request)
    checkpoint = checkpoints.get(request.model)
    settings = dataclasses.replace(
        parsed,
        prompts=_NO_WORDS,
        image_urls=(),
        seed=None,
        aspect=parsed.aspect or _aspect(request, checkpoint),
        model=request.model if checkpoint else None,
        style=request.style if checkpoint and request.style in checkpoint.styles else None,
    )
    words = words_to_text(parsed)
    # Together they must fit into one prompt: whole flags go, those first that were not typed.
    for field in _LEFT_OUT_FIRST:
        if len(f"{words} {flags_to_text(settings)}") <= MAX_PROMPT_LENGTH:
            break
        settings = dataclasses.replace(settings, **{field: getattr(parsed, field)})
    return Asked(words, flags_to_text(settings))


def with_settings(words: str, settings: str) -> str:
    """Return one prompt of both fields; a flag among the words wins over the settings.

    Raises:
        PromptError: Either is not in the grammar, or there are words among the settings.
    """
    if not settings.strip():
        return words
    beside = parse(f"x {settings}")
    if beside.prompts != _NO_WORDS:
        raise _NEITHER_WORDS_NOR
    given = frozenset[str]().union(*(job.given for job in parse_jobs(words)))
    nothing = ParsedPrompt(prompts=_NO_WORDS)
    won = {name: getattr(nothing, name) for name in given - {"negative"}}  # these add up
    return f"{words} {flags_to_text(dataclasses.replace(beside, **won))}".rstrip()


def _parsed(typed: str, request: Imagine) -> ParsedPrompt:
    """Return the one of the typed jobs that this request came of."""
    try:
        jobs = parse_jobs(typed)
    except PromptError:  # of an older grammar
        jobs = ()
    wanted = _wanted(request.prompts)
    return next(
        (job for job in jobs if _wanted(job.prompts) == wanted),
        ParsedPrompt(prompts=request.prompts),
    )


def _wanted(prompts: Sequence[WeightedPrompt]) -> str:
    """Return the words as a checkpoint draws them that cannot weigh parts."""
    return ", ".join(part.text for part in prompts if part.weight > 0)


def _aspect(request: Imagine, checkpoint: Checkpoint | None) -> tuple[int, int] | None:
    if checkpoint is None or (request.width, request.height) == (
        checkpoint.width,
        checkpoint.height,
    ):
        return None
    width, height = request.width, request.height
    if min(width, height) < 1 or max(width, height) > MAX_RATIO * min(width, height):
        return None
    common = math.gcd(width, height)
    return width // common, height // common
