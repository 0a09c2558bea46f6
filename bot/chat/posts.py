"""How one message is put where it stands: edited if it is there, sent if it never was.

Young messages are edited with the token of the interaction that they answer, which needs no
permission; older ones with the bot's own. An answer of Discord's can get lost, so before a message
is sent a second time it is looked for in its channel, by the job's number in its buttons.
"""

import collections
import datetime as dt
import io
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence

import discord

from bot.chat.base import EditableMessage
from bot.chat.drafts import Draft
from bot.chat.presses import Action, Press
from bot.studio.drawing import now
from storage.outbox import Message, MessageKind, Outbox

log = logging.getLogger(__name__)

TOKEN_LIFE_S = 14 * 60.0  # Discord keeps an interaction's token for 15 minutes
TOKEN_DEAD = {10015, 50027}  # unknown webhook, invalid webhook token
ARCHIVED = 50083
SEARCHED_BACK = 200  # messages
SEARCHED_ON = 1_000  # from when it was sent, if it was: a busy channel has that in minutes
SKEW = dt.timedelta(minutes=1)  # as far as our clock may be ahead of Discord's
KEPT = 1_000  # messages whose attachments are remembered, so that a vote uploads nothing again


class Posts:
    """Edits and sends messages.

    Args:
        outbox: Where it is recorded where they stand.
        client: The logged-in client.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, outbox: Outbox, client: discord.Client, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._outbox = outbox
        self._client = client
        self._clock = clock
        self._born = now()
        self._young: dict[int, tuple[EditableMessage, float]] = {}
        self._attached: collections.OrderedDict[int, list[discord.Attachment]] = (
            collections.OrderedDict()
        )
        self._unsure: set[int] = set()  # answers that may stand without our knowing

    async def remember(self, message: Message, sent: EditableMessage) -> None:
        """Record where an interaction's answer stands, and keep it while that token lives."""
        moment = self._clock()
        self._young = {key: kept for key, kept in self._young.items() if kept[1] > moment}
        self._young[message.id] = (sent, moment + TOKEN_LIFE_S)
        await self._place(message, sent)

    def doubt(self, message: int) -> None:
        """Look for an answer before it is sent: it may have been, without our being told."""
        self._unsure.add(message)

    def attached(self, message: int) -> list[str]:
        """Return the names of the files that a message shows, as far as they are remembered."""
        return [each.filename for each in self._attached.get(message, [])]

    async def put(self, message: Message, draft: Draft) -> None:
        """Let a message show a draft.

        Raises:
            discord.HTTPException: Discord would not.
            aiohttp.ClientError: The connection broke; it may show it, or not.
        """
        young = self._young.get(message.id)
        if young and young[1] > self._clock():
            try:
                sent = await young[0].edit(view=draft.view, attachments=self._files(message, draft))
            except discord.HTTPException as failure:
                if failure.status == 401 or failure.code in TOKEN_DEAD:
                    self._young.pop(message.id, None)  # it died early: the bot's own will do
                elif failure.code != ARCHIVED:
                    raise
            else:
                if message.message_id is None:
                    await self._place(message, sent)
                self._keep(message, sent)
                return
        await self._put_with_own_token(message, draft)

    async def _put_with_own_token(self, message: Message, draft: Draft) -> None:
        try:
            sent = await self._edit_or_send(message, draft)
        except discord.HTTPException as failure:
            if failure.code != ARCHIVED:
                raise
            try:
                await self._unarchive(message.channel_id or 0)
            except discord.Forbidden:
                raise failure from None  # says best what is in the way
            sent = await self._edit_or_send(message, draft)
        self._keep(message, sent)

    async def remove_doubles(self, message: Message) -> None:
        """Delete other messages of a job that a lost answer of Discord's left behind."""
        channel = await self._channel(message)
        async for found in self._around(channel, message):
            if found.id != message.message_id:
                log.info("double_removed", extra={"job_id": message.job_id})
                await found.delete()

    async def _edit_or_send(self, message: Message, draft: Draft) -> discord.Message:
        channel = await self._channel(message)
        message_id = message.message_id or await self._find(channel, message)
        if message_id is not None:
            return await channel.get_partial_message(message_id).edit(
                view=draft.view,
                attachments=self._files(message, draft),
                allowed_mentions=discord.AllowedMentions.none(),
            )
        await self._outbox.sending(message.id, now())
        sent = await channel.send(
            view=draft.view,
            files=_new_files(draft),
            nonce=message.nonce,  # Discord drops a second message with the same
            allowed_mentions=discord.AllowedMentions.none(),
        )
        await self._place(message, sent)
        return sent

    async def _place(self, message: Message, sent: discord.Message) -> None:
        await self._outbox.place(message.id, channel_id=sent.channel.id, message_id=sent.id)
        self._unsure.discard(message.id)

    async def _unarchive(self, thread_id: int) -> None:
        """Open an archived thread again; Discord takes no edit in it before."""
        thread = await self._client.fetch_channel(thread_id)
        if isinstance(thread, discord.Thread):
            await thread.edit(archived=False)

    async def _channel(self, message: Message) -> discord.PartialMessageable | discord.DMChannel:
        if message.channel_id is None:
            return await self._client.create_dm(discord.Object(message.recipient or 0))
        return self._client.get_partial_messageable(message.channel_id, guild_id=message.guild_id)

    async def _find(
        self, channel: discord.PartialMessageable | discord.DMChannel, message: Message
    ) -> int | None:
        """Return Discord's number of a message that was sent without our being told."""
        may_stand = (
            message.tried_at is not None
            or message.created_at < self._born  # an earlier life may have sent it
            or message.id in self._unsure
        )
        if message.kind is not MessageKind.JOB or not may_stand:
            return None  # for lines and notices the nonce has to do
        try:
            async for found in self._around(channel, message):
                await self._place(message, found)
                return found.id
        except discord.Forbidden as missed:
            log.warning("message_not_looked_for", extra={"cause": str(missed)})
        return None

    async def _around(
        self, channel: discord.PartialMessageable | discord.DMChannel, message: Message
    ) -> AsyncIterator[discord.Message]:
        """Yield the messages of a job: backwards from now, then from when it was last tried.

        One that was never tried with the bot's own token may be the answer to its command, which was
        given when it was first wanted, or, by Discord's own clock, after the command itself. Before
        each further try it was looked for, too.
        """
        moments = [discord.utils.time_snowflake((message.tried_at or message.next_try_at) - SKEW)]
        if message.tried_at is None and message.sent_after is not None:
            moments.append(message.sent_after)
        seen: set[int] = set()
        for history in (
            channel.history(limit=SEARCHED_BACK),
            *(
                channel.history(limit=SEARCHED_ON, after=discord.Object(moment))
                for moment in moments
            ),
        ):
            async for found in history:
                if found.id not in seen and _stands_on(found, message.job_id or 0):
                    seen.add(found.id)
                    yield found

    def _files(self, message: Message, draft: Draft) -> Sequence[discord.File | discord.Attachment]:
        """Return what the gallery shows: what is there already is not uploaded again."""
        if draft.files and self.attached(message.id) == [name for name, _ in draft.files]:
            return self._attached[message.id]
        return _new_files(draft)

    def _keep(self, message: Message, sent: discord.Message) -> None:
        self._attached.pop(message.id, None)
        if sent.attachments:
            self._attached[message.id] = sent.attachments
        while len(self._attached) > KEPT:
            self._attached.popitem(last=False)


def _new_files(draft: Draft) -> list[discord.File]:
    return [discord.File(io.BytesIO(content), name) for name, content in draft.files]


def _stands_on(message: discord.Message, job_id: int) -> bool:
    """Whether this message is the job's: one of its buttons carries the job's number."""
    if message.author.id != (message._state.self_id or 0):
        return False
    presses = (
        Press.parse(custom_id)
        for item in discord.ui.LayoutView.from_message(message, timeout=None).walk_children()
        if (custom_id := getattr(item, "custom_id", None))
    )
    others = {Action.VOTE, Action.LOG_OPEN}  # a picture's number; a line in the log channel
    return any(
        press and press.numbers[:1] == (job_id,) and press.action not in others for press in presses
    )
