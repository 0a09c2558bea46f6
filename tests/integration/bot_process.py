"""`atelier run` as a process of its own against a loopback Discord: what the kill tests kill.

Usage: python bot_process.py ADDRESS STEP_DELAY_S, with settings in the environment as usual.
Only addresses and the test pattern's speed differ from the real command.
"""

import dataclasses
import sys

import discord
import yarl

from bot import __main__ as command_line
from bot import models
from generation.work.checkpoints import PATTERN


def main(address: str, step_delay_s: str) -> None:
    discord.http.Route.BASE = f"http://{address}/api"
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"ws://{address}/gateway")
    slowed = dataclasses.replace(PATTERN, source=f"pattern:{step_delay_s}")
    vars(models)["PATTERN"] = slowed
    sys.argv = ["atelier", "run"]
    command_line.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
