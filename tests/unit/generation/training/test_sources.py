"""Packages are what the recipe pinned, or nothing."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from generation.training import sources
from generation.training.recipe import Source
from generation.training.sources import SourceError

FOX = "\N{FOX FACE}"
RED_HEART = "\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}"


def packed(cache: Path, files: dict[str, bytes]) -> str:
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / "icons-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def icons(cache: Path) -> str:
    square = '<path fill="#00f" d="M0 0h8v8H0z"/>'
    icon_set = {
        "width": 8,
        "height": 8,
        "icons": {"fox": {"body": square}, "heart": {"body": square}},
    }
    icon_set["aliases"] = {"red-heart": {"parent": "heart"}}
    chars = {"1f98a": "fox", "2764-fe0f": "red-heart"}
    return packed(
        cache,
        {"icons.json": json.dumps(icon_set).encode(), "chars.json": json.dumps(chars).encode()},
    )


def source(sha256: str) -> Source:
    return Source(look="flat", kind="iconify", package="icons", version="1.0.0", sha256=sha256)


def test_variation_selectors_do_not_matter() -> None:
    assert sources.code_point_key(RED_HEART) == sources.without_selectors("2764-FE0F") == "2764"


def test_icons_and_aliases_are_found_by_code_point(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    pinned = source(icons(tmp_path / sources.CACHE))
    found = sources.drawings(pinned, {"fox": FOX, "red heart": RED_HEART}, tmp_path)
    assert [drawing.concept for drawing in found] == ["fox", "red heart"]
    assert found[1].render(16).getpixel((8, 8)) == (0, 0, 255, 255)


def test_changed_package_is_refused(tmp_path: Path) -> None:
    icons(tmp_path / sources.CACHE)
    with pytest.raises(SourceError, match="SHA-256"):
        sources.drawings(source("0" * 64), {"fox": FOX}, tmp_path)


def test_concept_without_drawing_is_named(tmp_path: Path) -> None:
    pinned = source(icons(tmp_path / sources.CACHE))
    with pytest.raises(SourceError, match="unicorn"):
        sources.drawings(pinned, {"unicorn": "\N{UNICORN FACE}"}, tmp_path)


def test_missing_npm_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match=r"npm is needed.*Node\.js"):
        sources.fetch_package("icons", "1.0.0", "0" * 64, tmp_path)


def test_failing_npm_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error network is unreachable' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="unreachable"):
        sources.fetch_package("icons", "1.0.0", "0" * 64, tmp_path / "cache")


def test_folder_gives_names_and_captions(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red-square.png")
    (tmp_path / "red-square.txt").write_text("a crimson box\n")
    (drawing,) = sources.folder_drawings("plain", tmp_path)
    assert (drawing.concept, drawing.caption) == ("red square", "a crimson box")


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no PNG"):
        sources.folder_drawings("plain", tmp_path)
