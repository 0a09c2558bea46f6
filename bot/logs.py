"""Log lines for people or for machines, with secrets blacked out.

An event is a constant name; what differs stands in `extra=`:
`log.info("job rendered", extra={"job_id": 7, "elapsed_s": 3.2})`.
"""

import datetime as dt
import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Literal, TextIO

from pydantic import SecretStr

BLACKED_OUT = "[redacted]"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
# An interaction token is good for 15 minutes and discord.py writes it as part of an address; a bot
# token has three dotted parts and is blacked out even if it is not the one we were given.
_TOKENS = re.compile(
    r"(?<=/)[\w-]{66,}(?=[/?\s'\"]|$)|\b[\w-]{23,28}\.[\w-]{6,7}\.[\w-]{27,}\b", re.ASCII
)


class Redaction:
    """Removes secrets from finished lines, tracebacks included.

    Args:
        secrets: Texts that must never be written.
    """

    def __init__(self, secrets: Iterable[SecretStr | None] = ()) -> None:
        texts = [secret.get_secret_value() for secret in secrets if secret is not None]
        self._secrets = [text for text in texts if text]

    def __call__(self, line: str) -> str:
        """Return `line` without secrets."""
        for secret in self._secrets:
            line = line.replace(secret, BLACKED_OUT)
        return _TOKENS.sub(BLACKED_OUT, line)


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _time(record: logging.LogRecord) -> str:
    moment = dt.datetime.fromtimestamp(record.created, tz=dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """`time level logger: event  name=value ...`, tracebacks below."""

    def __init__(self, redact: Redaction) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and more only for a traceback."""
        values = "".join(f"  {name}={_shown(value)}" for name, value in _extras(record).items())
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {record.getMessage()}{values}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return self._redact(line)


def _shown(value: object) -> str:
    text = str(value)
    return text if re.fullmatch(r"[\w.:/+-]+", text) else json.dumps(text, ensure_ascii=False)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, the extra values, error."""

    def __init__(self, redact: Redaction) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        content: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            content["error"] = self.formatException(record.exc_info)
        return self._redact(json.dumps(content, ensure_ascii=False, default=str))


def set_up_logs(
    log_format: Literal["text", "json"] = "text",
    level: str = "INFO",
    *,
    secrets: Iterable[SecretStr | None] = (),
    stream: TextIO | None = None,
) -> None:
    """Send every logger's lines to `stream` (standard error by default), replacing older set-ups.

    Args:
        log_format: `text` or `json`.
        level: Least severe level written; libraries stay at INFO or above.
        secrets: Texts that must never be written, such as the token.
        stream: Where to write.
    """
    redact = Redaction(secrets)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(redact) if log_format == "json" else TextFormatter(redact))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for library in ("discord", "aiosqlite", "asyncio", "PIL", "httpx", "urllib3"):
        logging.getLogger(library).setLevel(max(logging.INFO, root.level))
