"""What a picture that cannot be fetched is called: gone, busy, or too slow; never a bug of ours."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import discord
import pytest
import pytest_asyncio
from aiohttp import web
from PIL import Image

from bot.chat import uploads
from bot.chat.uploads import Uploads
from generation.work.errors import ImageRefused

HOSTS = ("127.0.0.1",)
LIMIT = 2**20
MEMBER_ID = 7


@pytest_asyncio.fixture
async def cdn() -> AsyncIterator[str]:
    """A picture store that answers with the status that its path names, or not at all."""

    async def get(request: web.Request) -> web.Response:
        status = int(request.match_info["status"])
        if status == 0:
            await asyncio.sleep(30)
        content = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(content, "PNG")
        return web.Response(status=status, body=content.getvalue())

    app = web.Application()
    app.router.add_get("/{status}", get)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


Read = Callable[[str], Awaitable[bytes]]


@pytest_asyncio.fixture(params=["link", "attachment"])
async def read(request: pytest.FixtureRequest) -> AsyncIterator[Read]:
    """Read a picture by its address, as a link or as an attachment."""

    async def as_link(url: str) -> bytes:
        return (await Uploads(LIMIT, HOSTS, schemes=("http",)).read(MEMBER_ID, url)).png

    async def as_attachment(url: str) -> bytes:
        data: Any = {"id": 1, "filename": "a.png", "size": 80, "url": url, "proxy_url": url}
        state: Any = SimpleNamespace(http=client.http)
        attachment = discord.Attachment(data=data, state=state)
        return (await Uploads(LIMIT, HOSTS, schemes=("http",)).read(MEMBER_ID, attachment)).png

    client = discord.Client(intents=discord.Intents.none())
    async with aiohttp.ClientSession() as session:
        vars(client.http)["_HTTPClient__session"] = session  # what a login would open
        yield as_link if request.param == "link" else as_attachment


async def test_a_picture_is_fetched_and_decoded(cdn: str, read: Read) -> None:
    png = await read(f"{cdn}/200")
    assert Image.open(io.BytesIO(png)).size == (8, 8)


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_picture_that_is_gone_is_asked_for_again(cdn: str, read: Read, status: int) -> None:
    with pytest.raises(ImageRefused, match="expired; please attach the picture again"):
        await read(f"{cdn}/{status}")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_store_is_called_busy(cdn: str, read: Read, status: int) -> None:
    with pytest.raises(ImageRefused, match="busy"):
        await read(f"{cdn}/{status}")


async def test_a_store_that_hangs_is_given_up(
    cdn: str, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "FETCH_TIMEOUT_S", 0.2)
    with pytest.raises(ImageRefused, match="in time"):
        await read(f"{cdn}/0")


async def test_a_store_that_cannot_be_reached_is_told(read: Read) -> None:
    with pytest.raises(ImageRefused, match="in time"):
        await read("http://127.0.0.1:9/200")


@pytest.mark.parametrize(
    "link", ["https://example.com/a.png", "https://u:p@cdn.discordapp.com/a.png", "https://["]
)
def test_what_is_not_on_discord_is_refused_without_asking_anybody(link: str) -> None:
    with pytest.raises(ImageRefused, match=r"on Discord|not a link"):
        Uploads(LIMIT, ("cdn.discordapp.com",)).check(MEMBER_ID, link)


async def test_a_member_has_one_picture_read_at_a_time_and_others_need_not_wait(cdn: str) -> None:
    reader = Uploads(LIMIT, HOSTS, schemes=("http",))
    slow = asyncio.create_task(reader.read(MEMBER_ID, f"{cdn}/0"))
    await asyncio.sleep(0)
    with pytest.raises(ImageRefused, match="still opening"):
        await reader.read(MEMBER_ID, f"{cdn}/200")
    assert (await reader.read(MEMBER_ID + 1, f"{cdn}/200")).width == 8
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert (await reader.read(MEMBER_ID, f"{cdn}/200")).width == 8
