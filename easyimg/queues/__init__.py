"""The queues behind :class:`easyimg.ports.BuildQueue`. Importing this package loads no broker library."""

from __future__ import annotations

from typing import Any

from easyimg.errors import ConfigError
from easyimg.logs import without_secrets
from easyimg.ports import App, BuildQueue
from easyimg.settings import QUEUE_SCHEMES, check_queue


def make_queue(value: Any, app: App) -> BuildQueue:
    """Return the queue that a setting means; connects to nothing.

    Args:
        value: ``"thread"``, ``"immediate"``, ``"none"``, a ``redis://``, ``rediss://``, ``amqp://`` or ``amqps://``
            URL, a Dramatiq broker, ``"dramatiq"`` for the site's own, or a ready BuildQueue.
        app: whose rows are built.

    Raises:
        ConfigError: it is none of these.
        MissingDependency: the broker's client library is not installed.
    """
    if isinstance(value, str):
        check_queue(value)
        return _by_name(value, app)
    if isinstance(value, BuildQueue):
        return value
    if is_broker(value):
        from easyimg.queues.dramatiq import DramatiqQueue

        return DramatiqQueue(value, app)
    raise ConfigError(
        f"queue: {without_secrets(repr(value))[:80]} is not a name, a URL, a Dramatiq broker or a BuildQueue"
    )


def uses_broker(value: Any) -> bool:
    """Return whether a queue setting means messages through a broker, rather than looking at the rows."""
    return value.partition("://")[0] in (*QUEUE_SCHEMES, "dramatiq") if isinstance(value, str) else is_broker(value)


def uses_site_broker(value: Any) -> bool:
    """Return whether a queue setting means a broker that is the site's own, and so are its workers."""
    return value == "dramatiq" if isinstance(value, str) else is_broker(value)


def is_broker(value: object) -> bool:
    """Return whether a value is a Dramatiq broker, without importing Dramatiq where it is not one."""
    return any(base.__name__ == "Broker" and base.__module__ == "dramatiq.broker" for base in type(value).__mro__)


def _by_name(value: str, app: App) -> BuildQueue:
    if value == "thread":
        from easyimg.queues.thread import ThreadQueue

        return ThreadQueue(app)
    if value == "immediate":
        from easyimg.queues.simple import ImmediateQueue

        return ImmediateQueue(app)
    if value == "none":
        from easyimg.queues.simple import NoneQueue

        return NoneQueue()
    from easyimg.queues.dramatiq import DramatiqQueue, site_broker

    return DramatiqQueue(site_broker() if value == "dramatiq" else value, app)
