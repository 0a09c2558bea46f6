import asyncio

import pytest

from storage.errors import NotFound
from storage.moderation import Action, ActionKind

from .conftest import ALICE, BOB, GUILD, MODERATOR, NOW

LATER = NOW.replace(hour=15)
BY = {"guild_id": GUILD, "moderator_id": MODERATOR, "reason": "house rules", "now": LATER}


async def test_an_action_names_who_when_what_and_why(scene):
    job, (image, _) = await scene.rendered()
    moderation = scene.store.moderation
    action = await moderation.record(
        ActionKind.DELETE, **BY, member_id=ALICE, job_id=job.id, image_id=image.id
    )
    assert action == Action(
        id=action.id,
        kind=ActionKind.DELETE,
        guild_id=GUILD,
        moderator_id=MODERATOR,
        member_id=ALICE,
        job_id=job.id,
        image_id=image.id,
        reason="house rules",
        at=LATER,
    )
    assert await moderation.of_job(job.id) == [action]
    assert await moderation.of_guild(GUILD) == [action]
    assert await moderation.of_guild(GUILD + 1) == []


@pytest.mark.parametrize("kind", ActionKind)
async def test_every_kind_of_action_can_be_recorded(store, kind):
    action = await store.moderation.record(kind, **BY)
    assert (action.kind, action.member_id, action.job_id) == (kind, None, None)


async def test_the_last_actions_of_a_server_come_newest_first(store):
    actions = [await store.moderation.record(ActionKind.LIFT, **BY) for _ in range(5)]
    assert await store.moderation.of_guild(GUILD, limit=3) == actions[:1:-1]


async def test_the_last_word_on_a_suspension_counts_in_its_server(store):
    moderation = store.moderation
    assert not await moderation.is_suspended(GUILD, ALICE)
    for kind, expected in (
        (ActionKind.SUSPEND, True),
        (ActionKind.SUSPEND, True),
        (ActionKind.CANCEL, True),
        (ActionKind.LIFT, False),
        (ActionKind.SUSPEND, True),
    ):
        await moderation.record(kind, **BY, member_id=ALICE)
        assert await moderation.is_suspended(GUILD, ALICE) is expected
    assert not await moderation.is_suspended(GUILD, BOB)
    assert not await moderation.is_suspended(GUILD + 1, ALICE)


async def test_taking_down_hides_pictures_and_says_who_did(scene):
    job, (first, second) = await scene.rendered()
    moderation, images = scene.store.moderation, scene.store.images
    (action,) = await moderation.take_down(job.id, [second.id], **BY)
    assert (action.kind, action.member_id, action.image_id) == (
        ActionKind.TAKE_DOWN,
        ALICE,
        second.id,
    )
    assert [image.taken_down_at for image in await images.of_job(job.id)] == [None, LATER]
    (undone,) = await moderation.restore(job.id, [second.id], **BY)
    assert undone.kind is ActionKind.RESTORE
    assert await images.of_job(job.id) == (first, second)
    assert await moderation.of_job(job.id) == [action, undone]


@pytest.mark.parametrize("change", ["take_down", "restore"])
async def test_a_picture_of_another_job_undoes_the_whole_action(scene, change):
    job, (first, _) = await scene.rendered()
    _, (foreign, _) = await scene.rendered(png=b"other")
    with pytest.raises(NotFound, match=f"image {foreign.id}"):
        await getattr(scene.store.moderation, change)(job.id, [first.id, foreign.id], **BY)
    assert (await scene.store.images.get(first.id)).is_shown
    assert await scene.store.moderation.of_guild(GUILD) == []
    with pytest.raises(NotFound, match="job 99"):
        await getattr(scene.store.moderation, change)(99, [], **BY)


async def test_a_member_has_one_open_report_about_a_job(scene):
    job = await scene.job()
    moderation = scene.store.moderation
    ask = {"guild_id": GUILD, "job_id": job.id, "now": NOW}
    reports = await asyncio.gather(
        *(moderation.report(**ask, reporter_id=BOB, reason=f"reason {n}") for n in range(5))
    )
    other = await moderation.report(**ask, reporter_id=MODERATOR, reason="me too")
    assert set(reports) == {reports[0]}
    assert await moderation.open_reports(GUILD) == [reports[0], other]
    assert await moderation.open_reports(GUILD + 1) == []


async def test_closing_reports_is_an_action_and_a_new_report_may_follow(scene):
    job = await scene.job()
    moderation = scene.store.moderation
    ask = {"guild_id": GUILD, "job_id": job.id, "reporter_id": BOB}
    first = await moderation.report(**ask, reason="rude", now=NOW)
    action = await moderation.close_reports(job.id, **BY)
    assert (action.kind, action.member_id, action.job_id) == (
        ActionKind.REPORT_CLOSED,
        ALICE,
        job.id,
    )
    assert await moderation.open_reports(GUILD) == []
    second = await moderation.report(**ask, reason="still rude", now=LATER)
    assert second.id != first.id
    assert await moderation.open_reports(GUILD) == [second]


async def test_a_report_needs_a_job(store):
    with pytest.raises(NotFound, match="job 9"):
        await store.moderation.report(
            guild_id=GUILD, job_id=9, reporter_id=BOB, reason="?", now=NOW
        )
    with pytest.raises(NotFound, match="job 9"):
        await store.moderation.close_reports(9, **BY)
