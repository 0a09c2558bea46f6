"""SHA-256 of files, each read once: weights are many gigabytes, and several ask for them."""

import hashlib
import os
import time
from pathlib import Path

Stamp = tuple[int, int, int, int, int]
RESTED_NS = 2_000_000_000  # a file that was written since may change and keep its times

_known: dict[Stamp, str] = {}


def sha256_of(path: Path) -> str:
    """Return the digest of a file, 64 hex digits.

    It is read again when anything about it has changed: which file it is, its size or a time.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if stamp in _known:
            return _known[stamp]
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > RESTED_NS:
        _known[stamp] = digest
    return digest
