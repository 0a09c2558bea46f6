"""Debian's Open Clip Art: SVG files that carry their own title, tags and licence."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from generation.learning.dataset.packages import Credit, debian_files, fetch_debian
from generation.learning.dataset.raster import Picture
from generation.learning.dataset.recipe import Package, Source
from generation.learning.dataset.sources.drawing import Collected, Drawing, check_licence
from generation.learning.dataset.words import Meaning, WordList

ROOT = "usr/share/openclipart/svg/"
COPYRIGHT = "usr/share/doc/openclipart-svg/copyright"
# SPDX's name for the dedication that the package's copyright file quotes.
DEDICATION, DEDICATION_SPDX = "copyright-only dedication", "CC-PDDC"
LICENCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"
LARGEST_BYTES = 300_000
# A title that many files share names their collection and not what they show.
MOST_ALIKE = 4
COLLECTION = re.compile(r"^clip ?art by [^-]*-\s*|^part of .*|.*\bopen ?clip.*", re.IGNORECASE)
NOT_A_TAG = re.compile(r"hash|unsorted|^\W*$|_|\d")
LAST_WORDS = frozenset({"simple", "icon", "clipart", "clip", "art", "x", "v"})


def collect(source: Source, cache: Path, words: WordList) -> Collected:
    """Read the drawings in the recipe's folders whose own metadata says public domain.

    Raises:
        SourceError: The package cannot be had, or does not dedicate its drawings to the public.
    """
    pinned = Package(package=source.package, version=source.version, sha256=source.sha256)
    package_file = fetch_debian(pinned, cache)
    unusable: dict[str, str] = {}
    found: list[tuple[str, str, ElementTree.Element]] = []
    copyright_text = ""
    for path, content in debian_files(package_file):
        if path == COPYRIGHT:
            copyright_text = content.decode(errors="replace")
        elif path.startswith(ROOT) and path.endswith(".svg"):
            name = path.removeprefix(ROOT).removesuffix(".svg")
            if source.groups and not name.startswith(source.groups):
                continue
            text = content.decode(errors="replace")
            reason = _refused(text)
            if isinstance(reason, str):
                unusable[name] = reason
            else:
                found.append((name, text, reason))
    says_so = DEDICATION in copyright_text.lower()
    check_licence(source, DEDICATION_SPDX if says_so else f"unknown, see its {COPYRIGHT}")
    credit = Credit(
        look=source.look,
        title="Open Clip Art Library",
        package=source.package,
        version=source.version,
        author="the artists of the Open Clip Art Library",
        licence=source.licence,
        url="https://openclipart.org",
    )
    return Collected(tuple(_drawings(source, found, words)), credit, unusable)


def _refused(text: str) -> "str | ElementTree.Element":
    """Return why a file is left out, or its description."""
    if len(text) > LARGEST_BYTES:
        return f"larger than {LARGEST_BYTES // 1000} kB"
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - expat stops entity bombs
    except (ElementTree.ParseError, ValueError) as error:
        return f"damaged: broken SVG: {error}"
    work = root.find(".//{*}Work")
    licence = None if work is None else work.find("{*}license")
    if work is None or licence is None or not licence.get(LICENCE):
        return "licence: none given"
    if "publicdomain" not in licence.get(LICENCE, "").lower():
        return f"licence: {licence.get(LICENCE)}"
    return work


def _drawings(
    source: Source, found: list[tuple[str, str, ElementTree.Element]], words: WordList
) -> Iterator[Drawing]:
    titles = [_cleaned(work.findtext("{*}title") or "", "") for _, _, work in found]
    alike = Counter(titles)
    for (name, text, work), title in zip(found, titles, strict=True):
        is_name = bool(title) and alike[title] <= MOST_ALIKE
        concept = title if is_name else _cleaned(PurePosixPath(name).name, _artist(work))
        if not concept:
            continue
        known = words.of_label(concept)
        if known is None and words.is_restricted:
            continue
        tags = (element.text or "" for element in work.findall(".//{*}subject//{*}li"))
        meaning = Meaning(
            concept=known.concept if known else concept,
            words=known.words if known else (),
            tags=tuple(tag.lower() for tag in tags if not NOT_A_TAG.search(tag)),
            group=known.group if known else name.partition("/")[0].replace("_", " "),
        )
        yield Drawing(name, Picture(text, is_trimmed=True), meaning, "clip art")


def _artist(work: ElementTree.Element) -> str:
    """Return who drew it: many file names end in the name."""
    return work.findtext("{*}creator/{*}Agent/{*}title") or ""


def _cleaned(title: str, artist: str) -> str:
    """Return the words of a title or file name without artists, numbers and versions."""
    spoken = COLLECTION.sub("", title.strip()).lower()
    parts = re.findall(r"[a-z']{2,}", re.sub(r"[_\-,.]", " ", spoken))
    names = re.findall(r"[a-z]+", artist.lower())
    while parts and (parts[-1] in LAST_WORDS or _begins_one(parts[-1], names)):
        parts.pop()
    return " ".join(parts)


def _begins_one(part: str, names: list[str]) -> bool:
    """Say whether the part is a name or its beginning, as file names cut them short."""
    return any(name.startswith(part) for name in names)
