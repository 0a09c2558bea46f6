"""Moderators read the log and act on it; every act is recorded, shown and enforced at once."""

import codecs
import csv
import datetime as dt
import io
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
import simcord
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.presses import Press
from bot.chat.views.record import page_press, search_of
from bot.demo.stage import text_of
from bot.studio.records import safe_cell
from bot.studio.refusals import Refused
from bot.studio.searches import MAX_TEXT, STATES, Search, search_from
from generation.work.checkpoints import PATTERN
from generation.work.jobs import Job, JobState, Place
from generation.work.requests.imagine import Imagine, WeightedPrompt
from storage.asking import NewJob
from storage.moderation import ActionKind
from tests.integration.conftest import World

NOW = dt.datetime(2026, 3, 31, 12, tzinfo=dt.UTC)


def controls(message: Any) -> list[dict[str, Any]]:
    """Return every component of a message, flat, as Discord has it."""

    def walk(component: Any) -> list[dict[str, Any]]:
        if isinstance(component, list):
            return [found for each in component for found in walk(each)]
        inner = [component[key] for key in ("components", "accessory") if key in component]
        return [component, *walk(inner)]

    return walk([c if isinstance(c, dict) else c.to_dict() for c in message.components])


def labels(message: Any) -> list[str]:
    return [c["label"] for c in controls(message) if c["type"] == 2]


def press_id(message: Any, start: str) -> str:
    """Return the one custom_id of a message that begins like this."""
    (found,) = [
        c["custom_id"] for c in controls(message) if c.get("custom_id", "").startswith(start)
    ]
    return str(found)


async def recorded(world: World, typed: str = "a fox", **changes: Any) -> Job:
    """Put a queued job of alice's into the record without drawing it."""
    values = {"prompts": (WeightedPrompt(typed),), "model": PATTERN.name, "seed": 1}
    request = Imagine(
        **values, width=128, height=128, num_inference_steps=4, guidance_scale=2.0, num_images=1
    )
    member_id = changes.pop("member_id", world.alice.id)
    guild_id = changes.pop("guild_id", world.guild.id)
    created = changes.pop("now", dt.datetime.now(dt.UTC))
    new = NewJob(
        member_id=member_id,
        place=Place(guild_id=guild_id, channel_id=world.channel.id),
        typed=typed,
        request=request,
        cost_s=1.0,
    )
    job = await world.app.store.jobs.add(new, now=created)
    for state in changes.pop("states", (JobState.CANCELLED,)):
        job = await world.app.store.jobs.move(
            job.id, expected=job.state, to=state, now=created, reason=None
        )
    assert not changes
    return job


async def drawn(world: World) -> Job:
    """Let alice have one picture drawn."""
    await world.consent(world.alice)
    return await world.imagine(world.alice, "a fox --seed 7 --no teeth", images=2)


async def record(world: World, job: Job, member: Any = None) -> Any:
    """Open a job's record through the context menu; return the message that shows it."""
    opened = await (member or world.mod).context_menu(
        world.channel, "Show record", world.message(job)
    )
    assert opened.ephemeral
    return opened.response


async def act(world: World, shown: Any, label: str, reason: str = "not here") -> Any:
    """Press a button of a record and send its form."""
    form = await world.mod.click(shown, label=label)
    return await world.mod.submit_modal(form, {"reason": reason})


async def audit(world: World, job: Job) -> list[tuple[str, int, str]]:
    entries = await world.app.store.moderation.of_job(job.id)
    return [(entry.kind.value, entry.moderator_id, entry.reason) for entry in entries]


def said(result: Any) -> str:
    """Return the sentence that an interaction was answered with."""
    return "\n".join(
        text_of(message) for message in (result.response, *result.followups) if message is not None
    )


# Who may


async def let_in(world: World, target: Any) -> None:
    """Let a member or a role use the moderators' commands, as a server's owner can."""
    for command in await world.app.client.tree.fetch_commands():
        if command.name in {"log", "Show record"}:
            world.guild.set_command_permissions(command, {target: True})


async def test_members_get_one_private_sentence_instead_of_the_log(world: World) -> None:
    await let_in(world, world.bob)
    for command in ("log search", "log export"):
        answer = await world.bob.slash(world.channel, command)
        assert answer.ephemeral
        assert "Only moderators" in answer.response.content
        assert answer.followups == []


async def test_members_cannot_open_records(world: World) -> None:
    job = await drawn(world)
    await let_in(world, world.bob)
    answer = await world.bob.context_menu(world.channel, "Show record", world.message(job))
    assert answer.ephemeral
    assert "Only moderators" in answer.response.content


async def test_the_servers_own_moderator_role_may_moderate(world: World) -> None:
    helpers = world.guild.create_role("helpers")
    carol = world.guild.add_member(world.env.create_user("carol"), roles=[helpers])
    await let_in(world, helpers)
    refused = await carol.slash(world.channel, "log search")
    assert "Only moderators" in refused.response.content
    settings = await world.app.store.settings.guild(world.guild.id)
    await world.app.store.settings.save_guild(
        world.guild.id, type(settings)(moderator_role_id=helpers.id)
    )
    allowed = await carol.slash(world.channel, "log search")
    assert "Nothing found" in text_of(allowed.response)


async def test_permission_lost_between_record_and_press_is_refused(world: World) -> None:
    job = await drawn(world)
    shown = await record(world, job)
    form = await world.mod.click(shown, label="Take down")
    (role_id,) = world.env.backend.get_member(world.guild.id, world.mod.id).role_ids
    world.env.backend.remove_member_role(world.guild.id, world.mod.id, role_id)
    sent = await world.mod.submit_modal(form, {"reason": "too late"})
    assert "Only moderators" in said(sent)
    pressed = await world.mod.click(shown, label="Suspend member")
    assert pressed.modal is None
    assert "Only moderators" in said(pressed)
    assert await audit(world, job) == []
    assert len(world.message(job).attachments) == 2


async def test_another_servers_moderator_sees_nothing(world: World) -> None:
    job = await drawn(world)
    shown = await record(world, job)
    elsewhere = world.env.create_guild("Elsewhere")
    channel = elsewhere.create_text_channel("general")
    boss = elsewhere.add_member(elsewhere.owner)
    page = await boss.slash(channel, "log search")
    assert "Nothing found" in text_of(page.response)
    export = await boss.slash(channel, "log export")
    (file,) = export.response.attachments
    assert len((await file.read()).decode("utf-8-sig").splitlines()) == 1
    assert labels(shown)  # the record itself has buttons, which only its own server can press


# The record


async def test_the_record_holds_everything(world: World) -> None:
    job = await drawn(world)
    await world.bob.click(world.message(job), label="2 · 0")
    shown = await record(world, job)
    text = text_of(shown)
    images = await world.app.store.images.of_job(job.id)
    for fact in (
        f"Job {job.id} · posted",
        f"<@{world.alice.id}>",
        "a fox \\-\\-seed 7 \\-\\-no teeth",
        "**Prompt:** a fox",
        "**Negative prompt:** teeth",
        "**Model:** pattern",
        "**Seed:** 7, for the first",
        "seed `8`",
        *(image.sha256[:16] for image in images),
        "gallery on, remix on, training on",
        "👍 1",
        "asked <t:",
        "ended <t:",
    ):
        assert fact in text, fact
    assert len(text) <= 4000
    names = [file.filename for file in shown.attachments]
    assert names == [
        f"atelier-{job.id}-1.png",
        f"atelier-{job.id}-2.png",
        f"atelier-job-{job.id}.json",
    ]
    whole = json.loads(await shown.attachments[2].read())
    assert whole["job"]["typed"] == job.typed
    assert whole["job"]["request"]["seed"] == 7
    assert whole["job"]["fingerprint"] == json.loads(job.fingerprint or "")
    assert whole["votes"] == {str(images[0].id): 0, str(images[1].id): 1}


async def test_the_record_shows_consent_as_it_stood_then(world: World) -> None:
    job = await drawn(world)
    await world.consent(world.alice, gallery=False, remix=False, training=False)
    assert "gallery on, remix on, training on" in text_of(await record(world, job))


async def test_the_first_pictures_record_shows_the_answer_given_for_it(world: World) -> None:
    asked = await world.alice.slash(world.channel, "imagine", prompt="a fox", images=1)
    await world.alice.click(asked.response, label="Save and draw")
    (job,) = await world.app.store.jobs.of_member(world.alice.id)
    job = await world.job_in(job.id, JobState.POSTED)
    assert "gallery off, remix off, training off" in text_of(await record(world, job))


async def test_parents_and_children_are_one_press_apart(world: World) -> None:
    job = await drawn(world)
    await world.consent(world.bob)
    image = (await world.app.store.images.of_job(job.id))[1]
    form = await world.bob.click(world.message(job), label="Remix")
    await world.bob.submit_modal(form, {"prompt": "an owl", "image": [str(image.id)]})
    (child,) = await world.app.store.jobs.of_member(world.bob.id)
    child = await world.job_in(child.id, JobState.POSTED)
    parent_record = await record(world, job)
    opened = await world.mod.click(parent_record, label=f"Job {child.id}")
    assert f"picture 2 of job {job.id}" in text_of(opened.response)
    back = await world.mod.click(opened.response, label=f"Job {job.id}")
    assert f"Job {job.id} · posted" in text_of(back.response)


async def test_the_longest_prompts_still_fit(world: World) -> None:
    job = await recorded(world, "*" * 2000)
    page = await world.mod.slash(world.channel, "log search")
    shown = await world.mod.click(page.response, label="Open")
    assert f"Job {job.id}" in text_of(shown.response)
    assert len(text_of(shown.response)) <= 4000


async def test_a_message_that_is_no_picture_has_no_record(world: World) -> None:
    message = await world.alice.send(world.channel, "hello")
    for name in ("Show record", "Report"):
        answer = await world.mod.context_menu(world.channel, name, message)
        assert answer.ephemeral
        assert "not one of my pictures" in answer.response.content


# Acting


async def test_take_down_hides_pictures_and_restore_brings_them_back(world: World) -> None:
    job = await drawn(world)
    before = [await file.read() for file in world.message(job).attachments]
    shown = await record(world, job)
    await act(world, shown, "Take down", "spam")
    hidden = world.message(job)
    assert hidden.attachments == []
    assert "taken these pictures down" in text_of(hidden)
    assert "Remix" not in labels(hidden)
    shown = await record(world, job)
    assert len(shown.attachments) == 3  # moderators still see them, as spoilers
    (gallery,) = [c for c in controls(shown) if c["type"] == 12]
    assert all(item["spoiler"] for item in gallery["items"])
    assert "Take down" not in labels(shown)
    await act(world, shown, "Restore", "my mistake")
    assert [await file.read() for file in world.message(job).attachments] == before


async def test_each_act_appends_its_entries_and_names_who_and_why(world: World) -> None:
    job = await drawn(world)
    shown = await record(world, job)
    mod = world.mod.id
    for label, kind, count in (
        ("Take down", "take_down", 2),  # one entry a picture
        ("Restore", "restore", 2),
        ("Suspend member", "suspend", 1),
        ("Lift suspension", "lift", 1),
    ):
        before = await audit(world, job)
        answer = await act(world, await record(world, job), label, f"because {label}")
        entries = (await world.app.store.moderation.of_job(job.id))[len(before) :]
        assert [(e.kind.value, e.moderator_id, e.reason) for e in entries] == [
            (kind, mod, f"because {label}")
        ] * count
        assert all(entry.member_id == world.alice.id for entry in entries)
        assert f"#{entries[0].id}" in said(answer)
        assert f"because {label}" in text_of(await record(world, job))
    assert shown.id  # the first record was never needed again


async def test_the_record_shows_the_act_at_once(world: World) -> None:
    job = await drawn(world)
    shown = await record(world, job)
    await act(world, shown, "Suspend member", "rude words")
    assert "rude words" in text_of(shown)
    assert "Lift suspension" in labels(shown)
    assert "Suspend member" not in labels(shown)


async def test_an_act_that_changes_nothing_is_refused_and_not_recorded(world: World) -> None:
    job = await drawn(world)
    first, second = await record(world, job), await record(world, job)
    await act(world, first, "Take down")
    again = await act(world, second, "Take down")
    assert "nothing was changed" in said(again)
    assert len(await audit(world, job)) == 2


async def test_a_take_down_said_again_draws_the_message_again(world: World) -> None:
    job = await drawn(world)
    first, second = await record(world, job), await record(world, job)
    await act(world, first, "Take down")
    outbox = world.app.store.outbox
    number = (await outbox.of_job(job.id)).id
    await outbox.give_up(number, reason="Invalid Form Body", now=dt.datetime.now(dt.UTC))
    before = await outbox.get(number)
    await act(world, second, "Take down")
    row = await world.app.client.messages.settled(await outbox.get(number))
    assert row.wanted == row.shown > before.wanted
    assert world.message(job).attachments == []


@pytest.mark.parametrize("damage", ["lost", "damaged"])
async def test_a_picture_that_cannot_be_read_keeps_no_moderator_from_taking_it_down(
    world: World, damage: str
) -> None:
    job = await drawn(world)
    first, _ = await world.app.store.images.of_job(job.id)
    path = world.app.store.files.path(first.sha256)
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    answer = await act(world, await record(world, job), "Take down")
    assert "Taken down" in said(answer)
    assert world.message(job).attachments == []


async def test_pictures_that_are_too_large_keep_no_moderator_from_taking_them_down(
    world: World,
) -> None:
    job = await drawn(world)
    refused = {"status": 413, "code": 40005, "message": "Request entity too large"}
    world.env.inject_error("PATCH", "/webhooks/*", **refused)
    shown = await record(world, job)
    assert [file.filename for file in shown.attachments] == [f"atelier-job-{job.id}.json"]
    assert "Taken down" in said(await act(world, shown, "Take down"))


async def test_a_suspended_member_is_refused_until_it_is_lifted(world: World) -> None:
    job = await drawn(world)
    await act(world, await record(world, job), "Suspend member")
    refused = await world.alice.slash(world.channel, "imagine", prompt="an owl")
    assert refused.ephemeral
    assert "suspended" in refused.response.content
    again = await world.alice.click(world.message(job), label="Again")
    assert "suspended" in said(again)
    assert [j.id for j in await world.app.store.jobs.of_member(world.alice.id)] == [job.id]
    await act(world, await record(world, job), "Lift suspension")
    await world.imagine(world.alice, "an owl")


async def test_moderators_cannot_suspend_themselves(world: World) -> None:
    await world.consent(world.mod)
    job = await world.imagine(world.mod, "a fox", images=1)
    answer = await act(world, await record(world, job), "Suspend member")
    assert "yourself" in said(answer)
    assert await audit(world, job) == []


async def test_acts_are_told_in_the_log_channel(world: World) -> None:
    job = await drawn(world)
    log_channel = await with_log_channel(world)
    await act(world, await record(world, job), "Take down", "spam")
    told = log_channel.last_message
    assert told is not None
    assert "Taken down" in text_of(told)
    assert "spam" in text_of(told)
    opened = await world.mod.click(told, label="Open record")
    assert f"Job {job.id}" in text_of(opened.response)


async def test_a_lost_log_channel_does_not_stop_the_act(world: World) -> None:
    job = await drawn(world)
    log_channel = await with_log_channel(world)
    path = f"/channels/{log_channel.id}/messages"
    world.env.inject_error("POST", path, status=403, code=50013, message="Missing Permissions")
    answer = await act(world, await record(world, job), "Take down")
    assert f"<#{log_channel.id}>" in said(answer)
    assert "Permissions" in said(answer)
    assert world.message(job).attachments == []


async def test_a_deleted_message_does_not_stop_the_act(world: World) -> None:
    job = await drawn(world)
    shown = await record(world, job)
    await world.message(job).delete()
    answer = await act(world, shown, "Take down")
    assert "Its message is gone" in said(answer)
    assert len(await audit(world, job)) == 2


async def with_log_channel(world: World) -> Any:
    channel = world.guild.create_text_channel("log")
    settings = await world.app.store.settings.guild(world.guild.id)
    await world.app.store.settings.save_guild(
        world.guild.id, type(settings)(log_channel_id=channel.id)
    )
    return channel


# Reports


async def report(world: World, job: Job, member: Any, reason: str) -> Any:
    form = await member.context_menu(world.channel, "Report", world.message(job))
    return await member.submit_modal(form, {"reason": reason})


async def test_a_report_lands_in_the_log_channel_once_a_member(world: World) -> None:
    job = await drawn(world)
    log_channel = await with_log_channel(world)
    first = await report(world, job, world.bob, "@everyone look **here**")
    assert first.ephemeral
    second = await report(world, job, world.bob, "again")
    assert "already reported" in said(second)
    await report(world, job, world.mod, "me too")
    told = [text_of(message) for message in log_channel.history()]
    assert len(told) == 2
    assert f"Job {job.id}" in told[0] or f"job {job.id}" in told[0]
    assert f"<@{world.bob.id}>" in told[0]
    assert "**here**" not in told[0]
    assert not any(message.mention_everyone for message in log_channel.history())
    opened = await world.mod.click(log_channel.history()[0], label="Open record")
    assert "me too" in text_of(opened.response)


async def test_open_reports_are_flagged_until_they_are_closed(world: World) -> None:
    job = await drawn(world)
    await report(world, job, world.bob, "look")
    page = await world.mod.slash(world.channel, "log search")
    assert "1 open report" in text_of(page.response)
    await act(world, await record(world, job), "Close reports", "looked, is fine")
    page = await world.mod.slash(world.channel, "log search")
    assert "report" not in text_of(page.response)
    assert await audit(world, job) == [
        (ActionKind.REPORT_CLOSED.value, world.mod.id, "looked, is fine")
    ]


# The log


async def test_log_finds_by_member_text_and_state_newest_first(world: World) -> None:
    first = await recorded(world, "a red fox")
    second = await recorded(world, "a blue fox", member_id=world.bob.id)
    third = await recorded(world, "an owl", states=(JobState.FAILED,))

    async def found(**filters: Any) -> list[int]:
        page = await world.mod.slash(world.channel, "log search", **filters)
        ids = [c["custom_id"] for c in controls(page.response) if c["type"] == 2]
        return [Press.parse(custom_id).numbers[0] for custom_id in ids]  # type: ignore[union-attr]

    assert await found() == [third.id, second.id, first.id]
    assert await found(text="fox") == [second.id, first.id]
    assert await found(member=world.bob) == [second.id]
    assert await found(state="failed") == [third.id]
    assert await found(member=world.alice, text="FOX", state="cancelled") == [first.id]
    assert await found(text="zebra") == []


async def test_log_since_leaves_older_jobs_out(world: World) -> None:
    old = dt.datetime.now(dt.UTC) - dt.timedelta(days=3)
    await recorded(world, "an old fox", now=old)
    new = await recorded(world, "a new fox")
    page = await world.mod.slash(world.channel, "log search", since="2d")
    assert f"**{new.id}**" in text_of(page.response)
    assert "old" not in text_of(page.response)


async def test_pages_keep_their_search_after_a_restart(world: World) -> None:
    foxes = [(await recorded(world, f"fox {n}")).id for n in range(12)]
    await recorded(world, "an owl")
    page = await world.mod.slash(world.channel, "log search", text="fox", member=world.alice)
    seen = entries(page.response)
    await world.restart()
    await world.mod.click(page.response, label="Older")
    seen += entries(page.response)
    await world.mod.click(page.response, label="Older")
    seen += entries(page.response)
    assert seen == foxes[::-1]
    assert "Older" not in labels(page.response)
    await world.mod.click(page.response, label="Newest")
    assert entries(page.response) == foxes[:-6:-1]
    assert "“fox”" in text_of(page.response)


def entries(page: Any) -> list[int]:
    """Return the job numbers on a page of the log, from the top."""
    ids = [c["custom_id"] for c in controls(page) if c.get("label") == "Open"]
    return [int(custom_id.rsplit(":", 1)[1]) for custom_id in ids]


async def test_a_member_cannot_turn_a_moderators_page(world: World) -> None:
    for n in range(6):
        await recorded(world, f"fox {n}")
    page = await world.mod.slash(world.channel, "log search")
    (role_id,) = world.env.backend.get_member(world.guild.id, world.mod.id).role_ids
    world.env.backend.remove_member_role(world.guild.id, world.mod.id, role_id)
    answer = await world.mod.click(page.response, label="Older")
    assert "Only moderators" in said(answer)


@pytest.mark.parametrize("since", ["tomorrow", "mid", "-3d", "9999999w", "2999-01-01", "", "NaN"])
def test_a_time_that_is_none_is_explained(since: str) -> None:
    if not since:
        assert (
            search_from(member_id=None, text=None, since=since, state=None, now=NOW).since is None
        )
        return
    with pytest.raises(Refused, match="2026-03-31"):
        search_from(member_id=None, text=None, since=since, state=None, now=NOW)


def test_spans_and_dates_are_moments() -> None:
    def since(text: str) -> dt.datetime | None:
        return search_from(member_id=None, text=None, since=text, state=None, now=NOW).since

    assert since("90m") == NOW - dt.timedelta(minutes=90)
    assert since("2 W") == NOW - dt.timedelta(weeks=2)
    assert since("3 days ago") == since("3d") == NOW - dt.timedelta(days=3)
    assert since("last hour") == since("an hour") == since("h") == NOW - dt.timedelta(hours=1)
    assert since("10 min") == since("10 minutes") == NOW - dt.timedelta(minutes=10)
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    assert since("Today") == midnight
    assert since("yesterday") == midnight - dt.timedelta(days=1)
    assert since("2026-03-01") == dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    assert since("2026-03-01T10:00+02:00") == dt.datetime(2026, 3, 1, 8, tzinfo=dt.UTC)


searches = st.builds(
    Search,
    member_id=st.none() | st.integers(1, 2**63 - 1),
    text=st.text(st.characters(codec="utf-8"), max_size=MAX_TEXT),
    since=st.none()
    | st.integers(1, 2**33).map(lambda second: dt.datetime.fromtimestamp(second, dt.UTC)),
    state=st.none() | st.sampled_from(STATES),
)


@given(searches, st.integers(0, 10**10 - 1))
def test_a_search_fits_into_its_button_and_comes_back(search: Search, before_id: int) -> None:
    custom_id = page_press(search, before_id).pack()
    assert len(custom_id) <= 100
    press = Press.parse(custom_id)
    assert press is not None
    assert search_of(press) == (search, before_id)


# The table


async def test_export_is_a_table_that_no_spreadsheet_runs(world: World) -> None:
    evil = '=HYPERLINK("http://evil","fox")'
    await recorded(world, evil)
    await recorded(world, 'plain, with a comma and a "quote"')
    answer = await world.mod.slash(world.channel, "log export")
    assert answer.ephemeral
    (file,) = answer.response.attachments
    assert file.filename == "atelier-log.csv"
    rows = list(csv.DictReader(io.StringIO((await file.read()).decode("utf-8-sig"))))
    assert (await file.read()).startswith(codecs.BOM_UTF8)
    assert [row["typed"] for row in rows] == ['plain, with a comma and a "quote"', f"'{evil}"]
    assert rows[1]["prompt"] == f"'{evil}"
    assert rows[0]["member"] == f"<@{world.alice.id}>"  # a bare number would be rounded
    assert rows[0]["channel"] == f"<#{world.channel.id}>"
    assert rows[0]["state"] == "cancelled"


async def test_export_keeps_the_filters(world: World) -> None:
    await recorded(world, "a fox")
    await recorded(world, "an owl", member_id=world.bob.id)
    answer = await world.mod.slash(world.channel, "log export", member=world.bob)
    (file,) = answer.response.attachments
    rows = list(csv.DictReader(io.StringIO((await file.read()).decode("utf-8-sig"))))
    assert [row["typed"] for row in rows] == ["an owl"]
    assert "1 job" in answer.response.content


@given(st.text() | st.integers() | st.floats() | st.none())
def test_no_cell_begins_like_a_formula_unless_it_is_a_number(value: Any) -> None:
    cell = safe_cell(value)
    if not isinstance(value, str):
        return
    for part in re.split(r"[;|\t\n]", cell):
        assert not part.strip().startswith(("=", "+", "-", "@"))
    shown = "".join(letter for letter in value if letter in "\t\n" or letter.isprintable())
    kept = "".join(letter for letter in cell if letter in "\t\n" or letter in shown)
    assert kept.replace("'", "") == shown.replace("'", "")


@pytest.mark.parametrize(
    ("typed", "cell"),
    [
        ("a fox;=HYPERLINK(A1)", "a fox;'=HYPERLINK(A1)"),
        ("fox;=cmd|' /C calc'!A0;x", "fox;'=cmd|' /C calc'!A0;x"),
        ("a\t @SUM(1)", "a\t' @SUM(1)"),
        ("a fox --ar 3:2; an owl -- no", "a fox --ar 3:2; an owl -- no"),
        ("\x1b[2J\x9b31m fox\x7f", "␛[2J\ufffd31m fox␡"),
        ("白い猫", "白い猫"),
    ],
)
def test_no_cell_behind_a_semicolon_is_a_formula_and_none_commands_a_terminal(
    typed: str, cell: str
) -> None:
    assert safe_cell(typed) == cell


async def test_commands_are_listed_for_those_who_may_use_them(world: World) -> None:
    assert "log search" in world.mod.available_commands(world.channel)
    for command in ("log search", "log export", "settings"):
        assert command not in world.bob.available_commands(world.channel)
        with pytest.raises(simcord.SetupError):
            await world.bob.slash(world.channel, command)
    await let_in(world, world.bob)  # as the server's own moderator role is
    assert "log search" in world.bob.available_commands(world.channel)


def test_every_state_keeps_its_number() -> None:
    """Old buttons carry it; new states go to the end."""
    expected: Mapping[int, str] = dict(
        enumerate(
            ["held", "queued", "running", "rendered", "posted", "failed", "cancelled", "refused"]
        )
    )
    assert {place: state.value for place, state in enumerate(STATES)} == expected
