"""Pick the pictures that fit the words best, as the scorer sees them.

Each picture is looked at alone, in float32 on the CPU: what it is worth does not depend on the
others, on the device that drew it, or on who shared the batch.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from generation.judging.scorer import files
from generation.judging.scorer.model import Scorer
from generation.language.text_encoder import TextEncoderUnavailable, verified_directory
from generation.work.errors import CheckpointCorrupt
from generation.work.requests.imagine import WeightedPrompt


@functools.lru_cache(maxsize=2)
def open_scorer(folder: Path) -> Scorer:
    """Open a scorer after checking its files, once a process.

    Raises:
        CheckpointCorrupt: It is not as recorded or not loadable, or its text encoder is not there.
    """
    files.check(folder)
    try:
        verified_directory()
        scorer = Scorer.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, TextEncoderUnavailable) as error:
        raise CheckpointCorrupt(f"{folder} cannot be loaded: {error}") from error
    opened: Scorer = scorer.float().eval().requires_grad_(requires_grad=False)
    return opened


@torch.inference_mode()
def ranked(
    scorer: Scorer, captions: Sequence[WeightedPrompt], pictures: Sequence[Image.Image]
) -> list[int]:
    """Return the numbers of the pictures, the one that fits best first; ties by their order.

    A picture fits by the cosine of its embedding and the captions' weighted sum.

    Args:
        scorer: In evaluation mode, on the CPU.
        captions: The parts of the prompt in the words of its look, with their weights.
        pictures: In RGB, of any size.
    """
    weights = torch.tensor([part.weight for part in captions])
    wanted = weights @ scorer.embed_texts([part.text for part in captions])
    fits = [float(scorer.embed_pictures(_pixels(each))[0] @ wanted) for each in pictures]
    return sorted(range(len(pictures)), key=lambda number: -fits[number])


def _pixels(picture: Image.Image) -> Tensor:
    """Return a picture as float32 (1, 3, height, width) in [-1, 1]."""
    levels = np.asarray(picture, dtype=np.float32)
    return torch.from_numpy(levels).permute(2, 0, 1)[None] / 127.5 - 1
