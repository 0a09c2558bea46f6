"""A file is there as long as something names it, and not longer."""

import asyncio
import datetime as dt
import hashlib
import subprocess
import sys
import textwrap

import pytest

from generation.work.jobs import JobState
from storage.disk import PARTIAL
from storage.errors import NotFound
from storage.files import HOLD, FileKind
from storage.store import IMAGES_NAME, Store

from .conftest import ALICE, BOB, GUILD, MODERATOR, NOW, remove, request_for, start

SECOND = dt.timedelta(seconds=1)
AFTER = NOW + HOLD + SECOND
PNG = b"\x89PNG and then some"


def is_there(scene, sha256):
    return scene.store.files.path(sha256).exists()


async def drawn(scene, png=PNG, *, member_id=ALICE, **changes):
    """Draw one picture, as the bot does; return its job and file."""
    job = await scene.running(member_id=member_id, **changes)
    sha256 = await scene.store.files.write(png, owner=member_id, now=NOW)
    job, _ = await scene.store.jobs.record_rendered(
        job.id,
        images=[scene.new_image(sha256=sha256)],
        fingerprint="{}",
        elapsed_s=1.0,
        now=NOW,
    )
    job = await scene.store.jobs.move(job.id, expected=job.state, to=JobState.POSTED, now=NOW)
    return job, sha256


async def uploaded(scene, png=b"photo", *, owner=ALICE):
    return await scene.store.files.write(png, owner=owner, kind=FileKind.UPLOAD, now=NOW)


async def test_what_is_shown_stays_and_what_was_removed_goes(scene):
    job, sha256 = await drawn(scene)
    assert await scene.store.files.sweep(AFTER) == 0
    released = await remove(scene, job.id)
    assert released == (sha256,)
    assert is_there(scene, sha256)
    assert await scene.store.files.release(released, NOW) == 1
    assert not is_there(scene, sha256)


async def test_a_taken_down_picture_keeps_its_file_for_an_appeal(scene):
    job, sha256 = await drawn(scene)
    (image,) = await scene.store.images.of_job(job.id)
    by = {"guild_id": GUILD, "moderator_id": MODERATOR, "reason": "rules", "now": NOW}
    await scene.store.moderation.take_down(job.id, [image.id], **by)
    assert await scene.store.files.sweep(AFTER) == 0
    assert is_there(scene, sha256)


async def test_bits_that_two_jobs_drew_stay_until_both_are_removed(scene):
    first, sha256 = await drawn(scene)
    second, same = await drawn(scene, member_id=BOB)
    assert same == sha256
    assert await scene.store.files.owners(sha256) == {ALICE, BOB}
    await scene.store.files.release(await remove(scene, first.id), NOW)
    assert is_there(scene, sha256)
    await scene.store.files.release(await remove(scene, second.id, by=BOB), NOW)
    assert not is_there(scene, sha256)


@pytest.mark.parametrize(
    ("state", "is_kept"),
    [
        (JobState.HELD, True),
        (JobState.QUEUED, True),
        (JobState.RUNNING, True),
        (JobState.FAILED, False),
        (JobState.CANCELLED, False),
    ],
)
async def test_a_file_stays_while_a_job_may_still_start_from_it(scene, state, is_kept):
    parent, sha256 = await drawn(scene)
    (image,) = await scene.store.images.of_job(parent.id)
    upload = await uploaded(scene)
    first = JobState.HELD if state is JobState.HELD else JobState.QUEUED
    for inputs in (start(sha256, image.id), start(upload)):
        job = await scene.job(request=request_for(inputs=inputs), state=first)
        if job.state is not state:
            await scene.step(job, state)
    await scene.store.files.release(await remove(scene, parent.id), NOW)
    await scene.store.files.sweep(AFTER)
    assert is_there(scene, sha256) is is_there(scene, upload) is is_kept


async def test_a_removed_picture_goes_once_the_remix_that_waited_is_over(scene):
    parent, sha256 = await drawn(scene)
    (image,) = await scene.store.images.of_job(parent.id)
    remix = await scene.job(request=request_for(inputs=start(sha256, image.id)), member_id=BOB)
    await scene.store.files.release(await remove(scene, parent.id), NOW)
    assert is_there(scene, sha256)
    await scene.store.jobs.want_cancel(remix.id, by=BOB, reason="withdrawn", now=NOW)
    assert await scene.store.files.sweep(AFTER) == 1
    assert not is_there(scene, sha256)


async def test_deleting_includes_the_upload_that_no_picture_of_its_owner_needs(scene):
    upload = await uploaded(scene)
    assert await scene.store.files.owners(upload) == {ALICE}
    request = request_for(inputs=start(upload))
    first, drawing = await drawn(scene, request=request)
    second, _ = await drawn(scene, b"another", request=request)
    await drawn(scene, b"bob's", member_id=BOB, request=request)  # Again, with her consent
    assert await scene.store.files.sweep(AFTER) == 0
    released = await remove(scene, first.id)
    assert set(released) == {upload, drawing}
    await scene.store.files.release(released, NOW)
    assert (is_there(scene, upload), is_there(scene, drawing)) == (True, False)
    await scene.store.files.release(await remove(scene, second.id), NOW)
    assert not is_there(scene, upload)


async def test_an_upload_that_nothing_was_drawn_from_goes_after_its_hold(scene):
    upload = await uploaded(scene)
    assert await scene.store.files.sweep(NOW + HOLD - SECOND) == 0
    assert await scene.store.files.release([upload], NOW + HOLD - SECOND) == 0
    assert await scene.store.files.sweep(NOW + HOLD) == 1
    assert not is_there(scene, upload)


async def test_a_picture_drawn_again_while_it_is_deleted_is_on_disk_when_recorded(scene):
    old, sha256 = await drawn(scene)
    job = await scene.running()
    await scene.store.files.write(PNG, owner=ALICE, now=NOW)
    await scene.store.files.release(await remove(scene, old.id), NOW)
    assert is_there(scene, sha256)
    await scene.store.jobs.record_rendered(
        job.id,
        images=[scene.new_image(sha256=sha256)],
        fingerprint="{}",
        elapsed_s=1.0,
        now=NOW,
    )
    assert await scene.store.files.sweep(AFTER) == 0
    assert scene.store.files.read(sha256) == PNG


async def test_a_file_that_was_swept_meanwhile_is_not_recorded_but_can_be_written_again(scene):
    job = await scene.running()
    sha256 = await scene.store.files.write(PNG, owner=ALICE, now=NOW)
    await scene.store.files.sweep(AFTER)
    drawing = {
        "images": [scene.new_image(sha256=sha256)],
        "fingerprint": "{}",
        "elapsed_s": 1.0,
        "now": AFTER,
    }
    with pytest.raises(NotFound, match="file"):
        await scene.store.jobs.record_rendered(job.id, **drawing)
    with pytest.raises(NotFound, match="file"):
        await scene.job(request=request_for(inputs=start(sha256)))
    assert (await scene.store.jobs.get(job.id)).state is JobState.RUNNING
    await scene.store.files.write(PNG, owner=ALICE, now=AFTER)
    await scene.store.jobs.record_rendered(job.id, **drawing)
    assert scene.store.files.read(sha256) == PNG


async def test_deleting_and_drawing_the_same_bits_at_once_never_loses_a_file(scene):
    async def draw_and_delete(number):
        job, _ = await drawn(scene, member_id=number % 3 + 1)
        if number % 2:
            released = await remove(scene, job.id)
            await scene.store.files.release(released, NOW)

    await asyncio.gather(*(draw_and_delete(number) for number in range(12)))
    await scene.store.files.sweep(AFTER)
    assert scene.store.files.read(hashlib.sha256(PNG).hexdigest()) == PNG


async def test_removing_is_one_act_with_its_audit_entry(scene):
    job, _ = await drawn(scene)
    await remove(scene, job.id)
    (image,) = await scene.store.images.of_job(job.id)
    (action,) = await scene.store.moderation.of_job(job.id)
    assert (image.removed_at, action.kind, action.moderator_id) == (NOW, "delete", ALICE)
    assert (await scene.store.outbox.of_job(job.id)).wanted > 0
    with pytest.raises(NotFound, match="job 99"):
        await remove(scene, 99)


async def test_a_sweep_clears_what_killed_writers_and_older_versions_left(tmp_path):
    code = textwrap.dedent("""
        import os, pathlib, signal, sys
        from storage.disk import ImageFiles

        pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        ImageFiles(pathlib.Path(sys.argv[1])).write(b"half")
    """)
    await (await Store.open(tmp_path)).close()
    images = tmp_path / IMAGES_NAME
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code, str(images)], check=False)
    assert len(list((images / PARTIAL).iterdir())) == 1
    (images / "ab").mkdir(exist_ok=True)
    (images / "ab" / ".old.partial").write_bytes(b"half")
    orphan = images / "ab" / f"{'ab' * 32}.png"  # of a prompt that was refused
    orphan.write_bytes(b"an upload without a row")
    foreign = images / "ab" / "notes.png"
    foreign.write_bytes(b"not ours")
    store = await Store.open(tmp_path)
    try:
        assert await store.files.sweep(NOW) == 3
    finally:
        await store.close()
    assert [path for path in images.rglob("*") if path.is_file()] == [foreign]


async def test_a_sweep_leaves_alone_what_is_being_written(scene):
    folder = scene.store.files.path("ab" * 32).parents[1] / PARTIAL
    folder.mkdir(parents=True)
    code = textwrap.dedent("""
        import fcntl, sys
        file = open(sys.argv[1], "wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        print("locked", flush=True)
        sys.stdin.read()
    """)
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(folder / "x")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert await writer.stdout.readline()
    assert await scene.store.files.sweep(NOW) == 0
    assert (folder / "x").exists()
    await writer.communicate(b"")  # which ends it
    assert await scene.store.files.sweep(NOW) == 1
