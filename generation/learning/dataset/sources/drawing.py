"""One picture of a source before it is drawn, and what its maker says about it."""

from dataclasses import dataclass

from generation.learning.dataset.packages import Credit, SourceError
from generation.learning.dataset.raster import Picture
from generation.learning.dataset.recipe import Source
from generation.learning.dataset.words import Meaning


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture and its words.

    Attributes:
        name: In its source; unique there and stable.
        meaning: What it shows.
        kind: What people call such a drawing, such as `emoji`; empty for none.
        licence: Of this one, where the pictures of a source differ; empty for the source's.
    """

    name: str
    picture: Picture
    meaning: Meaning
    kind: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Collected:
    """What one source gave.

    Attributes:
        unusable: Name to reason of what was left out before drawing.
    """

    drawings: tuple[Drawing, ...]
    credit: Credit
    unusable: dict[str, str]


def check_licence(source: Source, found: str) -> None:
    """Hold the recipe to what the package itself says.

    Raises:
        SourceError: They differ.
    """
    if found != source.licence:
        raise SourceError(
            f"{source.package} {source.version} says its licence is {found!r}, the recipe says"
            f" {source.licence!r}; read it, then correct the recipe or leave the source out"
        )


def numbered(names: list[str]) -> list[str]:
    """Make names unique by a number behind repetitions, in order."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return unique
