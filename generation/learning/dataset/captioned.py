"""A folder of captioned pictures that one may train on, and how it shows that one may."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from generation.work import border
from generation.work.errors import FileRefused

CONSENTS = "consent.json"


class NotPermitted(RuntimeError):
    """Nobody said that these pictures may be used; the message says who can."""


@dataclass(frozen=True, slots=True)
class Consented:
    """Why one exported picture may be used.

    Attributes:
        sha256: Of the file, 64 hex digits.
        consent_id: The record in which its maker agreed.
    """

    sha256: str
    consent_id: int


@dataclass(frozen=True, slots=True)
class Captioned:
    """One picture and its words."""

    path: Path
    caption: str


def write_consents(folder: Path, consents: Mapping[str, Consented]) -> None:
    """Record which files of a folder may be used, by their names."""
    content = {name: asdict(consent) for name, consent in consents.items()}
    unfinished = folder / f".{CONSENTS}.partial"
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(folder / CONSENTS)


def read_consents(folder: Path) -> dict[str, Consented]:
    """Return which files of a folder may be used; none where nothing is recorded.

    Raises:
        NotPermitted: The record is damaged.
    """
    path = folder / CONSENTS
    if not path.exists():
        return {}
    try:
        content = border.json_of(path)
        return {name: Consented(**consent) for name, consent in content.items()}
    except (FileRefused, TypeError, AttributeError) as error:
        raise NotPermitted(
            f"{path} is damaged ({error}); export the gallery again: "
            "atelier data build --source gallery"
        ) from error


def read_folder(folder: Path, permission: str) -> list[Captioned]:
    """Return the captioned pictures of a folder: `<name>.png` with its words in `<name>.txt`.

    Args:
        folder: The exported gallery, or pictures of one's own.
        permission: Why the pictures may be used, in a sentence of whoever trains; empty for the
            exported gallery, where every file must be one that its maker allowed.

    Raises:
        NotPermitted: A file is not one that was allowed, or was changed, and no permission is
            given; or there are no captioned pictures at all.
    """
    found = [
        Captioned(path, " ".join(border.text_of(words).split()))
        for path in sorted(folder.glob("*.png"))
        if (words := path.with_suffix(".txt")).exists()
    ]
    if not found:
        raise NotPermitted(
            f"{folder} holds no captioned pictures; each needs <name>.png and its words in"
            " <name>.txt. Export the gallery with `atelier data build --source gallery`, or name"
            " another folder in the recipe"
        )
    if not permission:
        _check_consents(folder, found)
    return found


def _check_consents(folder: Path, pictures: list[Captioned]) -> None:
    allowed = read_consents(folder)
    for picture in pictures:
        consent = allowed.get(picture.path.name)
        found = hashlib.sha256(picture.path.read_bytes()).hexdigest()
        if consent is None or consent.sha256 != found:
            raise NotPermitted(
                f"{picture.path} is no picture that its maker allowed for training. Only the"
                " exported gallery is taken without asking; for pictures of your own, write in the"
                ' recipe why you may use them: permission = "..."'
            )
