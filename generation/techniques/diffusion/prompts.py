"""From the words of a request to prompt embeddings, each text on its own.

Texts are encoded one at a time, never as a batch, so that what they mean to the model does not
depend on whose prompts come along. Those used last are kept.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch

from generation.language import reading
from generation.language.reading import Reader
from generation.work.checkpoints import Checkpoint
from generation.work.remarks import Cut
from generation.work.requests.imagine import Imagine

Encode = Callable[[str], torch.Tensor]
KEPT_TEXTS = 256
PUSH = 0.5
"""How far negative parts push away at most, in differences between what is wanted and them.

Looked at on six pairs at weights from -0.3 to -0.99, with both embedded checkpoints: at 1 an owl
that is not a bird comes apart, at 0.5 all stay whole, and the scorer finds the unwanted thing less
often than with the negative parts as negative prompt.
"""


class PromptEncoder:
    """Prompt embeddings of requests for one checkpoint.

    Args:
        checkpoint: Whose style templates the words go into.
        encode: One text to [1, tokens, features].
        readers: Of the text encoder behind `encode`; longer texts are cut to what they read.
    """

    def __init__(self, checkpoint: Checkpoint, encode: Encode, readers: Sequence[Reader]) -> None:
        self._checkpoint = checkpoint
        self._encode = encode
        self._readers = readers
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()

    def prompt_embeds(self, request: Imagine) -> torch.Tensor:
        """Return what to draw, [1, tokens, features]."""
        parts = reading.captions(self._checkpoint, request, self._readers)
        return weighted_mean([self._of(part.text) for part in parts], [p.weight for p in parts])

    def negative_prompt_embeds(self, request: Imagine) -> torch.Tensor:
        """Return what to keep away from, [1, tokens, features]; without words, the empty text."""
        return self._of(reading.negative_prompt(request, self._readers))

    def cuts(self, request: Imagine) -> tuple[Cut, ...]:
        """Return where the request's texts are cut."""
        return reading.cuts(self._checkpoint, request, self._readers)

    def _of(self, text: str) -> torch.Tensor:
        if text not in self._kept:
            self._kept[text] = self._encode(text)
            if len(self._kept) > KEPT_TEXTS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(text)
        return self._kept[text]


def weighted_mean(embeds: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Return the mean of embeddings by weight, pushed away from those of negative weight.

    With p the mean of the positive ones, n that of the negative ones and s, from 0 to 1, how much
    all negative weights are of all positive ones: p + PUSH * s * (p - n), each token as long as
    in p. So nothing is divided by what is left where weights nearly cancel, which would lead far
    from all that a denoiser has seen. One text comes back as it is, to the bit.

    Args:
        embeds: Each [1, tokens, features].
        weights: As many, positive in sum.
    """
    if len(embeds) == 1:
        return embeds[0]
    pairs = list(zip(embeds, weights, strict=True))
    wanted = [(part.float(), weight) for part, weight in pairs if weight > 0]
    unwanted = [(part.float(), -weight) for part, weight in pairs if weight < 0]
    mixed = _mean(wanted)
    if unwanted:
        share = sum(weight for _, weight in unwanted) / sum(weight for _, weight in wanted)
        pushed = mixed + PUSH * share * (mixed - _mean(unwanted))
        mixed = pushed * (mixed.norm(dim=-1, keepdim=True) / pushed.norm(dim=-1, keepdim=True))
    return mixed.to(embeds[0].dtype)


def _mean(parts: Sequence[tuple[torch.Tensor, float]]) -> torch.Tensor:
    total = sum(weight for _, weight in parts)
    shares = [weight / total * part for part, weight in parts]
    return torch.as_tensor(sum(shares))
