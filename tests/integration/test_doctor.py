"""`atelier doctor --online` against a loopback Discord: login, servers, missing permissions."""

import json
from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest
from aiohttp import web

from bot.chat.permissions import REQUIRED, invite_link
from bot.terminal.doctor import Check, Verdict, _online

TOKEN = "MTAwMA.GloopA.token-of-the-doctor-tests"  # noqa: S105
ME = {"id": "1000", "username": "atelier", "discriminator": "0", "avatar": None, "bot": True}
APPLICATION = {
    "id": "1000",
    "name": "Atelier",
    "description": "",
    "icon": None,
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "",
    "owner": {**ME, "id": "2"},
    "flags": 0,
}


@pytest.fixture
async def guilds(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[dict[str, Any]]]:
    """Serve the three addresses that the doctor asks, and yield the list of servers."""
    served: list[dict[str, Any]] = []

    def answering(content: Any) -> Any:
        async def answer(request: web.Request) -> web.Response:
            is_known = request.headers.get("Authorization") == f"Bot {TOKEN}"
            said = content if is_known else {"message": "401: Unauthorized", "code": 0}
            # discord.py reads JSON only under exactly this type, without a charset.
            return web.Response(
                body=json.dumps(said).encode(),
                status=200 if is_known else 401,
                headers={"Content-Type": "application/json"},
            )

        return answer

    application = web.Application()
    application.router.add_get("/api/users/@me", answering(ME))
    application.router.add_get("/api/oauth2/applications/@me", answering(APPLICATION))
    application.router.add_get("/api/users/@me/guilds", answering(served))
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    monkeypatch.setattr(discord.http.Route, "BASE", f"http://{host}:{port}/api")
    yield served
    await runner.cleanup()


async def looked_at(token: str) -> list[Check]:
    return [check async for check in _online(token)]


async def test_the_login_prints_the_invite_link(guilds: list[dict[str, Any]]) -> None:
    (login,) = await looked_at(TOKEN)
    assert login.verdict is Verdict.OK
    assert "Atelier, on 0 servers" in login.found
    assert invite_link(1000) in login.found
    assert not guilds


async def test_missing_permissions_are_listed_for_each_server(
    guilds: list[dict[str, Any]],
) -> None:
    lacking = REQUIRED.value & ~discord.Permissions(attach_files=True).value
    guilds += [
        {"id": "5", "name": "well", "permissions": str(REQUIRED.value)},
        {"id": "6", "name": "lacking", "permissions": str(lacking)},
    ]
    _, well, ill = await looked_at(TOKEN)
    assert (well.name, well.verdict) == ("server 5", Verdict.OK)
    assert (ill.name, ill.verdict) == ("server 6", Verdict.FAILED)
    assert ill.found == "missing: attach_files"
    assert invite_link(1000) in ill.remedy


@pytest.mark.usefixtures("guilds")
async def test_a_refused_token_is_one_failed_check() -> None:
    (login,) = await looked_at("MTAwMA.Gwrong.token")
    assert login.verdict is Verdict.FAILED
    assert "refused" in login.found
