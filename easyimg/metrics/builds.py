"""What this process builds, as counters and one histogram."""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from easyimg.build import Outcome
from easyimg.metrics.client import load_client
from easyimg.ports import App
from easyimg.signals import img_failed, source_settled
from easyimg.variant import Failure

BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds: a thumbnail takes 0.02, a large AVIF picture several, and a limited child is killed after 30."""


class BuildMetrics:
    """The metrics of builds in one registry.

    Args:
        registry: a ``CollectorRegistry``.
    """

    def __init__(self, registry: Any) -> None:
        counter, histogram = load_client().Counter, load_client().Histogram
        self.apps: WeakSet[App] = WeakSet()
        self._built = counter("easyimg_built_total", "Variants built and published.", ["format"], registry=registry)
        self._bytes = counter(
            "easyimg_built_bytes_total", "Size of the variants built and published.", ["format"], registry=registry
        )
        self._failed = counter("easyimg_failed_total", "Variants given up.", ["kind"], registry=registry)
        self._retried = counter(
            "easyimg_retried_total", "Builds of a variant that failed and are tried again.", ["kind"], registry=registry
        )
        self._superseded = counter(
            "easyimg_superseded_total", "Variants taken over or replaced while they were built.", registry=registry
        )
        self._seconds = histogram(
            "easyimg_build_seconds",
            "From the claim of a source to its variants' publication.",
            buckets=BUCKETS,
            registry=registry,
        )

    def note(self, outcome: Outcome, **_: Any) -> None:
        """Count what became of one claim."""
        self._seconds.observe(outcome.seconds)
        for file in outcome.built:
            self._built.labels(file.format).inc()
            self._bytes.labels(file.format).inc(file.bytes)
        self._superseded.inc(len(outcome.lost))

    def note_failure(self, failure: Failure, **_: Any) -> None:
        """Count a variant that was not built, be it that nobody tries any more."""
        counter = self._failed if failure.retry_in is None else self._retried
        counter.labels(failure.kind).inc()


_known: WeakKeyDictionary[Any, BuildMetrics] = WeakKeyDictionary()
"""By registry: a name can be registered there once."""


def count_builds(app: App, registry: object | None = None) -> None:
    """Count the builds of this process in a registry of ``prometheus_client``; a second call changes nothing.

    Args:
        app: whose builds; those of several are added up.
        registry: a ``CollectorRegistry``; None = the default one.

    Raises:
        MissingDependency: ``prometheus_client`` is not installed.
    """
    chosen = load_client().REGISTRY if registry is None else registry
    metrics = _known.get(chosen)
    if metrics is None:
        metrics = _known[chosen] = BuildMetrics(chosen)
    if app not in metrics.apps:
        metrics.apps.add(app)
        source_settled.connect(metrics.note, sender=app, weak=False)
        img_failed.connect(metrics.note_failure, sender=app, weak=False)


def is_counted(app: App) -> bool:
    """Return whether the builds of an EasyImg are counted in this process, in whichever registry."""
    return any(app in metrics.apps for metrics in _known.values())
