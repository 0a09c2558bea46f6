"""What a whole caption means, as one vector of the shipped text encoder."""

import functools
import threading
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import BertModel, BertTokenizerFast

from generation.language.text_encoder import load_text_encoder

SIZE = 384
BATCH = 64

# Several threads ask: one loads, and a fast tokenizer refuses to be set up while it is in use.
_LOCK = threading.Lock()


@torch.no_grad()
def encode(texts: Sequence[str], device: str | torch.device = "cpu") -> Tensor:
    """Return the mean of each text's word states.

    Source: Reimers and Gurevych, Sentence-BERT, arXiv 1908.10084, section 3 (MEAN strategy).

    Returns:
        float32 (texts, 384) on the device.
    """
    with _LOCK:
        text_encoder, tokenizer = _encoder(str(device))
    # Texts of one length together: padding is computed like words.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    states = torch.empty(len(texts), SIZE, device=device)
    for start in range(0, len(texts), BATCH):
        numbers = order[start : start + BATCH]
        with _LOCK:
            tokens = tokenizer(
                [texts[i] for i in numbers], padding=True, truncation=True, return_tensors="pt"
            ).to(device)
        words = text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
        mask = tokens.attention_mask[:, :, None]
        states[numbers] = (words * mask).sum(1) / mask.sum(1)
    return states


@functools.lru_cache(maxsize=1)
def _encoder(device: str) -> tuple[BertModel, BertTokenizerFast]:
    text_encoder, tokenizer = load_text_encoder()
    return text_encoder.to(device), tokenizer
