import datetime as dt
import hashlib

import pytest

from generation.work.inputs import Input, Role
from generation.work.jobs import JobState, Place
from generation.work.requests.imagine import Imagine, WeightedPrompt
from storage.asking import NewJob
from storage.jobs import NewImage
from storage.store import Store

NOW = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
LEASE = dt.timedelta(minutes=2)
ALICE, BOB, MODERATOR, GUILD, CHANNEL = 11, 12, 19, 21, 31


def request_for(prompt="a fox in a teacup", **changes):
    fields = {
        "prompts": (WeightedPrompt(prompt),),
        "model": "embedded",
        "seed": 7,
        "width": 64,
        "height": 64,
        "num_inference_steps": 8,
        "guidance_scale": 4.0,
    }
    return Imagine(**{**fields, **changes})


def start(sha256, image_id=None):
    return (Input(Role.START, sha256, image_id),)


class Scene:
    """A store, and short ways to fill it with jobs."""

    def __init__(self, store):
        self.store = store

    async def job(self, prompt="a fox in a teacup", *, now=NOW, guild_id=GUILD, **changes):
        fields = {
            "member_id": ALICE,
            "place": Place(guild_id=guild_id, channel_id=CHANNEL),
            "typed": prompt,
            "request": request_for(prompt),
            "cost_s": 1.5,
        }
        return await self.store.jobs.add(NewJob(**{**fields, **changes}), now=now)

    async def begin(self, job, *, now=NOW, worker="worker", lease=LEASE):
        return await self.store.attempts.begin(
            job.id, worker=worker, lease_until=now + lease, now=now
        )

    async def step(self, job, to, *, now=NOW, **changes):
        """Take a job one step on, whatever that step is."""
        if to is JobState.RUNNING:
            return await self.begin(job, now=now)
        return await self.store.jobs.move(job.id, expected=job.state, to=to, now=now, **changes)

    async def running(self, **changes):
        return await self.begin(await self.job(**changes))

    async def rendered(self, count=2, png=b"picture", **changes):
        job = await self.running(**changes)
        return await self.store.jobs.record_rendered(
            job.id, images=new_images(count, png), fingerprint="{}", elapsed_s=2.0, now=NOW
        )

    @staticmethod
    def new_image(**changes):
        fields = {"index": 0, "seed": 7, "sha256": "cd" * 32, "width": 64, "height": 64}
        return NewImage(**{**fields, **changes})


async def remove(scene, job_id, images=None, *, now=NOW, by=ALICE):
    """Remove pictures of a job as its owner does; return the files that may be unused now."""
    return await scene.store.moderation.remove_pictures(
        job_id, images=images, guild_id=GUILD, by=by, reason="test", now=now
    )


def new_images(count, png=b"picture"):
    return [
        NewImage(
            index=index,
            seed=7 + index,
            sha256=hashlib.sha256(png + bytes([index])).hexdigest(),
            width=64,
            height=64,
        )
        for index in range(count)
    ]


@pytest.fixture
async def store(tmp_path):
    store = await Store.open(tmp_path / "store")
    yield store
    await store.close()


@pytest.fixture
def scene(store):
    return Scene(store)
