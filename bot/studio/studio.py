"""The one object that commands and buttons call; they never touch SQL or tensors.

Each method checks its own rights from what the interaction says *now*, so a permission lost between
click and action counts; whether something may go on is the gate's to say.
"""

from collections.abc import Collection, Mapping

from bot.messages import CONSENT
from bot.studio.actors import Actor
from bot.studio.asking import Asking
from bot.studio.drawing import now
from storage.consent import Scope


class Studio(Asking):
    """Everything a command or a button can do; built like `Asking`."""

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
