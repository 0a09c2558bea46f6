import hashlib

import pytest

from generation.work.inputs import Input, Role
from generation.work.jobs import JobState
from generation.work.requests.imagine import Imagine, WeightedPrompt
from storage.consent import Scope
from storage.training_set import consented_pictures

from .conftest import ALICE, BOB, GUILD, MODERATOR, NOW


async def answer(store, member_id, *, is_given, scope=Scope.TRAINING):
    (record,) = await store.consents.append(
        member_id,
        {scope: is_given},
        text_version="1",
        text_sha256="0" * 64,
        interaction_id=1,
        now=NOW,
    )
    return record


async def posted(scene, **changes):
    job, images = await scene.rendered(**changes)
    await scene.store.jobs.move(job.id, expected=job.state, to=JobState.POSTED, now=NOW)
    return images


def starting_from(sha256):
    return Imagine(
        prompts=(WeightedPrompt("a fox"),),
        model="embedded",
        seed=1,
        width=64,
        height=64,
        num_inference_steps=4,
        guidance_scale=2.0,
        inputs=(Input(Role.START, sha256),),
        strength=0.5,
    )


async def remixed(scene, parent, member_id):
    (child, *_) = await posted(
        scene,
        png=b"remix of " + parent.sha256.encode(),
        member_id=member_id,
        request=starting_from(parent.sha256),
        parent_image_id=parent.id,
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


async def test_the_last_answer_is_in_force_for_every_picture_old_and_new(scene):
    images = await posted(scene)
    await answer(scene.store, ALICE, is_given=True)
    await answer(scene.store, BOB, is_given=True)
    assert await usable(scene) == [image.id for image in images]
    await answer(scene.store, ALICE, is_given=False)
    assert await usable(scene) == []
    again = await answer(scene.store, ALICE, is_given=True)
    (picture, _) = await consented_pictures(scene.store.database)
    assert picture.consent_id == again.id
    assert picture.image == images[0]
    assert picture.request.prompt == "a fox in a teacup"


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
    await scene.store.images.remove(removed.id, NOW)
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
    upload = hashlib.sha256(b"a photo").hexdigest()
    await posted(scene, request=starting_from(upload))
    (parent, other) = await posted(scene)
    await posted(scene, request=starting_from(upload), parent_image_id=parent.id)
    assert await usable(scene) == [parent.id, other.id]


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
    await scene.store.images.remove(original.id, NOW)
    assert {remix.id, of_remix.id}.isdisjoint(await usable(scene))
