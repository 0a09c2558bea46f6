"""From the words of a request to prompt embeddings, each text on its own.

Texts are encoded one at a time, never as a batch, so that what they mean to the model does not
depend on whose prompts come along. Those used last are kept.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch

from generation.work.checkpoints import Checkpoint
from generation.work.requests.imagine import Imagine

Encode = Callable[[str], torch.Tensor]
KEPT_TEXTS = 256


class PromptEncoder:
    """Prompt embeddings of requests for one checkpoint.

    Args:
        checkpoint: Whose style templates the words go into.
        encode: One text to [1, tokens, features].
    """

    def __init__(self, checkpoint: Checkpoint, encode: Encode) -> None:
        self._checkpoint = checkpoint
        self._encode = encode
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()

    def prompt_embeds(self, request: Imagine) -> torch.Tensor:
        """Return what to draw, [1, tokens, features]."""
        parts = [self._of(self._checkpoint.caption(request, p.text)) for p in request.prompts]
        return weighted_mean(parts, [part.weight for part in request.prompts])

    def negative_prompt_embeds(self, request: Imagine) -> torch.Tensor:
        """Return what to keep away from, [1, tokens, features]; without words, the empty text."""
        return self._of(request.negative_prompt)

    def _of(self, text: str) -> torch.Tensor:
        if text not in self._kept:
            self._kept[text] = self._encode(text)
            if len(self._kept) > KEPT_TEXTS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(text)
        return self._kept[text]


def weighted_mean(embeds: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Return the mean of embeddings by weight: sum(w_i * e_i) / sum(w_i).

    A negative weight moves away from its text along the same line; the sum of the weights is
    positive by the request's own law. One text comes back as it is, to the bit.

    Args:
        embeds: Each [1, tokens, features].
        weights: As many, positive in sum.
    """
    if len(embeds) == 1:
        return embeds[0]
    total = sum(weights)
    shares = [weight / total for weight in weights]
    mixed = sum(share * part.float() for share, part in zip(shares, embeds, strict=True))
    return torch.as_tensor(mixed).to(embeds[0].dtype)
