"""The page in the browser: the simulation's own, with what it lacks added on the way.

simcord's preview has no option for it and forbids scripts of others, so this is a small server in
front of it, at an address of its own. It adds one script and one style sheet to the page, lets the
simulated clock run with the real one, and lets one thing happen at a time: the simulation refuses
what overlaps, and the page would call that an action of uncertain outcome.
"""

import asyncio
import contextlib
import datetime as dt
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import simcord
from aiohttp import ClientSession, web

from bot.demo.stage import Stage
from bot.exits import ExitCode, Stop

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
STATIC = Path(__file__).with_name("static")
ADDED = b"""\
<link rel="stylesheet" href="/demo/page.css"><script type="module" src="/demo/page.js"></script>
</body>"""
ACTION = "/api/action"
MAX_BODY_BYTES = 32 * 2**20  # simcord takes 26 MiB
TICK_S = 1.0
PUBLISH_INTERVAL_S = 60.0  # "two minutes ago" grows old by itself
ONE_HOP = {
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "server",
    "transfer-encoding",
}


class Page:
    """A server in front of the simulation's page.

    Args:
        stage: What the page shows.
        preview: Serving already.
        session: Asks it.
    """

    def __init__(self, stage: Stage, preview: simcord.Preview, session: ClientSession) -> None:
        self._stage = stage
        self._preview = preview
        self._session = session
        self._secret = urlsplit(preview.url).fragment
        self._inner = urlsplit(preview.url).netloc
        self._own = ""
        self._turn = asyncio.Lock()

    @property
    def url(self) -> str:
        """Where to look; whoever knows it can act as anybody."""
        return f"http://{self._own}/#{self._secret}"

    async def listen(self, port: int) -> web.AppRunner:
        """Start to serve.

        Raises:
            OSError: The port is taken.
        """
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_static("/demo", STATIC)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._own = f"{HOST}:{runner.addresses[0][1]}"
        return runner

    async def wait_closed(self) -> None:
        """Return once somebody ended the session from the page."""
        await self._preview.wait_closed()

    async def keep_live(self) -> None:
        """Let the clock run, and publish what the bot says by itself within about a second."""
        env = self._stage.env
        published, published_at = 0, time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            try:
                async with self._turn:
                    late_s = (dt.datetime.now(dt.UTC) - env.now()).total_seconds()
                    await env.advance_time(max(0.0, late_s))
                    said = len(env.http_requests)
                    if said != published or time.monotonic() - published_at > PUBLISH_INTERVAL_S:
                        await self._preview.refresh()
                        published, published_at = said, time.monotonic()
            except TimeoutError as busy:  # the next second will do
                log.debug("page_not_refreshed", extra={"cause": str(busy)})

    async def _pass_on(self, request: web.Request) -> web.Response:
        # Our own address becomes the inner one; any other stays as it is and is refused there.
        headers = {
            name: value.replace(self._own, self._inner)
            for name, value in request.headers.items()
            if name.lower() not in ONE_HOP
        }
        said = await request.read()
        async with self._turn if request.path == ACTION else contextlib.nullcontext():
            if request.path == ACTION and request.content_type == "application/json":
                said = await self._as_of_now(said, headers)
            async with self._session.request(
                request.method, f"http://{self._inner}{request.path_qs}", headers=headers, data=said
            ) as answer:
                body = await answer.read()
        if request.path == "/":
            body = body.replace(b"</body>", ADDED)
        kept = {name: text for name, text in answer.headers.items() if name.lower() not in ONE_HOP}
        return web.Response(status=answer.status, body=body, headers=kept)

    async def _as_of_now(self, action: bytes, headers: dict[str, str]) -> bytes:
        """Let an action be about the page as it is, not as it was up to half a second ago.

        The simulation refuses an action on a page that was published anew before the browser
        looked again; Discord does not, and the bot judges stale buttons itself.
        """
        read = {name: text for name, text in headers.items() if name.lower() != "content-type"}
        async with self._session.get(f"http://{self._inner}/api/state", headers=read) as answer:
            state = await answer.json() if answer.ok else {}
        if "publishedRevision" not in state:
            return action
        return json.dumps(
            {**json.loads(action), "published_revision": state["publishedRevision"]}
        ).encode()


@contextlib.asynccontextmanager
async def open_page(stage: Stage, port: int) -> AsyncIterator[Page]:
    """Serve the channel to the browser, live, for whoever of the three one wants to be.

    Args:
        stage: What to show.
        port: Of the page; 0 takes any that is free.

    Raises:
        Stop: The port is taken.
    """
    viewers = [stage.ada, stage.bo, stage.mo]
    shown = stage.env.preview(
        stage.channel, viewers=viewers, layout="channel", timezone=_timezone()
    )
    async with shown as preview, ClientSession() as session:
        page = Page(stage, preview, session)
        try:
            runner = await page.listen(port)
        except OSError as taken:
            raise Stop(f"port {port} is taken: --port 0 takes any", ExitCode.UNABLE) from taken
        living = asyncio.create_task(page.keep_live())
        try:
            yield page
        finally:
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
            await runner.cleanup()


def _timezone() -> str:
    """Return this machine's time zone by a name that the simulation knows, to the hour."""
    offset = dt.datetime.now().astimezone().utcoffset() or dt.timedelta()
    return f"Etc/GMT{-round(offset / dt.timedelta(hours=1)):+d}"
