"""A small Discord on 127.0.0.1: the REST routes and the gateway that the real client needs.

simcord runs inside the bot's process; this one stands outside, so that the process can be killed
and every byte goes over a socket. It refuses what Discord refuses (`discord_limits`) and remembers
it in `violations`, which every test expects to be empty.
"""

import asyncio
import itertools
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

from aiohttp import BodyPartReader, WSMsgType, web

from tests.integration.discord_limits import walk
from tests.integration.discord_messages import EPHEMERAL, LOADING, Messages
from tests.integration.discord_objects import (
    APPLICATION,
    CHANNEL,
    GUILD,
    application,
    bot,
    channel,
    guild,
    member,
    thread,
)
from tests.integration.discord_rules import (
    ALREADY_ANSWERED,
    MISSING_PERMISSION,
    TOKEN_EXPIRED,
    UNAVAILABLE,
    UNKNOWN_INTERACTION,
    UNKNOWN_WEBHOOK,
    Call,
    Interaction,
    Refusal,
    Rule,
)

CALLBACK_WITHIN_S = 3.0
Answer = tuple[int, Any]


class DiscordServer(Messages):
    """One guild with one channel; see `loopback_discord`."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token
        self._socket: web.WebSocketResponse | None = None
        self._sequence = itertools.count(1)
        self._limited_until: dict[tuple[str, str], float] = {}
        self.ready = asyncio.Event()
        self.address = ""
        self.token_life_s = 15 * 60.0
        self.calls: list[Call] = []
        self.rules: list[Rule] = []
        self.weather: Callable[[Call], Rule | None] = lambda _: None  # what no rule is for
        self.commands: list[dict[str, Any]] = []
        self.interactions: dict[str, Interaction] = {}
        self.forms: list[dict[str, Any]] = []
        self.uploads: dict[str, bytes] = {}
        self.beat_interval_ms = 41_250
        self.acknowledges = True  # the gateway's heartbeats
        self.permissions: dict[int, str] = {}  # in the channel
        self.app_permissions = "8933636165185"
        self.roles: dict[int, list[int]] = {}

    # What members do

    async def slash(
        self, member_id: int, name: str, *, image: bytes | None = None, **options: str | int
    ) -> Interaction:
        """Send a slash command; `name` may be a group and its subcommand."""
        name, _, inner = name.partition(" ")
        given: list[dict[str, Any]] = [
            {"name": key, "type": 4 if isinstance(value, int) else 3, "value": value}
            for key, value in options.items()
        ]
        if inner:
            given = [{"name": inner, "type": 1, "options": given}]
        content = {**self._command(name), "options": given}
        if image is not None:
            attachment = self._attach(image)
            given.append({"name": "image", "type": 11, "value": attachment["id"]})
            content["resolved"] = {"attachments": {attachment["id"]: attachment}}
        return await self._interact(member_id, 2, content)

    async def menu(self, member_id: int, name: str, message: Mapping[str, Any]) -> Interaction:
        """Choose a message's context menu entry."""
        resolved = {"messages": {message["id"]: message}}
        target = {"target_id": message["id"], "resolved": resolved}
        return await self._interact(member_id, 2, {**self._command(name), **target})

    async def submit(
        self, member_id: int, form: Mapping[str, Any], text: str, message: Mapping[str, Any]
    ) -> Interaction:
        """Send a form with the same text in every field and the first choice of every list."""
        rows = []
        for row in form["components"]:
            field = row["component"]
            told = {key: field[key] for key in ("type", "custom_id")}
            chosen = [option["value"] for option in field.get("options", [])[:1]]
            told |= {"values": chosen} if chosen else {"value": text}
            rows.append({"type": row["type"], "component": told})
        content = {"custom_id": form["custom_id"], "components": rows}
        return await self._interact(member_id, 5, content, message)

    async def click(self, member_id: int, message: Mapping[str, Any], label: str) -> Interaction:
        """Press a message's button; its label need only begin so."""
        custom_id = next(
            part["custom_id"]
            for part in walk(message["components"])
            if (part.get("label") or "").startswith(label) and "custom_id" in part
        )
        content = {"custom_id": custom_id, "component_type": 2}
        return await self._interact(member_id, 3, content, message)

    def rule(self, method: str, path: str, **settings: Any) -> Rule:
        """Have the next matching requests answered otherwise."""
        rule = Rule(method, path, **settings)
        self.rules.append(rule)
        return rule

    def called(self, method: str, path: str) -> list[Call]:
        """Return the requests so far to a path (a regular expression)."""
        return [c for c in self.calls if c.method == method and re.search(path, c.path)]

    def _attach(self, image: bytes) -> dict[str, Any]:
        """Take a picture that a member sends with a command."""
        number = str(self._snowflake())
        self.uploads[number] = image
        url = f"http://{self.address}/uploads/{number}"
        about = {"id": number, "filename": "mine.png", "content_type": "image/png"}
        return {**about, "size": len(image), "url": url, "proxy_url": url}

    async def _uploaded(self, request: web.Request) -> web.Response:
        return web.Response(body=self.uploads[request.match_info["number"]])

    def _command(self, name: str) -> dict[str, Any]:
        command = next(each for each in self.commands if each["name"] == name)
        return {"id": command["id"], "name": name, "type": command.get("type", 1)}

    async def _interact(
        self,
        member_id: int,
        kind: int,
        content: Mapping[str, Any],
        message: Mapping[str, Any] | None = None,
    ) -> Interaction:
        number, born_s = self._snowflake(), time.monotonic()
        token = secrets.token_urlsafe(150)  # as long as Discord's
        interaction = self.interactions[token] = Interaction(
            number, token, born_s, born_s + self.token_life_s
        )
        interaction.message_id = int(message["id"]) if message else None
        event = {
            "id": str(number),
            "application_id": str(APPLICATION),
            "type": kind,
            "token": token,
            "version": 1,
            "guild_id": str(GUILD),
            "guild": {"id": str(GUILD), "locale": "en-US", "features": []},
            "channel_id": str(CHANNEL),
            "channel": channel(),
            "member": member(
                member_id,
                self.permissions.get(member_id, "2048"),
                self.roles.get(member_id, []),
            ),
            "data": dict(content),
            "app_permissions": self.app_permissions,
            "locale": "en-US",
            "entitlements": [],
            "authorizing_integration_owners": {"0": str(GUILD)},
            "context": 0,
            "attachment_size_limit": 10 * 2**20,
        }
        if message:
            event["message"] = dict(message)
        await self._dispatch("INTERACTION_CREATE", event)
        return interaction

    # The border: every request comes in here

    async def _receive(self, request: web.Request) -> web.Response:
        payload, files = await _read(request)
        call = Call(request.method, request.path, payload, files, time.monotonic())
        self.calls.append(call)
        if call.at_s < self._limited_until.get((call.method, call.path), 0):
            self.violations.append(f"{call.method} {call.path} came before its 429 was over")
        rule = next((r for r in self.rules if r.matches(call)), None) or self.weather(call)
        try:
            if rule:
                status, answer = await self._ruled(rule, call, request)
            else:
                status, answer = self._answer(call, request)
        except Refusal as refusal:
            status, answer = refusal.status, {"code": refusal.code, "message": str(refusal)}
        if rule and rule.is_cut and request.transport is not None:  # it may have died meanwhile
            request.transport.abort()
        call.status = status
        headers = {"Via": "1.1 loopback"}  # without it, discord.py takes a 429 for a ban
        if rule and rule.retry_after_s is not None and status == 429:
            answer |= {"retry_after": rule.retry_after_s, "global": False}
            headers |= {"Retry-After": str(rule.retry_after_s), "X-RateLimit-Scope": "user"}
            until_s = time.monotonic() + rule.retry_after_s
            self._limited_until[call.method, call.path] = until_s
        if status == 204:
            return web.Response(status=status, headers=headers)
        # With a charset behind it, discord.py would not take it for JSON.
        headers["Content-Type"] = "application/json"
        return web.Response(body=json.dumps(answer).encode(), status=status, headers=headers)

    async def _ruled(self, rule: Rule, call: Call, request: web.Request) -> Answer:
        """Answer as a rule wants it: refused, held or cut, before or after the effect."""
        rule.times -= 1
        if rule.has_effect:
            answer = self._answer(call, request)
            await _hold(rule)
        else:
            await _hold(rule)
            if rule.is_cut:
                raise UNAVAILABLE
            if rule.refusal:
                raise rule.refusal
            answer = self._answer(call, request)
        if rule.refusal:
            raise rule.refusal
        return answer

    def _answer(self, call: Call, request: web.Request) -> Answer:
        match call.path.removeprefix("/api").strip("/").split("/"):
            case ["interactions", _, token, "callback"]:
                return self._callback(call, token)
            case ["webhooks", _, token, *rest]:
                return self._webhook(call, token, rest)
        if request.headers.get("Authorization") != f"Bot {self._token}":
            raise Refusal(401, 0, "401: Unauthorized")
        match call.path.removeprefix("/api").strip("/").split("/"):
            case ["users", "@me"]:
                return 200, bot()
            case ["oauth2", "applications", "@me"]:
                return 200, application()
            case ["applications", _, "commands"]:
                fixed = {"application_id": str(APPLICATION), "version": "1"}
                self.commands = [
                    {"description": "", **command, **fixed, "id": str(5000 + place)}
                    for place, command in enumerate(call.payload)
                ]
                return 200, self.commands
            case ["users", "@me", "channels"]:
                return 200, self._direct(int(call.payload["recipient_id"]))
            case ["channels", place, *rest]:
                self._known(int(place))
                return self._channel(call, int(place), rest, request.query)
        raise Refusal(404, 0, f"no route {call.method} {call.path}")

    def _channel(self, call: Call, place: int, rest: list[str], query: Mapping[str, str]) -> Answer:
        match rest:
            case []:
                if call.method == "PATCH":
                    if place in self.locked:
                        raise MISSING_PERMISSION
                    self.archived.discard(place)
                return 200, thread(place, is_archived=place in self.archived)
            case ["messages"] if call.method == "POST":
                return 200, self._post(call, place)
            case ["messages"]:
                return 200, self._history(place, query)
            case ["messages", number]:
                return self._message(call, self._found(int(number), channel_id=place))
        raise Refusal(404, 0, f"no route {call.method} {call.path}")

    # Interactions

    def _callback(self, call: Call, token: str) -> Answer:
        interaction = self.interactions.get(token)
        if interaction is None or call.at_s - interaction.born_s > CALLBACK_WITHIN_S:
            raise UNKNOWN_INTERACTION
        if interaction.is_answered:
            raise ALREADY_ANSWERED
        kind, content = call.payload["type"], call.payload.get("data") or {}
        shown: dict[str, Any] | None = None
        if kind == 4:
            shown = self._new(content, call.files, CHANNEL)
        elif kind == 5:
            flags = content.get("flags", 0) | LOADING
            shown = self._store({"flags": flags, "components": []}, {}, CHANNEL)
        elif kind == 7:
            shown = self._edit(self._found(interaction.message_id or 0), content, call.files)
        elif kind == 9:
            self.forms.append(content)
        interaction.is_answered = True
        interaction.response_id = int(shown["id"]) if shown else interaction.message_id
        about = {"id": str(interaction.id), "type": 2}
        if shown:
            about["response_message_id"] = shown["id"]
            about["response_message_loading"] = bool(shown["flags"] & LOADING)
            about["response_message_ephemeral"] = bool(shown["flags"] & EPHEMERAL)
        resource = {"type": kind, "message": shown} if shown else {"type": kind}
        return 200, {"interaction": about, "resource": resource}

    def _webhook(self, call: Call, token: str, rest: list[str]) -> Answer:
        interaction = self.interactions.get(token)
        if interaction is None or not interaction.is_answered:
            raise UNKNOWN_WEBHOOK
        if call.at_s > interaction.dies_at_s:
            raise TOKEN_EXPIRED
        if not rest:
            thinking = self.messages.get(interaction.response_id or 0)
            if thinking and thinking["flags"] & LOADING:  # then a follow-up is an edit
                return 200, self._edit(thinking, call.payload, call.files)
            sent = self._new(call.payload, call.files, CHANNEL)
            interaction.follow_up_ids.append(int(sent["id"]))
            return 200, sent
        number = interaction.response_id if rest[1] == "@original" else int(rest[1])
        return self._message(call, self._found(number or 0))

    # Messages

    def _message(self, call: Call, message: dict[str, Any]) -> Answer:
        if call.method == "PATCH":
            return 200, self._edit(message, call.payload, call.files)
        if call.method == "DELETE":
            del self.messages[int(message["id"])]
            return 204, None
        return 200, message

    # The gateway

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": self.beat_interval_ms}})
        async for frame in socket:
            if frame.type is not WSMsgType.TEXT:
                break
            event = json.loads(frame.data)
            match event["op"]:
                case 1 if self.acknowledges:
                    await socket.send_json({"op": 11})
                case 2 if event["d"]["token"] != self._token:
                    await socket.close(code=4004)
                case 2:
                    self._limited_until.clear()  # a new process knows of no limit
                    self._socket = socket
                    session = {"session_id": "s", "resume_gateway_url": self.gateway, "v": 10}
                    about = {"id": str(APPLICATION), "flags": 0}
                    guilds = [{"id": str(GUILD), "unavailable": True}]
                    ready = {"user": bot(), "guilds": guilds, "application": about}
                    await self._dispatch("READY", {**session, **ready})
                    await self._dispatch("GUILD_CREATE", guild())
                    self.ready.set()
                case 6:
                    self._socket = socket
                    await self._dispatch("RESUMED", {})
                    self.ready.set()
        if self._socket is socket:
            self._socket = None
            self.ready.clear()
        return socket

    @property
    def gateway(self) -> str:
        """Address of the gateway."""
        return f"ws://{self.address}/gateway"

    async def _dispatch(self, name: str, content: Mapping[str, Any]) -> None:
        if self._socket is None:
            raise AssertionError("the bot is not connected")
        await self._socket.send_json({"op": 0, "t": name, "s": next(self._sequence), "d": content})

    async def break_connection(self) -> None:
        """End the gateway's connection as Discord does now and then; the client may resume."""
        if self._socket is not None:
            self.ready.clear()
            await self._socket.close(code=4000)

    @classmethod
    @asynccontextmanager
    async def open(cls, token: str) -> AsyncIterator[Self]:
        """Serve until the context ends."""
        server = cls(token)
        served = web.Application(client_max_size=128 * 2**20)
        served.router.add_get("/gateway", server._gateway)
        served.router.add_get("/uploads/{number}", server._uploaded)
        served.router.add_route("*", "/api/{path:.*}", server._receive)
        runner = web.AppRunner(served, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.address = f"{host}:{port}"
        try:
            yield server
        finally:
            for rule in server.rules:
                rule.released.set()
            await runner.cleanup()


async def _hold(rule: Rule) -> None:
    rule.arrived.set()
    await asyncio.sleep(rule.delay_s)
    if rule.is_held:
        await rule.released.wait()


async def _read(request: web.Request) -> tuple[Any, dict[str, bytes]]:
    """Return a request's JSON and its files, in order of their index."""
    if not request.content_type.startswith("multipart/"):
        body = await request.read()
        return (json.loads(body) if body else None), {}
    payload: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        content = await part.read()
        if part.name == "payload_json":
            payload = json.loads(content)
        else:
            files[part.filename or ""] = bytes(content)
    return payload, files
