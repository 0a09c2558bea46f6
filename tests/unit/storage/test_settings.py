import math

import pytest

from storage.errors import StorageError
from storage.settings import GuildSettings, MemberSettings

from .conftest import ALICE, BOB, GUILD

FULL = GuildSettings(
    default_style="3d",
    default_model="embedded",
    allowed_channel_ids=(2**60, 7),
    images_per_job=8,
    jobs_waiting_per_member=40,
    concurrent_jobs_per_member=10,
    log_channel_id=2**61,
    moderator_role_id=5,
)


async def test_a_new_server_and_direct_messages_have_the_defaults(store):
    assert await store.settings.guild(GUILD) == GuildSettings()
    assert await store.settings.guild(None) == GuildSettings()


async def test_a_server_known_from_a_job_has_the_defaults(scene):
    await scene.job()
    assert await scene.store.settings.guild(GUILD) == GuildSettings()


async def test_settings_of_a_server_read_back_exactly_and_replace_the_old(store):
    await store.settings.save_guild(GUILD, FULL)
    assert await store.settings.guild(GUILD) == FULL
    await store.settings.save_guild(GUILD, GuildSettings(default_style="flat"))
    assert await store.settings.guild(GUILD) == GuildSettings(default_style="flat")
    assert await store.settings.guild(GUILD + 1) == GuildSettings()


async def test_settings_of_a_member_read_back_exactly_and_replace_the_old(store):
    wanted = MemberSettings(
        style="3d", model="m", aspect="16:9", negative_prompt="blur", num_images=1
    )
    assert await store.settings.member(ALICE) == MemberSettings()
    await store.settings.save_member(ALICE, wanted)
    assert await store.settings.member(ALICE) == wanted
    assert await store.settings.member(BOB) == MemberSettings()
    await store.settings.save_member(ALICE, MemberSettings())
    assert await store.settings.member(ALICE) == MemberSettings()


@pytest.mark.parametrize(
    ("kind", "name", "most"),
    [
        (GuildSettings, "images_per_job", 8),
        (GuildSettings, "jobs_waiting_per_member", 40),
        (GuildSettings, "concurrent_jobs_per_member", 10),
        (MemberSettings, "num_images", 8),
    ],
)
def test_a_number_out_of_its_range_is_refused(kind, name, most):
    for value in (1, most):
        assert getattr(kind(**{name: value}), name) == value
    for value in (0, -1, most + 1):
        with pytest.raises(ValueError, match=name):
            kind(**{name: value})


async def test_costs_read_back_and_the_newest_measurement_counts(store):
    assert await store.costs.get() == {}
    await store.costs.save("embedded/64x64/8", 1.25)
    await store.costs.save("embedded/64x64/8", 0.75)
    await store.costs.save("sdxl/1024x1024/30", 40.0)
    assert await store.costs.get() == {"embedded/64x64/8": 0.75, "sdxl/1024x1024/30": 40.0}


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
async def test_a_cost_that_is_no_time_is_refused(store, seconds):
    with pytest.raises(ValueError, match="seconds"):
        await store.costs.save("m/1x1/1", seconds)
    assert await store.costs.get() == {}


async def test_the_database_itself_refuses_settings_that_are_no_json(store):
    async def spoil():
        async with store.database.transaction() as connection:
            await connection.execute("INSERT INTO servers (id, settings) VALUES (1, 'x')")

    with pytest.raises(StorageError, match="CHECK"):
        await spoil()
