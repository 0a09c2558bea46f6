"""How unwell Discord is: answers late, lost after their effect, refused, cut, or asked to wait."""

import random
from collections.abc import Callable

from tests.integration.discord_rules import Call, Refusal, Rule

SHARE = 0.06  # of the requests that go wrong
BROKEN = (
    Refusal(500, 0, "Internal Server Error"),
    Refusal(502, 0, "Bad Gateway"),
    Refusal(503, 0, "Service Unavailable"),
)
LIMITED = Refusal(429, 0, "You are being rate limited.")
LOGIN = (
    "/users/@me",
    "/applications/@me",
    "/commands",
)  # a bot that cannot log in cannot be killed
Weather = Callable[[Call], Rule | None]


def calm(_: Call) -> None:
    """Answer everything at once."""


def weather_of(mood: str, dice: random.Random) -> Weather:
    """Return what becomes of each request in a mood, one of `MOODS`."""

    def drawn(call: Call) -> Rule | None:
        if call.path.endswith(LOGIN):
            return None
        return MOODS[mood](dice)

    return drawn


def _slow(dice: random.Random) -> Rule:
    return Rule("", "", delay_s=dice.uniform(0, 0.3))


def _cutting(dice: random.Random) -> Rule | None:
    if dice.random() > SHARE:
        return None
    return Rule("", "", is_cut=True, has_effect=dice.random() < 0.5)


def _failing(dice: random.Random) -> Rule | None:
    if dice.random() > SHARE:
        return None
    return Rule("", "", refusal=dice.choice(BROKEN), has_effect=dice.random() < 0.5)


def _limiting(dice: random.Random) -> Rule | None:
    return Rule("", "", refusal=LIMITED, retry_after_s=0.2) if dice.random() < SHARE else None


def _stormy(dice: random.Random) -> Rule | None:
    return dice.choice((_slow, _cutting, _failing, _limiting))(dice)


MOODS: dict[str, Callable[[random.Random], Rule | None]] = {
    "calm": lambda _: None,
    "slow": _slow,
    "cutting": _cutting,
    "failing": _failing,
    "limiting": _limiting,
    "stormy": _stormy,
}
