"""The loopback Discord must refuse what Discord refuses, or tests on it prove nothing."""

from typing import Any

import pytest

from tests.integration.discord_limits import COMPONENTS_V2, MAX_FILE_BYTES, problems

PNG = b"\x89PNG"


def text(length: int = 1) -> dict[str, Any]:
    return {"type": 10, "content": "x" * length}


def row(*labels: str) -> dict[str, Any]:
    buttons = [{"type": 2, "style": 2, "label": label, "custom_id": label} for label in labels]
    return {"type": 1, "components": buttons}


def gallery(*urls: str) -> dict[str, Any]:
    return {"type": 12, "items": [{"media": {"url": url}} for url in urls]}


def message(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    flags = {"flags": COMPONENTS_V2, "allowed_mentions": {"parse": []}}
    return {**flags, "components": list(components), **more}


def names(count: int) -> list[str]:
    return [f"{number}.png" for number in range(count)]


def shown(count: int) -> dict[str, Any]:
    urls = [f"attachment://{name}" for name in names(count)]
    return message(*(gallery(*urls[i : i + 10]) for i in range(0, count, 10)))


@pytest.mark.parametrize(
    ("payload", "files"),
    [
        (message(text()), {}),
        (message(*[text()] * 40), {}),
        (message(text(4000), row("a", "b", "c", "d", "e")), {}),
        (shown(10), dict.fromkeys(names(10), PNG)),
        ({"content": "hello", "allowed_mentions": {"parse": []}}, {}),
    ],
)
def test_what_discord_takes_is_taken(payload: dict[str, Any], files: dict[str, bytes]) -> None:
    assert list(problems(payload, files)) == []


@pytest.mark.parametrize(
    ("payload", "files", "why"),
    [
        (message(*[text()] * 41), {}, "41 components"),
        (message(text(2000), text(2001)), {}, "4001 characters"),
        (message(text(), row("a"), row("a")), {}, "custom_id twice"),
        (message(text(), row("x" * 101)), {}, "empty or too long"),
        (message(text(), row("x" * 81)), {}, "label"),
        (message(text(), row("a", "b", "c", "d", "e", "f")), {}, "6 components"),
        (message(text(), flags=0), {}, "flag"),
        (message(text(), content="hello"), {}, "beside"),
        (message(text(0)), {}, "empty text"),
        (message(text(), allowed_mentions=None), {}, "mention"),
        (message(text(), allowed_mentions={"parse": ["everyone"]}), {}, "mention"),
        (message(), {}, "empty message"),
        (message(text(), nonce="x" * 26), {}, "nonce"),
        (shown(11), dict.fromkeys(names(11), PNG), "11 files"),
        (shown(1), {"0.png": bytes(MAX_FILE_BYTES + 1)}, "bytes"),
        (shown(2), {"0.png": PNG}, "not sent"),
        (shown(1), {"0.png": PNG, "1.png": PNG}, "nobody sees"),
    ],
)
def test_what_discord_refuses_is_refused(
    payload: dict[str, Any], files: dict[str, bytes], why: str
) -> None:
    assert any(why in problem for problem in problems(payload, files))
