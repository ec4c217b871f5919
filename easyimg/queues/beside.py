"""Beside: what ``easyimg worker`` does beside building, for Dramatiq workers that somebody else starts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import dramatiq

from easyimg.current import current_app
from easyimg.errors import ConfigError
from easyimg.logs import event
from easyimg.ports import App
from easyimg.queues import contact
from easyimg.queues.builder import FINISH_SECONDS, Builder
from easyimg.queues.sender import Sender
from easyimg.queues.sweeping import Sweeper


class Beside(dramatiq.Middleware):
    """Sweeps while a worker runs, and gives claims back when it stops. One per broker, for all our actors on it.

    Starts with the worker, so that a process that only sends messages has none of it. Of all workers, however many
    processes and machines, one sweeps at a time.
    """

    def __init__(self) -> None:
        self._actors: dict[str, _Companion] = {}
        self._is_needed = True

    @classmethod
    def of(cls, broker: dramatiq.Broker) -> Beside:
        """Return the one of a broker, added to it where it has none."""
        for known in broker.middleware:
            if isinstance(known, cls):
                return known
        made = cls()
        broker.add_middleware(made)
        return made

    def add(self, actor: Any, doorbell: Callable[[str], Any], *, sweep: bool | None) -> None:
        """Look after an actor of ours, or change whether there is sweeping for it.

        Args:
            actor: its ``fn`` is an Answer.
            doorbell: source id -> message.
            sweep: None = as was said before, else yes.
        """
        known = self._actors.get(actor.queue_name)
        if known is None:
            known = self._actors[actor.queue_name] = _Companion(actor, doorbell)
        if sweep is not None:
            known.sweeps = sweep

    def stand_aside(self) -> None:
        """Do nothing in this process: ``easyimg worker`` does it all."""
        self._is_needed = False

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Start for the queues that this worker answers."""
        for name, companion in self._actors.items():
            if self._is_needed and (not worker.consumer_whitelist or name in worker.consumer_whitelist):
                companion.start(broker)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002  # as given
        """Take no new source; what is under way has some seconds, whatever the worker's own patience is."""
        for companion in self._actors.values():
            companion.finish()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002  # as given
        """Give back what is left."""
        for companion in self._actors.values():
            companion.end()


class _Companion:
    """The sweeper and the end of one actor's work in this process."""

    def __init__(self, actor: Any, doorbell: Callable[[str], Any]) -> None:
        self.sweeps = True
        self._answer = actor.fn
        self._queue_name = actor.queue_name
        self._doorbell = doorbell
        self._bound = False
        self._builder: Builder | None = None
        self._sweeper: Sweeper | None = None
        self._sender: Sender | None = None
        self._timer: threading.Timer | None = None

    def start(self, broker: dramatiq.Broker) -> None:
        """Start sweeping. An actor without an EasyImg gets the current one, for as long as the worker runs."""
        app = self._answer.app or self._current()
        if app is None:
            return
        if self._answer.app is None:
            self._answer.app, self._answer.builder, self._bound = app, Builder(app), True
        self._builder = self._answer.builder
        self._builder.stopping.clear()
        if self.sweeps:
            # Over the broker whose messages this worker answers; the EasyImg's own queue may be another.
            interval = app.settings.sweep_seconds
            self._sender = Sender(partial(self._send, broker), partial(hang_up, broker), interval=interval)
            waiting = partial(contact.waiting, broker, self._queue_name)
            self._sweeper = Sweeper(app, self._sender.post, waiting).__enter__()

    def _send(self, broker: dramatiq.Broker, source_id: str) -> None:
        broker.enqueue(self._doorbell(source_id))

    def finish(self) -> None:
        """Stop claiming and sweeping."""
        if self._builder is not None:
            self._builder.stopping.set()
            self._timer = threading.Timer(FINISH_SECONDS, self._release)
            self._timer.daemon = True
            self._timer.start()
        if self._sweeper is not None and self._sender is not None:
            self._sweeper.__exit__()
            self._sender.close(0.5)
            self._sweeper = self._sender = None

    def end(self) -> None:
        """Give back what is still in hand, and forget the EasyImg."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._release()
        if self._bound:
            self._answer.app, self._answer.builder, self._bound = None, None, False
        self._builder = None

    def _release(self) -> None:
        if self._builder is not None and (count := self._builder.release()):
            event(logging.INFO, "builds given back", released=count)

    @staticmethod
    def _current() -> App | None:
        try:
            return current_app()
        except ConfigError as exc:
            text = "nobody sweeps here, and builds are not given back at the end: give register_actor the EasyImg"
            event(logging.WARNING, text, error=exc)
            return None


def hang_up(broker: Any) -> None:
    """Close this thread's connection to RabbitMQ: idle, it would miss its heartbeats, and be closed noisily."""
    if hasattr(type(broker), "connection"):
        del broker.connection
