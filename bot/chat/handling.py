"""Which interactions are being handled, so that an orderly stop lets them come to their end."""

import asyncio

from bot.studio.refusals import Refused


class Handling:
    """Counts handlers: each begins before its first await and ends however it ends."""

    def __init__(self) -> None:
        self._ids: set[int] = set()
        self._is_stopping = False
        self._is_quiet = asyncio.Event()
        self._is_quiet.set()

    def begin(self, interaction_id: int) -> None:
        """Note that an interaction is being handled; to be refused is to be handled, too.

        Raises:
            Refused: The bot is about to end.
        """
        self._ids.add(interaction_id)
        self._is_quiet.clear()
        if self._is_stopping:
            raise Refused("I am being restarted. Please try again in a minute.")

    def end(self, interaction_id: int) -> None:
        """Note that an interaction has been handled, or could not be."""
        self._ids.discard(interaction_id)
        if not self._ids:
            self._is_quiet.set()

    async def finish(self, timeout_s: float) -> bool:
        """Take no more, and wait for those that are being handled; return whether all ended."""
        self._is_stopping = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_quiet.wait()
        except TimeoutError:
            return False
        return True
