"""DramatiqQueue: doorbells through Redis or RabbitMQ, answered by workers on as many machines as you like.

The rows are the queue. A message only says "look at this source"; losing one costs latency, because the sweeper of
the workers rings again. So Dramatiq's own retries and limits are switched off for our actor: they would count wrongly
(a crash is no retry to them) or interrupt a build at a place that cannot be interrupted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import dramatiq
import dramatiq.broker

from easyimg._fork import after_fork
from easyimg.current import current_app
from easyimg.errors import ConfigError, MetadataError, MissingDependency, shown
from easyimg.joined import rest
from easyimg.logs import event
from easyimg.ports import App
from easyimg.queues import contact
from easyimg.queues.beside import Beside, hang_up
from easyimg.queues.builder import Builder
from easyimg.queues.sender import Sender

VERSION: Final = 1
"""Of the message's form, its ``"v"``."""

_FLUSH_SECONDS: Final = 2.0

_AGAIN_SECONDS: Final = 1.0
"""Seconds between two doorbells of one source. Only what is new is rung for, and the page after an upload often orders
another size of it: that one shall not wait for the sweeper."""

_PATIENCE: Final = 5.0
"""Seconds to wait for a connection to a broker, unless the URL says otherwise, and for Redis to answer."""

_NO_LIMITS: Final[dict[str, Any]] = {
    "max_retries": 0,
    "time_limit": float("inf"),
    "max_age": float("inf"),
    "notify_shutdown": False,
}
"""Options of the actor; each is only given to a broker whose middleware knows it."""


def register_actor(
    broker: dramatiq.Broker, app: App | None = None, queue_name: str | None = None, *, sweep: bool = True
) -> Any:
    """Register the actor that answers doorbells on a broker, and return it; a second call returns the first's.

    For sites with a Dramatiq set-up of their own: call it where their actors are declared, and the ``dramatiq``
    command builds pictures too. The actor never raises. A middleware of ours gives claims back when a worker stops,
    and sweeps.

    Args:
        broker: yours; it is not replaced, configured or connected.
        app: whose rows are built; None = the current one, asked for when a worker starts, else at each message.
        queue_name: Dramatiq queue; None = the app's ``queue_name`` setting, else ``"easyimg"``.
        sweep: let the broker's workers ring for what is owed too long (lost doorbells, lapsed leases, due retries), one
            of them all at a time. False where something else does, such as ``build_img_queue`` from cron.

    Raises:
        ConfigError: another EasyImg already has that queue on this broker.
    """
    actor = _registered(broker, app, queue_name)
    Beside.of(broker).add(actor, partial(_doorbell, actor), sweep=sweep)
    return actor


def _registered(broker: dramatiq.Broker, app: App | None, queue_name: str | None = None) -> Any:
    queue_name = queue_name or (app.settings.queue_name if app else "easyimg")
    name = f"{queue_name}.build"
    known = broker.actors.get(name)
    if known is not None:
        _bind(known.fn, app, queue_name)
        return known
    options = {key: value for key, value in _NO_LIMITS.items() if key in broker.actor_options}
    return dramatiq.Actor(
        Answer(app), broker=broker, actor_name=name, queue_name=queue_name, priority=0, options=options
    )


def _doorbell(actor: Any, source_id: str) -> Any:
    return actor.message({"v": VERSION, "source": source_id})


class Answer:
    """What the actor does with a message: builds what is due of the source it names.

    Args:
        app: whose rows are built; None = the current one.
    """

    __name__ = "answer"

    def __init__(self, app: App | None) -> None:
        self.app = app
        self.builder: Builder | None = Builder(app) if app else None

    def __call__(self, message: Any) -> None:
        """Look at a source. Never raises: what is not built stays in its row and is rung for again."""
        try:
            source = _source_of(message)
            if source is not None:
                (self.builder or Builder(current_app())).answer(source)
        except MetadataError as exc:
            event(logging.WARNING, "the rows stay queued", doorbell=shown(message), kind=exc.kind, error=exc)
        except Exception:  # noqa: BLE001  # the actor never raises
            text = "a doorbell failed in an unforeseen way, the rows stay queued"
            event(logging.ERROR, text, exc_info=True, doorbell=shown(message))


def _source_of(message: Any) -> str | None:
    if isinstance(message, dict) and message.get("v") == VERSION and isinstance(message.get("source"), str):
        return str(message["source"])
    text = "a doorbell this version cannot read was ignored, its rows stay queued"
    event(logging.WARNING, text, doorbell=shown(message))
    return None


def _bind(answer: Any, app: App | None, queue_name: str) -> None:
    """Let an actor that is known already build this app's rows."""
    if app is None or answer.app is app:
        return
    if answer.app is not None:
        raise ConfigError(f"queue_name: {queue_name!r} of this broker is another EasyImg's; give each its own name")
    answer.app, answer.builder = app, Builder(app)


class DramatiqQueue:
    """Rings through a Dramatiq broker. Thread-safe; connects at the first doorbell, in a thread of its own.

    Args:
        broker: a ``redis://`` or ``amqp://`` URL, or a broker of yours, which is never closed here.
        app: whose rows are built.

    Raises:
        MissingDependency: the client library of that broker is not installed.
    """

    inline = False

    def __init__(self, broker: str | dramatiq.Broker, app: App) -> None:
        self._app = app
        self._url = broker if isinstance(broker, str) else None
        self._set_up(self._made() if isinstance(broker, str) else broker)
        sweep = app.settings.sweep_seconds
        interval = min(_AGAIN_SECONDS, sweep)
        self._sender = Sender(self._send, self._disconnect, interval=interval, longest_pause=sweep)
        after_fork(self._forked)

    @property
    def broker(self) -> dramatiq.Broker:
        """The broker, for a worker to consume from."""
        return self._broker

    @property
    def builder(self) -> Builder:
        """What answers the messages in this process."""
        builder: Builder = self._actor.fn.builder
        return builder

    @property
    def label(self) -> str:
        """What the broker may be called in a log: no user, no password."""
        return contact.label(self._broker, self._url)

    def check(self) -> None:
        """Connect to the broker once, in this thread, and let go again.

        Raises:
            QueueError: it cannot be reached or refuses us; one line, without a password.
        """
        contact.ask(self._broker, self._url, self._actor.queue_name)

    def ring(self, source_ids: Iterable[str]) -> None:
        """Send a message for each source soon, from a thread of this process; returns at once."""
        self._sender.post(source_ids)

    def waiting(self) -> int | None:
        """Return how many messages wait at the broker; None = that cannot be told."""
        return contact.waiting(self._broker, self._actor.queue_name)

    def close(self) -> None:
        """Send what waits, for two seconds at most, and let go of the broker."""
        self._sender.close(_FLUSH_SECONDS)
        answer = self._actor.fn
        if answer.app is self._app:  # another EasyImg may use a given broker from now on
            answer.app = answer.builder = None

    def _set_up(self, broker: dramatiq.Broker) -> None:
        self._broker = broker
        self._actor = _registered(broker, self._app)
        if self._url is None:  # the site's own, and so are its workers
            Beside.of(broker).add(self._actor, partial(_doorbell, self._actor), sweep=None)

    def _made(self) -> dramatiq.Broker:
        assert self._url is not None
        return make_broker(self._url, self._app.settings.namespace)

    def _send(self, source_id: str) -> None:
        self._broker.enqueue(_doorbell(self._actor, source_id))

    def _disconnect(self) -> None:
        """Close this thread's connection; the next message opens another. A given Redis client keeps its own."""
        hang_up(self._broker)
        rest(self._app.metadata)  # a site's middleware may keep rows of its messages
        if self._url is not None and self._url.startswith("redis"):
            self._broker.client.connection_pool.disconnect(inuse_connections=False)  # type: ignore[attr-defined]

    def _forked(self) -> None:
        if self._url is not None:  # closing the old one would close the parent's connections
            self._old = self._broker
            self._set_up(self._made())
        if hasattr(self._broker, "_max_unpack_size_mut"):
            # Dramatiq's Redis broker (seen in 2.2) holds this lock of its class while it sends its first message. The
            # parent's sender may have been in there: in this process, nobody would ever let go of it.
            type(self._broker)._max_unpack_size_mut = threading.Lock()  # noqa: SLF001


def site_broker() -> dramatiq.Broker:
    """Return the broker that the site has given to ``dramatiq.set_broker``.

    Raises:
        ConfigError: it has given none; ``dramatiq.get_broker()`` would make one of its own then, for RabbitMQ.
    """
    broker = dramatiq.broker.global_broker
    if broker is None:
        text = "queue: 'dramatiq' means the site's own broker, and none was given to dramatiq.set_broker()"
        raise ConfigError(f"{text}; with django_dramatiq, put it into INSTALLED_APPS")
    return broker


def make_broker(url: str, namespace: str = "easyimg") -> dramatiq.Broker:
    """Return a broker for a URL, without the middleware that our actor must not have; connects to nothing.

    Args:
        url: ``redis://``, ``rediss://``, ``amqp://`` or ``amqps://``.
        namespace: prefix of Redis keys.

    Raises:
        ConfigError: the URL cannot be read.
        MissingDependency: the client library is not installed.
    """
    try:
        return _redis(url, namespace) if url.startswith("redis") else _rabbitmq(url)
    except (ValueError, TypeError):  # their message may hold a part of the password
        text = "queue: the URL cannot be read; characters like / ? # @ in a password must be written as %2F %3F %23 %40"
        raise ConfigError(text) from None


def _redis(url: str, namespace: str) -> dramatiq.Broker:
    try:
        from dramatiq.brokers.redis import RedisBroker
    except ImportError as exc:
        raise MissingDependency("redis", "a redis:// queue", "redis") from exc
    # Maintenance brings back what a killed worker had fetched. By default one command in a thousand does it.
    broker = RedisBroker(url=url, namespace=namespace, maintenance_chance=100_000, middleware=[])  # type: ignore[no-untyped-call]
    for limit in ("socket_connect_timeout", "socket_timeout"):  # a server that vanishes must not hold us for minutes
        broker.client.connection_pool.connection_kwargs.setdefault(limit, _PATIENCE)
    return broker


def _rabbitmq(url: str) -> dramatiq.Broker:
    try:
        from dramatiq.brokers.rabbitmq import RabbitmqBroker
    except ImportError as exc:
        raise MissingDependency("pika", "an amqp:// queue", "rabbitmq") from exc
    contact.hush_pika()
    # Unconfirmed, a message may vanish silently.
    broker = RabbitmqBroker(url=url, confirm_delivery=True, middleware=[])
    for parameters in broker.parameters if isinstance(broker.parameters, list) else [broker.parameters]:
        if "socket_timeout" not in url:
            parameters.socket_timeout = parameters.stack_timeout = _PATIENCE
    return broker
