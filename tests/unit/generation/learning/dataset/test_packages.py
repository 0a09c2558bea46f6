"""Packages are what the recipe pinned, or the message says what to do."""

import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from generation.learning.dataset import packages
from generation.learning.dataset.packages import SourceError
from generation.learning.dataset.recipe import Package

PINNED = Package(package="@icons/fox", version="1.0.0", sha256="0" * 64)
DEBIAN = Package(package="clipart", version="1:0.18-19", sha256="0" * 64)


def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """Put a package client on the PATH that does what the script says."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def packed(path: Path, files: dict[str, bytes]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_download_is_kept_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = packed(tmp_path / "fox.tgz", {"package.json": b"{}"})
    client(tmp_path, monkeypatch, "npm", f"cp {tmp_path}/fox.tgz . && echo x >> {tmp_path}/calls")
    pinned = Package(package="@icons/fox", version="1.0.0", sha256=sha256)
    for _ in range(2):
        path = packages.fetch_npm(pinned, tmp_path / "cache")
    assert path.name == "icons-fox-1.0.0.tgz"
    assert (tmp_path / "calls").read_text() == "x\n"
    assert packages.read_json(path, "package.json") == [{}]


@pytest.mark.parametrize(
    ("fetch", "pinned", "advice"),
    [
        (packages.fetch_npm, PINNED, r"npm is needed.*Node\.js.*put the file at"),
        (packages.fetch_debian, DEBIAN, r"apt-get is needed.*apt.*clipart_0\.18-19\.deb"),
    ],
)
def test_missing_client_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: object, pinned: Package, advice: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert callable(fetch)
    with pytest.raises(SourceError, match=advice):
        fetch(pinned, tmp_path)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("npm error code ENOTFOUND\nnpm error see the log", r"code ENOTFOUND\).*is the network up"),
        ("", "it said nothing"),
        ("npm error code E404", "check that the registry still has it"),
        ("npm error ENOSPC: no space left on device", "no room for .* GiB are free"),
    ],
)
def test_failing_npm_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, advice: str
) -> None:
    client(tmp_path, monkeypatch, "npm", f"echo '{said}' >&2; exit 1")
    with pytest.raises(SourceError, match=advice):
        packages.fetch_npm(PINNED, tmp_path / "cache")


def test_apt_without_network_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "E: Failed to fetch http://deb.debian.org  Temporary failure resolving"
    client(tmp_path, monkeypatch, "apt-get", f"echo '{said}' >&2; exit 100")
    with pytest.raises(SourceError, match="is the network up"):
        packages.fetch_debian(DEBIAN, tmp_path / "cache")


def test_broken_download_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path, monkeypatch, "npm", "echo half > fox.tgz; exit 1")
    with pytest.raises(SourceError):
        packages.fetch_npm(PINNED, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_client_that_writes_nothing_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path, monkeypatch, "npm", "exit 0")
    with pytest.raises(SourceError, match=r"wrote no \.tgz.*by hand"):
        packages.fetch_npm(PINNED, tmp_path / "cache")


def test_changed_package_is_refused(tmp_path: Path) -> None:
    packed(tmp_path / "icons-fox-1.0.0.tgz", {"icons.json": b"{}"})
    with pytest.raises(SourceError, match=r"SHA-256.*delete the file"):
        packages.fetch_npm(PINNED, tmp_path)


def test_missing_member_is_named(tmp_path: Path) -> None:
    packed(tmp_path / "fox.tgz", {"icons.json": b"{}"})
    with pytest.raises(SourceError, match=r"no chars\.json"):
        packages.read_npm(tmp_path / "fox.tgz", "icons.json", "chars.json")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_debian_package_is_read_without_installing_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: clipart\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y.z>\nDescription: x\n"
    )
    (tree / "usr").mkdir()
    (tree / "usr" / "fox.svg").write_text("<svg/>")
    built = tmp_path / "clipart.deb"
    subprocess.run(["dpkg-deb", "--build", str(tree), str(built)], check=True, capture_output=True)
    assert dict(packages.debian_files(built)) == {"usr/fox.svg": b"<svg/>"}


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_damaged_debian_package_is_explained(tmp_path: Path) -> None:
    damaged = tmp_path / "clipart.deb"
    damaged.write_bytes(b"no archive")
    with pytest.raises(SourceError, match=r"cannot read clipart\.deb"):
        list(packages.debian_files(damaged))


def test_missing_dpkg_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match=r"dpkg-deb is needed.*--source"):
        list(packages.debian_files(tmp_path / "clipart.deb"))


def test_room_says_how_much_there_is_and_what_to_do(tmp_path: Path) -> None:
    said = packages.room(tmp_path, needed_bytes=3 * 2**30)
    assert "3.0 GiB are needed" in said
    assert "--work" in said
