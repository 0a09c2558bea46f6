"""Cancelling over the wire: at once while a job waits, at the next step while it is drawn."""

from pathlib import Path
from typing import Any

from tests.integration.life import Life

STEP_DELAY_S = 0.4


async def placeholder(life: Life, job_id: int) -> dict[str, Any]:
    """Return the message of a job that can still be cancelled, once it stands."""

    def look() -> dict[str, Any] | None:
        posts = life.discord.posts()
        return next((post for post in posts if f"atelier:cancel:{job_id}'" in str(post)), None)

    found: dict[str, Any] = await life.until(look, f"the message of job {job_id}")
    return found


async def test_a_waiting_job_is_cancelled_at_once_and_never_drawn(tmp_path: Path) -> None:
    async with Life.open(tmp_path, step_delay_s=STEP_DELAY_S) as life:
        drawn = await life.imagine("a fox")
        await life.in_state(drawn, "running")
        waiting = await life.imagine("an owl", member=8)
        await life.discord.click(8, await placeholder(life, waiting), "Cancel")
        cancelled = await life.in_state(waiting, "cancelled")
        assert cancelled["attempts"] == 0
        assert life.job(drawn)["state"] == "running"
        await life.in_state(drawn, "posted")
        await life.until(lambda: "cancelled" in str(life.message(waiting)), "the end is shown")
        life.assert_nothing_lost()


async def test_a_running_job_stops_at_its_next_step_and_the_next_is_drawn(tmp_path: Path) -> None:
    async with Life.open(tmp_path, step_delay_s=STEP_DELAY_S) as life:
        job_id = await life.imagine("a fox")
        await life.in_state(job_id, "running")
        await life.discord.click(7, await placeholder(life, job_id), "Cancel")
        await life.in_state(job_id, "cancelled")
        assert life.rows("SELECT * FROM images") == []
        following = await life.imagine("an owl")
        await life.in_state(following, "posted")
        await life.until(lambda: "cancelled" in str(life.message(job_id)), "the end is shown")
        life.assert_nothing_lost()


async def test_nobody_else_cancels_but_a_moderator_does_on_record(tmp_path: Path) -> None:
    async with Life.open(tmp_path, step_delay_s=STEP_DELAY_S) as life:
        job_id = await life.imagine("a fox")
        message = await placeholder(life, job_id)
        stranger = await life.discord.click(8, message, "Cancel")
        assert "Only whoever asked" in await life.told(stranger)
        assert life.job(job_id)["state"] in {"queued", "running"}
        assert life.rows("SELECT * FROM moderation_actions") == []
        life.discord.permissions[8] = str(1 << 13)  # Manage Messages
        await life.discord.click(8, message, "Cancel")
        await life.in_state(job_id, "cancelled")
        (action,) = life.rows(
            "SELECT kind, job_id, discord_id AS moderator_id FROM moderation_actions "
            "JOIN people ON people.id = moderation_actions.moderator_id"
        )
        assert (action["kind"], action["moderator_id"], action["job_id"]) == ("cancel", 8, job_id)
