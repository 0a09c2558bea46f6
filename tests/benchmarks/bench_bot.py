"""The real bot process on a loopback Discord: acknowledgement, overhead per job, idle memory."""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil

from bot.chat.answers import PATIENCE_S
from tests.integration.life import Life

COMMANDS = 400
PER_SECOND = 100
MEMBERS = range(100, 100 + COMMANDS)
ALONE = 25


async def run() -> AsyncIterator[tuple[str, float, str]]:
    """Yield rows of name, value and unit."""
    async with _life() as life:
        await asyncio.sleep(3)  # the worker loads, the collector settles
        memory_bytes = psutil.Process(life.pid).memory_info().rss
        yield "bot: idle memory without the worker (≤ 150)", memory_bytes / 2**20, "MB"
        overhead_s = await _overhead_s(life)
        yield "bot: overhead a job, beside drawing (≤ 30)", overhead_s * 1e3, "ms"
    p99_ms = []
    for weather in ("", ", machine busy"):
        async with _life() as life:
            await life.kill()
            await life.consent(*MEMBERS)
            await life.start()
            with _busy() if weather else contextlib.nullcontext():
                quantiles_s = statistics.quantiles(await _acknowledgements_s(life), n=100)
        what = f"bot: command to acknowledgement, {PER_SECOND}/s{weather}"
        yield f"{what}, p50", quantiles_s[49] * 1e3, "ms"
        yield f"{what}, p99 (≤ 100)", quantiles_s[98] * 1e3, "ms"
        p99_ms.append(quantiles_s[98])
    yield "bot: acknowledgement p99, machine busy / idle", p99_ms[1] / p99_ms[0], "x"


@contextlib.asynccontextmanager
async def _life() -> AsyncIterator[Life]:
    with tempfile.TemporaryDirectory() as directory:
        settings = {"ATELIER_JOBS_WAITING_PER_SERVER": "100000"}
        opened = Life.open(Path(directory), step_delay_s=0.0, patience=PATIENCE_S, **settings)
        async with opened as life:
            yield life


@contextlib.contextmanager
def _busy() -> Iterator[None]:
    """Keep every core at work with something else, as much as there are cores."""
    program = [sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(program) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


async def _overhead_s(life: Life) -> float:
    """Return the seconds from command to picture that are not drawing, the median of jobs alone."""
    spent_s = []
    for number in range(ALONE):
        started_s = time.perf_counter()
        job_id = await life.imagine(f"a fox {number}", images=1)
        job = await life.in_state(job_id, "posted")
        spent_s.append(time.perf_counter() - started_s - job["elapsed_s"])
    return statistics.median(spent_s)


async def _acknowledgements_s(life: Life) -> list[float]:
    """Send commands at a fixed rate, whatever the bot does, and time each one's answer."""
    sent = []
    started_s = time.monotonic()
    for number, member_id in enumerate(MEMBERS):
        await asyncio.sleep(max(0.0, started_s + number / PER_SECOND - time.monotonic()))
        sent.append(await life.discord.slash(member_id, "imagine", prompt="a fox", images=1))
    await life.until(
        lambda: len(life.discord.called("POST", "/callback$")) >= COMMANDS, "all answers"
    )
    answered_s = {
        call.path.split("/")[-2]: call.at_s for call in life.discord.called("POST", "/callback$")
    }
    return [answered_s[interaction.token] - interaction.born_s for interaction in sent]
