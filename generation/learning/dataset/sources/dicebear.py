"""DiceBear avatars: attributes are drawn by lot first, so the caption is true by construction."""

import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from generation.learning.dataset.packages import Credit, SourceError, fetch_npm, read_json, read_npm
from generation.learning.dataset.raster import Picture
from generation.learning.dataset.recipe import Package, Source
from generation.learning.dataset.sources.drawing import Collected, Drawing, check_licence
from generation.learning.dataset.sources.traits import TRAITS, Chosen, choose
from generation.learning.dataset.words import Meaning, WordList

SCRIPT = Path(__file__).with_name("avatars.mjs")
NODE_TIMEOUT_S = 300
DEFAULT_COUNT = 200
DESIGN = re.compile(r"Designer: (?P<author>.+?) \((?P<url>[^)]*)\)\s+License: (?P<licence>.+?) \(")
SPDX = {"CC0 1.0": "CC0-1.0", "CC BY 4.0": "CC-BY-4.0"}


def collect(source: Source, cache: Path, words: WordList) -> Collected:
    """Draw as many avatars of one style as the recipe's limit says.

    Raises:
        SourceError: Node.js or a package cannot be had, the style is unknown, or its licence is
            not the recipe's.
    """
    style = source.package.rpartition("/")[2]
    if style not in TRAITS:
        raise SourceError(f"{source.package} has no known attributes; known are {sorted(TRAITS)}")
    pinned = Package(package=source.package, version=source.version, sha256=source.sha256)
    tarballs = [fetch_npm(each, cache) for each in (pinned, *source.requires)]
    credit = _credit(source, tarballs[0])
    chosen = [choose(style, number) for number in range(source.limit or DEFAULT_COUNT)]
    drawn = _draw(source.package, tarballs, [each.options for each in chosen])
    drawings = [
        Drawing(f"{number:04}", Picture(svg), _meaning(each))
        for number, (each, svg) in enumerate(zip(chosen, drawn, strict=True))
        if not words.is_restricted
    ]
    return Collected(tuple(drawings), credit, {})


def _credit(source: Source, tarball: Path) -> Credit:
    """Read the design's licence, which is another than the code's."""
    design = DESIGN.search(read_npm(tarball, "LICENSE")[0].decode())
    if design is None:
        raise SourceError(
            f"{source.package} {source.version} does not say the licence of its design any more;"
            " pin an older version"
        )
    check_licence(source, SPDX.get(design["licence"], design["licence"]))
    return Credit(
        look=source.look,
        title=f"DiceBear {source.package.rpartition('/')[2]}",
        package=source.package,
        version=source.version,
        author=design["author"],
        licence=source.licence,
        url=design["url"],
    )


def _draw(
    style: str, tarballs: Sequence[Path], options: Sequence[Mapping[str, object]]
) -> list[str]:
    node = shutil.which("node")
    if node is None:
        raise SourceError(f"node is needed to draw {style} and was not found; install Node.js")
    with tempfile.TemporaryDirectory(prefix="atelier-avatars-") as temporary:
        folder = Path(temporary)
        for tarball in tarballs:
            _unpack(tarball, folder / "node_modules")
        shutil.copy(SCRIPT, folder)
        (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
        command = [node, SCRIPT.name, style, "options.json", "drawn.json"]
        try:
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                cwd=folder,
                timeout=NODE_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"node took over {NODE_TIMEOUT_S} s to draw {style}") from error
        except subprocess.CalledProcessError as error:
            lines = [line for line in error.stderr.splitlines() if "Error" in line]
            said = (lines or ["no message"])[0]
            raise SourceError(
                f"node could not draw {style} ({said.strip()}); Node.js 18 or newer is needed"
            ) from error
        return list(json.loads((folder / "drawn.json").read_text(encoding="utf-8")))


def _unpack(tarball: Path, modules: Path) -> None:
    """Lay a package where node looks for it; all of them are pinned, so npm has no say."""
    name = read_json(tarball, "package.json")[0]["name"]
    with tarfile.open(tarball) as archive:
        archive.extractall(modules / name, filter="data")
    for path in (modules / name / "package").iterdir():
        path.rename(modules / name / path.name)


def _meaning(chosen: Chosen) -> Meaning:
    return Meaning(concept=chosen.concept, phrases=chosen.phrases, group="avatars")
