"""Where people see what is not in the record: how far a job is, at this moment."""

from typing import Protocol

from generation.work.jobs import Job
from generation.work.results import StepDone
from generation.work.tickets import Wait


class Screen(Protocol):
    """Shows how far jobs are; everything else is shown from the record."""

    async def show_progress(self, job: Job, event: StepDone) -> None:
        """Show a step of a job that is being drawn."""

    async def show_place(self, job: Job, wait: Wait) -> None:
        """Show how far a waiting job has come."""
