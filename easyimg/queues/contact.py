"""Asking a broker once whether it lets us in. A worker does so at its start; pages never do."""

from __future__ import annotations

import logging
from typing import Any, Final
from urllib.parse import urlsplit

import dramatiq

from easyimg.errors import QueueError
from easyimg.logs import event

_SECONDS: Final = 4.0
"""For a connection, and for an answer over it."""

_PIKA_LOGGERS: Final = (
    "pika.adapters.base_connection",
    "pika.adapters.blocking_connection",
    "pika.adapters.utils.connection_workflow",
    "pika.adapters.utils.io_services_utils",
    "pika.channel",
    "pika.connection",
)


def ask(broker: dramatiq.Broker, url: str | None, queue_name: str) -> None:
    """Connect, and let go again; on RabbitMQ declare the queue, as a worker will.

    Args:
        broker: to ask; one that is neither Redis' nor RabbitMQ's is not asked.
        url: where it was made from one of ours; then it is tried once, for a few seconds.
        queue_name: Dramatiq queue.

    Raises:
        QueueError: it cannot be reached or refuses us; one line, without a password.
    """
    try:
        if hasattr(type(broker), "connection"):
            _ask_rabbitmq(broker, url, queue_name)
        elif (client := vars(broker).get("client")) is not None:
            _ask_redis(client, url)
    except Exception as exc:
        raise QueueError(f"{label(broker, url)}: {_reason(exc)}") from exc


def waiting(broker: Any, queue_name: str) -> int | None:
    """Return how many messages of a queue wait at the broker; None = it is away, or of another kind.

    Leaves no connection of this thread to RabbitMQ: idle, it would miss its heartbeats, and be closed noisily.
    """
    try:
        if hasattr(type(broker), "connection"):
            try:
                return int(broker.channel.queue_declare(queue=queue_name, passive=True).method.message_count)
            finally:
                del broker.connection
        client = vars(broker).get("client")
        return None if client is None else int(client.hlen(f"{broker.namespace}:{queue_name}.msgs"))
    except Exception as exc:  # noqa: BLE001  # whatever a broker's client raises: the rows are safe
        event(logging.DEBUG, "the broker does not say how many doorbells wait", kind=type(exc).__name__, error=exc)
        return None


def hush_pika() -> None:
    """Keep pika from logging what happens in our own threads: seven lines a failed connection, six connections a try.

    What it says in threads of the site is left alone. A filter works on one logger only, so each gets its own.
    """
    for name in _PIKA_LOGGERS:
        logger = logging.getLogger(name)
        if _is_not_ours not in logger.filters:
            logger.addFilter(_is_not_ours)


def _is_not_ours(record: logging.LogRecord) -> bool:
    return not (record.threadName or "").startswith("easyimg-")


def label(broker: dramatiq.Broker, url: str | None) -> str:
    """Return what a broker may be called in a log: its URL without user, password and options, or its class."""
    if url is None:
        return type(broker).__name__
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _ask_redis(client: Any, url: str | None) -> None:
    if url is None:
        client.ping()
        return
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    limits = {"socket_connect_timeout": _SECONDS, "socket_timeout": _SECONDS}
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **limits) as once:
        once.ping()


def _ask_rabbitmq(broker: Any, url: str | None, queue_name: str) -> None:
    import pika

    parameters = broker.parameters
    if url is not None:
        parameters = [pika.URLParameters(one) for one in url.split(";")]
        for one in parameters:
            one.connection_attempts, one.socket_timeout, one.stack_timeout = 1, _SECONDS, _SECONDS
    pika.BlockingConnection(parameters).close()
    try:
        broker.declare_queue(queue_name, ensure=True)
    finally:
        del broker.connection  # this thread's


def _reason(error: BaseException) -> str:
    """Return what happened. pika's errors have their cause among their arguments, and often no text of their own."""
    args = error.args
    if type(error).__name__.startswith("AMQPConnector") and getattr(error, "exceptions", None):
        return _reason(error.exceptions[-1])  # type: ignore[attr-defined]
    if args and isinstance(args[0], BaseException):
        return _reason(args[0])
    return f"{type(error).__name__}: {error}" if str(error) else repr(error)
