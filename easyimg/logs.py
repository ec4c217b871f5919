"""Log lines: ``key=value`` text for people, the same values as attributes of the record for machines.

Everything about builds is logged by :func:`event`, so that a line and its record always say the same. Values never hold
a password or the signature of a URL, whatever a library put into its message.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any, Final

FORMATS: Final = ("plain", "json")
"""How a worker writes its log: lines of text, or one JSON object a line."""

_logger = logging.getLogger("easyimg")

_USER_INFO = re.compile(r"(?<=://)[^/\s\"']+@")  # up to the last "@", as clients of brokers read it
_QUERY = re.compile(r"(://[^\s?\"'<>\\]+)\?[^\s\"'<>\\)]+")
_PLAIN = re.compile(r'[^\s"=\\]+')

_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def event(level: int, text: str, *, exc_info: bool = False, **fields: Any) -> None:
    """Log what happened, with the values that belong to it.

    Args:
        level: of ``logging``.
        text: constant words, so that tools which group by message see one event.
        exc_info: add the traceback of the exception being handled.
        **fields: attributes of the record, and ``key=value`` in its text; None = left out. ``source`` is the source's
            address, ``key`` a variant's, ``kind`` an error's class, ``error`` its message, ``seconds`` a duration.
    """
    if not _logger.isEnabledFor(level):
        return
    extra = {name: _value(value) for name, value in fields.items() if value is not None}
    template = " ".join([text, *(f"{name}=%s" for name in extra)])
    _logger.log(level, template, *map(_written, extra.values()), extra=extra, exc_info=exc_info, stacklevel=2)


def without_secrets(text: str) -> str:
    """Return a text without what URLs in it must not tell: user names with passwords, and queries (signatures)."""
    if "://" not in text:
        return text
    return _QUERY.sub(r"\1?***", _USER_INFO.sub("***@", text))


def formatter(form: str) -> logging.Formatter:
    """Return the formatter for ``"plain"`` or ``"json"``."""
    return JsonFormatter() if form == "json" else PlainFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")


class PlainFormatter(logging.Formatter):
    """Lines of text, without secrets, also those of other libraries."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the lines of a traceback."""
        return without_secrets(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, and the record's fields.

    ``exception`` holds a traceback, where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as text, without secrets."""
        values = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        values = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD} | values
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        # What is said of every record comes first.
        ordered = {name: values.pop(name) for name in ("time", "level", "logger", "message")} | values
        return without_secrets(json.dumps(ordered, ensure_ascii=False, default=str))


def _value(value: Any) -> Any:
    """Return a value as a record carries it: plain, and without secrets."""
    if isinstance(value, (bool, int, float)):
        return value
    return without_secrets(str(value))


def _written(value: Any) -> str:
    """Return a value as text that ends where it should: quoted where it holds anything but printable characters."""
    if isinstance(value, float):
        return f"{round(value, 3):g}"
    text = str(value)
    if text.isprintable():
        return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
    return json.dumps(text)
