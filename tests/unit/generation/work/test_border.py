"""Whatever a person wrote or downloaded is read, or refused in one sentence that names the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from generation.work import border
from generation.work.errors import FileRefused

READERS = (border.text_of, border.toml_of, border.json_of)
DIGITS = b"9" * 5_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("border") / "written.txt"


@pytest.mark.parametrize("reader", READERS)
@given(
    content=st.binary(max_size=60)
    | st.text('[]{}",:=#\n\\u0189.eE-+tfin', max_size=60).map(str.encode)
)
@example(content=b"x = " + b"[" * 2_000)
@example(content=b'{"x": ' + b"[" * 100_000)
@example(content=b'{"x": ' + DIGITS + b"}")
@example(content=b"x = " + DIGITS)
@example(content=b'{"x": "\\ud800"}')
@example(content="\ufeff{}".encode())
@example(content="a fox".encode("utf-16"))
@example(content="füchse".encode("latin-1"))
@example(content=b"x = 2024-99-99")
def test_any_bytes_are_read_or_refused_in_one_line_that_names_the_file(
    reader: Callable[[Path], Any], path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    said = ""
    try:
        reader(path)
    except FileRefused as refused:
        said = str(refused)
    assert not said or str(path) in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("ein Füchslein\n".encode("latin-1"), "is not UTF-8 (line 1); save it as UTF-8"),
        ("a fox\nein Füchslein\n".encode("latin-1"), "is not UTF-8 (line 2)"),
        ("a fox".encode("utf-16"), "it seems to be UTF-16; save it as UTF-8"),
        ("a fox\nan owl".encode("utf-16-le"), "a NUL character (line 1)"),
    ],
)
def test_text_that_is_not_utf_8_is_refused_with_its_line(
    path: Path, content: bytes, said: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(FileRefused) as refused:
        border.text_of(path)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{\n "x": }', "is not JSON: Expecting value (line 2, column 7)"),
        (b'{"x": ' + b"[" * 100_000, "it is nested too deeply"),
        (b'{"x": ' + DIGITS + b"}", "a number in it is too large"),
        (b'{"x": "\\udfff"}', "half a character"),
        (b"[]", "must hold one JSON object"),
    ],
)
def test_wrong_json_is_refused_with_its_place(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(FileRefused) as refused:
        border.json_of(path)
    assert said in str(refused.value)


def test_wrong_toml_is_refused_with_its_place(path: Path) -> None:
    for content in (b"a = 1\nb =\n", b"a = 1\nb =", b"a = 1\nb = [\n"):
        path.write_bytes(content)
        with pytest.raises(FileRefused, match=r"is not TOML: .*line 2"):
            border.toml_of(path)


def test_a_byte_order_mark_and_lines_of_windows_are_no_part_of_the_text(path: Path) -> None:
    path.write_bytes("\ufefffuchs\r\n狐\r猫\u2028".encode())
    assert border.text_of(path) == "fuchs\n狐\n猫\u2028"
    path.write_bytes("\ufeffx = 1".encode())
    assert border.toml_of(path) == {"x": 1}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"x": "狐"}).encode())
    assert border.json_of(path) == {"x": "狐"}


def test_what_never_ends_is_not_read_to_its_end() -> None:
    with pytest.raises(FileRefused, match=r"larger than 1,000 bytes"):
        border.text_of(Path("/dev/zero"), max_bytes=1_000)


@pytest.mark.parametrize("name", ["absent", "nul\0name", "x" * 5_000])
def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileRefused, match="cannot be read"):
        border.text_of(tmp_path / name)
