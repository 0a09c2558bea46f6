"""One Discord command area a file; `bot.chat.client` adds every area's `COMMANDS` to the tree."""
