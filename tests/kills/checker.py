"""Whether people see what the record says, and whether the record and the disk agree.

Reads the tables and the messages themselves, not through the code that writes them. The bot has
settled and ended when this looks.
"""

import contextlib
import dataclasses
import datetime as dt
import hashlib
import re
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from bot.chat.answers import NO_FURTHER
from storage.store import DATABASE_NAME, IMAGES_NAME, Store
from tests.integration.discord_limits import BUTTON, GALLERY, walk
from tests.integration.discord_messages import LOADING
from tests.integration.discord_server import DiscordServer
from tests.kills.members import Message, Promise, custom_ids, text_of
from tests.kills.old_record import OLD_REASON

LOG_CHANNEL = 3001
HELD_FOR = dt.timedelta(minutes=15)  # a question; afterwards it is dropped
SWEPT_AFTER = dt.timedelta(minutes=11)  # when nobody holds a file any more
OF_A_JOB = re.compile(r"atelier:(?!vote|logopen)[a-z]+:(\d+)\b")
VOTES = re.compile(r"(\d+) · (\d+)")
SET_ASIDE = "set it aside"
DEATHS = 2  # that set a job aside
FINAL = {"posted", "failed", "cancelled", "refused"}
WORDS = {"failed": "could not be drawn", "cancelled": "cancelled", "refused": "refused"}
UNFINISHED = ("Waiting", "Next in line", "Drawing", "Stopping", "is drawn when")

JOBS = """
  SELECT jobs.*, messages.message_id, messages.state AS message_state, messages.wanted,
    messages.shown, messages.reason AS delay, people.discord_id AS member_id,
    (SELECT count(*) FROM attempts WHERE job_id = jobs.id AND outcome = 'died') AS deaths,
    (SELECT count(*) FROM attempts WHERE job_id = jobs.id AND outcome IS NULL) AS open_attempts
  FROM jobs JOIN people ON people.id = person_id
    JOIN messages ON messages.job_id = jobs.id AND messages.kind = 'job'
  ORDER BY jobs.id
"""
IMAGES = """
  SELECT images.*, (SELECT count(*) FROM votes WHERE image_id = images.id) AS votes
  FROM images ORDER BY job_id, position
"""
LINES = "SELECT * FROM messages WHERE kind = 'log'"
NAMED_FILES = "SELECT DISTINCT sha256 FROM images WHERE removed_at IS NULL"
INPUT_FILES = "SELECT DISTINCT sha256 FROM job_inputs"  # uploads among them, kept for a while
LIVING_FILES = "SELECT DISTINCT sha256 FROM files WHERE gone_at IS NULL"
FTS = "INSERT INTO prompts (prompts, rank) VALUES ('integrity-check', 1)"


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be.

    Args:
        kind: What kind of thing; violations are counted by it.
        detail: Which one.
    """

    kind: str
    detail: str


class Checker:
    """Looks at one Discord and one data directory.

    Args:
        discord: What people see.
        data_dir: The record and the files.
        promises: What members were told.
    """

    def __init__(self, discord: DiscordServer, data_dir: Path, promises: Sequence[Promise]) -> None:
        self._discord, self._data_dir, self._promises = discord, data_dir, promises
        self.kept = 0  # promises that were made and are so
        self._posts: dict[int, list[Message]] = defaultdict(list)
        for post in discord.posts():
            for number in {int(n) for n in OF_A_JOB.findall(custom_ids(post))}:
                self._posts[number].append(post)

    async def check(self) -> list[Violation]:
        """Return everything that is not as it should be."""
        path = self._data_dir / DATABASE_NAME
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as record:
            record.row_factory = sqlite3.Row
            found = [
                *self._record(record),
                *self._jobs(record),
                *self._strays(record),
                *self._lines(record),
                *self._told(record),
                *(Violation("Discord refused", said) for said in self._discord.violations),
            ]
        return found + [each async for each in self._files()]

    # The record by itself

    def _record(self, record: sqlite3.Connection) -> Iterator[Violation]:
        for (said,) in record.execute("PRAGMA integrity_check"):
            if said != "ok":
                yield Violation("the record is damaged", said)
        for row in record.execute("PRAGMA foreign_key_check"):
            yield Violation("a row points at nothing", str(tuple(row)))
        try:
            record.execute(FTS)
        except sqlite3.DatabaseError as error:
            yield Violation("the index is not what the rows say", str(error))

    # Jobs and their messages

    def _jobs(self, record: sqlite3.Connection) -> Iterator[Violation]:
        images = defaultdict(list)
        for image in record.execute(IMAGES):
            images[image["job_id"]].append(image)
        now = dt.datetime.now(dt.UTC)
        for job in record.execute(JOBS):
            about = f"job {job['id']} ({job['state']})"
            if job["open_attempts"]:
                yield Violation("an attempt never ended", about)
            if job["cancel_wanted_at"] and job["state"] != "cancelled":
                yield Violation("a cancel was forgotten", about)
            if job["state"] == "held":
                if now - dt.datetime.fromisoformat(job["created_at"]) > HELD_FOR:
                    yield Violation("a job is lost", f"{about} is held for ever")
                if self._posts[job["id"]]:
                    yield Violation("a message says what the record does not", f"{about} is shown")
            elif job["state"] not in FINAL:
                yield Violation("a job is lost", f"{about}: {job['reason']}, {job['delay']}")
            else:
                yield from self._ended(about, job, images[job["id"]])

    def _ended(
        self, about: str, job: sqlite3.Row, images: list[sqlite3.Row]
    ) -> Iterator[Violation]:
        if job["state"] == "failed" and not _may_fail(job):
            yield Violation("a job failed", f"{about}: {job['reason']}, died {job['deaths']}")
        if bool(images) != (job["state"] == "posted"):
            yield Violation("pictures and state differ", about)
        yield from self._message(about, job, images)

    def _message(
        self, about: str, job: sqlite3.Row, images: list[sqlite3.Row]
    ) -> Iterator[Violation]:
        posts = self._posts[job["id"]]
        if len(posts) > 1:
            yield Violation("a job stands on two messages", f"{about}: {len(posts)}")
        if job["message_state"] != "open" or job["wanted"] > job["shown"]:
            where = f"{about}: {job['message_state']} {job['wanted']}>{job['shown']} {job['delay']}"
            yield Violation("a message was given up", where)
            return
        if not posts:
            if job["wanted"]:  # a job that ended while it was held was never to be seen
                yield Violation("a job stands on no message", about)
            return
        post = posts[0]
        if int(post["id"]) != job["message_id"]:
            yield Violation("the record names another message", f"{about}: {job['message_id']}")
        for wrong in self._wrong_of(job, images, post):
            detail = f"{about}: {wrong}: {text_of(post)[:160]!r}"
            yield Violation("a message says what the record does not", detail)

    def _wrong_of(
        self, job: sqlite3.Row, images: list[sqlite3.Row], post: Message
    ) -> Iterator[str]:
        """Yield what is wrong with the message of a job that has ended."""
        text = text_of(post)
        is_hidden = any(image["taken_down_at"] for image in images)
        shown = [] if is_hidden else [image for image in images if not image["removed_at"]]
        stand = [self._discord.files[each["url"]] for each in post["attachments"]]
        if [hashlib.sha256(file).hexdigest() for file in stand] != [i["sha256"] for i in shown]:
            yield f"{len(stand)} pictures stand there instead of {len(shown)}"
        parts = list(walk(post["components"]))
        galleries = [part for part in parts if part["type"] == GALLERY]
        if sum(len(each["items"]) for each in galleries) != len(shown):
            yield "the gallery shows others"
        if "atelier:cancel" in custom_ids(post) or post["flags"] & LOADING:
            yield "it looks unfinished"
        if is_hidden:
            if "taken" not in text or job["prompt"] in text:
                yield "it does not say that they were taken down"
            return
        last = text.splitlines()[1] if len(text.splitlines()) > 1 else ""
        if last.startswith(UNFINISHED):
            yield "it waits"
        if (word := WORDS.get(job["state"])) and word not in text:
            yield f"it does not say {word!r}"
        if images and not shown and "removed" not in text:
            yield "it does not say that they were removed"
        labels = [VOTES.fullmatch(part["label"]) for part in parts if part["type"] == BUTTON]
        votes = [(int(label[1]), int(label[2])) for label in labels if label]
        if votes != [(image["position"] + 1, image["votes"]) for image in shown]:
            yield f"it counts {votes}"

    def _strays(self, record: sqlite3.Connection) -> Iterator[Violation]:
        """Yield public messages that are no job's and promise something.

        Discord itself ends "is thinking…", and what a death left of one says so.
        """
        known = {row["id"] for row in record.execute("SELECT id FROM jobs")}
        for number, posts in self._posts.items():
            if number not in known:
                yield Violation("a message without a job", text_of(posts[0])[:160])
        for post in self._discord.posts():
            is_final = post["flags"] & LOADING or text_of(post).strip() == NO_FURTHER
            if not OF_A_JOB.search(custom_ids(post)) and not is_final:
                yield Violation("a message of no job", repr(text_of(post)[:160]))

    def _lines(self, record: sqlite3.Connection) -> Iterator[Violation]:
        """Yield what is wrong in the log channel: each line stands there once."""
        lines = record.execute(LINES).fetchall()
        posts = self._discord.posts(LOG_CHANNEL)
        numbers = {int(post["id"]) for post in posts}
        for line in lines:
            if line["message_id"] not in numbers or line["wanted"] > line["shown"]:
                yield Violation("a line is not in the log channel", f"{line['about']}")
        if len(posts) > len(lines):
            yield Violation("a line stands twice in the log channel", f"{len(posts)}/{len(lines)}")

    # What was said to people

    def _told(self, record: sqlite3.Connection) -> Iterator[Violation]:
        for promise in self._promises:
            said = promise.told(self._discord)
            if (checked := CHECKS.get(promise.kind)) is None:
                continue
            sign, sql = checked
            if not re.search(sign, said):
                continue
            values = {"job": promise.job_id, "member": promise.member_id}
            if numbers := re.search(r"#(\d+)", said):
                values["number"] = int(numbers[1])
            if not record.execute(sql, values).fetchone()[0]:
                detail = f"{promise.kind}, member {promise.member_id}, job {promise.job_id}"
                yield Violation("what was promised is not so", f"{detail}: {said[:160]!r}")
            else:
                self.kept += 1

    # The disk

    async def _files(self) -> AsyncIterator[Violation]:
        """Yield files without rows and rows without files, before and after a sweep."""
        folder = self._data_dir / IMAGES_NAME
        for path in [*folder.glob("partial/*"), *folder.glob("*/.*.partial")]:
            yield Violation("an unfinished file was left", path.name)
        store = await Store.open(self._data_dir)
        try:
            await store.files.sweep(dt.datetime.now(dt.UTC) + SWEPT_AFTER)
            named = await store.database.all(NAMED_FILES)
            started_from = await store.database.all(INPUT_FILES)
            living = await store.database.all(LIVING_FILES)
        finally:
            await store.close()
        there = {path.stem: path for path in folder.glob("*/*.png")}
        for row in named:
            path = there.get(row["sha256"])
            if path is None:
                yield Violation("a row without its file", row["sha256"])
            elif hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
                yield Violation("a file is damaged", row["sha256"])
        for sha256 in there.keys() - {row["sha256"] for row in [*named, *started_from]}:
            yield Violation("a file that no row names", sha256)
        for sha256 in there.keys() ^ {row["sha256"] for row in living}:
            yield Violation("files and their rows differ", sha256)


def _may_fail(job: sqlite3.Row) -> bool:
    """Whether a job was set aside after it had died with two processes, or failed years ago."""
    is_set_aside = SET_ASIDE in (job["reason"] or "") and job["deaths"] >= DEATHS
    return is_set_aside or job["reason"] == OLD_REASON


NOT_HELD = """
  SELECT count(*) > 0 AND sum(state = 'held') = 0
    AND sum(coalesce(reason, '') LIKE '%not answered%') = 0
  FROM jobs WHERE submission = :job
"""
# What a member was told begins so, and then this must be true.
CHECKS = {
    "saved": (
        r"Saved: ",
        f"""
          SELECT ({NOT_HELD}) AND EXISTS (
            SELECT 1 FROM consents JOIN people ON people.id = person_id WHERE discord_id = :member)
        """,  # noqa: S608 - of constants
    ),
    "confirmed": (r"jobs are on their way", NOT_HELD),
    "removed": (
        r"Removed\.",
        "SELECT count(*) > 0 AND min(removed_at IS NOT NULL) FROM images WHERE job_id = :job",
    ),
    "moderated": (
        r"(Taken down|Restored)\. Audit",
        "SELECT EXISTS (SELECT 1 FROM moderation_actions WHERE id = :number AND job_id = :job)",
    ),
    "reported": (
        r"Thank you\.",
        "SELECT EXISTS (SELECT 1 FROM reports JOIN people ON people.id = reporter_id "
        "WHERE job_id = :job AND discord_id = :member)",
    ),
}
