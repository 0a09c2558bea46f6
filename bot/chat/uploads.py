"""Pictures that people send: fetched from Discord only, decoded in the guarded child only."""

import asyncio
from collections.abc import Collection
from urllib.parse import urlsplit

import aiohttp
import discord

from bot.messages import plain
from generation.judging.safety.decode import DecodedUpload, Decoder
from generation.work.errors import ImageRefused

FETCH_TIMEOUT_S = 20.0
STILL_READING = "I am still opening the picture you sent before. Please wait a moment."
EXPIRED = frozenset({403, 404, 410})  # a signed address whose time is over, or whose file is gone


class Uploads:
    """Reads what members send: one picture of a member at a time, two of all.

    Args:
        max_bytes: Largest file that is fetched.
        hosts: Whose files are fetched at all.
        schemes: Of their addresses.
    """

    def __init__(
        self, max_bytes: int, hosts: Collection[str], *, schemes: Collection[str] = ("https",)
    ) -> None:
        self._max_bytes = max_bytes
        self._hosts = hosts
        self._schemes = schemes
        self._decoder = Decoder()
        self._reading: set[int] = set()  # member ids

    def check(self, member_id: int, upload: discord.Attachment | str) -> None:
        """Refuse what need not be fetched to be refused.

        Only the given hosts are asked: a prompt must not make the bot knock on doors inside the
        operator's network.

        Raises:
            ImageRefused: It is from elsewhere, or too large by what Discord says of it; or the
                member's last picture is still being read.
        """
        if member_id in self._reading:
            raise ImageRefused(STILL_READING)
        url = upload if isinstance(upload, str) else upload.url
        _check_host(url, self._hosts, self._schemes)
        if isinstance(upload, discord.Attachment) and upload.size > self._max_bytes:
            raise _too_large(self._max_bytes)

    async def read(self, member_id: int, upload: discord.Attachment | str) -> DecodedUpload:
        """Return the picture of an attachment, or behind an image link, as a clean PNG.

        Args:
            member_id: Who sent it.
            upload: Of a slash command, or a link in a prompt.

        Raises:
            ImageRefused: As for `check`; or it is not a picture we accept, or could not be
                fetched within `FETCH_TIMEOUT_S`.
        """
        self.check(member_id, upload)
        self._reading.add(member_id)
        try:
            return await self._decoder.fetch_and_decode(lambda: self._fetch(upload))
        finally:
            self._reading.discard(member_id)

    async def _fetch(self, upload: discord.Attachment | str) -> bytes:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                if isinstance(upload, str):
                    content = await _fetch_link(upload, self._max_bytes)
                else:
                    content = await upload.read()
        except discord.HTTPException as error:
            raise _not_fetched(error.status) from error
        except (TimeoutError, aiohttp.ClientError) as error:
            raise ImageRefused(
                "Discord did not hand me that picture in time; please try again, or attach it anew."
            ) from error
        if len(content) > self._max_bytes:
            raise _too_large(self._max_bytes)
        return content


async def _fetch_link(url: str, max_bytes: int) -> bytes:
    """Return what is behind a link, or a little more than `max_bytes` of it; no redirects."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise _not_fetched(response.status)
        content = await response.content.read(max_bytes + 1)
        while len(content) <= max_bytes and (more := await response.content.read(max_bytes)):
            content += more
    return content


def _not_fetched(status: int) -> ImageRefused:
    if status == 429 or status >= 500:
        return ImageRefused("Discord is busy with its pictures. Please try again in a minute.")
    if status in EXPIRED:
        return ImageRefused("That picture's link has expired; please attach the picture again.")
    return ImageRefused("Discord did not hand me that picture; please attach it again.")


def _check_host(url: str, hosts: Collection[str], schemes: Collection[str]) -> None:
    try:
        parts = urlsplit(url)
        host, has_login = parts.hostname, parts.username is not None
    except ValueError as error:
        raise ImageRefused("That image link is not a link I can read.") from error
    if parts.scheme not in schemes or host not in hosts or has_login:
        raise ImageRefused(
            f"I only open pictures that are on Discord, not {plain(host or 'that link')}. "
            "Upload it here and use its link, or the `image` option."
        )


def _too_large(max_bytes: int) -> ImageRefused:
    return ImageRefused(f"That picture is larger than {max_bytes // 2**20} MB.")
