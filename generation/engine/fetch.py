"""Downloading a checkpoint from the Hugging Face hub: what diffusers will load, and no more.

A hub's folder often holds each weight twice, in float32 and in float16, and again as pickles and
for other libraries. Fetched are the configuration and, of each part that the pipeline is made of,
its safetensors: in float16 where there are such. An interrupted download goes on where it was.
"""

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from generation.techniques.diffusion import files
from generation.work.checkpoints import PIPELINE_INDEX, Checkpoint
from generation.work.errors import FetchFailed

Told = Callable[[int, int], None]
"""Takes the bytes that are here and the bytes in all."""

POLL_S = 0.5
ANSWER_TIMEOUT_S = 3.0  # a doctor does not wait for a hub
SMALL_FILES = (".json", ".txt", ".model", ".jinja")
PLAIN = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors")
HALF = re.compile(r"(model|diffusion_pytorch_model)\.fp16(-\d+-of-\d+)?\.safetensors")
SHARD_FIRST = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.fp16\.safetensors")


def fetch(checkpoint: Checkpoint, told: Told = lambda done, total: None) -> Path:
    """Return the folder of a hub's checkpoint on this disk, after downloading what is missing.

    Args:
        checkpoint: Pinned to a commit.
        told: Called now and then from another thread while something is downloaded.

    Raises:
        CheckpointCorrupt: It is not pinned, or of a class that nothing here draws with.
        FetchFailed: The hub does not give it, or cannot be reached.
    """
    files.check(checkpoint)
    if (folder := files.fetched(checkpoint)) is not None:
        return folder
    import httpx2
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.hf_api import RepoFile

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of each try, twice
    source, revision = checkpoint.source, checkpoint.revision
    try:
        listed = HfApi().list_repo_tree(source, revision=revision, recursive=True)
        chosen = wanted({each.path: each.size for each in listed if isinstance(each, RepoFile)})
        index = snapshot_download(source, revision=revision, allow_patterns=[PIPELINE_INDEX])
        files.family_in(Path(index))  # before gigabytes of what nothing here draws with
        cache = Path(files.cache_folder(), repo_folder_name(repo_id=source, repo_type="model"))
        with _told(cache / "blobs", sum(chosen.values()), told):
            return Path(snapshot_download(source, revision=revision, allow_patterns=sorted(chosen)))
    except GatedRepoError as error:
        raise FetchFailed(
            f"{source} is only given to those who accepted its licence: open its page on the hub,"
            " accept it, and set HF_TOKEN"
        ) from error
    except (httpx2.HTTPError, OfflineModeIsEnabled, OSError, ValueError) as error:
        raise FetchFailed(f"{source} cannot be downloaded: {first_line(error)}") from error


def download_bytes(checkpoint: Checkpoint) -> int | None:
    """Return how much `fetch` would download, or None if the hub does not say it at once."""
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        info = HfApi().model_info(
            checkpoint.source,
            revision=checkpoint.revision,
            files_metadata=True,
            timeout=ANSWER_TIMEOUT_S,
        )
    except (httpx2.HTTPError, OfflineModeIsEnabled, OSError, ValueError):
        return None
    return sum(wanted({each.rfilename: each.size or 0 for each in info.siblings or ()}).values())


def wanted(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the files that diffusers loads, of all that a hub's folder holds.

    Args:
        sizes: Relative file to bytes.
    """
    by_part: dict[str, dict[str, int]] = {}
    for name, size_bytes in sizes.items():
        part, _, file = name.rpartition("/")
        if "/" not in part:
            by_part.setdefault(part, {})[file] = size_bytes
    top = by_part.pop("", {})
    chosen = {PIPELINE_INDEX: top[PIPELINE_INDEX]} if PIPELINE_INDEX in top else {}
    for part, found in by_part.items():
        half = {name for name in found if HALF.fullmatch(name) or SHARD_FIRST.fullmatch(name)}
        weights = half or {name for name in found if PLAIN.fullmatch(name)}
        chosen |= {
            f"{part}/{name}": size_bytes
            for name, size_bytes in found.items()
            if name in weights or name.endswith(SMALL_FILES)
        }
    return chosen


def first_line(error: Exception) -> str:
    """Return what an error says first; the hub's client goes on for a page."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def _told(blobs: Path, total_bytes: int, told: Told) -> Iterator[None]:
    """Tell how much of a download has come, as its files grow."""
    is_over = threading.Event()

    def tell() -> None:
        while not is_over.wait(POLL_S):
            told(min(sum(_sizes(blobs)), total_bytes), total_bytes)

    teller = threading.Thread(target=tell, name="download", daemon=True)
    teller.start()
    try:
        yield
    finally:
        is_over.set()
        teller.join()


def _sizes(folder: Path) -> Iterator[int]:
    """Yield what the files of a folder take; some may be renamed at this moment."""
    for path in folder.glob("*"):
        try:
            yield path.stat().st_size
        except OSError:
            continue
