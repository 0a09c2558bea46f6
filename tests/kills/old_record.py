"""A record of the first version, with its pictures and messages, for a bot to take over."""

import contextlib
import datetime as dt
import hashlib
import io
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from storage.disk import ImageFiles
from storage.schema import migrations
from storage.store import DATABASE_NAME, IMAGES_NAME
from tests.integration.discord_objects import CHANNEL, GUILD
from tests.integration.discord_rules import Call
from tests.integration.discord_server import DiscordServer
from tests.kills.members import ARTISTS

POSTED, ENDED = 6, 1_500  # jobs with pictures; jobs without, which make the upgrade last
IMAGES_OF_A_JOB = 2
OLD_REASON = "an error of those days"
WAITING = ("queued", "queued", "running", "rendered")
INSERT = {
    "people": "INSERT INTO people VALUES (?)",
    "jobs": """
      INSERT INTO jobs (
        id, member_id, guild_id, channel_id, message_id, typed, prompt, negative_prompt, request,
        notes, state, cost_s, attempts, reason, created_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, '[]', ?, 1.5, 0, ?, ?)
    """,
    "images": "INSERT INTO images VALUES (?, ?, ?, ?, ?, 64, 64, NULL, NULL)",
    "consents": "INSERT INTO consents VALUES (?, ?, ?, 1, '1', ?, ?, 11)",
}


def write(
    data_dir: Path,
    discord: DiscordServer,
    *,
    ended: int = ENDED,
    waiting: Sequence[str] = WAITING,
) -> None:
    """Write the record, the files, and what stands in Discord.

    Args:
        data_dir: Gets the record and the files; must not exist.
        discord: Gets the messages.
        ended: How many jobs without pictures.
        waiting: States of the jobs that are under way.
    """
    data_dir.mkdir(parents=True)
    files = ImageFiles(data_dir / IMAGES_NAME)
    rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in INSERT}
    rows["people"] = [(member,) for member in ARTISTS]
    at = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=30)).isoformat(timespec="microseconds")
    states = ["posted"] * POSTED + ["failed"] * ended + list(waiting)
    for job_id, state in enumerate(states, start=1):
        prompt, message_id = f"an old thing {job_id}", None
        if state in {"posted", "rendered"}:
            for place in range(IMAGES_OF_A_JOB):
                number = job_id * 10 + place
                sha256 = files.write(_png(number))
                rows["images"].append((number, job_id, place, sha256, place))
        if state in {"posted", "rendered", "running"}:
            pictures = [row[0] for row in rows["images"] if row[1] == job_id]
            message_id = _stand(discord, job_id, prompt, pictures if state == "posted" else [])
        reason = OLD_REASON if state == "failed" else None
        place = (ARTISTS[job_id % len(ARTISTS)], GUILD, CHANNEL, message_id)
        rows["jobs"].append((job_id, *place, prompt, prompt, _request(prompt), state, reason, at))
    path = data_dir / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(migrations()[1])
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO servers (id) VALUES (?)", (GUILD,))
        for name, sql in INSERT.items():
            connection.executemany(sql, rows[name])
        connection.execute("COMMIT")


def _stand(discord: DiscordServer, job_id: int, prompt: str, image_ids: list[int]) -> int:
    """Put the message of a job into Discord and return its number."""
    names = [f"atelier-{job_id}-{place}.png" for place in range(1, len(image_ids) + 1)]
    vote = [_button(f"{n} · 0", f"vote:{i}") for n, i in enumerate(image_ids, start=1)]
    gallery = [{"media": {"url": f"attachment://{name}"}} for name in names]
    rows = [{"type": 10, "content": f"**{prompt}**"}]
    if image_ids:
        rows += [{"type": 12, "items": gallery}, {"type": 1, "components": vote}]
    rows.append({"type": 1, "components": [_button("Details", f"details:{job_id}")]})
    payload = {
        "flags": 1 << 15,
        "allowed_mentions": {"parse": []},
        "attachments": [{"id": place, "filename": name} for place, name in enumerate(names)],
        "components": [{"type": 17, "components": rows}],
    }
    content = {name: _png(number) for name, number in zip(names, image_ids, strict=True)}
    return int(discord._post(Call("POST", "", payload, content, 0.0), CHANNEL)["id"])


def _button(label: str, custom_id: str) -> dict[str, object]:
    return {"type": 2, "style": 2, "label": label, "custom_id": f"atelier:{custom_id}"}


def _request(prompt: str) -> str:
    return json.dumps(
        {
            "kind": "TextToImage",
            "prompts": [{"text": prompt, "weight": 1.0}],
            "model": "pattern",
            "seed": 7,
            "width": 128,
            "height": 128,
            "num_inference_steps": 4,
            "guidance_scale": 1.0,
            "negative_prompt": "",
            "style": None,
            "num_images": IMAGES_OF_A_JOB,
            "num_spare": 0,
        }
    )


def _png(number: int) -> bytes:
    digest = hashlib.sha256(str(number).encode()).digest()
    file = io.BytesIO()
    Image.frombytes("RGB", (2, 5), digest[:30]).resize((64, 64)).save(file, format="PNG")
    return file.getvalue()
