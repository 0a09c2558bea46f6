import asyncio

import pytest

from storage.errors import NotFound

from .conftest import ALICE, BOB, NOW


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
