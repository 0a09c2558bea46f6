import asyncio

import pytest

from generation.work.comparisons import WIN, Comparison, from_votes
from generation.work.jobs import JobState, Place
from storage.errors import NotFound

from .conftest import ALICE, BOB, CHANNEL, GUILD, MODERATOR, NOW, remove, request_for


async def test_voting_twice_takes_the_vote_back(scene):
    _, (image, _) = await scene.rendered()
    votes = scene.store.votes
    assert await votes.toggle(image.id, BOB, NOW) is True
    assert await votes.of_image(image.id) == 1
    assert await votes.toggle(image.id, BOB, NOW) is False
    assert await votes.of_image(image.id) == 0
    assert await votes.toggle(image.id, BOB, NOW) is True


async def test_every_picture_of_a_job_is_counted_zeros_included(scene):
    job, (first, second) = await scene.rendered()
    _, (elsewhere, _) = await scene.rendered(png=b"other")
    for image, member_id in ((second, BOB), (second, ALICE), (elsewhere, BOB)):
        await scene.store.votes.toggle(image.id, member_id, NOW)
    assert await scene.store.votes.counts(job.id) == {first.id: 0, second.id: 2}
    assert list(await scene.store.votes.counts(job.id)) == [first.id, second.id]


async def test_votes_at_the_same_time_count_once_a_member(scene):
    _, (image, _) = await scene.rendered()
    clicks = [scene.store.votes.toggle(image.id, member, NOW) for member in range(1, 8)] * 1
    clicks += [scene.store.votes.toggle(image.id, 1, NOW) for _ in range(4)]
    assert sum(await asyncio.gather(*clicks)) == 7 + 2
    assert await scene.store.votes.of_image(image.id) == 7


async def test_a_vote_needs_a_picture(scene):
    with pytest.raises(NotFound, match="image 9"):
        await scene.store.votes.toggle(9, BOB, NOW)
    assert await scene.store.votes.of_image(9) == 0
    assert await scene.store.votes.counts(9) == {}


async def shown(scene, model, prompt="a fox", channel_id=CHANNEL, **changes):
    job, images = await scene.rendered(
        png=f"{model} {prompt}".encode(),
        request=request_for(prompt, model=model, **changes),
        place=Place(guild_id=GUILD, channel_id=channel_id),
    )
    await scene.store.jobs.move(job.id, expected=job.state, to=JobState.POSTED, now=NOW)
    return images


async def test_votes_on_the_same_words_by_different_models_are_one_comparison(scene):
    old, new = await shown(scene, "old"), await shown(scene, "new")
    for image, member_id in ((new[0], BOB), (new[1], BOB), (old[0], BOB)):
        await scene.store.votes.toggle(image.id, member_id, NOW)
    pictures = await scene.store.votes.side_by_side()
    assert [(p.checkpoint, p.drawn_for, sorted(p.voters)) for p in pictures] == [
        ("old", ALICE, [BOB]),
        ("old", ALICE, []),
        ("new", ALICE, [BOB]),
        ("new", ALICE, [BOB]),
    ]
    assert from_votes(pictures) == [Comparison("new", "old", WIN)]


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "an owl"},
        {"channel_id": CHANNEL + 1},
        {"negative_prompt": "red"},
        {"model": "old"},
    ],
    ids=["other words", "another channel", "other words to avoid", "the same model"],
)
async def test_what_was_not_shown_side_by_side_is_no_comparison(scene, other):
    (image, _), _ = await shown(scene, "old"), await shown(scene, **{"model": "new", **other})
    await scene.store.votes.toggle(image.id, BOB, NOW)
    assert await scene.store.votes.side_by_side() == []


async def test_hidden_pictures_and_those_never_posted_compare_nothing(scene):
    hidden, seen = await shown(scene, "old"), await shown(scene, "new")
    await scene.rendered(request=request_for("a fox", model="third"))
    assert len(await scene.store.votes.side_by_side()) == 4
    await remove(scene, hidden[0].job_id, [hidden[0].id])
    await scene.store.moderation.take_down(
        hidden[0].job_id,
        [hidden[1].id],
        guild_id=GUILD,
        moderator_id=MODERATOR,
        reason="test",
        now=NOW,
    )
    await scene.store.votes.toggle(seen[0].id, BOB, NOW)
    assert await scene.store.votes.side_by_side() == []
