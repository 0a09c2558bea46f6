"""What Discord refuses in a message, from its documentation: the checks of the loopback server."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

COMPONENTS_V2 = 1 << 15
MAX_FILES = 10
MAX_FILE_BYTES = 10 * 2**20
MAX_COMPONENTS = 40
MAX_TEXT = 4000
MAX_CUSTOM_ID = 100
MAX_LABEL = 80
MAX_ALT_TEXT = 1024
ACTION_ROW, BUTTON, SELECT, SECTION, TEXT, GALLERY = 1, 2, 3, 9, 10, 12
HOLDS = (
    (ACTION_ROW, "components", 5),
    (SELECT, "options", 25),
    (SECTION, "components", 3),
    (GALLERY, "items", 10),
)
V2_ONLY = {9, 10, 11, 12, 13, 14, 17}


def walk(components: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yield every component, however deep, accessories included."""
    for component in components:
        yield component
        yield from walk(component.get("components", []))
        for key in ("accessory", "component"):
            if key in component:
                yield from walk([component[key]])


def media(part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every picture or file that a component shows."""
    for shown in [part, *part.get("items", [])]:
        for key in ("media", "file"):
            if key in shown:
                yield shown[key]


def problems(
    payload: Mapping[str, Any], files: Mapping[str, bytes], kept: Sequence[str] = ()
) -> Iterator[str]:
    """Yield what Discord would refuse in a message.

    Args:
        payload: The message as the bot sent it.
        files: Multipart file names and contents.
        kept: Names of the attachments that stay from before this edit.
    """
    components = list(walk(payload.get("components") or []))
    yield from _about_files(files)
    yield from _about_components(components)
    if any(component["type"] in V2_ONLY for component in components):
        if not payload.get("flags", 0) & COMPONENTS_V2:
            yield "components V2 without their flag"
        if any(payload.get(key) for key in ("content", "embeds", "poll", "sticker_ids")):
            yield "components V2 beside content, embeds or a poll"
        yield from _about_references(components, [*files, *kept])
    elif not components and not payload.get("content"):
        yield "an empty message"
    if len(payload.get("content") or "") > 2000:
        yield "content of more than 2,000 characters"
    if payload.get("nonce") is not None and len(str(payload["nonce"])) > 25:
        yield "a nonce of more than 25 characters"
    mentions = payload.get("allowed_mentions")
    if mentions is None or mentions.get("parse"):
        yield "a message that may mention people"


def _about_files(files: Mapping[str, bytes]) -> Iterator[str]:
    if len(files) > MAX_FILES:
        yield f"{len(files)} files"
    for name, content in files.items():
        if not 0 < len(content) <= MAX_FILE_BYTES:
            yield f"{name} has {len(content)} bytes"


def _about_components(components: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(components) > MAX_COMPONENTS:
        yield f"{len(components)} components"
    length = sum(len(part["content"]) for part in components if part["type"] == TEXT)
    if length > MAX_TEXT:
        yield f"{length} characters of text"
    custom_ids = [part["custom_id"] for part in components if "custom_id" in part]
    if len(set(custom_ids)) < len(custom_ids):
        yield "a custom_id twice"
    if not all(0 < len(custom_id) <= MAX_CUSTOM_ID for custom_id in custom_ids):
        yield "a custom_id that is empty or too long"
    for part in components:
        yield from _about_size(part)


def _about_size(part: Mapping[str, Any]) -> Iterator[str]:
    if part["type"] == BUTTON and len(part.get("label") or "") > MAX_LABEL:
        yield "a label of more than 80 characters"
    if part["type"] == TEXT and not part["content"].strip():
        yield "an empty text"
    for kind, inner, most in HOLDS:
        if part["type"] == kind and not 1 <= len(part[inner]) <= most:
            yield f"{len(part[inner])} {inner} in a component of type {kind}"


def _about_references(
    components: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> Iterator[str]:
    items = [item for part in components if part["type"] == GALLERY for item in part["items"]]
    if any(len(item.get("description") or "") > MAX_ALT_TEXT for item in items):
        yield "an alt text of more than 1,024 characters"
    urls = [medium["url"] for part in components for medium in media(part)]
    named = {match[1] for url in urls if (match := re.fullmatch(r"attachment://(.+)", url))}
    shown = {url.partition("?")[0].rsplit("/", 1)[-1] for url in urls}
    if missing := named - set(names):
        yield f"attachments that were not sent: {sorted(missing)}"
    if unseen := set(names) - shown:
        yield f"files that nobody sees: {sorted(unseen)}"
