"""When nothing can be drawn: who is told, and that it goes on by itself."""

from pathlib import Path

from bot.demo.stage import text_of
from bot.studio.trouble import FIRST_PAUSE_S
from generation.work.jobs import JobState
from storage.settings import GuildSettings
from tests.integration.conftest import open_world

PAUSED = "Drawing is paused, because pictures cannot be saved"


async def test_a_disk_that_takes_nothing_is_told_and_then_everything_is_drawn(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path / "data") as world:
        log_channel = world.guild.create_text_channel("log")
        rules = GuildSettings(log_channel_id=log_channel.id)
        await world.app.store.settings.save_guild(world.guild.id, rules)
        await world.consent(world.alice)
        pictures = tmp_path / "data" / "images"
        pictures.write_text("no folder can be made here")
        await world.alice.slash(world.channel, "imagine", prompt="a fox")
        (job,) = await world.app.store.jobs.of_member(world.alice.id)

        async def is_told() -> bool:
            lines = [text_of(message) for message in log_channel.history()]
            placed = await world.app.store.jobs.get(job.id)
            return any(PAUSED in line for line in lines) and PAUSED in text_of(
                world.message(placed)
            )

        await world.until(is_told, "the log channel and the message say so")
        pictures.unlink()
        await world.env.advance_time(FIRST_PAUSE_S + 1)
        posted = await world.job_in(job.id, JobState.POSTED)
        assert posted.attempts == 0
        assert PAUSED not in text_of(world.message(posted))
