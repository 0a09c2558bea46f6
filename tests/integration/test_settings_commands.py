"""`/settings`, `/mysettings`, `/queue` and `/help`: what was chosen is shown and enforced."""

import dataclasses
from pathlib import Path
from typing import Any

import discord
import pytest

from bot.demo.stage import text_of
from bot.grammar.flags import FLAGS
from bot.models import offered
from bot.studio.actors import Actor
from bot.studio.asking import Ask
from bot.studio.refusals import Refused
from generation.work.checkpoints import PATTERN
from generation.work.jobs import Job, JobState
from storage.consent import Scope
from storage.settings import GuildSettings, MemberSettings
from tests.integration.conftest import World, answer_to, open_world


@pytest.fixture
async def boss(world: World) -> Any:
    """A member with Manage Server."""
    role = world.guild.create_role(
        "owners", permissions=discord.Permissions(manage_guild=True, view_channel=True)
    )
    return world.guild.add_member(world.env.create_user("boss"), roles=[role])


async def configure(world: World, **settings: Any) -> None:
    await world.app.store.settings.save_guild(world.guild.id, GuildSettings(**settings))


# /settings


async def test_settings_given_are_saved_and_shown(world: World, boss: Any) -> None:
    log_channel = world.guild.create_text_channel("log")
    role = world.guild.create_role("helpers")
    answer = await boss.slash(
        world.channel,
        "settings",
        style="bold",
        model="pattern",
        images=2,
        waiting=3,
        concurrent=1,
        allow_channel=world.channel,
        log_channel=log_channel,
        moderator_role=role,
    )
    assert answer.ephemeral
    assert await world.app.store.settings.guild(world.guild.id) == GuildSettings(
        default_style="bold",
        default_model="pattern",
        images_per_job=2,
        jobs_waiting_per_member=3,
        concurrent_jobs_per_member=1,
        allowed_channel_ids=(world.channel.id,),
        log_channel_id=log_channel.id,
        moderator_role_id=role.id,
    )
    shown = (await boss.slash(world.channel, "settings")).response.content
    for fact in ("`bold`", "`pattern`", "at most 2", "at most 3 a member", "at most 1 a member"):
        assert fact in shown
    for mention in (f"<#{world.channel.id}>", f"<#{log_channel.id}>", f"<@&{role.id}>"):
        assert mention in shown
    assert log_channel.last_message is not None  # the first line of the log


async def test_settings_are_cleared_one_by_one(world: World, boss: Any) -> None:
    await configure(world, default_style="bold", allowed_channel_ids=(1, 2), images_per_job=2)
    await boss.slash(world.channel, "settings", clear="style")
    await boss.slash(world.channel, "settings", clear="channels")
    kept = await world.app.store.settings.guild(world.guild.id)
    assert kept == GuildSettings(images_per_job=2)
    await boss.slash(world.channel, "settings", clear="limits")
    assert await world.app.store.settings.guild(world.guild.id) == GuildSettings()


async def test_channels_are_allowed_and_forbidden_one_by_one(world: World, boss: Any) -> None:
    other = world.guild.create_text_channel("other")
    await boss.slash(world.channel, "settings", allow_channel=world.channel)
    await boss.slash(world.channel, "settings", allow_channel=other)
    await boss.slash(world.channel, "settings", forbid_channel=world.channel)
    kept = await world.app.store.settings.guild(world.guild.id)
    assert kept.allowed_channel_ids == (other.id,)


@pytest.mark.parametrize(
    ("option", "value", "hint"), [("style", "blod", "`bold`"), ("model", "patern", "`pattern`")]
)
async def test_unknown_names_are_refused_with_the_nearest(
    world: World, boss: Any, option: str, value: str, hint: str
) -> None:
    for command in ("settings", "mysettings"):
        answer = await boss.slash(world.channel, command, **{option: value})
        assert answer.ephemeral
        assert hint in answer.response.content
    assert await world.app.store.settings.guild(world.guild.id) == GuildSettings()
    assert await world.app.store.settings.member(boss.id) == MemberSettings()


async def test_settings_need_manage_server_even_where_the_command_is_shown(world: World) -> None:
    commands = await world.app.client.tree.fetch_commands()
    command = next(found for found in commands if found.name == "settings")
    world.guild.set_command_permissions(command.id, {world.bob: True})
    answer = await world.bob.slash(world.channel, "settings", images=1)
    assert answer.ephemeral
    assert "Manage Server" in answer.response.content
    assert await world.app.store.settings.guild(world.guild.id) == GuildSettings()


async def test_a_log_channel_the_bot_cannot_post_in_is_refused(world: World, boss: Any) -> None:
    log_channel = world.guild.create_text_channel("log")
    path = f"/channels/{log_channel.id}/messages"
    world.env.inject_error("POST", path, status=403, code=50013, message="Missing Permissions")
    answer = await boss.slash(world.channel, "settings", log_channel=log_channel)
    assert "Send Messages" in answer_to(answer).content
    assert (await world.app.store.settings.guild(world.guild.id)).log_channel_id is None


async def test_a_log_channel_is_greeted_once_and_only_when_it_was_saved(
    world: World, boss: Any
) -> None:
    log_channel = world.guild.create_text_channel("log")
    answer = await boss.slash(world.channel, "settings", log_channel=log_channel, style="nonesuch")
    assert "no style called" in answer_to(answer).content
    assert log_channel.history() == []
    for _ in range(2):
        answer = await boss.slash(world.channel, "settings", log_channel=log_channel)
        assert f"<#{log_channel.id}>" in answer.response.content
    assert len(log_channel.history()) == 1
    paths = [request.path for request in world.env.http_requests]
    greeted = paths.index(f"/channels/{log_channel.id}/messages")
    answered = [i for i, path in enumerate(paths) if path.endswith("/callback")]
    assert answered[1] < greeted < answered[2]  # acknowledged first


async def test_the_test_pattern_is_offered_only_where_it_is_the_default(world: World) -> None:
    known = {**world.app.studio.checkpoints, "other": dataclasses.replace(PATTERN, name="other")}
    assert set(offered(known, "pattern")) == set(known)
    assert set(offered(known, "other")) == set(known) - {"pattern"}


async def test_names_are_offered_while_typing(world: World, boss: Any) -> None:
    offered = await boss.autocomplete(world.channel, "settings", "style", "BO")
    assert [choice["value"] for choice in offered] == ["bold"]
    offered = await world.bob.autocomplete(world.channel, "mysettings", "model", "")
    assert [choice["value"] for choice in offered] == list(world.app.studio.checkpoints)


# Enforced


async def test_drawing_stays_in_the_allowed_channels(world: World) -> None:
    await world.consent(world.alice)
    other = world.guild.create_text_channel("other")
    await configure(world, allowed_channel_ids=(other.id,))
    refused = await world.alice.slash(world.channel, "imagine", prompt="a fox")
    assert refused.ephemeral
    assert f"<#{other.id}>" in refused.response.content
    assert await world.app.store.jobs.of_member(world.alice.id) == []
    await world.alice.slash(other, "imagine", prompt="a fox")
    (job,) = await world.app.store.jobs.of_member(world.alice.id)
    await world.job_in(job.id, JobState.POSTED)


async def test_a_job_has_at_most_the_servers_images(world: World) -> None:
    await world.consent(world.alice)
    await configure(world, images_per_job=2)
    refused = await world.alice.slash(world.channel, "imagine", prompt="a fox", images=3)
    assert refused.ephemeral
    assert "at most 2" in refused.response.content
    assert (await world.imagine(world.alice, "a fox")).request.num_images == 2


async def test_fewer_images_are_picked_from_the_servers_usual_number_and_cost_as_much(
    world: World,
) -> None:
    await world.consent(world.alice)
    studio, actor = world.app.studio, Actor(member_id=world.alice.id, guild_id=world.guild.id)
    studio.checkpoints = {"pattern": dataclasses.replace(PATTERN, scorer="a folder")}

    async def asked(num_images: int | None) -> Job:
        ask = Ask(text="a fox", channel_id=world.channel.id, num_images=num_images)
        (job,) = (await studio.submit(actor, ask)).jobs
        return job

    few, usual = await asked(1), await asked(None)
    assert (few.request.num_images, few.request.num_candidates) == (1, 4)
    assert (usual.request.num_images, usual.request.num_candidates) == (4, 4)
    assert few.cost_s == usual.cost_s
    assert (await studio.dispatcher.line.ticket(few)).num_images == 4
    (again,) = (await studio.again(actor, few.id, world.channel.id)).jobs
    assert (again.request.num_candidates, again.notes) == (4, few.notes)


async def test_a_large_default_of_ones_own_gives_way_to_a_small_server(world: World) -> None:
    await world.consent(world.alice)
    await configure(world, images_per_job=2)
    await world.alice.slash(world.channel, "mysettings", images=6)
    assert (await world.imagine(world.alice, "a fox")).request.num_images == 2


async def test_a_member_has_at_most_so_many_jobs_waiting(world: World) -> None:
    await world.consent(world.alice)
    await configure(world, jobs_waiting_per_member=2)
    actor = Actor(member_id=world.alice.id, guild_id=world.guild.id)
    ask = Ask(text="a fox", channel_id=world.channel.id)
    await world.app.studio.submit(actor, ask)  # recorded, but never put in line
    await world.app.studio.submit(actor, ask)
    refused = await world.alice.slash(world.channel, "imagine", prompt="a fox")
    assert refused.ephemeral
    assert "2 jobs waiting" in refused.response.content
    assert len(await world.app.store.jobs.of_member(world.alice.id)) == 2


async def test_defaults_are_the_members_before_the_servers(world: World) -> None:
    await world.consent(world.alice, world.bob)
    await configure(world, default_style="bold")
    await world.alice.slash(
        world.channel, "mysettings", style="plain", aspect="2:1", negative="text", images=1
    )
    own = (await world.imagine(world.alice, "a fox")).request
    assert (own.style, own.negative_prompt, own.num_images) == ("plain", "text", 1)
    assert own.width == 2 * own.height
    servers = (await world.imagine(world.bob, "a fox")).request
    assert (servers.style, servers.negative_prompt) == ("bold", "")
    asked = (await world.imagine(world.alice, "a fox --style bold --ar 1:1 --no fog")).request
    assert (asked.style, asked.width) == ("bold", asked.height)
    assert "fog" in asked.negative_prompt


# /mysettings


async def test_own_defaults_are_shown_and_cleared(world: World) -> None:
    await world.alice.slash(world.channel, "mysettings", style="bold", negative="*text* @everyone")
    shown = (await world.alice.slash(world.channel, "mysettings")).response
    assert shown.ephemeral
    assert "`bold`" in shown.content
    assert "\\*text\\* \\@everyone" in shown.content
    await world.alice.slash(world.channel, "mysettings", clear="style")
    kept = await world.app.store.settings.member(world.alice.id)
    assert kept == MemberSettings(negative_prompt="*text* @everyone")
    await world.alice.slash(world.channel, "mysettings", clear="everything")
    assert await world.app.store.settings.member(world.alice.id) == MemberSettings()


@pytest.mark.parametrize("aspect", ["wide", "0:1", "9:1", "nan:1", "3/2"])
async def test_an_impossible_aspect_ratio_is_explained(world: World, aspect: str) -> None:
    answer = await world.alice.slash(world.channel, "mysettings", aspect=aspect)
    assert answer.ephemeral
    assert "`3:2`" in answer.response.content
    assert await world.app.store.settings.member(world.alice.id) == MemberSettings()


# /queue and /help


async def test_an_empty_queue_says_so(world: World) -> None:
    answer = await world.bob.slash(world.channel, "queue")
    assert answer.ephemeral
    assert "Nothing waits" in text_of(answer.response)


async def line_up(world: World, *jobs: Job) -> None:
    """Put jobs straight into the line: nothing draws them until the dispatcher is woken."""
    dispatcher = world.app.studio.dispatcher
    for job in jobs:
        dispatcher.queue.push(await dispatcher.line.ticket(job))


async def asleep(world: World) -> None:
    """Let the dispatcher draw once and fall asleep; until then it may still be starting."""
    await world.consent(world.mod)
    await world.imagine(world.mod, "a pear")


async def test_the_queue_shows_turns_and_marks_ones_own(world: World) -> None:
    await asleep(world)
    await world.consent(world.alice, world.bob)
    studio = world.app.studio
    for member, text in ((world.alice, "a secret fox"), (world.bob, "an owl")):
        actor = Actor(member_id=member.id, guild_id=world.guild.id)
        submission = await studio.submit(actor, Ask(text=text, channel_id=world.channel.id))
        await line_up(world, *submission.jobs)
    answer = await world.bob.slash(world.channel, "queue")
    content = text_of(answer.response)
    assert "2 waiting" in content
    assert "**yours**" in content
    assert "an owl" in content
    assert f"<@{world.alice.id}>" in content
    assert "secret" not in content
    assert "fair by cost" in content


async def test_ones_own_place_is_told_even_far_down_the_line(world: World) -> None:
    await asleep(world)
    await world.consent(world.alice, world.bob)
    await configure(world, jobs_waiting_per_member=40)
    studio = world.app.studio
    for member, text in ((world.bob, "{1,2,3,4,5}"), (world.alice, "an owl --r 20")):
        actor = Actor(member_id=member.id, guild_id=world.guild.id)
        submission = await studio.submit(actor, Ask(text=text, channel_id=world.channel.id))
        await line_up(world, *submission.jobs)
    shown = text_of((await world.alice.slash(world.channel, "queue")).response)
    assert "25 waiting" in shown
    assert "10 more" in shown
    assert "**yours** next at place 16" in shown
    assert shown.index(f"<@{world.bob.id}>") < shown.index("**yours**")
    assert len(shown) <= 4000


async def test_the_queue_tells_other_servers_nothing(world: World) -> None:
    await asleep(world)
    await world.consent(world.alice)
    studio = world.app.studio
    actor = Actor(member_id=world.alice.id, guild_id=world.guild.id)
    submission = await studio.submit(actor, Ask(text="a fox", channel_id=world.channel.id))
    await line_up(world, *submission.jobs)
    elsewhere = world.env.create_guild("Elsewhere")
    channel = elsewhere.create_text_channel("general")
    visitor = elsewhere.add_member(world.env.create_user("visitor"))
    content = text_of((await visitor.slash(channel, "queue")).response)
    assert "a job from elsewhere" in content
    assert str(world.alice.id) not in content


@pytest.mark.parametrize("topic", ["start", "prompts", "buttons", "models", "privacy"])
async def test_help_answers_every_topic_privately(world: World, topic: str) -> None:
    answer = await world.bob.slash(world.channel, "help", topic=topic)
    assert answer.ephemeral
    assert text_of(answer.response).strip().startswith("### ")
    assert len(text_of(answer.response)) <= 4000


async def test_help_knows_every_flag_and_every_style(world: World) -> None:
    async def told(topic: str) -> str:
        return text_of((await world.bob.slash(world.channel, "help", topic=topic)).response)

    prompts = await told("prompts")
    assert all(flag.example in prompts for flag in FLAGS)
    models = await told("models")
    assert all(f"`{name}`" in models for name in world.app.studio.checkpoints)
    assert all(style in models for style in world.app.studio.known_styles("pattern"))


async def test_a_full_line_of_one_server_leaves_the_others_free(tmp_path: Path) -> None:
    async with open_world(tmp_path / "data", jobs_waiting_per_server=2) as world:
        submit, here, elsewhere = world.app.studio.submit, world.guild.id, world.guild.id + 1
        ask = Ask(text="a fox", channel_id=world.channel.id)
        for member_id in (1, 2):
            actor = Actor(member_id=member_id, guild_id=here)
            answers = dict.fromkeys(Scope, False)
            await world.app.studio.answer_consent(actor, answers, interaction_id=1)
            await submit(actor, ask)  # queued in the record, and not in line
        with pytest.raises(Refused, match="line is full"):
            await submit(Actor(member_id=3, guild_id=here), ask)
        assert (await submit(Actor(member_id=3, guild_id=elsewhere), ask)).needs_consent
