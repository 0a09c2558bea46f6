"""Pictures on disk: files named by what is in them."""

import contextlib
import fcntl
import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from generation.work.inputs import HEX_DIGITS, Input
from storage.errors import NotFound, StorageError

PARTIAL = "partial"  # the folder of files that are being written
FOLDERS = tuple("".join(pair) for pair in itertools.product("0123456789abcdef", repeat=2))


class ImageFiles:
    """PNG files named by their SHA-256, spread over 256 folders.

    A file is there whole or not at all: it is written under a temporary name, synced, renamed, and
    only then may it be recorded. Every method blocks on the disk; call them in a thread.

    Args:
        directory: The folder; made when the first picture is written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, sha256: str) -> Path:
        """Return where the file of this name is, or would be.

        Raises:
            ValueError: The name is not a SHA-256 in hex, so it could lead out of the folder.
        """
        if not self._is_name(sha256):
            raise ValueError(f"not a SHA-256: {sha256!r}")
        return self._directory / sha256[:2] / f"{sha256}.png"

    def write(self, png: bytes) -> str:
        """Write a picture, on disk for good when this returns, and return its SHA-256.

        Raises:
            StorageError: The disk refused; nothing is left behind.
        """
        sha256 = hashlib.sha256(png).hexdigest()
        path = self.path(sha256)
        try:
            if not self._is_intact(path, sha256):
                self._write_whole(path, png)
        except OSError as error:
            raise StorageError(f"the picture {sha256} could not be written: {error}") from error
        return sha256

    def read(self, sha256: str) -> bytes:
        """Return a picture's bytes, checked against its name.

        Raises:
            NotFound: There is no such file.
            StorageError: It cannot be read, or is not what was written.
        """
        try:
            png = self.path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise NotFound("file", sha256) from error
        except OSError as error:
            raise StorageError(f"the picture {sha256} could not be read: {error}") from error
        if hashlib.sha256(png).hexdigest() != sha256:
            raise StorageError(f"the picture {sha256} is damaged")
        return png

    def read_all(self, inputs: Sequence[Input]) -> tuple[bytes, ...]:
        """Return the bytes of a request's inputs, in their order.

        Raises:
            NotFound: One of the files is gone.
            StorageError: One cannot be read, or is not what was written.
        """
        return tuple(self.read(each.sha256) for each in inputs)

    def remove(self, sha256: str) -> bool:
        """Remove a file and return whether there was one.

        Raises:
            StorageError: The disk refused.
        """
        path = self.path(sha256)
        try:
            path.unlink()
            _sync_directory(path.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(f"the picture {sha256} could not be removed: {error}") from error
        return True

    def names(self, folder: str) -> list[str]:
        """Return the SHA-256s of the files in one of `FOLDERS`.

        Raises:
            StorageError: The disk refused.
        """
        try:
            found = list((self._directory / folder).glob("*.png"))
        except OSError as error:
            raise StorageError(f"the folder {folder} could not be read: {error}") from error
        return [path.stem for path in found if self._is_name(path.stem)]

    def clear_partials(self) -> int:
        """Remove what writers left that were killed; return how many files.

        A living writer holds a lock on its file, which the kernel takes from a dead one.

        Raises:
            StorageError: The disk refused.
        """
        places = (f"{PARTIAL}/*", "*/.*.partial")  # the second is where earlier versions wrote
        try:
            return sum(
                map(_remove_unless_locked, itertools.chain(*map(self._directory.glob, places)))
            )
        except OSError as error:
            raise StorageError(f"unfinished files could not be removed: {error}") from error

    def _is_name(self, text: str) -> bool:
        return len(text) == 64 and HEX_DIGITS.issuperset(text)

    def _is_intact(self, path: Path, sha256: str) -> bool:
        # A damaged file is written anew instead of being taken for the picture.
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        except FileNotFoundError:
            return False

    def _write_whole(self, path: Path, png: bytes) -> None:
        for folder in (self._directory / PARTIAL, path.parent):
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                _sync_directory(self._directory)
        with _partial_file(self._directory / PARTIAL) as (handle, partial):
            with os.fdopen(handle, "wb", closefd=False) as file:
                file.write(png)
                file.flush()
                os.fsync(handle)
            partial.replace(path)
        _sync_directory(path.parent)


@contextlib.contextmanager
def _partial_file(folder: Path) -> Iterator[tuple[int, Path]]:
    """Provide a new, locked file that is gone afterwards unless it was renamed."""
    handle, name = tempfile.mkstemp(dir=folder)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not os.fstat(handle).st_nlink:
            raise FileNotFoundError(f"{name} was cleared away before it was locked")
        yield handle, Path(name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        os.close(handle)


def _remove_unless_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


def _sync_directory(folder: Path) -> None:
    # A rename is on disk only once its folder is.
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
