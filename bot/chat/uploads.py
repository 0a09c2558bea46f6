"""Pictures that people send: fetched from Discord only, decoded in the guarded child only."""

import asyncio
from collections.abc import Collection
from urllib.parse import urlsplit

import aiohttp
import discord

from bot.messages import plain
from generation.judging.safety.decode import decode_upload
from generation.work.errors import ImageRefused

FETCH_TIMEOUT_S = 20.0
EXPIRED = frozenset({403, 404, 410})  # a signed address whose time is over, or whose file is gone


def check_upload(
    upload: discord.Attachment | str,
    max_bytes: int,
    hosts: Collection[str],
    *,
    schemes: Collection[str] = ("https",),
) -> None:
    """Refuse what need not be fetched to be refused.

    Only the given hosts are asked: a prompt must not make the bot knock on doors inside the
    operator's network.

    Raises:
        ImageRefused: It is from elsewhere, or too large by what Discord says of it.
    """
    if isinstance(upload, str):
        _check_host(upload, hosts, schemes)
        return
    _check_host(upload.url, hosts, schemes)
    if upload.size > max_bytes:
        raise _too_large(max_bytes)


async def read_upload(
    upload: discord.Attachment | str,
    max_bytes: int,
    hosts: Collection[str],
    *,
    schemes: Collection[str] = ("https",),
) -> bytes:
    """Return the picture of an attachment, or behind an image link, as a clean PNG.

    Args:
        upload: Of a slash command, or a link in a prompt.
        max_bytes: Largest file that is fetched.
        hosts: Whose files are fetched at all.
        schemes: Of links.

    Raises:
        ImageRefused: It is too large, from elsewhere, not a picture we accept, or could not be
            fetched within `FETCH_TIMEOUT_S`.
    """
    check_upload(upload, max_bytes, hosts, schemes=schemes)
    try:
        async with asyncio.timeout(FETCH_TIMEOUT_S):
            if isinstance(upload, str):
                content = await _fetch(upload, max_bytes)
            else:
                content = await upload.read()
    except discord.HTTPException as error:
        raise _not_fetched(error.status) from error
    except (TimeoutError, aiohttp.ClientError) as error:
        raise ImageRefused(
            "Discord did not hand me that picture in time; please try again, or attach it anew."
        ) from error
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return (await decode_upload(content)).png


async def _fetch(url: str, max_bytes: int) -> bytes:
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
