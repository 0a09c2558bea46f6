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

from generation.work.inputs import Input, Role
from generation.work.jobs import JobState
from generation.work.requests.imagine import Imagine, WeightedPrompt
from storage.errors import NotFound, StorageError
from storage.images import ImageFiles

from .conftest import NOW

PNG = b"\x89PNG and then some"
SHA256 = hashlib.sha256(PNG).hexdigest()
LATER = NOW.replace(hour=13)


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
        from storage.images import ImageFiles

        pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        ImageFiles(pathlib.Path(sys.argv[1])).write(bytes.fromhex(sys.argv[2]))
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "images"), PNG.hex()], check=False
    )
    assert done.returncode == -signal.SIGKILL
    (left,) = files.path(SHA256).parent.iterdir()
    assert left.suffix == ".partial"
    with pytest.raises(NotFound):
        files.read(SHA256)
    assert files.write(PNG) == SHA256
    assert files.read(SHA256) == PNG


def test_kill_9_at_any_moment_leaves_only_whole_files(files, tmp_path):
    code = textwrap.dedent("""
        import itertools, pathlib, sys
        from storage.images import ImageFiles

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


async def test_an_unknown_picture_is_not_found(store):
    for call in (
        store.images.get(9),
        store.images.remove(9, NOW),
        store.images.take_down(9, NOW),
        store.images.restore(9),
    ):
        with pytest.raises(NotFound, match="no image 9"):
            await call
    assert await store.images.of_job(9) == ()
    assert await store.images.children(9) == ()


async def test_a_picture_is_shown_unless_removed_or_taken_down(scene):
    images = scene.store.images
    _, (image, other) = await scene.rendered()
    assert image.is_shown
    await images.take_down(image.id, NOW)
    await images.take_down(image.id, LATER)
    assert (await images.get(image.id)).taken_down_at == NOW
    await images.restore(image.id)
    assert await images.get(image.id) == image
    await images.remove(image.id, NOW)
    await images.remove(image.id, LATER)
    assert (await images.get(image.id)).removed_at == NOW
    assert not (await images.get(image.id)).is_shown
    assert (await images.get(other.id)).is_shown


async def test_a_file_is_used_while_any_record_of_it_is_not_removed(scene):
    _, (first, _) = await scene.rendered()
    _, (second, _) = await scene.rendered()
    assert first.sha256 == second.sha256
    assert await scene.store.images.find_by_sha256(first.sha256) == (first, second)
    await scene.store.images.remove(first.id, NOW)
    assert await scene.store.images.is_file_used(first.sha256)
    await scene.store.images.remove(second.id, NOW)
    assert not await scene.store.images.is_file_used(first.sha256)


async def test_a_taken_down_picture_keeps_its_file_for_an_appeal(scene):
    _, (image, _) = await scene.rendered()
    await scene.store.images.take_down(image.id, NOW)
    assert await scene.store.images.is_file_used(image.sha256)


@pytest.mark.parametrize(
    ("states", "is_used"),
    [
        ((), True),
        ((JobState.RUNNING,), True),
        ((JobState.RUNNING, JobState.RENDERED), True),
        ((JobState.RUNNING, JobState.RENDERED, JobState.POSTED), False),
        ((JobState.CANCELLED,), False),
    ],
)
async def test_a_file_is_used_while_a_job_may_still_start_from_it(scene, states, is_used):
    request = Imagine(
        prompts=(WeightedPrompt("a fox"),),
        model="embedded",
        seed=1,
        width=64,
        height=64,
        num_inference_steps=4,
        guidance_scale=2.0,
        inputs=(Input(Role.START, SHA256),),
        strength=0.5,
    )
    job = await scene.job(request=request)
    for state in states:
        job = await scene.store.jobs.move(job.id, expected=job.state, to=state, now=NOW)
    assert await scene.store.images.is_file_used(SHA256) is is_used
