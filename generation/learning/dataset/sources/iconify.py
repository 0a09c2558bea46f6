"""Icon sets in Iconify's format: SVG bodies in one JSON file."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from generation.learning.dataset.packages import Credit, fetch_npm, read_json
from generation.learning.dataset.raster import Picture
from generation.learning.dataset.recipe import Package, Source
from generation.learning.dataset.sources.drawing import Collected, Drawing, check_licence
from generation.learning.dataset.words import Meaning, WordList, without_tone

# A number tells drawings of the same thing apart, a size tells nothing.
NUMBER = re.compile(r"(?<=[a-z])-?\d+$|(?<=-)\d+$")


def collect(source: Source, cache: Path, words: WordList) -> Collected:
    """Read one icon set.

    Source: https://iconify.design/docs/types/iconify-json.html (icons, aliases, chars).

    Raises:
        SourceError: The package cannot be had, or its licence is not the recipe's.
    """
    pinned = Package(package=source.package, version=source.version, sha256=source.sha256)
    tarball = fetch_npm(pinned, cache)
    info, icon_set, about = read_json(tarball, "info.json", "icons.json", "metadata.json")
    check_licence(source, info["license"]["spdx"])
    if source.is_emoji:
        code_points = read_json(tarball, "chars.json")[0]
        drawings = list(_emoji(icon_set, code_points, words))
    else:
        drawings = list(_icons(source, icon_set, list(about.get("suffixes", {})), words))
    credit = Credit(
        look=source.look,
        title=info["name"],
        package=source.package,
        version=source.version,
        author=source.author or info["author"]["name"],
        licence=source.licence,
        url=info["author"].get("url", ""),
    )
    return Collected(tuple(drawings), credit, {})


def _emoji(
    icon_set: Mapping[str, Any], names: Mapping[str, str], words: WordList
) -> Iterator[Drawing]:
    """Join by code point where the set knows it, else by name, else split the name."""
    icons = icon_set["icons"]
    parents = {name: alias["parent"] for name, alias in icon_set.get("aliases", {}).items()}
    seen: set[str] = set()
    for code_points, name in names.items():
        parent = parents.get(name, name)
        meaning = words.of_code_point(code_points)
        if meaning is not None and parent in icons and parent not in seen:
            seen.add(parent)
            yield Drawing(parent, _picture(icon_set, parent), meaning, "emoji")
    for name, icon in icons.items():
        if name in seen or icon.get("hidden") or name in names.values():
            continue
        meaning = words.of_emoji_name(name) or (
            None if words.is_restricted else _spelt(name, words)
        )
        if meaning is not None:
            yield Drawing(name, _picture(icon_set, name), meaning, "emoji")


def _icons(
    source: Source, icon_set: Mapping[str, Any], endings: list[str], words: WordList
) -> Iterator[Drawing]:
    """Take each icon once, in the first of the recipe's endings that it has."""
    icons = icon_set["icons"]
    chosen: dict[str, str] = {}
    for ending in source.endings or ("*",):
        for name, icon in icons.items():
            base = name if ending == "*" else _base(name, ending, endings)
            if base is not None and not icon.get("hidden"):
                chosen.setdefault(base, name)
    for base, name in chosen.items():
        bare = NUMBER.sub("", base) or base
        meaning = words.of_label(bare)
        if meaning is None and not words.is_restricted:
            subject = f" {source.subject}" if source.subject else ""
            meaning = Meaning(concept=bare.replace("-", " ").strip() + subject)
        if meaning is not None:
            yield Drawing(name, _picture(icon_set, name), meaning, "icon")


def _base(name: str, ending: str, endings: list[str]) -> str | None:
    """Return the name without the ending, or nothing if it ends otherwise."""
    having = [each for each in endings if each and name.endswith(f"-{each}")]
    found = max(having, key=len, default="")
    if found != ending:
        return None
    return name.removesuffix(f"-{ending}") if ending else name


def _spelt(name: str, words: WordList) -> Meaning:
    """Read an unknown emoji's name as words; run-together ones are split."""
    bare, tone = without_tone(name)
    bare = NUMBER.sub("", bare) or bare
    spelt = bare.replace("-", " ") if "-" in bare else words.split(bare)
    return Meaning(
        concept=f"{spelt} with {tone} skin tone" if tone else spelt,
        has_tone=bool(tone),
        is_flag=spelt.startswith("flag "),
    )


def _picture(icon_set: Mapping[str, Any], name: str) -> Picture:
    icon = icon_set["icons"][name]
    width, height = (icon.get(key, icon_set.get(key, 16)) for key in ("width", "height"))
    left, top = icon.get("left", 0), icon.get("top", 0)
    return Picture(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
    )
