import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from storage.disk import PARTIAL, ImageFiles
from storage.errors import NotFound, StorageError

PNG = b"\x89PNG and then some"
SHA256 = hashlib.sha256(PNG).hexdigest()


@pytest.fixture
def files(tmp_path):
    return ImageFiles(tmp_path / "images")


def test_a_file_is_named_by_what_is_in_it(files, tmp_path):
    assert files.write(PNG) == SHA256
    assert files.path(SHA256) == tmp_path / "images" / SHA256[:2] / f"{SHA256}.png"
    assert files.path(SHA256).read_bytes() == files.read(SHA256) == PNG


def test_writing_twice_leaves_one_file_and_nothing_else(files, tmp_path):
    files.write(PNG)
    first = files.path(SHA256).stat()
    assert files.write(PNG) == SHA256
    assert files.path(SHA256).stat().st_ino == first.st_ino
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [files.path(SHA256)]


def test_removing_says_whether_there_was_a_file(files):
    files.write(PNG)
    assert files.remove(SHA256)
    assert not files.remove(SHA256)
    with pytest.raises(NotFound):
        files.read(SHA256)


@pytest.mark.parametrize("damage", [PNG[:-1], PNG + b"!", b"", PNG.replace(b"some", b"sane")])
def test_a_damaged_file_is_never_handed_out_and_can_be_written_anew(files, damage):
    files.write(PNG)
    files.path(SHA256).write_bytes(damage)
    with pytest.raises(StorageError, match="damaged"):
        files.read(SHA256)
    assert files.write(PNG) == SHA256
    assert files.read(SHA256) == PNG


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "g" * 64, "ab" * 31, "/" * 64])
def test_only_a_hash_names_a_file(files, name):
    for method in (files.path, files.read, files.remove):
        with pytest.raises(ValueError, match="SHA-256"):
            method(name)


def test_a_disk_that_refuses_is_an_error_of_storage(tmp_path):
    (tmp_path / "images").write_bytes(b"a file where the folder should be")
    with pytest.raises(StorageError):
        ImageFiles(tmp_path / "images").write(PNG)


def test_kill_9_between_writing_and_renaming_shows_no_file(files, tmp_path):
    code = textwrap.dedent("""
        import os, pathlib, signal, sys
        from storage.disk import ImageFiles

        pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        ImageFiles(pathlib.Path(sys.argv[1])).write(bytes.fromhex(sys.argv[2]))
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "images"), PNG.hex()], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "images" / PARTIAL).iterdir())) == 1
    with pytest.raises(NotFound):
        files.read(SHA256)
    assert files.write(PNG) == SHA256
    assert files.read(SHA256) == PNG


def test_kill_9_at_any_moment_leaves_only_whole_files(files, tmp_path):
    code = textwrap.dedent("""
        import itertools, pathlib, sys
        from storage.disk import ImageFiles

        files = ImageFiles(pathlib.Path(sys.argv[1]))
        for number in itertools.count():
            print(files.write(number.to_bytes(8, "big") * 60_000), flush=True)
    """)
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "images")],
            stdout=subprocess.PIPE,
            text=True,
        )
        first = child.stdout.readline()
        time.sleep(random.uniform(0.01, 0.1))
        os.kill(child.pid, signal.SIGKILL)
        rest = child.communicate()[0].splitlines(keepends=True)
        for line in (first, *rest):
            assert not line.endswith("\n") or files.read(line.strip())
    seen = list((tmp_path / "images").glob("*/*.png"))
    assert len(seen) >= 1
    for path in seen:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


async def test_the_same_picture_written_by_many_threads_is_whole(files):
    names = await asyncio.gather(*(asyncio.to_thread(files.write, PNG) for _ in range(20)))
    assert set(names) == {SHA256}
    assert files.read(SHA256) == PNG
    assert len(list(files.path(SHA256).parent.iterdir())) == 1
