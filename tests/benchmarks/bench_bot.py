"""The real bot process on a loopback Discord: acknowledgement, overhead per job, idle memory."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from tests.integration.life import Life

COMMANDS = 400
PER_SECOND = 100
MEMBERS = range(100, 100 + COMMANDS)
ALONE = 25


def run() -> list[tuple[str, float, str]]:
    """Return rows of name, value and unit."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_measure(Path(directory)))


async def _measure(directory: Path) -> list[tuple[str, float, str]]:
    settings = {"ATELIER_JOBS_WAITING_PER_SERVER": "100000"}
    async with Life.open(directory, step_delay_s=0.0, **settings) as life:
        await asyncio.sleep(3)  # the worker loads, the collector settles
        memory_bytes = psutil.Process(life.pid).memory_info().rss
        overhead_s = await _overhead_s(life)
        await life.kill()
        await life.consent(*MEMBERS)
        await life.start()
        answers_s = await _acknowledgements_s(life)
    quantiles = statistics.quantiles(answers_s, n=100)
    rate = f"{PER_SECOND} commands/s"
    return [
        (f"bot: command to acknowledgement p50, {rate}", quantiles[49] * 1e3, "ms"),
        (f"bot: command to acknowledgement p99, {rate} (≤ 100)", quantiles[98] * 1e3, "ms"),
        ("bot: overhead a job, beside drawing (≤ 30)", overhead_s * 1e3, "ms"),
        ("bot: idle memory without the worker (≤ 150)", memory_bytes / 2**20, "MB"),
    ]


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
        lambda: len(life.discord.called("POST", "/callback$")) >= ALONE + COMMANDS, "all answers"
    )
    answered_s = {
        call.path.split("/")[-2]: call.at_s for call in life.discord.called("POST", "/callback$")
    }
    return [answered_s[interaction.token] - interaction.born_s for interaction in sent]
