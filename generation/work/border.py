"""The one border at which files are read that a person wrote or downloaded (standard library only).

Settings, recipes, manifests, lists of prompts and saved answers come from an editor, another
program or the internet. Python has a different error for every way in which such a file can be
wrong, and some of them (`RecursionError`, `OverflowError`) nobody thinks of where it is read. Here
each becomes one sentence with the file's name and the place in it.
"""

import codecs
import json
import tomllib
from pathlib import Path
from typing import Any

from generation.work.errors import FileRefused

LINE_FEED = "\n"
MAX_BYTES = 64 * 2**20  # a list of a million prompts; a device or a video is none

_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # of UTF-32 too, as far as they are read


def text_of(path: Path, max_bytes: int = MAX_BYTES) -> str:
    r"""Return a text file's content with `\n` between lines and without a byte order mark.

    Args:
        path: Also a pipe.
        max_bytes: Longer files are refused without being read to their end.

    Raises:
        FileRefused: It is missing, not readable, too large or not UTF-8.
    """
    content = _bytes_of(path, max_bytes)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _line(content, error.start)
        raise FileRefused(f"{path} is not UTF-8 ({place}){_remedy(content)}") from error
    if "\0" in text:
        place = _line(content, content.index(b"\0"))
        raise FileRefused(f"{path} is no text: a NUL character ({place}){_remedy(content)}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def toml_of(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        FileRefused: It cannot be read, or is no TOML.
    """
    text = text_of(path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        last = f"at line {text.rstrip().count(LINE_FEED) + 1}, the end"
        problem = str(error).replace("at end of document", last)
        raise FileRefused(f"{path} is not TOML: {problem}") from error
    except (ValueError, RecursionError, OverflowError) as error:
        raise FileRefused(f"{path} is not TOML that can be read: {_extreme(error)}") from error


def json_of(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file, all of whose texts are whole characters.

    Raises:
        FileRefused: It cannot be read, or holds anything but one JSON object.
    """
    text = text_of(path)
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise FileRefused(f"{path} is not JSON: {error.msg} ({place})") from error
    except UnicodeEncodeError as error:
        raise FileRefused(f"{path} is not JSON that can be read: half a character in it") from error
    except (ValueError, RecursionError, OverflowError) as error:
        raise FileRefused(f"{path} is not JSON that can be read: {_extreme(error)}") from error
    if not isinstance(value, dict):
        raise FileRefused(f"{path} must hold one JSON object")
    return value


def _bytes_of(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL character
        raise FileRefused(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error
    if len(content) > max_bytes:
        raise FileRefused(f"{path} is larger than {max_bytes:,} bytes")
    return content


def _line(content: bytes, position: int) -> str:
    number = content.count(b"\n", 0, position) + 1
    return f"line {number}"


def _remedy(content: bytes) -> str:
    seems = "; it seems to be UTF-16" if content.startswith(_MARKS) else ""
    return f"{seems}; save it as UTF-8"


def _extreme(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "a number in it is too large"
