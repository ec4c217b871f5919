"""What the rows say, asked when Prometheus asks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from easyimg._fork import after_fork
from easyimg.errors import MetadataError
from easyimg.joined import resting
from easyimg.logs import event
from easyimg.metrics.client import load_client
from easyimg.ports import App
from easyimg.variant import Counts

EVERY: Final = 5.0
"""Seconds for which an answer is used again, however many ask."""

_PATIENCE: Final = 3.0
"""Seconds a scrape waits for the database at most: Prometheus itself gives up after ten."""

_STALE_AFTER: Final = 600.0

_GAUGES: Final[tuple[tuple[str, str, Callable[[Counts], float]], ...]] = (
    ("pending", "Variants owed: queued and building.", lambda counts: counts.pending),
    ("queued", "Variants that wait for their build, or for another try.", lambda counts: counts.queued),
    ("building", "Variants claimed by a worker.", lambda counts: counts.building),
    ("stale", "Builds without a verdict 10 minutes after their lease ended.", lambda counts: counts.stale),
    ("generated", "Variants that are built.", lambda counts: counts.generated),
    ("sources", "Sources known.", lambda counts: counts.sources),
    ("oldest_owed_seconds", "How long the oldest due variant has waited.", lambda counts: counts.oldest_owed),
)


class RowsCollector:
    """A collector for a registry of ``prometheus_client``: gauges from the rows, the same numbers as ``status``.

    A scrape never fails and never waits long: when the rows do not answer, ``easyimg_up`` is 0 and the other gauges are
    absent. Connects to nothing before it is asked. Thread-safe.

    Args:
        app: whose rows.
        every: seconds for which an answer is used again.
        patience: seconds a scrape waits for the database at most.

    Raises:
        MissingDependency: ``prometheus_client`` is not installed.
    """

    def __init__(self, app: App, *, every: float = EVERY, patience: float = _PATIENCE) -> None:
        self._gauge: Any = load_client().metrics_core.GaugeMetricFamily
        self._app = app
        self._every = every
        self._patience = patience
        self._start_anew()
        after_fork(self._start_anew)

    def describe(self) -> Iterator[Any]:
        """Yield the gauges without values: registering asks no database."""
        return self._families(None, names_only=True)

    def collect(self) -> Iterator[Any]:
        """Yield the gauges with what the rows say now, or said a few seconds ago."""
        return self._families(self._latest())

    def _families(self, counts: Counts | None, *, names_only: bool = False) -> Iterator[Any]:
        up = self._gauge("easyimg_up", "Whether the rows could be asked.")
        if not names_only:
            up.add_metric([], float(counts is not None))
        yield up
        if counts is None and not names_only:
            return
        for name, text, value in _GAUGES:
            family = self._gauge(f"easyimg_{name}", text)
            if counts is not None:
                family.add_metric([], value(counts))
            yield family
        errors = self._gauge("easyimg_errors", "Variants given up.", labels=["kind"])
        for kind, count, _ in counts.error_kinds if counts is not None else ():
            errors.add_metric([kind], count)
        yield errors

    def _start_anew(self) -> None:
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._answer: Counts | None = None
        self._until = 0.0

    def _latest(self) -> Counts | None:
        """Return the last answer while it is fresh, else ask, in a thread that a database out of reach may hold up."""
        with self._lock:
            if self._asking is None and time.monotonic() >= self._until:
                thread = threading.Thread(target=self._ask, name="easyimg-metrics", daemon=True)
                thread.start()
                self._asking = thread
            asking = self._asking
        if asking is not None:
            asking.join(self._patience)
        with self._lock:
            return None if self._asking is not None else self._answer

    def _ask(self) -> None:
        answer = None
        try:
            with resting(self._app):
                answer = self._app.metadata.counts(stale_after=_STALE_AFTER)
        except MetadataError as exc:
            event(logging.WARNING, "metrics cannot ask the rows", kind=exc.kind, error=exc)
        except Exception:  # noqa: BLE001  # a thread's border
            event(logging.ERROR, "metrics cannot ask the rows, for an unforeseen reason", exc_info=True)
        with self._lock:
            self._answer, self._asking = answer, None
            self._until = time.monotonic() + self._every
