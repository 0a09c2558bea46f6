"""Pictures that people send: fetched from Discord only, decoded in the guarded child only."""

from collections.abc import Collection
from urllib.parse import urlsplit

import aiohttp
import discord

from bot.messages import plain
from generation.judging.safety.decode import decode_upload
from generation.work.errors import ImageRefused

FETCH_TIMEOUT_S = 20.0


async def read_upload(
    upload: discord.Attachment | str, max_bytes: int, hosts: Collection[str]
) -> bytes:
    """Return the picture of an attachment, or behind an image link, as a clean PNG.

    Args:
        upload: Of a slash command, or a link in a prompt.
        max_bytes: Largest file that is fetched.
        hosts: Whose files are fetched at all.

    Raises:
        ImageRefused: It is too large, from elsewhere, or not a picture we accept.
    """
    if isinstance(upload, str):
        return await read_link(upload, max_bytes, hosts=hosts)
    _check_host(upload.url, hosts)
    if upload.size > max_bytes:
        raise _too_large(max_bytes)
    return (await decode_upload(await upload.read())).png


async def read_link(
    url: str,
    max_bytes: int,
    *,
    hosts: Collection[str],
    schemes: Collection[str] = ("https",),
) -> bytes:
    """Return the picture behind an image link as a clean PNG.

    Only the given hosts are asked, without redirects: a prompt must not make the bot knock on
    doors inside the operator's network.

    Raises:
        ImageRefused: The link leads elsewhere, is too large or no picture, or did not answer.
    """
    _check_host(url, hosts, schemes)
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ImageRefused("That image link has expired; please attach the picture.")
            content = await response.content.read(max_bytes + 1)
            while len(content) <= max_bytes and (more := await response.content.read(max_bytes)):
                content += more
    except (TimeoutError, aiohttp.ClientError) as error:
        raise ImageRefused("That image link did not answer; please attach the picture.") from error
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return (await decode_upload(content)).png


def _check_host(url: str, hosts: Collection[str], schemes: Collection[str] = ("https",)) -> None:
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
