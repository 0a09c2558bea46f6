"""What a prompt says once it is understood."""

import dataclasses
from collections.abc import Mapping

from bot.grammar.prompt_text import PromptError
from generation.work.requests.imagine import WeightedPrompt

_WITHOUT_FLAG = frozenset({"prompts", "image_urls", "typed", "spans"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ParsedPrompt:
    """One job as it was asked for; what was not said is None, False or empty.

    Args:
        prompts: The words, at least one part; the weights add up to more than zero.
        image_urls: Links to pictures, in order.
        aspect: Width and height as typed, from 1:3 to 3:1.
        seed: 0 to `MAX_SEED`.
        negative: What to keep away from.
        style: Name as typed, not checked.
        stylize: 0 to 1000.
        chaos: 0 to 100.
        quality: 0.25, 0.5, 1 or 2.
        image_weight: 0 to 3.
        tile: Whether to draw a seamless tile.
        model: Name as typed, not checked.
        typed: The whole text; not compared.
        spans: Field to offset and length of its flag in `typed`; not compared.
    """

    prompts: tuple[WeightedPrompt, ...]
    image_urls: tuple[str, ...] = ()
    aspect: tuple[int, int] | None = None
    seed: int | None = None
    negative: tuple[str, ...] = ()
    style: str | None = None
    stylize: int | None = None
    chaos: int | None = None
    quality: float | None = None
    image_weight: float | None = None
    tile: bool = False
    model: str | None = None
    typed: str = dataclasses.field(default="", compare=False, repr=False)
    spans: Mapping[str, tuple[int, int]] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def given(self) -> frozenset[str]:
        """The fields that a flag has filled."""
        names = {field.name for field in dataclasses.fields(self)} - _WITHOUT_FLAG
        values = {name: getattr(self, name) for name in names}
        # By identity: a seed of 0 equals False and was given all the same.
        return frozenset(
            name
            for name, value in values.items()
            if not (value is None or value is False or value == ())
        )

    def error(self, field: str, message: str, suggestion: str | None = None) -> PromptError:
        """Return an error that points at the flag of `field`, if one was typed."""
        position, length = self.spans.get(field, (0, 0))
        text = self.typed if field in self.spans else ""
        return PromptError(
            message, text=text, position=position, length=length, suggestion=suggestion
        )
