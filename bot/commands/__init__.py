"""One Discord command area a file; `bot.client` adds every area's `COMMANDS` to the tree."""
