"""Is what the settings name there, and does it let us in? Asked when a command or a worker starts.

What is wrong becomes a ConfigError of one line: the setting, what was found, what to do. It never holds a password.
A server that goes away later is another matter: what is under way waits for it and goes on.
"""

from __future__ import annotations

import contextvars
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from easyimg.errors import ConfigError, EasyImgError
from easyimg.joined import JoinsTransactions
from easyimg.logs import without_secrets
from easyimg.ports import App, BuildQueue, MetadataStore

T = TypeVar("T")

SECONDS: Final = 8.0
"""How long an answer may take. The clients' own limits are shorter, but some only begin when a connection is open."""

LOADING_SECONDS: Final = 60.0
"""How long a storage may take to be made: its driver is imported, which takes a busy machine long."""

_ADVICE: Final = (
    (r"schema is version|tables do not exist|permission denied for|read-only", ""),  # they say it themselves
    (r"precondition_failed", "the queue was made with other options: delete it, or set another queue_name"),
    (r"(database|vhost)\b.*(does not exist|not found)|unknown database|db index", "create it, or correct the URL"),
    (
        (
            r"password|authenticat|credential|signature|access key|access denied|access_refused|noauth|pg_hba|forbidden"
            r"|role \S+ does not exist"
        ),
        "check the user and the password",
    ),
    (
        r"refused|timed? ?out|no answer|resol|not known|unreachable|reset by peer|(can't|could not) connect|closed",
        "start the server, or correct host and port of its URL",
    ),
)


def check_rows(metadata: MetadataStore) -> None:
    """Ask the metadata store for something small; creates its tables where they are missing and it does that itself.

    A framework's store is asked in this thread, as long as its own time limits say: its connection may be in a
    transaction that the answer depends on, or hold a database in memory that no other thread can see.

    Raises:
        ConfigError: it cannot be reached, refuses us, or has tables of another version.
    """
    if not isinstance(metadata, JoinsTransactions):
        ask("metadata", lambda: metadata.due(limit=1))
        return
    asked("metadata", lambda: metadata.due(limit=1))


def check_storages(app: App) -> None:
    """Make every storage and look at it; the one for variants must be writable as far as that can be seen.

    Raises:
        ConfigError: its driver is missing, it refuses us, or it is a local folder that cannot be used.
    """
    for alias in app.settings.storages:
        ask(f"storages: {alias!r}", partial(app.storage, alias), LOADING_SECONDS)
        ask(f"storages: {alias!r}", partial(_look, app, alias))


def check_queue(queue: BuildQueue) -> None:
    """Ask the broker, where there is one (a queue with a method ``check``).

    Raises:
        ConfigError: it cannot be reached or refuses us.
    """
    check = getattr(queue, "check", None)
    if check is not None:
        ask("queue", check)


def asked(setting: str, question: Callable[[], T]) -> T:
    """Return what a question answers, asked in this thread for as long as that takes.

    Raises:
        ConfigError: what the setting names cannot be reached or refuses us.
    """
    try:
        return question()
    except EasyImgError as exc:
        raise _told(setting, exc) from exc


def advice(text: str) -> str:
    """Return what to do about a server's complaint, behind a semicolon; nothing where that is not known."""
    for pattern, words in _ADVICE:
        if re.search(pattern, text, re.IGNORECASE):
            return f"; {words}" if words else ""
    return ""


def _look(app: App, alias: str) -> None:
    storage = app.storage(alias)
    check = getattr(storage, "check", None)
    if check is not None:
        check(writes=alias == app.settings.variants)
    else:
        storage.size("easyimg-check")  # nothing has that name; a storage that refuses us says so


def ask(setting: str, question: Callable[[], Any], seconds: float | None = None) -> None:
    """Ask in a thread of its own, so that a server that never answers cannot hold us up.

    Args:
        setting: names what is asked.
        question: raises what is wrong.
        seconds: within which there must be an answer; None = eight.

    Raises:
        ConfigError: there was none, or what the setting names cannot be reached or refuses us.
    """
    seconds = SECONDS if seconds is None else seconds
    failed: list[BaseException] = [TimeoutError(f"no answer within {seconds:g} s")]

    def ask() -> None:
        try:
            question()
            failed.clear()
        except BaseException as exc:  # noqa: BLE001  # raised again below
            failed[0] = exc

    thread = threading.Thread(target=contextvars.copy_context().run, args=(ask,), name="easyimg-check", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise _told(setting, failed[0]) from failed[0]


def _told(setting: str, error: BaseException) -> BaseException:
    if not isinstance(error, EasyImgError | TimeoutError):
        return error
    text = " ".join(without_secrets(str(error)).split()).rstrip(".")  # one line, whatever a driver wrote
    prefix = "" if text.startswith(f"{setting}: ") else f"{setting}: "
    return ConfigError(f"{prefix}{text}{'' if isinstance(error, ConfigError) else advice(text)}")
