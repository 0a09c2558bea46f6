"""How a command ends: four exit codes, and the sentence that goes with them."""

from enum import IntEnum

HELP = "Exit codes: 0 yes or done, 1 no, 2 wrong usage or input, 3 could not (see the message)."


class ExitCode(IntEnum):
    """What a script can rely on."""

    OK = 0
    NO = 1  # the question was answered with no: not identical, a check failed
    USAGE = 2  # the person at the terminal can put it right
    UNABLE = 3  # something outside: a missing file, a full disk, a dead worker


class Stop(Exception):
    """Ends the command with a sentence on standard error.

    Args:
        message: What happened and how to go on.
        code: How the process exits.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code
