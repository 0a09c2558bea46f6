"""`atelier run` as a process of its own against a loopback Discord: what the kill tests kill.

Usage: python bot_process.py ADDRESS STEP_DELAY_S [PATIENCE], with settings in the environment as
usual. Only addresses, the test pattern's speed, the length of pauses before something is tried
again and the patience before "is thinking…" differ from the real command; and pictures are fetched
without TLS.
"""

import dataclasses
import functools
import sys

import discord
import yarl

from bot import __main__ as command_line
from bot import app, models
from bot.chat import answers, delivery, uploads
from generation.work.checkpoints import PATTERN


def main(address: str, step_delay_s: str, patience: str = "1") -> None:
    discord.http.Route.BASE = f"http://{address}/api"
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"ws://{address}/gateway")
    slowed = dataclasses.replace(PATTERN, source=f"pattern:{step_delay_s}")
    vars(models)["PATTERN"] = slowed
    vars(app)["Uploads"] = functools.partial(uploads.Uploads, schemes=("http",))
    pauses_s = [each * float(patience) for each in delivery.RETRY_AFTER_S]
    vars(delivery)["RETRY_AFTER_S"] = tuple(pauses_s)
    # How a command is answered must not depend on how busy the machine is that runs the tests.
    vars(answers)["PATIENCE_S"] = float(patience)
    sys.argv = ["atelier", "run"]
    command_line.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
