"""What words mean as unit vectors, and a vocabulary's kept beside its checkpoint.

1,626 entries take two seconds of a core to encode. Written down when a checkpoint is exported,
nobody waits for that; a checkpoint without them has them encoded at its first unknown word.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from generation.language import sentences
from generation.work.checkpoints import MEANINGS

KEY = "meanings"


def of(texts: Sequence[str]) -> Tensor:
    """Return what texts mean as unit vectors, float32 (texts, 384)."""
    return normalize(sentences.encode(texts), dim=1)


def write(folder: Path, texts: Sequence[str]) -> None:
    """Write what the texts mean into a checkpoint's folder, in float16."""
    kept = {KEY: of(texts).half().contiguous()}
    save_file(kept, folder / MEANINGS, metadata={"texts": _digest(texts)})


def read(folder: Path, texts: Sequence[str]) -> Tensor | None:
    """Return what `write` wrote of these very texts, float32 (texts, 384); None if it is not there.

    Args:
        folder: Of a checkpoint whose files were compared with their record.
    """
    path = folder / MEANINGS
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        if (file.metadata() or {}).get("texts") != _digest(texts):
            return None
        kept: Tensor = file.get_tensor(KEY)
    return normalize(kept.float(), dim=1)


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
