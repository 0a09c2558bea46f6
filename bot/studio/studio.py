"""The one object that commands and buttons call; they never touch SQL or tensors.

Each method checks its own rights from what the interaction says *now*, so a permission lost between
click and action counts; whether something may go on is the gate's to say.
"""

from collections.abc import Collection, Mapping

from bot.messages import CONSENT
from bot.studio.actors import Actor
from bot.studio.asking import Asking
from bot.studio.dispatch import Dispatcher
from bot.studio.drawing import now
from bot.studio.gate import Gate
from bot.studio.oversight import Oversight
from generation.work.checkpoints import Checkpoint
from storage.consent import Scope
from storage.store import Store


class Studio(Asking):
    """Everything a command or a button can do.

    Args:
        store: What is remembered.
        gate: Whether something may go on.
        dispatcher: The line and the worker.
        checkpoints: What can draw, by name.
        default_model: Name of the checkpoint for prompts that name none.
        jobs_waiting_per_server: Cap on queued and running jobs of one server.
    """

    def __init__(
        self,
        store: Store,
        gate: Gate,
        dispatcher: Dispatcher,
        *,
        checkpoints: Mapping[str, Checkpoint],
        default_model: str,
        jobs_waiting_per_server: int,
    ) -> None:
        super().__init__(
            store,
            gate,
            dispatcher,
            checkpoints=checkpoints,
            default_model=default_model,
            jobs_waiting_per_server=jobs_waiting_per_server,
        )
        self.oversight = Oversight(store, dispatcher)

    async def answer_consent(
        self, actor: Actor, answers: Mapping[Scope, bool], interaction_id: int
    ) -> None:
        """Append the member's answers to the questions."""
        await self.store.consents.append(
            actor.member_id,
            answers,
            text_version=CONSENT.version,
            text_sha256=CONSENT.sha256,
            interaction_id=interaction_id,
            now=now(),
        )

    def known_styles(self, model: str | None = None) -> Collection[str]:
        """Return the style names of one checkpoint, or of all."""
        chosen = (
            [self.checkpoints[model]]
            if model is not None and model in self.checkpoints
            else self.checkpoints.values()
        )
        return sorted({style for checkpoint in chosen for style in checkpoint.styles})
