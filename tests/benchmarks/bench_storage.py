"""How fast the record is: search over a million prompts, and single commits."""

import asyncio
import datetime as dt
import itertools
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from generation.work.jobs import JobState, Place
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.requests.reading import to_json
from storage.asking import NewJob
from storage.schema import migrate
from storage.store import DATABASE_NAME, Store

NUM_PROMPTS = 1_000_000
NUM_COMMITS = 300
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

SUBJECTS = "fox owl cat dragon castle teacup robot whale forest city portrait ship lantern fern"
LOOKS = "watercolour oil ink pixel clay neon flat sketch mosaic paper woodcut chalk photo 3d"
EXTRAS = (
    "detailed light lighting lightning soft golden dark bright foggy snow rain night morning calm "
    "stormy ancient tiny giant red green blue purple silver mossy wooden glass paper iron cosy lost"
)
INSERT = """
  INSERT INTO jobs (
    id, submission, person_id, guild_id, typed, prompt, negative_prompt, request, notes, state,
    cost_s, created_at)
  VALUES (?1, ?1, ?2 + 1, ?3, ?4, ?5, '', ?6, '[]', ?7, 1.0, ?8)
"""
INSERT_MESSAGES = """
  INSERT INTO messages (kind, job_id, guild_id, channel_id, nonce, next_try_at, created_at)
  SELECT 'job', id, guild_id, 1, '', created_at, created_at FROM jobs
"""
MADE_LATER = """
  SELECT type, name, sql FROM sqlite_master
  WHERE tbl_name = 'jobs' AND type IN ('index', 'trigger') AND sql IS NOT NULL
"""


async def run() -> AsyncIterator[tuple[str, float, str]]:
    """Yield name, value and unit of each measurement."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        started = time.perf_counter()
        await asyncio.to_thread(_build, path / DATABASE_NAME)
        yield f"build a log of {NUM_PROMPTS:,} prompts", time.perf_counter() - started, "s"
        store = await Store.open(path)
        try:
            # Commits come first: they leave the index in many small pieces, as in a bot at work.
            commit_s = await _commit_s(store)
            yield "commit one new job", 1e3 * commit_s, "ms"
            yield "commits one after the other", 1.0 / commit_s, "1/s"
            for name, filters in _searches().items():
                yield f"search, {name} (≤ 20)", 1e3 * await _worst_s(store, filters), "ms"
        finally:
            await store.close()


def _searches() -> dict[str, dict[str, object]]:
    late = START + dt.timedelta(seconds=NUM_PROMPTS - 500)
    return {
        "nothing but the server": {"guild_id": 3},
        "a common word": {"guild_id": 3, "text": "fox"},
        "the beginning of a word": {"guild_id": 3, "text": "l"},
        "the beginning of many words": {"guild_id": 3, "text": "portrait light"},
        "the beginning of a long word": {"guild_id": 3, "text": "watercolou"},
        "a rare word": {"guild_id": 3, "text": "rarity"},
        "a word that nobody wrote": {"guild_id": 3, "text": "zeppelin"},
        "two words of one member": {"guild_id": 3, "text": "fox snow", "member_id": 77},
        "a common word, a rare state": {"guild_id": 3, "text": "fox", "state": JobState.FAILED},
        "a common word, last minutes": {"guild_id": 3, "text": "fox", "since": late},
        "page 5,000 of a common word": {"guild_id": 3, "text": "fox", "before_id": 50_000},
    }


async def _worst_s(store: Store, filters: dict[str, object]) -> float:
    """Return the slower of the first call, which meets cold caches, and the median of ten."""
    times = []
    for _ in range(11):
        started = time.perf_counter()
        await store.jobs.search(**filters)  # type: ignore[arg-type]
        times.append(time.perf_counter() - started)
    return max(times[0], statistics.median(times))


async def _commit_s(store: Store) -> float:
    """Return the median seconds of a job's insert with its index entries, synced to disk."""
    times = []
    for number in range(NUM_COMMITS):
        started = time.perf_counter()
        new = NewJob(
            member_id=number % 20,
            place=Place(guild_id=3, channel_id=1),
            typed="a fox in a teacup",
            request=_request("a fox in a teacup"),
            cost_s=1.0,
        )
        await store.jobs.add(new, now=START)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _build(path: Path) -> None:
    migrate(path)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # Nothing here has to survive a power cut; the measured store opens it with full safety.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA cache_size = -200000")
        # Indexes and the triggers that feed the full text are faster made once than row by row.
        dropped = connection.execute(MADE_LATER).fetchall()
        for kind, name, _ in dropped:
            connection.execute(f"DROP {kind} {name}")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO people (discord_id) VALUES (?)", ((n,) for n in range(2000))
        )
        connection.executemany("INSERT INTO servers (id) VALUES (?)", ((n,) for n in range(20)))
        connection.executemany(INSERT, _rows())
        connection.execute(INSERT_MESSAGES)
        connection.execute("COMMIT")
        for _, _, sql in dropped:
            connection.execute(sql)
        connection.execute("INSERT INTO prompts (prompts) VALUES ('rebuild')")
    finally:
        connection.close()


def _rows() -> Iterator[tuple[object, ...]]:
    rng = random.Random(7)
    request = json.dumps(to_json(_request("a fox")))
    states = rng.choices(["posted", "failed", "cancelled"], [97, 1, 2], k=10_007)
    endings = [" ".join(rng.sample(EXTRAS.split(), 4)) for _ in range(4_093)]
    phrases = [f"a {look} {subject}" for look in LOOKS.split() for subject in SUBJECTS.split()]
    rng.shuffle(phrases)
    cycles = zip(itertools.cycle(phrases), itertools.cycle(endings), strict=False)
    for number, (phrase, ending) in zip(range(1, NUM_PROMPTS + 1), cycles, strict=False):
        prompt = f"{phrase} {ending}" if number % 99_991 else f"{phrase} rarity"
        yield (
            number,
            rng.randrange(2000),
            number % 20,
            f"{prompt} --ar 3:2",
            prompt,
            request,
            states[number % len(states)],
            f"{START + dt.timedelta(seconds=number):%Y-%m-%dT%H:%M:%S.000000+00:00}",
        )


def _request(prompt: str) -> Imagine:
    return Imagine(
        prompts=(WeightedPrompt(prompt),),
        model="embedded",
        seed=7,
        width=64,
        height=64,
        num_inference_steps=8,
        guidance_scale=4.0,
    )
