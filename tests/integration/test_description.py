"""Everything the bot says to Discord, against Discord's own description of its API.

The description is not ours to copy; where it does not lie beside the repository, this is skipped.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.discord_objects import MODERATORS
from tests.integration.discord_rules import Call, Interaction
from tests.integration.life import ROOT, Life

DESCRIPTION = ROOT.parent / "shared" / "discord" / "openapi.json"
needs_description = pytest.mark.skipif(
    not DESCRIPTION.is_file(), reason="Discord's description is not beside the repository"
)
MODERATOR = 9
# What discord.py adds of itself and Discord passes over.
BESIDES = {"tts", "nsfw", "url", "proxy_url", "size", "spoiler", "content_type"}


def said(content: Any) -> Any:
    """Return what the bot said, without what its library adds to commands and attachments."""
    if isinstance(content, list):
        return [said(each) for each in content]
    if not isinstance(content, dict):
        return content
    is_component = "custom_id" in content or content.keys() <= {"url"}
    left_out = set() if is_component else BESIDES
    return {key: said(value) for key, value in content.items() if key not in left_out}


def described() -> dict[str, Any]:
    """Return the description, hardened: closed objects, and snowflakes that may be integers."""
    description: dict[str, Any] = json.loads(DESCRIPTION.read_text())
    for schema in _schemas(description["components"]["schemas"]):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    pattern = description["components"]["schemas"]["SnowflakeType"]
    description["components"]["schemas"]["SnowflakeType"] = {
        "anyOf": [pattern, {"type": "integer", "minimum": 0}]
    }
    return description


def _schemas(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, list):
        for each in part:
            yield from _schemas(each)
    elif isinstance(part, dict):
        for each in part.values():
            yield from _schemas(each)
        yield part


def schema_of(description: dict[str, Any], call: Call) -> dict[str, Any]:
    """Return the schema of a request's JSON."""
    path = call.path.removeprefix("/api")
    fitting = [
        template
        for template in description["paths"]
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path)
    ]
    template = min(fitting, key=lambda each: each.count("{"))  # @original before {message_id}
    operation = description["paths"][template][call.method.lower()]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return {**schema, "components": description["components"]}


async def take_the_tour(life: Life) -> None:
    """Have the bot say everything it can say."""
    discord = life.discord
    discord.roles[MODERATOR] = [MODERATORS]
    job_id = await life.imagine("a fox *with* @everyone --no zeppelin --ar 3:2 --tile")
    await life.in_state(job_id, "posted")
    post = life.message(job_id)
    for command in ("help", "queue", "mysettings", "consent"):
        await life.answer(await discord.slash(7, command))
    for command in ("settings", "log search", "log export"):
        await life.answer(await discord.slash(MODERATOR, command))
    await life.answer(await discord.slash(7, "imagine", prompt="a fox --ar 9999:1"))
    await life.answer(await discord.click(8, post, "1 ·"))
    details = await life.answer(await discord.click(7, post, "Details"))
    await life.answer(await discord.click(7, details, "Delete"))
    await life.answer(await discord.menu(MODERATOR, "Show record", post))
    await fill_in(life, await discord.menu(8, "Report", post))
    await fill_in(life, await discord.click(8, post, "Remix"))
    again = await life.answer(await discord.click(7, post, "Again"))
    await discord.click(7, again, "Cancel")
    await life.answer(await discord.slash(7, "imagine", prompt="{a, b, c, d, e, f} fox"))
    await life.until(
        lambda: all(job["state"] in {"held", "posted", "cancelled"} for job in life.jobs()),
        "every job's end",
    )


async def fill_in(life: Life, opened: Interaction) -> None:
    """Send the form that an interaction opened."""
    await life.until(lambda: opened.is_answered, "a form")
    form = life.discord.forms[-1]
    await life.answer(await life.discord.submit(8, form, "a badger", life.message(1)))


def problems_of(description: dict[str, Any], call: Call) -> list[str]:
    """Return what the description says against a request."""
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    validator = jsonschema_rs.validator_for(schema_of(description, call))
    return [
        f"{error.instance_path}: {error.message[:500]}"
        for error in validator.iter_errors(said(call.payload))
    ]


@needs_description
async def test_everything_the_bot_says_is_what_discord_describes(tmp_path: Path) -> None:
    async with Life.open(tmp_path, step_delay_s=0.05) as life:
        await take_the_tour(life)
        calls = [call for call in life.discord.calls if call.payload is not None]
        assert life.discord.violations == []
    (commands,) = (call.payload for call in calls if call.path.endswith("/commands"))
    # On servers only: a member's own installation would be under no server's rules.
    assert all(each["integration_types"] == [0] for each in commands)
    description = described()
    for call in calls:
        assert problems_of(description, call) == [], f"{call.method} {call.path}"
    kinds = {(call.method, call.path.split("/")[2]) for call in calls}
    assert {("PUT", "applications"), ("POST", "interactions"), ("PATCH", "webhooks")} <= kinds


@needs_description
@pytest.mark.parametrize(
    ("change", "is_described"),
    [
        ({}, True),
        ({"label": "x" * 81}, False),
        ({"custom_id": ""}, False),
        ({"colour": 1}, False),
        ({"style": "red"}, False),
        ({"type": 99}, False),
    ],
)
def test_the_description_tells_a_button_from_nonsense(
    change: dict[str, Any], is_described: bool
) -> None:
    button = {"type": 2, "style": 2, "label": "Again", "custom_id": "a", **change}
    payload = {"components": [{"type": 1, "components": [button]}]}
    call = Call("PATCH", "/api/channels/1/messages/2", payload, {}, 0.0)
    assert (problems_of(described(), call) == []) == is_described
