"""One process of ``easyimg worker``: a real Dramatiq worker, or, where no broker is used, threads that ask the rows."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from easyimg.app import EasyImg
from easyimg.joined import resting
from easyimg.logs import event
from easyimg.queues import uses_broker, uses_site_broker
from easyimg.queues.builder import FINISH_SECONDS, Builder

if TYPE_CHECKING:
    from easyimg.queues.dramatiq import DramatiqQueue

STUCK: Final = 3
"""Exit code of a process with a build that nothing can interrupt; the supervisor starts another."""

POLL_SECONDS: Final = 1.0

REDIS_MILLISECONDS: Final = 50
"""How long an idle worker lets Redis be. Dramatiq asks Redis again and again, with pauses of up to a second unless told
otherwise, as long as a page's picture would wait (``dramatiq.brokers.redis``); RabbitMQ sends by itself."""

_PAUSES: Final = (1.0, 30.0)


class Crew(Protocol):
    """The threads of one worker process."""

    builder: Builder

    def start(self) -> None:
        """Start them."""
        ...

    def stop(self, seconds: float) -> None:
        """Let them finish what they are at, and return when they have."""
        ...


def work(app: EasyImg, *, threads: int, poll: float = POLL_SECONDS, parent: int | None = None) -> int:
    """Build until SIGTERM, SIGINT or the end of the parent process; return the exit code.

    Args:
        app: whose rows are built.
        threads: of this process.
        poll: seconds between two looks at the rows, without a broker.
        parent: process id to live as long as.
    """
    signals: list[int] = []  # an Event would take a lock, which may be held when the signal comes
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    crew: Crew = DramatiqCrew(app, threads) if uses_broker(app.settings.queue) else PollingCrew(app, threads, poll)
    crew.start()
    event(logging.INFO, "started", threads=threads, crew=type(crew).__name__, worker=os.getpid())
    limit = app.settings.build_seconds + app.settings.lease_seconds
    while not signals and parent in (None, os.getppid()):
        time.sleep(0.1)
        if _is_stuck(crew.builder, limit):
            return STUCK
    _finish(crew)
    return 0


def _is_stuck(builder: Builder, limit: float) -> bool:
    """Return whether a build is far over its time, its lease long lost; if so, give back all others."""
    late = frozenset(held.claim for held in builder.held() if time.monotonic() - held.since > limit)
    if late:
        builder.stopping.set()  # what another thread claimed from here on would be cut off
        for claim in late:
            event(logging.ERROR, "stuck", source=claim.source, limit=limit, worker=os.getpid())
        builder.release(but=late)
    return bool(late)


def _finish(crew: Crew) -> None:
    """Stop taking work, wait for the builds under way, give back what is left."""
    crew.builder.stopping.set()
    stopper = threading.Thread(target=crew.stop, args=(FINISH_SECONDS,), name="easyimg-stop", daemon=True)
    stopper.start()
    stopper.join(FINISH_SECONDS)
    released = crew.builder.release()
    event(logging.INFO, "stopped", released=released, worker=os.getpid())


class PollingCrew:
    """Threads that look at the rows every ``poll`` seconds and build what is due.

    Args:
        app: whose rows are built.
        threads: how many.
        poll: seconds.
    """

    def __init__(self, app: EasyImg, threads: int, poll: float) -> None:
        self.builder = Builder(app)
        self._app = app
        self._poll = poll
        self._threads = [
            threading.Thread(target=self._run, name=f"easyimg-work-{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        """Wait for the threads to finish what they are at."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        pause = 0.0
        while not self.builder.stopping.wait(pause):
            try:
                with resting(self._app):
                    self.builder.run()
                pause = self._poll
            except Exception as exc:  # noqa: BLE001  # this thread must live on: the next row may do better
                pause = min(max(pause * 2, _PAUSES[0]), _PAUSES[1])
                event(logging.WARNING, "building pauses", seconds=pause, kind=type(exc).__name__, error=exc)


class DramatiqCrew:
    """A Dramatiq worker that answers the doorbells of one queue.

    Args:
        app: whose rows are built; its queue names the broker.
        threads: how many.
    """

    def __init__(self, app: EasyImg, threads: int) -> None:
        from dramatiq import Worker

        from easyimg.queues.beside import Beside

        queue: DramatiqQueue | Any = app.queue
        self.builder: Builder = queue.builder
        self._broker = queue.broker
        self._ours = not uses_site_broker(app.settings.queue)
        if not self._ours:
            Beside.of(self._broker).stand_aside()  # the supervisor sweeps, and `work` gives back what is left
        options = {"worker_threads": threads}
        if _is_redis(self._broker) and "dramatiq_worker_timeout" not in os.environ:
            options["worker_timeout"] = REDIS_MILLISECONDS
        self._worker = Worker(self._broker, queues={app.settings.queue_name}, **options)

    def start(self) -> None:
        """Start consuming, as the ``dramatiq`` command does."""
        self._broker.emit_after("process_boot")
        self._worker.start()

    def stop(self, seconds: float) -> None:
        """Stop consuming; messages fetched but not begun go back to the broker."""
        self._worker.stop(timeout=int(seconds * 1000))
        if self._ours:
            self._broker.close()


def _is_redis(broker: Any) -> bool:
    return any(kind.__module__ == "dramatiq.brokers.redis" for kind in type(broker).__mro__)
