"""A record as the first version of the schema kept it, with rows such as its code wrote.

Alice drew a fox (two pictures), deleted one, and had the other taken down and shown again. Bob
remixed the second fox and pressed Again on Alice's job that began with her photo. A job waits, one
is drawn, one is held for a question. Somebody sits at the terminal. Discord's ids are long.
"""

import contextlib
import hashlib
import json
import sqlite3

from storage.schema import migrations

ALICE, BOB, MODERATOR, TERMINAL = 485020107559403522, 7, 99, 0
GUILD, CHANNEL = 1001, 2001
PHOTO = hashlib.sha256(b"photo").hexdigest()
LATER = "2026-07-02T09:00:00.000000+00:00"


def at(minute):
    return f"2026-07-01T12:{minute:02}:00.000000+00:00"


def sha(name):
    return hashlib.sha256(name.encode()).hexdigest()


def request_of(prompt, image=None, **changes):
    """A request as the first version wrote it."""
    fields = {
        "kind": "TextToImage" if image is None else "ImageToImage",
        "prompts": [{"text": prompt, "weight": 1.0}],
        "model": "atelier-emoji",
        "seed": 7,
        "width": 128,
        "height": 128,
        "num_inference_steps": 28,
        "guidance_scale": 2.0,
        "negative_prompt": "",
        "style": "3d",
        "num_images": 2,
        "num_spare": 0,
    }
    if image is not None:
        fields |= {"image": image, "strength": 0.6}
    return json.dumps(fields | changes)


# id, member, guild, channel, message, prompt, source, state, attempts, reason, started, finished
JOBS = [
    (1, ALICE, GUILD, CHANNEL, 5001, "a fox", None, "posted", 1, None, 1, 2),
    (2, BOB, GUILD, CHANNEL, 5002, "a blue fox", sha("fox 2"), "posted", 2, None, 3, 4),
    (3, ALICE, GUILD, CHANNEL, 5003, "my garden", PHOTO, "posted", 1, None, 5, 6),
    (4, BOB, GUILD, CHANNEL, 5004, "my garden", PHOTO, "posted", 1, None, 7, 8),
    (5, ALICE, GUILD, CHANNEL, 5005, "an owl", None, "running", 2, None, 9, None),
    (6, BOB, GUILD, CHANNEL, None, "a waiting cat", sha("fox 2"), "queued", 1, None, 10, None),
    (7, BOB, GUILD, CHANNEL, None, "held", None, "held", 0, None, None, None),
    (8, TERMINAL, None, 0, None, "红色的狐狸", None, "posted", 1, None, 11, 12),
    (9, ALICE, None, 3001, 5009, "in private", None, "failed", 2, "crashed", 13, 14),
    (10, BOB, GUILD, CHANNEL, 5010, "lost", None, "posted", 1, "delivered to nobody: x", 15, 16),
    (11, BOB, GUILD, CHANNEL, 5011, "requeued, then cancelled", None, "cancelled", 1, "n", 17, 18),
    (12, BOB, GUILD, CHANNEL, 5012, "drawn, not shown", None, "rendered", 1, None, 19, None),
]
# id, job, position, file, removed, taken down
IMAGES = [
    (1, 1, 0, sha("fox 1"), LATER, None),
    (2, 1, 1, sha("fox 2"), None, LATER),
    (3, 2, 0, sha("blue fox"), None, None),
    (4, 3, 0, sha("garden"), None, None),
    (5, 4, 0, sha("garden again"), None, None),
    (6, 8, 0, sha("fox 2"), None, None),  # the same bits, drawn at the terminal
    (7, 10, 0, sha("lost"), None, None),
    (8, 12, 0, sha("not shown"), None, None),
]
ROWS = {
    "people": [(ALICE,), (BOB,), (MODERATOR,), (TERMINAL,)],
    "servers": [(GUILD, json.dumps({"log_channel_id": 4001, "images_per_job": 4}))],
    "consents": [
        (1, ALICE, "gallery", 1, "1", "0" * 64, at(0), 11),
        (2, ALICE, "remix", 1, "1", "0" * 64, at(0), 11),
        (3, ALICE, "training", 0, "1", "0" * 64, at(0), 11),
        (4, BOB, "training", 1, "1", "0" * 64, at(1), 12),
        (5, ALICE, "training", 1, "1", "0" * 64, LATER, 13),
    ],
    "images": [
        (number, job, position, sha256, 7 + position, 128, 128, removed, taken_down)
        for number, job, position, sha256, removed, taken_down in IMAGES
    ],
    "lineage": [(2, 2), (6, 2)],
    "votes": [(2, BOB, at(20)), (3, ALICE, at(21))],
    "reports": [
        (1, GUILD, 3, BOB, "rude", at(22), None),
        (2, GUILD, 1, BOB, "old", at(23), LATER),
    ],
    "moderation_actions": [
        (1, "take_down", GUILD, MODERATOR, ALICE, 1, 2, "rules", LATER),
        (2, "suspend", GUILD, MODERATOR, BOB, None, None, "spam", LATER),
        (3, "delete", GUILD, ALICE, ALICE, 1, None, "by its owner", LATER),
    ],
    "presets": [(ALICE, "default", json.dumps({"style": "3d"}))],
    "costs": [("atelier-emoji/128x128/28", 1.25)],
}
INSERT_JOB = """
  INSERT INTO jobs (
    id, member_id, guild_id, channel_id, message_id, typed, prompt, negative_prompt, request, notes,
    source_sha256, state, cost_s, attempts, reason, fingerprint, elapsed_s, created_at, started_at,
    finished_at)
  VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, '["a note"]', ?, ?, 1.5, ?, ?, ?, ?, ?, ?, ?)
"""


def write(path):
    """Write the record at `path`."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(migrations()[1])
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN")
        insert(connection, "people", "servers", "consents", "presets", "costs")
        connection.executemany(INSERT_JOB, map(_job, JOBS))
        insert(connection, "images", "lineage", "votes", "reports", "moderation_actions")
        connection.execute("UPDATE sqlite_sequence SET seq = 40 WHERE name = 'jobs'")
        connection.execute("COMMIT")


def insert(connection, *tables):
    for table in tables:
        for row in ROWS[table]:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608


def _job(job):
    number, member, guild, channel, message, prompt, source, state, attempts, reason, *times = job
    started, finished = (None if time is None else at(time) for time in times)
    is_drawn = state in {"posted", "rendered"}
    return (
        number,
        member,
        guild,
        channel,
        message,
        f"{prompt} --seed 7",
        prompt,
        request_of(prompt, source),
        source,
        state,
        attempts,
        reason,
        "{}" if is_drawn else None,
        2.5 if is_drawn else None,
        at(0),
        started,
        finished,
    )
