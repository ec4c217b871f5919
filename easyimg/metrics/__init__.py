"""Prometheus metrics: what this process builds, and what the rows say. Needs ``easyimg[metrics]``.

``easyimg worker --metrics PORT`` exports them by itself. Everything else that builds (the thread queue of a web
process, Celery, the plain ``dramatiq`` command) has an exporter of its own already, and calls :func:`instrument`.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from easyimg.errors import ConfigError
from easyimg.metrics.builds import count_builds
from easyimg.metrics.client import load_client
from easyimg.metrics.rows import EVERY, RowsCollector
from easyimg.ports import App

__all__ = ["RowsCollector", "count_builds", "instrument"]


def instrument(app: App, registry: object | None = None, *, every: float = EVERY) -> None:
    """Count the builds of this process, and show what the rows say, in a registry of ``prometheus_client``.

    A second call for the same EasyImg changes nothing. Connects to nothing; the rows are asked when the registry is.
    With ``PROMETHEUS_MULTIPROC_DIR`` only the counts cross processes: register a :class:`RowsCollector` on the registry
    that is exported.

    Args:
        app: whose builds and rows.
        registry: a ``CollectorRegistry``; None = the default one.
        every: seconds for which an answer of the rows is used again.

    Raises:
        MissingDependency: ``prometheus_client`` is not installed.
        ConfigError: the registry shows the rows of another EasyImg.
    """
    chosen: Any = load_client().REGISTRY if registry is None else registry
    known = _shown.get(chosen)
    if known is None:
        chosen.register(RowsCollector(app, every=every))
        _shown[chosen] = app
    elif known is not app:
        raise ConfigError("metrics: this registry shows the rows of another EasyImg; give each a registry of its own")
    count_builds(app, chosen)


_shown: WeakKeyDictionary[Any, App] = WeakKeyDictionary()
"""By registry: whose rows."""
