import pytest

from storage.errors import NotFound

from .conftest import ALICE, GUILD, MODERATOR, NOW, remove

LATER = NOW.replace(hour=13)
BY = {"guild_id": GUILD, "moderator_id": MODERATOR, "reason": "test"}


async def test_an_unknown_picture_is_not_found(store):
    with pytest.raises(NotFound, match="no image 9"):
        await store.images.get(9)
    assert await store.images.of_job(9) == ()
    assert await store.images.children(9) == ()


async def test_a_picture_is_shown_unless_removed_or_taken_down(scene):
    images, moderation = scene.store.images, scene.store.moderation
    job, (image, other) = await scene.rendered()
    assert image.is_shown
    await moderation.take_down(job.id, [image.id], **BY, now=NOW)
    await moderation.take_down(job.id, [image.id], **BY, now=LATER)
    assert (await images.get(image.id)).taken_down_at == NOW
    await moderation.restore(job.id, [image.id], **BY, now=LATER)
    assert await images.get(image.id) == image
    await remove(scene, job.id, [image.id])
    await remove(scene, job.id, [image.id], now=LATER)
    assert (await images.get(image.id)).removed_at == NOW
    assert not (await images.get(image.id)).is_shown
    assert (await images.get(other.id)).is_shown


async def test_records_of_the_same_picture_are_found_by_its_file(scene):
    _, (first, _) = await scene.rendered()
    _, (second, _) = await scene.rendered()
    assert first.sha256 == second.sha256
    assert await scene.store.images.find_by_sha256(first.sha256) == (first, second)


async def test_a_picture_keeps_the_hash_of_its_pixels(scene):
    job = await scene.running(member_id=ALICE)
    images = [scene.new_image(pixels_sha256="ab" * 32), scene.new_image(index=1)]
    _, recorded = await scene.store.jobs.record_rendered(
        job.id, images=images, fingerprint="{}", elapsed_s=1.0, now=NOW
    )
    assert [image.pixels_sha256 for image in recorded] == ["ab" * 32, None]
    assert await scene.store.images.of_job(job.id) == recorded
