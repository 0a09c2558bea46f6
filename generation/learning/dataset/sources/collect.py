"""Read any source into drawings, whatever its kind."""

import dataclasses
import hashlib
from collections.abc import Collection, Sequence

from generation.learning.dataset.packages import SourceError
from generation.learning.dataset.recipe import DataRecipe, Source
from generation.learning.dataset.sources import assets, dicebear, folder, iconify, openclipart
from generation.learning.dataset.sources.drawing import Collected, Drawing
from generation.learning.dataset.words import WordList
from generation.learning.recipes.work import Work


def collect(source: Source, recipe: DataRecipe, work: Work, words: WordList) -> Collected:
    """Return the drawings of one source that the recipe wants.

    Raises:
        SourceError: The source cannot be had, or has nothing that the recipe wants.
    """
    if source.kind == "folder":
        collected = folder.collect(source, work.root, words)
    else:
        kinds = {
            "iconify": iconify.collect,
            "assets": assets.collect,
            "openclipart": openclipart.collect,
            "dicebear": dicebear.collect,
        }
        collected = kinds[source.kind](source, work.packages, words)
    unwanted = _unwanted(collected.drawings, recipe.without)
    wanted = [drawing for drawing in collected.drawings if drawing.name not in unwanted]
    kept = _capped(wanted, recipe, source)
    if not kept:
        raise SourceError(
            f"{source.look!r} has no picture that the recipe wants; leave it out, or widen"
            " `concepts` in data.toml"
        )
    return dataclasses.replace(
        collected, drawings=tuple(kept), unusable=collected.unusable | unwanted
    )


def check_complete(recipe: DataRecipe, found: Collection[str]) -> None:
    """Refuse a recipe that lists what no source draws; a single source may lack some of it.

    Args:
        found: Concepts of all sources.

    Raises:
        SourceError: A listed concept is not among them.
    """
    if missing := [name for name in recipe.concepts if name.lower() not in found]:
        raise SourceError(
            f"no source draws any of {missing}; take them out of `concepts` in data.toml"
        )


def _unwanted(drawings: Sequence[Drawing], without: Sequence[str]) -> dict[str, str]:
    return {
        drawing.name: "unwanted: the recipe's `without` names it"
        for drawing in drawings
        if not {drawing.meaning.concept, *drawing.meaning.concept.split()}.isdisjoint(without)
    }


def _capped(drawings: Sequence[Drawing], recipe: DataRecipe, source: Source) -> list[Drawing]:
    """Keep at most the recipe's numbers of skin tones, flags and pictures, by lot.

    The lot depends on the concept alone, so that every look keeps about the same ones.
    """
    kept = list(drawings)
    if not recipe.concepts:
        toned = [drawing for drawing in kept if drawing.meaning.has_tone]
        flags = [drawing for drawing in kept if drawing.meaning.is_flag]
        over = {*_unlucky(toned, recipe.skin_tones), *_unlucky(flags, recipe.flags)}
        kept = [drawing for drawing in kept if drawing.name not in over]
    if source.limit:
        over = set(_unlucky(kept, source.limit))
        kept = [drawing for drawing in kept if drawing.name not in over]
    return kept


def _unlucky(drawings: list[Drawing], limit: int) -> list[str]:
    def lot(drawing: Drawing) -> bytes:
        return hashlib.sha256(f"{drawing.meaning.concept}/{drawing.name}".encode()).digest()

    return [drawing.name for drawing in sorted(drawings, key=lot)[limit:]]
