"""How the log looks to moderators: a page of jobs, and the whole record of one."""

import datetime as dt
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import discord

from bot.chat.presses import Action, Press
from bot.chat.views.press import PressButton
from bot.chat.views.result import file_name, stamp
from bot.messages import mention, plain
from bot.studio.records import Page, Record
from bot.studio.searches import STATES, Search
from generation.work.jobs import Image, Job
from storage.moderation import Action as ModerationAction
from storage.moderation import ActionKind
from storage.search import COUNT_LIMIT

DANGER = discord.ButtonStyle.danger
Row = discord.ui.ActionRow[Any]
Item = discord.ui.Item[Any]
TEXT_LIMIT = 3_600  # of the 4,000 characters that a message may hold
SHOWN_ACTIONS = 6
SHOWN_CHILDREN = 3

DONE = {
    ActionKind.TAKE_DOWN: "Taken down",
    ActionKind.RESTORE: "Restored",
    ActionKind.SUSPEND: "Member suspended",
    ActionKind.LIFT: "Suspension lifted",
    ActionKind.CANCEL: "Cancelled",
    ActionKind.DELETE: "Deleted",
    ActionKind.REPORT_CLOSED: "Report closed",
}


def page_view(search: Search, before_id: int, page: Page) -> discord.ui.LayoutView:
    """Return one page of the log.

    Args:
        search: What is looked for; its buttons carry it on.
        before_id: Where this page begins, 0 for the newest.
        page: What was found there.
    """
    items: list[Item] = [discord.ui.TextDisplay(_heading(search, page))]
    for job in page.jobs:
        button = PressButton(Press(Action.LOG_OPEN, (job.id,)), label="Open")
        items.append(discord.ui.Section[Any](_entry(job, page), accessory=button))
    turns = []
    if page.has_older:
        turns.append(PressButton(page_press(search, page.jobs[-1].id), label="Older"))
    if before_id:
        turns.append(PressButton(page_press(search, 0), label="Newest"))
    if turns:
        items.append(Row(*turns))
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.Container(*items))
    return view


def page_press(search: Search, before_id: int) -> Press:
    """Return the press of one page, which carries the whole search; `search_of` is its inverse.

    Args:
        search: What is looked for.
        before_id: The page holds jobs older than this one; 0 for the newest.
    """
    numbers = (
        search.member_id or 0,
        1 + STATES.index(search.state) if search.state else 0,
        int(search.since.timestamp()) if search.since else 0,
        before_id,
    )
    return Press(Action.LOG_PAGE, numbers, search.text)


def search_of(press: Press) -> tuple[Search, int]:
    """Return the search and the job before which its page begins, 0 for the newest page."""
    member_id, state, since_s, before_id = press.numbers
    search = Search(
        member_id=member_id or None,
        text=press.text,
        since=dt.datetime.fromtimestamp(since_s, dt.UTC) if since_s else None,
        state=STATES[state - 1] if 0 < state <= len(STATES) else None,
    )
    return search, before_id


def _heading(search: Search, page: Page) -> str:
    filters = [
        f"by {mention(search.member_id)}" if search.member_id else "",
        f"with “{plain(search.text)}”" if search.text else "",
        f"since {stamp(search.since)}" if search.since else "",
        search.state.value if search.state else "",
    ]
    more = " or more" if page.total >= COUNT_LIMIT else ""
    count = "Nothing found" if not page.total else f"{page.total:,}{more} found"
    reports = sum(page.open_reports.values())
    flagged = f" · 🚩 {reports} open {'report' if reports == 1 else 'reports'}" if reports else ""
    return f"### Log {' · '.join(filter(None, filters))}\n-# {count}, newest first{flagged}"


def _entry(job: Job, page: Page) -> str:
    flag = "🚩 " if page.open_reports.get(job.id) else ""
    facts = f"{flag}**{job.id}** · {job.state.value} · {mention(job.member_id)}"
    return f"{facts} · {stamp(job.created_at)}\n{plain(job.typed, 120)}"


def record_view(record: Record, attached: Sequence[Image]) -> discord.ui.LayoutView:
    """Return the whole record of one job, with what a moderator can do about it.

    Args:
        record: Of a job.
        attached: The pictures sent with the message, under `file_name`.
    """
    items: list[Item] = [discord.ui.TextDisplay(_text(record))]
    if attached:
        items.append(discord.ui.MediaGallery(*(_picture(record, image) for image in attached)))
    items.append(discord.ui.File(f"attachment://{json_name(record.job)}"))
    items.append(_actions(record))
    if related := _related(record):
        items.append(related)
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.Container(*items))
    return view


def json_name(job: Job) -> str:
    """Return the name of the attached record."""
    return f"atelier-job-{job.id}.json"


def _picture(record: Record, image: Image) -> discord.MediaGalleryItem:
    votes = record.votes.get(image.id, 0)
    return discord.MediaGalleryItem(
        f"attachment://{file_name(image)}",
        description=f"Picture {image.index + 1} of job {image.job_id}, votes: {votes}",
        spoiler=not image.is_shown,
    )


def _actions(record: Record) -> Row:
    number = (record.job.id,)
    buttons = []
    if any(image.is_shown for image in record.images):
        buttons.append(
            PressButton(Press(Action.MOD_TAKE_DOWN, number), label="Take down", style=DANGER)
        )
    if any(image.taken_down_at and not image.removed_at for image in record.images):
        buttons.append(PressButton(Press(Action.MOD_RESTORE, number), label="Restore"))
    if record.is_suspended:
        buttons.append(PressButton(Press(Action.MOD_LIFT, number), label="Lift suspension"))
    else:
        buttons.append(
            PressButton(Press(Action.MOD_SUSPEND, number), label="Suspend member", style=DANGER)
        )
    if record.reports:
        buttons.append(PressButton(Press(Action.MOD_CLOSE, number), label="Close reports"))
    return Row(*buttons)


def _related(record: Record) -> Row | None:
    related = [record.parent.job_id] if record.parent else []
    related += record.children[:SHOWN_CHILDREN]
    buttons = [
        PressButton(Press(Action.LOG_OPEN, (job_id,)), label=f"Job {job_id}") for job_id in related
    ]
    return Row(*buttons) if buttons else None


def _text(record: Record) -> str:
    """Return the record in words, with foreign text cut shorter until all of it fits."""
    for limit in (500, 300, 150, 60):
        lines = [f"### Job {record.job.id} · {record.job.state.value}"]
        lines += [f"**{name}:** {value}" for name, value in _facts(record, limit) if value]
        text = "\n".join(lines)
        if len(text) <= TEXT_LIMIT:
            return text
    return text[:TEXT_LIMIT]


def _facts(record: Record, limit: int) -> Iterator[tuple[str, str]]:
    job = record.job
    yield "Asked by", f"{mention(job.member_id)}{' (suspended)' if record.is_suspended else ''}"
    yield "Where", _where(job)
    yield "Typed", plain(job.typed, limit)
    for name, value in job.request.facts():
        yield name, plain(value, limit)
    yield "Weights", _weights(job)
    if record.parent:
        yield "Remix of", f"picture {record.parent.index + 1} of job {record.parent.job_id}"
    yield "Remixed as", ", ".join(f"job {child_id}" for child_id in record.children[:20])
    yield "Pictures", "\n".join(_image_lines(record))
    yield "Consent then", _consent(record)
    yield "Times", _times(job)
    yield "Reason", plain(job.reason or "", limit // 2)
    yield "Notes", plain(" ".join(job.notes), limit // 2)
    yield "Open reports", "\n".join(_report_lines(record, limit // 4))
    yield "Moderation", "\n".join(action_lines(record.actions, limit // 4)[-SHOWN_ACTIONS:])


def _where(job: Job) -> str:
    place = job.place
    if place.message_id is None:
        return f"<#{place.channel_id}>"
    return f"https://discord.com/channels/{place.guild_id}/{place.channel_id}/{place.message_id}"


def _weights(job: Job) -> str:
    """Return the hashes that the fingerprint holds, and its own."""
    if not job.fingerprint:
        return ""
    fields: dict[str, str] = json.loads(job.fingerprint)
    hashes = [
        f"{plain(name, 40)} `{value[:16]}…`"
        for name, value in sorted(fields.items())
        if len(value) == 64 and set(value) <= set("0123456789abcdef")
    ]
    return ", ".join(hashes[:6]) or "none"


def _image_lines(record: Record) -> Iterator[str]:
    for image in record.images:
        if image.removed_at:
            state = f", deleted {stamp(image.removed_at)}"
        elif image.taken_down_at:
            state = f", taken down {stamp(image.taken_down_at)}"
        else:
            state = ""
        votes = record.votes.get(image.id, 0)
        yield f"{image.index + 1}: seed `{image.seed}`, `{image.sha256[:16]}…`, 👍 {votes}{state}"


def _consent(record: Record) -> str:
    if record.consent is None:
        return "not asked yet"
    return ", ".join(
        f"{scope.value} {'on' if is_given else 'off'}" for scope, is_given in record.consent.items()
    )


def _times(job: Job) -> str:
    times = [f"asked {stamp(job.created_at)}"]
    times += [f"started {stamp(job.started_at)}"] if job.started_at else []
    times += [f"ended {stamp(job.finished_at)}"] if job.finished_at else []
    times += [f"{job.elapsed_s:.1f} s on the device"] if job.elapsed_s is not None else []
    return ", ".join(times)


def _report_lines(record: Record, limit: int) -> Iterator[str]:
    for report in record.reports[-SHOWN_ACTIONS:]:
        by = mention(report.reporter_id)
        yield f"🚩 {stamp(report.reported_at)} {by}: {plain(report.reason, limit)}"


def action_lines(actions: Sequence[ModerationAction], limit: int) -> list[str]:
    """Return one line for each act: what, by whom, when, why, and its audit entries.

    Taking down four pictures at once is four entries and one act.
    """
    acts = itertools.groupby(actions, key=lambda entry: (entry.kind, entry.moderator_id, entry.at))
    lines = []
    for (kind, moderator_id, at), group in acts:
        entries = list(group)
        said = plain(entries[0].reason, limit)
        lines.append(
            f"**{DONE[kind]}** by {mention(moderator_id)} {stamp(at)}: {said} "
            f"({numbers_of(entries)})"
        )
    return lines


def numbers_of(entries: Sequence[ModerationAction]) -> str:
    """Return the numbers of the audit entries of one act."""
    first, last = entries[0].id, entries[-1].id
    return f"entry #{first}" if first == last else f"entries #{first} to #{last}"
