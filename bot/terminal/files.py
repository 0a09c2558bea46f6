"""Files that a command leaves behind for people: whole or not at all."""

import contextlib
import os
from pathlib import Path

from bot.exits import ExitCode, Stop


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there, so that nobody ever finds half of it.

    Raises:
        OSError: The disk refused; nothing is left behind.
    """
    unfinished = path.with_name(f".{path.name[:200]}.{os.getpid()}.partial")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        if isinstance(error, OSError) and error.errno is not None:  # a full disk names no file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def make_folder(folder: Path, option: str) -> None:
    """Make a folder that files are going to be written into, before there is anything to lose.

    Raises:
        Stop: It cannot be one, or nothing may be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise Stop(f"{option}: {error.filename} is a file, not a folder") from error
    except OSError as error:
        reason = f"{option}: {folder} cannot be made: {error.strerror}"
        raise Stop(reason, ExitCode.UNABLE) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Stop(f"{option}: nothing can be written into {folder}", ExitCode.UNABLE)
