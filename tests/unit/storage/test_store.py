import subprocess
import sys
import threading

import pytest

from storage.errors import StorageError
from storage.store import Store

from .conftest import ALICE, NOW, Scene


async def test_what_was_remembered_is_there_after_closing_and_opening(tmp_path):
    store = await Store.open(tmp_path / "deep" / "down")
    job, images = await Scene(store).rendered()
    sha256 = await store.files.write(b"picture", owner=ALICE, now=NOW)
    await store.votes.toggle(images[0].id, ALICE, NOW)
    await store.close()
    store = await Store.open(tmp_path / "deep" / "down")
    try:
        assert await store.jobs.get(job.id) == job
        assert await store.images.of_job(job.id) == images
        assert await store.votes.counts(job.id) == {images[0].id: 1, images[1].id: 0}
        assert store.files.read(sha256) == b"picture"
    finally:
        await store.close()


async def test_a_new_folder_is_closed_to_other_accounts(tmp_path):
    store = await Store.open(tmp_path / "private")
    await store.close()
    assert (tmp_path / "private").stat().st_mode & 0o077 == 0


async def test_closing_ends_every_connections_thread(tmp_path):
    before = set(threading.enumerate())
    store = await Store.open(tmp_path)
    started = [thread for thread in threading.enumerate() if thread not in before]
    connections = [thread for thread in started if "connection" in thread.name]
    assert len(connections) == 2
    await store.close()
    for thread in connections:
        thread.join(timeout=5)
        assert not thread.is_alive()


async def test_a_folder_that_cannot_be_made_is_an_error_of_storage(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        await Store.open(tmp_path / "file" / "store")


def test_importing_storage_loads_no_model_library_and_no_discord():
    code = (
        "import sys, storage.store\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'discord'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
