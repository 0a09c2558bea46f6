"""Fetch pinned npm packages and hand out their drawings by emoji."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from generation.training.captions import Names
from generation.training.raster import rasterise_svg
from generation.training.recipe import Source

CACHE = "sources"
NPM_TIMEOUT_S = 300
VARIATION_SELECTOR = "fe0f"


class Progress(Protocol):
    """Told how far a stage is; must be quick, is called from the training thread."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report `done` of `total` units of `stage`, with a short remark."""


class SourceError(RuntimeError):
    """A source cannot be had or is not what the recipe pinned; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture before it is placed on a canvas.

    Attributes:
        render: Called with a side in pixels, returns a square RGBA picture of that size.
        caption: Words that came with the picture; empty when the recipe's concept names serve.
    """

    concept: str
    look: str
    render: Callable[[int], Image.Image]
    caption: str = ""


def code_point_key(emoji: str) -> str:
    """Return the emoji's code points as packages spell them, without variation selectors."""
    return without_selectors("-".join(f"{ord(character):04x}" for character in emoji))


def without_selectors(code_points: str) -> str:
    """Drop U+FE0F, which packages write inconsistently."""
    parts = code_points.lower().split("-")
    return "-".join(part for part in parts if part != VARIATION_SELECTOR)


def fetch_package(package: str, version: str, sha256: str, cache: Path) -> Path:
    """Return the package's tarball from the cache, or let npm download it there.

    Args:
        package: npm name, such as `@iconify-json/noto`.
        version: Exact version.
        sha256: Expected SHA-256 of the tarball in hexadecimal.
        cache: Folder that keeps the tarballs.

    Raises:
        SourceError: npm is missing or fails, or the file is not the pinned one.
    """
    cache.mkdir(parents=True, exist_ok=True)
    tarball = cache / f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if not tarball.exists():
        _npm_pack(f"{package}@{version}", cache)
    if not tarball.exists():
        raise SourceError(f"npm pack {package}@{version} did not write {tarball.name}")
    found = hashlib.sha256(tarball.read_bytes()).hexdigest()
    if found != sha256:
        raise SourceError(
            f"{tarball} has SHA-256 {found}, the recipe pins {sha256}; delete the file to fetch it"
            " again, or correct the recipe if the package was changed on purpose"
        )
    return tarball


def _npm_pack(specifier: str, destination: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError(
            f"npm is needed to download {specifier} and was not found; install Node.js, or put the"
            f" tarball into {destination} yourself"
        )
    command = [npm, "pack", specifier, "--silent", "--pack-destination", str(destination)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=NPM_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        last_line = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise SourceError(f"npm could not download {specifier} (offline?): {last_line}") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"npm took over {NPM_TIMEOUT_S} s for {specifier}") from error


def read_json(tarball: Path, member: str) -> Any:
    """Parse one JSON file of a package."""
    return json.loads(read_member(tarball, member))


def read_member(tarball: Path, member: str) -> bytes:
    """Return one file of a package.

    Raises:
        SourceError: The package has no such file.
    """
    with tarfile.open(tarball) as archive:
        try:
            return _content(archive, archive.getmember(f"package/{member}"))
        except KeyError as error:
            raise SourceError(f"{tarball.name} has no {member}") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise SourceError(f"{member.name} in {archive.name!s} is not a file")
    return file.read()


def word_list(tarball: Path, concepts: Mapping[str, str]) -> dict[str, Names]:
    """Return emojibase's English label and tags for the recipe's concepts.

    Source: https://emojibase.dev/docs/datasets (data.json: label, tags, hexcode).
    """
    by_code_point = {
        without_selectors(entry["hexcode"]): Names(entry["label"], tuple(entry.get("tags", ())))
        for entry in read_json(tarball, "en/data.json")
    }
    wanted = ((name, by_code_point.get(code_point_key(emoji))) for name, emoji in concepts.items())
    return {name: entry for name, entry in wanted if entry is not None}


def drawings(source: Source, concepts: Mapping[str, str], directory: Path) -> list[Drawing]:
    """Return a source's drawings of the recipe's concepts, in the recipe's order.

    Args:
        directory: Data directory; packages are cached in it, folder sources lie in it.

    Raises:
        SourceError: A concept has no drawing, or the source cannot be read.
    """
    if source.kind == "folder":
        return folder_drawings(source.look, directory / source.path)
    tarball = fetch_package(source.package, source.version, source.sha256, directory / CACHE)
    read = _iconify_drawings if source.kind == "iconify" else _asset_drawings
    renderers = read(tarball, {code_point_key(emoji) for emoji in concepts.values()})
    missing = [name for name, emoji in concepts.items() if code_point_key(emoji) not in renderers]
    if missing:
        raise SourceError(f"{source.package} draws none of {missing}")
    return [
        Drawing(name, source.look, renderers[code_point_key(emoji)])
        for name, emoji in concepts.items()
    ]


def folder_drawings(look: str, folder: Path) -> list[Drawing]:
    """Read `<name>.png` files; `<name>.txt`, where present, holds the caption.

    Raises:
        SourceError: The folder has no PNG files.
    """
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise SourceError(f"{folder} holds no PNG files")
    found = []
    for path in paths:
        words = path.with_suffix(".txt")
        caption = words.read_text(encoding="utf-8").strip() if words.exists() else ""
        name = path.stem.replace("-", " ").replace("_", " ")
        found.append(Drawing(name, look, _bitmap_renderer(path.read_bytes()), caption))
    return found


def _iconify_drawings(tarball: Path, wanted: set[str]) -> dict[str, Callable[[int], Image.Image]]:
    """Source: https://iconify.design/docs/types/iconify-json.html (icons, aliases, chars)."""
    icon_set = read_json(tarball, "icons.json")
    names = read_json(tarball, "chars.json")
    renderers: dict[str, Callable[[int], Image.Image]] = {}
    for code_points, name in names.items():
        key = without_selectors(code_points)
        if key not in wanted:
            continue
        icon = icon_set["icons"].get(name)
        if icon is None:
            icon = icon_set["icons"][icon_set["aliases"][name]["parent"]]
        width = icon.get("width", icon_set.get("width", 16))
        height = icon.get("height", icon_set.get("height", 16))
        renderers[key] = _svg_renderer(icon["body"], width, height)
    return renderers


def _asset_drawings(tarball: Path, wanted: set[str]) -> dict[str, Callable[[int], Image.Image]]:
    renderers: dict[str, Callable[[int], Image.Image]] = {}
    with tarfile.open(tarball) as archive:
        for member in archive:
            path = Path(member.name)
            key = without_selectors(path.stem)
            if path.suffix != ".webp" or key not in wanted:
                continue
            renderers[key] = _bitmap_renderer(_content(archive, member))
    return renderers


def _svg_renderer(body: str, width: int, height: int) -> Callable[[int], Image.Image]:
    def render(side_px: int) -> Image.Image:
        # resvg ignores the size it is asked for unless the SVG itself declares one.
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
            f' width="{side_px}" height="{side_px}" viewBox="0 0 {width} {height}">{body}</svg>'
        )
        return rasterise_svg(svg)

    return render


def _bitmap_renderer(encoded: bytes) -> Callable[[int], Image.Image]:
    def render(side_px: int) -> Image.Image:
        with Image.open(io.BytesIO(encoded)) as picture:
            # Pillow's resize premultiplies RGBA itself, so no dark rims appear.
            return picture.convert("RGBA").resize((side_px, side_px), Image.Resampling.LANCZOS)

    return render
