"""Who may do what: over a server by roles, in a channel by the channel, on no other server."""

from collections.abc import Awaitable, Callable
from typing import Any

import discord
import pytest

from bot.chat.presses import Action, Press
from bot.chat.views.press import PressButton
from bot.demo.stage import text_of
from bot.studio.actors import Actor
from bot.studio.asking import Ask
from bot.studio.refusals import Gone, Refused
from generation.work.jobs import Job
from storage.moderation import ActionKind
from storage.settings import GuildSettings
from tests.integration.conftest import World, answer_to, buttons

ELSEWHERE = "belongs to another server"


async def button_in(world: World, channel: Any, press: Press) -> discord.Message:
    """Have the bot send a message with one button, as no view of ours would."""
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.ActionRow(PressButton(press, label="Press")))
    place: Any = world.app.client.get_channel(channel.id)
    sent: discord.Message = await place.send(view=view)
    return sent


async def make_moderator_of(world: World, channel: Any, member: Any) -> None:
    """Give a member Manage Messages in one channel, as the owner of a temporary room has it."""
    allowed = str(discord.Permissions(manage_messages=True, view_channel=True).value)
    await world.app.client.http.edit_channel_permissions(channel.id, member.id, allowed, "0", 1)


async def test_a_right_in_one_channel_is_none_over_the_server(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a secret of another channel")
    room = world.guild.create_voice_channel("hosts own room")
    host = world.guild.add_member(world.env.create_user("host"))
    await make_moderator_of(world, room, host)
    for command in ("log search", "log export"):
        answer = await host.slash(room, command)
        assert "Only moderators" in text_of(answer_to(answer))
    message = await button_in(world, room, Press(Action.LOG_OPEN, (job.id,)))
    opened = await host.click(message, label="Press")
    assert "secret" not in text_of(opened.response)
    assert "another channel" in text_of(opened.response)
    suspend = await button_in(world, room, Press(Action.MOD_SUSPEND, (job.id,)))
    await host.click(suspend, label="Press")
    assert not await world.app.store.moderation.is_suspended(world.guild.id, world.alice.id)


async def test_a_right_in_a_channel_holds_for_the_jobs_of_that_channel(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox in the room")
    await make_moderator_of(world, world.channel, world.bob)
    shown = await world.bob.context_menu(world.channel, "Show record", world.message(job))
    assert "a fox in the room" in text_of(shown.response)
    form = await world.bob.click(shown.response.message, label="Take down")
    await world.bob.submit_modal(form, {"reason": "not here"})
    assert not any(image.is_shown for image in await world.app.store.images.of_job(job.id))
    # Keeping somebody from the whole server is no channel's matter.
    answer = await world.bob.click(shown.response.message, label="Suspend member")
    assert "Only moderators" in text_of(answer_to(answer))
    assert not await world.app.store.moderation.is_suspended(world.guild.id, world.alice.id)


async def test_no_button_acts_on_a_job_of_another_server(world: World) -> None:
    await world.consent(world.alice, world.bob)
    job = await world.imagine(world.alice, "a fox of the first server")
    (image, *_) = await world.app.store.images.of_job(job.id)
    elsewhere = world.env.create_guild("Elsewhere")
    channel = elsewhere.create_text_channel("general")
    boss = elsewhere.create_role("boss", permissions=discord.Permissions.all())
    visitor = elsewhere.add_member(world.env.create_user("visitor"), roles=[boss])
    await world.consent(visitor)
    presses = [
        Press(Action.VOTE, (image.id,)),
        *(
            Press(action, (job.id,))
            for action in (
                Action.AGAIN,
                Action.DETAILS,
                Action.REMIX,
                Action.CANCEL,
                Action.DELETE,
                Action.DELETE_SURE,
                Action.LOG_OPEN,
                Action.MOD_TAKE_DOWN,
            )
        ),
    ]
    for press in presses:
        message = await button_in(world, channel, press)
        answer = await visitor.click(message, label="Press")
        assert ELSEWHERE in text_of(answer_to(answer)), press
        assert "first server" not in text_of(answer_to(answer))
    assert not any((await world.app.store.votes.counts(job.id)).values())
    assert await world.app.store.jobs.of_member(visitor.id) == []


@pytest.mark.parametrize(
    "custom_id",
    [
        "atelier:nonesuch:1",
        "atelier:details",
        "atelier:consentflip:0:0:0:8000000000",
        "atelier:vote:9223372036854775808",
        "atelier:confirm:1",
        "atelier:logpage:1:1:9223372036854775807:1",
        "atelier:AGAIN:\u00b2",
    ],
)
async def test_a_button_that_is_not_known_is_told_so(world: World, custom_id: str) -> None:
    view = discord.ui.LayoutView(timeout=None)
    button: discord.ui.Button[Any] = discord.ui.Button(label="Press", custom_id=custom_id)
    view.add_item(discord.ui.ActionRow(button))
    place: Any = world.app.client.get_channel(world.channel.id)
    message = await place.send(view=view)
    answer = await world.bob.click(message, label="Press")
    assert answer.ephemeral
    assert "no longer know this button" in answer.response.content


async def test_even_ones_own_job_is_acted_on_from_its_own_server_only(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox that stays")
    (image, *_) = await world.app.store.images.of_job(job.id)
    studio = world.app.studio
    away = Actor(member_id=world.alice.id, guild_id=world.guild.id + 1, channel_id=1)
    ask = Ask(text="a fox", channel_id=1, parent=image)
    for attempt in (
        studio.again(away, job.id, 1),
        studio.vote(away, image.id),
        studio.delete(away, job.id),
        studio.cancel(away, job.id),
        studio.gate.check_remix(away, image),
        studio.submit(away, ask),
        studio.oversight.report(away, job.id, "no"),
    ):
        with pytest.raises(Gone, match=ELSEWHERE):
            await attempt


async def test_a_suspended_member_does_not_vote(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    await world.app.store.moderation.record(
        ActionKind.SUSPEND,
        guild_id=world.guild.id,
        moderator_id=world.mod.id,
        reason="no",
        now=job.created_at,
        member_id=world.bob.id,
        job_id=job.id,
    )
    answer = await world.bob.click(world.message(job), label="1 · 0")
    assert "suspended" in text_of(answer_to(answer))
    assert not any((await world.app.store.votes.counts(job.id)).values())


async def test_what_was_taken_down_leaves_neither_words_nor_again_in_public(world: World) -> None:
    await world.consent(world.alice, world.bob)
    job = await world.imagine(world.alice, "a vile thing")
    shown = await world.mod.context_menu(world.channel, "Show record", world.message(job))
    form = await world.mod.click(shown.response.message, label="Take down")
    await world.mod.submit_modal(form, {"reason": "not here"})
    message = world.message(job)
    assert "vile" not in text_of(message)
    assert list(buttons(message)) == ["Details"]
    assert message.attachments == []
    for member, may_read in ((world.bob, False), (world.alice, True), (world.mod, True)):
        details = await member.click(message, label="Details")
        assert ("vile" in text_of(answer_to(details))) is may_read
    form = await world.mod.click(shown.response.message, label="Restore")
    await world.mod.submit_modal(form, {"reason": "it was art"})
    assert "vile" in text_of(world.message(job))
    assert "Again" in buttons(world.message(job))


async def test_details_shows_nobody_the_signed_link_of_a_picture(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    async with world.app.store.database.transaction() as connection:
        signed = "https://cdn.simcord.invalid/a.png?ex=1&hm=5ec4e7 a fox"
        await connection.execute("UPDATE jobs SET typed = ? WHERE id = ?", (signed, job.id))
    details = await world.bob.click(world.message(job), label="Details")
    assert "a fox" in text_of(details.response)
    assert "5ec4e7" not in text_of(details.response)


# Channels


async def allow(world: World, channel: Any) -> None:
    guild = world.app.store.settings
    settings = await guild.guild(world.guild.id)
    await guild.save_guild(
        world.guild.id, type(settings)(allowed_channel_ids=(channel.id,), images_per_job=1)
    )


async def test_a_thread_counts_as_its_channel(world: World) -> None:
    await world.consent(world.alice)
    art, other = world.guild.create_text_channel("art"), world.guild.create_text_channel("other")
    await allow(world, art)
    threads = []
    for parent in (art, other):
        place: Any = world.app.client.get_channel(parent.id)
        await place.create_thread(name="sketches", type=discord.ChannelType.public_thread)
        threads += parent.threads
    allowed, refused = threads
    answer = await world.alice.slash(refused, "imagine", prompt="a fox")
    assert "Pictures are drawn in" in text_of(answer_to(answer))
    await world.alice.slash(allowed, "imagine", prompt="a fox")
    (job,) = await world.app.store.jobs.of_member(world.alice.id)
    assert job.place.channel_id == allowed.id


@pytest.mark.parametrize("kind", ["voice", "stage", "forum", "news"])
async def test_every_kind_of_channel_can_be_allowed(world: World, kind: str) -> None:
    owners = world.guild.create_role("owners", permissions=discord.Permissions(manage_guild=True))
    owner = world.guild.add_member(world.env.create_user("owner"), roles=[owners])
    create: Callable[[str], Any] = getattr(world.guild, f"create_{kind}_channel")
    channel = create("pictures")
    await owner.slash(world.channel, "settings", allow_channel=channel)
    saved = await world.app.store.settings.guild(world.guild.id)
    assert saved.allowed_channel_ids == (channel.id,)


async def test_a_category_is_no_place_to_draw_in(world: World) -> None:
    owners = world.guild.create_role("owners", permissions=discord.Permissions(manage_guild=True))
    owner = world.guild.add_member(world.env.create_user("owner"), roles=[owners])
    category = world.guild.create_category("rooms")
    answer = await owner.slash(world.channel, "settings", allow_channel=category)
    assert "not the category" in text_of(answer_to(answer))


async def test_a_post_of_an_allowed_forum_is_drawn_in(world: World) -> None:
    await world.consent(world.alice)
    forum = world.guild.create_forum_channel("showcase")
    await allow(world, forum)
    place: Any = world.app.client.get_channel(forum.id)
    await place.create_thread(name="foxes", content="post your foxes")
    (post,) = forum.threads
    await world.alice.slash(post, "imagine", prompt="a fox")
    (job,) = await world.app.store.jobs.of_member(world.alice.id)
    assert job.place.channel_id == post.id


# Limits


async def test_again_draws_no_more_than_the_server_allows_now(world: World) -> None:
    await world.consent(world.alice)
    job = await world.imagine(world.alice, "a fox")
    assert job.request.num_images == 4
    settings = await world.app.store.settings.guild(world.guild.id)
    fewer = type(settings)(images_per_job=2)
    await world.app.store.settings.save_guild(world.guild.id, fewer)
    again: Callable[..., Awaitable[Any]] = world.alice.click
    await again(world.message(job), label="Again")
    newest: Job = (await world.app.store.jobs.of_member(world.alice.id))[-1]
    assert newest.id != job.id
    assert newest.request.num_candidates == 2
    assert "at most 2 images" in " ".join(newest.notes)


async def test_what_would_be_refused_in_the_end_is_refused_before_anything_is_fetched(
    world: World,
) -> None:
    actor = Actor(member_id=world.bob.id, guild_id=world.guild.id, channel_id=world.channel.id)
    many = Ask(text="{" + ",".join("abcdefgh") + "} fox", channel_id=world.channel.id)
    rules = GuildSettings(jobs_waiting_per_member=7)
    await world.app.store.settings.save_guild(world.guild.id, rules)
    with pytest.raises(Refused, match="jobs waiting here"):
        await world.app.studio.check_ask(actor, many)
    await allow(world, world.guild.create_text_channel("art"))
    with pytest.raises(Refused, match="Pictures are drawn in"):
        await world.app.studio.check_ask(actor, Ask(text="a fox", channel_id=world.channel.id))
