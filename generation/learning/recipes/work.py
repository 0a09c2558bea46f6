"""Where everything of a training run lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from generation.learning.recipes import reading

Kind = TypeVar("Kind")
CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Work:
    """One preset's folder in the work folder.

    Attributes:
        root: Work folder; downloaded packages are shared by all presets.
        preset: Which recipes: a name such as `tiny`, or the path of a folder of one's own.
    """

    root: Path
    preset: str

    @property
    def folder(self) -> Path:
        """Everything that was made by this preset's recipes."""
        return self.root / Path(self.preset).resolve().name

    @property
    def packages(self) -> Path:
        """Downloaded packages."""
        return self.root / "packages"

    @property
    def data(self) -> Path:
        """The built dataset."""
        return self.folder / "data"

    def run(self, kind: str) -> Path:
        """Snapshots, curve and sheets of one trainer."""
        return self.folder / kind

    def checkpoint(self, kind: str) -> Path:
        """What one trainer exports."""
        return self.run(kind) / CHECKPOINT

    def recipe(self, recipe_class: type[Kind], kind: str) -> Kind:
        """Read the preset's recipe for one trainer.

        Raises:
            RecipeError: There is none, or it is wrong.
        """
        return reading.preset(recipe_class, self.preset, kind)
