"""What a LoRA's recipe says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from generation.language.templates import styled
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Run

PREDICTION = "prediction"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRecipe:
    """What is taught to which checkpoint.

    Attributes:
        name: Of the LoRA, and after `--model` of the checkpoint with the LoRA in it.
        title: What people read.
        checkpoint: Folder of the checkpoint to start from; empty for the one that comes along.
        pictures: Folder of `<name>.png` with their words in `<name>.txt`; empty for the exported
            gallery, which holds only pictures whose makers agreed.
        permission: Why you may use the pictures of another folder, in a sentence: it is written
            into the card beside the weights.
        look: Style word that the pictures teach; empty if they are to need none.
        template: Names the look.
        rank: Of the two small matrices beside each large one.
        alpha: Their product counts alpha / rank times.
        targets: Endings of the names of the layers that learn. A checkpoint that looks at words only
            where its latents are small needs convolutions among them, or fine detail cannot change.
        dropout: Share of captions replaced by the empty prompt, which guidance needs.
        held_out: Share of the pictures that is only validated on.
        is_merged: Also write a whole checkpoint with the LoRA in it, as large as the base.
        gradient_checkpointing: Needs less memory and a third more time.
        terms: Weight of `prediction`, the mean square error of what the denoiser predicts.
    """

    name: str
    title: str
    checkpoint: str = ""
    pictures: str = ""
    permission: str = ""
    look: str = ""
    template: str = "{prompt}, {look} style"
    rank: int = 8
    alpha: float = 8.0
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    dropout: float = 0.1
    held_out: float = 0.1
    is_merged: bool = True
    gradient_checkpointing: bool = False
    terms: Mapping[str, float] = field(default_factory=lambda: {PREDICTION: 1.0})
    run: Run = field(default_factory=Run)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError("rank must be 1 or more")
        if not (0 <= self.dropout < 1 and 0 <= self.held_out < 1):
            raise ValueError("dropout and held_out are shares, from 0 to below 1")
        if self.pictures and not self.permission.strip():
            raise ValueError(
                "pictures of your own need a sentence on why you may use them:"
                ' permission = "..."; leave `pictures` out to take the exported gallery'
            )

    def caption(self, words: str) -> str:
        """Return a picture's words with its look."""
        return styled(words, self.look, self.template) if self.look else words
