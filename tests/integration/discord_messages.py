"""The channels and messages of the loopback Discord, checked as they come in."""

import datetime as dt
import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

from tests.integration.discord_limits import media, problems, walk
from tests.integration.discord_objects import CHANNEL, blank, direct
from tests.integration.discord_rules import (
    ARCHIVED,
    UNKNOWN_CHANNEL,
    UNKNOWN_MESSAGE,
    Call,
    Refusal,
)

DIRECT = 10**6
EPHEMERAL, LOADING = 1 << 6, 1 << 7
DISCORD_EPOCH_MS = 1_420_070_400_000


class Messages:
    """Messages by their id; what Discord would refuse is refused and kept in `violations`."""

    def __init__(self) -> None:
        self._counter = itertools.count()
        self._nonces: dict[str, int] = {}
        self.violations: list[str] = []
        self.messages: dict[int, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.channels = {CHANNEL}
        self.archived: set[int] = set()  # threads
        self.locked: set[int] = set()  # of them: those that the bot may not open

    def posts(self, channel_id: int = CHANNEL) -> list[dict[str, Any]]:
        """Return what everyone sees in a channel, oldest first."""
        shown = (self.messages[number] for number in sorted(self.messages))
        return [
            message
            for message in shown
            if int(message["channel_id"]) == channel_id and not message["flags"] & EPHEMERAL
        ]

    def _known(self, channel_id: int) -> None:
        if channel_id not in self.channels:
            raise UNKNOWN_CHANNEL

    def _found(self, number: int, *, channel_id: int | None = None) -> dict[str, Any]:
        message = self.messages.get(number)
        if message is None:
            raise UNKNOWN_MESSAGE
        if channel_id is not None and message["flags"] & EPHEMERAL:
            raise UNKNOWN_MESSAGE  # only its interaction can reach it
        self._known(int(message["channel_id"]))
        return message

    def _history(self, channel_id: int, query: Mapping[str, str]) -> list[dict[str, Any]]:
        before, after = int(query.get("before", 2**63)), int(query.get("after", 0))
        found = [post for post in self.posts(channel_id) if after < int(post["id"]) < before]
        limit = int(query.get("limit", 50))
        return (found[:limit] if "after" in query else found[-limit:])[::-1]

    def _snowflake(self) -> int:
        """Return a new id that tells its time, as Discord's do."""
        since_ms = int(time.time() * 1000) - DISCORD_EPOCH_MS
        return since_ms << 22 | next(self._counter) & 0xFFF

    def _post(self, call: Call, channel_id: int) -> dict[str, Any]:
        nonce = call.payload.get("nonce")
        if nonce is not None and call.payload.get("enforce_nonce") and nonce in self._nonces:
            return self.messages[self._nonces[nonce]]
        message = self._new(call.payload, call.files, channel_id)
        if nonce is not None:
            self._nonces[nonce] = int(message["id"])
        return message

    def _check(
        self, payload: Mapping[str, Any], files: Mapping[str, bytes], kept: list[str]
    ) -> None:
        if found := list(problems(payload, files, kept)):
            self.violations += found
            raise Refusal(400, 50035, f"Invalid Form Body: {found}")

    def _new(
        self, payload: Mapping[str, Any], files: Mapping[str, bytes], channel_id: int
    ) -> dict[str, Any]:
        if channel_id in self.archived:
            raise ARCHIVED
        self._check(payload, files, [])
        return self._store(payload, files, channel_id)

    def _direct(self, recipient: int) -> dict[str, Any]:
        """Return the channel of direct messages to somebody; its number is made from theirs."""
        self.channels.add(DIRECT + recipient)
        return direct(DIRECT + recipient, recipient)

    def _store(
        self, payload: Mapping[str, Any], files: Mapping[str, bytes], channel_id: int
    ) -> dict[str, Any]:
        number = self._snowflake()
        message = self.messages[number] = {
            **blank(number, channel_id),
            "flags": payload.get("flags", 0),
            "content": payload.get("content") or "",
        }
        self._fill(message, payload, files, [])
        return message

    def _edit(
        self, message: dict[str, Any], payload: Mapping[str, Any], files: Mapping[str, bytes]
    ) -> dict[str, Any]:
        if int(message["channel_id"]) in self.archived:
            raise ARCHIVED
        old = message["attachments"]
        kept_ids = {str(entry["id"]) for entry in payload.get("attachments", old)}
        kept = [attachment for attachment in old if attachment["id"] in kept_ids]
        flags = message["flags"] | payload.get("flags", 0)
        components = payload.get("components", message["components"])
        whole = {"content": message["content"], **payload, "flags": flags, "components": components}
        self._check(whole, files, [attachment["filename"] for attachment in kept])
        message["flags"] = flags & ~LOADING
        message["edited_timestamp"] = dt.datetime.now(dt.UTC).isoformat()
        self._fill(message, whole, files, kept)
        return message

    def _fill(
        self,
        message: dict[str, Any],
        payload: Mapping[str, Any],
        files: Mapping[str, bytes],
        kept: list[dict[str, Any]],
    ) -> None:
        new = []
        for name, content in files.items():
            number = str(self._snowflake())
            path = f"attachments/{message['channel_id']}/{number}/{name}"
            url = f"https://cdn.discordapp.com/{path}"
            self.files[url] = content
            entry = {"id": number, "filename": name, "size": len(content), "url": url}
            new.append({**entry, "proxy_url": url, "content_type": "image/png"})
        announced = [entry["filename"] for entry in payload.get("attachments") or []]
        if announced[len(announced) - len(files) :] != list(files):
            self.violations.append(f"announced {announced}, sent {list(files)}")
        message["attachments"] = [*kept, *new]
        message["content"] = payload.get("content") or ""
        urls = {f"attachment://{a['filename']}": a["url"] for a in message["attachments"]}
        components = json.loads(json.dumps(payload.get("components") or []))  # a copy of our own
        for place, part in enumerate(walk(components), start=1):
            part.setdefault("id", place)
            for medium in media(part):
                medium["url"] = urls.get(medium["url"], medium["url"])
        message["components"] = components
