"""What a whole caption means, as one vector of the shipped text encoder."""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertModel, BertTokenizerFast

from generation.progress import Progress, silent
from generation.text_encoder import load_text_encoder

SIZE = 384
BATCH = 64


@torch.no_grad()
def encode(
    texts: Sequence[str], device: str | torch.device = "cpu", report: Progress = silent
) -> Tensor:
    """Return the mean of each text's word states.

    Source: Reimers and Gurevych, Sentence-BERT, arXiv 1908.10084, section 3 (MEAN strategy).

    Returns:
        float32 (texts, 384) on the device.
    """
    text_encoder, tokenizer = _encoder(str(device))
    # Texts of one length together: padding is computed like words.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    states = torch.empty(len(texts), SIZE, device=device)
    for start in range(0, len(texts), BATCH):
        numbers = order[start : start + BATCH]
        tokens = tokenizer(
            [texts[i] for i in numbers], padding=True, truncation=True, return_tensors="pt"
        ).to(device)
        words = text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
        mask = tokens.attention_mask[:, :, None]
        states[numbers] = (words * mask).sum(1) / mask.sum(1)
        report("caption", start + len(numbers), len(texts))
    return states


def encode_once(
    texts: Sequence[str], folder: Path, device: str | torch.device, report: Progress
) -> Tensor:
    """Return the same, kept in a file of the folder for the next time."""
    digest = hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()
    path = folder / f"sentences-{digest[:16]}.safetensors"
    if path.exists():
        return load_file(path)["states"].to(device)
    states = encode(texts, device, report)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    save_file({"states": states.cpu()}, unfinished)
    unfinished.replace(path)
    return states


@functools.lru_cache(maxsize=1)
def _encoder(device: str) -> tuple[BertModel, BertTokenizerFast]:
    text_encoder, tokenizer = load_text_encoder()
    return text_encoder.to(device), tokenizer
