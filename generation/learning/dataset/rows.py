"""Put drawn pictures into words: one row each."""

import dataclasses
from collections.abc import Sequence

from generation.learning.dataset import captions, split
from generation.learning.dataset.recipe import DataRecipe
from generation.learning.dataset.shards import Entry, Shard
from generation.learning.dataset.stored import Row, Split
from generation.learning.dataset.words import Meaning, WordList


def describe(recipe: DataRecipe, drawn: Sequence[Shard], word_list: WordList) -> list[Row]:
    """Describe every picture that could be drawn, splits left open."""
    licences = {source.look: source.licence for source in recipe.sources}
    known = [*word_list.by_code_point.values()]
    known += [entry.meaning for shard in drawn for entry in shard.entries]
    tags = captions.unambiguous_tags(
        ((meaning.concept, meaning.tags) for meaning in known), recipe.captions.tags
    )
    return [
        Row(
            key=f"{shard.credit.look}/{entry.name}",
            concept=entry.meaning.concept,
            look=shard.credit.look,
            group=entry.meaning.group,
            phrasings=_phrasings(recipe, entry, tags[entry.meaning.concept]),
            split=Split.TRAIN,
            is_unseen_by_scorer=False,
            may_mirror=_may_mirror(recipe, entry.meaning),
            licence=entry.licence or licences[shard.credit.look],
        )
        for shard in drawn
        for entry in (shard.entries[i] for i in shard.usable)
    ]


def _phrasings(recipe: DataRecipe, entry: Entry, tags: Sequence[str]) -> tuple[str, ...]:
    meaning = entry.meaning
    return captions.phrasings(
        meaning.concept,
        (*recipe.synonyms.get(meaning.concept, ()), *meaning.words),
        tags,
        phrases=meaning.phrases,
        group=meaning.group if recipe.captions.is_grouped else "",
        kind=entry.kind,
    )


def _may_mirror(recipe: DataRecipe, meaning: Meaning) -> bool:
    is_one_sided = (
        meaning.concept in recipe.one_sided
        or meaning.group in recipe.one_sided_groups
        or not set(meaning.concept.split()).isdisjoint(recipe.one_sided_words)
    )
    return not is_one_sided


def split_up(rows: Sequence[Row], recipe: DataRecipe) -> tuple[Row, ...]:
    """Say of each row what it may be used for."""
    concepts, looks = [row.concept for row in rows], [row.look for row in rows]
    splits, unseen = split.assign(concepts, looks, recipe.splitting)
    return tuple(
        dataclasses.replace(row, split=each, is_unseen_by_scorer=is_unseen)
        for row, each, is_unseen in zip(rows, splits, unseen, strict=True)
    )
