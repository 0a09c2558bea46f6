"""The demo's page without a browser: what it serves, its clock, and what it makes of a mistake."""

import asyncio
import contextlib
import datetime as dt
import json
import socket
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession
from rich.console import Console

from bot.demo.page import Page, open_page
from bot.demo.stage import Stage, open_stage
from bot.exits import Stop
from bot.settings import Settings


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    settings = Settings(default_model="pattern")
    async with open_stage(settings, Console(quiet=True)) as stage:
        yield stage


class Visitor:
    """Speaks the page's own protocol."""

    def __init__(self, session: ClientSession, page: Page) -> None:
        address = urlsplit(page.url)
        self._session = session
        self._root = f"http://{address.netloc}"
        self._headers = {"X-Simcord-Capability": address.fragment}

    @classmethod
    async def come(cls, session: ClientSession, page: Page) -> "Visitor":
        """Open the page in a tab of its own."""
        visitor = cls(session, page)
        state = await visitor._ask("POST", "/api/pages", json={})
        visitor._headers["X-Simcord-Context"] = state["context"]["id"]
        return visitor

    async def run(self, command: str, **options: Any) -> dict[str, Any]:
        """Run a slash command and return the receipt that the page shows."""
        catalog = await self._ask("GET", "/api/commands")
        (entry,) = [each for each in catalog["entries"] if each["invocation"] == command]
        state = await self.state()
        envelope = {
            "protocol_version": 3,
            "sequence": 1,
            "request_id": uuid.uuid4().hex,
            "generation": state["context"]["generation"],
            "bot_generation": state["botGeneration"],
            "published_revision": state["publishedRevision"],
            "kind": "run_command",
            "command_id": entry["commandId"],
            "path": entry["path"],
            "schema_fingerprint": entry["schemaFingerprint"],
            "options": options,
        }
        return await self._ask("POST", "/api/action", json=envelope)

    async def state(self) -> dict[str, Any]:
        """Return all that the page shows."""
        return await self._ask("GET", "/api/state")

    async def text(self, path: str, **headers: str) -> tuple[int, str]:
        async with self._session.get(self._root + path, headers=headers) as answer:
            return answer.status, await answer.text()

    async def _ask(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        async with self._session.request(
            method, self._root + path, headers=self._headers, **what
        ) as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found


@contextlib.asynccontextmanager
async def visited(stage: Stage, tabs: int = 1) -> AsyncIterator[list[Visitor]]:
    async with open_page(stage, port=0) as page, ClientSession() as session:
        yield [await Visitor.come(session, page) for _ in range(tabs)]


async def test_a_refused_prompt_is_an_answer_and_no_uncertain_outcome(stage: Stage) -> None:
    async with visited(stage) as (visitor,):
        receipt = await visitor.run("imagine", prompt="a fox --aspect 3:2:1")
        seen = json.dumps(await visitor.state())
    assert (receipt["settlement"], receipt["uncertain"]) == ("settled", False)
    assert receipt["diagnostics"] == []
    assert "--aspect" in seen


async def test_two_visitors_who_act_at_once_are_both_served(stage: Stage) -> None:
    async with visited(stage, tabs=2) as (one, other):
        receipts = await asyncio.gather(one.run("help"), other.run("queue"))
    assert [receipt["settlement"] for receipt in receipts] == ["settled", "settled"]


async def test_the_clock_of_the_demo_runs(stage: Stage) -> None:
    async with open_page(stage, port=0):
        begun = stage.env.now()
        await asyncio.sleep(2.5)
        assert stage.env.now() - begun >= dt.timedelta(seconds=1)
        late = dt.datetime.now(dt.UTC) - stage.env.now()
    assert abs(late) < dt.timedelta(seconds=30)


async def test_only_the_pages_own_address_is_served(stage: Stage) -> None:
    async with visited(stage) as (visitor,):
        status, page = await visitor.text("/")
        assert status == 200
        assert "/demo/page.js" in page
        assert (await visitor.text("/demo/page.js"))[0] == 200
        assert (await visitor.text("/", Host="elsewhere.example"))[0] == 403


async def test_a_taken_port_is_said_in_a_sentence(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Stop, match=f"port {port} is taken"):
            async with open_page(stage, port):
                pass
