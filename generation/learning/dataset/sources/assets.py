"""Packages with one bitmap an emoji, named by code points."""

from pathlib import Path, PurePosixPath

from generation.learning.dataset.packages import Credit, fetch_npm, npm_files, read_json
from generation.learning.dataset.raster import Picture
from generation.learning.dataset.recipe import Package, Source
from generation.learning.dataset.sources.drawing import Collected, Drawing, check_licence
from generation.learning.dataset.words import WordList

SUFFIXES = frozenset({".webp", ".png"})


def collect(source: Source, cache: Path, words: WordList) -> Collected:
    """Read one package of bitmaps.

    Raises:
        SourceError: The package cannot be had, or its licence is not the recipe's.
    """
    pinned = Package(package=source.package, version=source.version, sha256=source.sha256)
    tarball = fetch_npm(pinned, cache)
    about = read_json(tarball, "package.json")[0]
    check_licence(source, about["license"])
    found: dict[str, Drawing] = {}
    for path, content in npm_files(tarball):
        name = PurePosixPath(path)
        meaning = words.of_code_point(name.stem)
        if name.suffix in SUFFIXES and meaning is not None:
            found.setdefault(name.stem, Drawing(name.stem, Picture(content), meaning, "emoji"))
    packager = about["author"]
    credit = Credit(
        look=source.look,
        title=source.package,
        package=source.package,
        version=source.version,
        author=source.author or (packager["name"] if isinstance(packager, dict) else packager),
        licence=source.licence,
        url=about.get("homepage", ""),
    )
    return Collected(tuple(found.values()), credit, {})
