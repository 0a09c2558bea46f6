import datetime as dt

import pytest

from generation.work.inputs import Input, Role
from generation.work.jobs import JobState
from storage.consent import Scope
from storage.training_set import consented_pictures

from .conftest import ALICE, BOB, GUILD, MODERATOR, NOW, new_images, remove, request_for, start

HOUR = dt.timedelta(hours=1)


async def answer(store, member_id, *, is_given, scope=Scope.TRAINING, now=NOW, text="0" * 64):
    (record,) = await store.consents.append(
        member_id,
        {scope: is_given},
        text_version="1",
        text_sha256=text,
        interaction_id=1,
        now=now,
    )
    return record


async def posted(scene, *, now=NOW, png=b"picture", **changes):
    job = await scene.begin(await scene.job(now=now, **changes), now=now)
    job, images = await scene.store.jobs.record_rendered(
        job.id, images=new_images(2, png), fingerprint="{}", elapsed_s=2.0, now=now
    )
    await scene.store.jobs.move(job.id, expected=job.state, to=JobState.POSTED, now=now)
    return images


async def remixed(scene, parent, member_id):
    (child, *_) = await posted(
        scene,
        png=b"remix of " + parent.sha256.encode(),
        member_id=member_id,
        request=request_for(inputs=start(parent.sha256, parent.id), strength=0.5),
    )
    return child


async def usable(scene):
    return [picture.image.id for picture in await consented_pictures(scene.store.database)]


async def test_silence_and_consent_to_something_else_are_no_consent(scene):
    await posted(scene)
    assert await usable(scene) == []
    for scope in (Scope.GALLERY, Scope.REMIX):
        await answer(scene.store, ALICE, is_given=True, scope=scope)
    assert await usable(scene) == []


async def test_a_no_takes_out_every_picture_and_a_new_yes_lets_them_back(scene):
    await answer(scene.store, ALICE, is_given=True, now=NOW - HOUR)
    await answer(scene.store, BOB, is_given=True, now=NOW - HOUR)
    images = await posted(scene)
    assert await usable(scene) == [image.id for image in images]
    await answer(scene.store, ALICE, is_given=False, now=NOW + HOUR)
    assert await usable(scene) == []
    again = await answer(scene.store, ALICE, is_given=True, now=NOW + 2 * HOUR)
    (picture, _) = await consented_pictures(scene.store.database)
    assert picture.consent_id == again.id
    assert picture.image == images[0]
    assert picture.request.prompt == "a fox in a teacup"


async def test_a_later_yes_does_not_cover_what_was_drawn_under_a_no(scene):
    await answer(scene.store, ALICE, is_given=False, now=NOW - HOUR)
    await posted(scene)
    await posted(scene, member_id=BOB)
    for member_id in (ALICE, BOB):
        await answer(scene.store, member_id, is_given=True, now=NOW + HOUR)
    assert await usable(scene) == []
    images = await posted(scene, now=NOW + 2 * HOUR)
    assert await usable(scene) == [image.id for image in images]


async def test_a_yes_to_other_words_is_none(scene):
    await answer(scene.store, ALICE, is_given=True, text="a" * 64)
    await posted(scene)
    database = scene.store.database
    assert len(await consented_pictures(database, ["a" * 64, "b" * 64])) == 2
    assert await consented_pictures(database, ["b" * 64]) == []


async def test_a_picture_that_was_not_posted_is_not_used(scene):
    await scene.rendered()
    await answer(scene.store, ALICE, is_given=True)
    assert await usable(scene) == []


async def test_what_was_deleted_taken_down_or_reported_is_not_used(scene):
    await answer(scene.store, ALICE, is_given=True)
    (removed, kept) = await posted(scene)
    (hidden, shown) = await posted(scene)
    (reported, _) = await posted(scene)
    moderation = scene.store.moderation
    by_moderator = {"guild_id": GUILD, "moderator_id": MODERATOR, "reason": "test", "now": NOW}
    await remove(scene, removed.job_id, [removed.id])
    await moderation.take_down(hidden.job_id, [hidden.id], **by_moderator)
    await moderation.report(
        guild_id=GUILD, job_id=reported.job_id, reporter_id=BOB, reason="test", now=NOW
    )
    assert await usable(scene) == [kept.id, shown.id]
    await moderation.close_reports(reported.job_id, **by_moderator)
    await moderation.restore(hidden.job_id, [hidden.id], **by_moderator)
    assert len(await usable(scene)) == 5


async def test_an_upload_may_be_anybodys_so_what_starts_from_it_is_not_used(scene):
    await answer(scene.store, ALICE, is_given=True)
    await posted(scene, request=request_for(inputs=start("ab" * 32), strength=0.5))
    (first, second) = await posted(scene)
    mixed = (Input(Role.PART, first.sha256, first.id), Input(Role.PART, "ab" * 32))
    await posted(scene, request=request_for(inputs=mixed))
    assert await usable(scene) == [first.id, second.id]


async def test_every_picture_that_one_is_mixed_from_must_be_usable(scene):
    for member_id in (ALICE, BOB):
        await answer(scene.store, member_id, is_given=True)
    (first, _), (second, _) = await posted(scene), await posted(scene, member_id=BOB)
    parts = tuple(Input(Role.PART, each.sha256, each.id) for each in (first, second))
    (mixed, _) = await posted(scene, request=request_for(inputs=parts))
    assert mixed.id in await usable(scene)
    await answer(scene.store, BOB, is_given=False)
    assert await usable(scene) == [first.id, first.id + 1]


@pytest.mark.parametrize("first", [ALICE, BOB])
async def test_a_remix_needs_the_consent_of_everyone_behind_it(scene, first):
    (original, _) = await posted(scene, member_id=ALICE)
    remix = await remixed(scene, original, BOB)
    of_remix = await remixed(scene, remix, ALICE)
    await answer(scene.store, first, is_given=True)
    assert remix.id not in await usable(scene)
    assert of_remix.id not in await usable(scene)
    await answer(scene.store, BOB if first == ALICE else ALICE, is_given=True)
    assert {original.id, remix.id, of_remix.id} <= set(await usable(scene))
    await remove(scene, original.job_id, [original.id])
    assert {remix.id, of_remix.id}.isdisjoint(await usable(scene))
