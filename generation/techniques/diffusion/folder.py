"""What a diffusers folder lacks, read from its files without loading any of them.

Loading says it too, but minutes later and in a library's words. Only safetensors count as weights:
a pickle can run code when it is read, so none ever is.
"""

from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from generation.work import border
from generation.work.checkpoints import PIPELINE_INDEX, Checkpoint
from generation.work.errors import FileRefused

LIBRARIES = frozenset({"diffusers", "transformers", "stable_diffusion"})
CONFIG = "config.json"  # what has weights has this; schedulers and tokenizers have others
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


def lacking(checkpoint: Checkpoint, folder: Path) -> str:
    """Return what keeps a folder from being drawn with, in one sentence; empty if nothing does.

    Args:
        checkpoint: Its description: parts that come from a package are not looked for.
        folder: Its files, as they lie on this disk.
    """
    return next(_problems(checkpoint, folder), "")


def _problems(checkpoint: Checkpoint, folder: Path) -> Iterator[str]:
    if not (folder / PIPELINE_INDEX).is_file():
        yield f"{folder} is not a diffusers folder: no {PIPELINE_INDEX}"
        return
    try:
        index = border.json_of(folder / PIPELINE_INDEX)
    except FileRefused as error:
        yield str(error)
        return
    outside = {"text_encoder", "tokenizer"} if checkpoint.text_encoder else set()
    for name, value in index.items():
        if name.startswith("_") or name in outside or not isinstance(value, list) or None in value:
            continue
        yield from _problems_of(folder / name, str(value[0]))


def _problems_of(part: Path, library: str) -> Iterator[str]:
    if library not in LIBRARIES and not library.startswith("diffusers."):
        yield f"{part.name} is code of its own ({library}), and no code from a checkpoint is run"
    elif not part.is_dir():
        yield f"{part} is missing"
    elif (part / CONFIG).is_file():
        weights = sorted(part.rglob("*.safetensors"))
        if not weights and any(path.suffix in PICKLES for path in part.iterdir()):
            yield f"{part} holds its weights as a pickle, and only safetensors are ever loaded"
        elif not weights:
            yield f"{part} has no weights (*.safetensors)"
        yield from filter(None, map(_header_problem, weights))


def _header_problem(path: Path) -> str:
    try:
        with safe_open(path, framework="np"):
            return ""
    except (SafetensorError, OSError) as error:
        return f"{path} is no safetensors file: {error}"
