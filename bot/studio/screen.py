"""Where people see their jobs, as the studio knows it: whoever shows them implements this."""

from typing import Protocol

from generation.work.jobs import Job
from generation.work.results import StepDone
from generation.work.tickets import Wait


class Screen(Protocol):
    """Shows what becomes of jobs."""

    async def show_progress(self, job: Job, event: StepDone) -> None:
        """Show a step of a job that is being drawn."""

    async def show_place(self, job: Job, wait: Wait) -> None:
        """Show how far a waiting job has come."""

    async def post(self, job: Job) -> Job:
        """Show a rendered job's pictures and move it to posted."""

    async def show_ended(self, job: Job) -> None:
        """Show that a job ended without pictures."""
