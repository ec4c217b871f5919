"""The library behind the metrics, loaded when it is first needed."""

from __future__ import annotations

from typing import Any

from easyimg.errors import MissingDependency


def load_client() -> Any:
    """Return the module ``prometheus_client``, its part for several processes loaded.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import prometheus_client.multiprocess
    except ImportError as exc:
        raise MissingDependency("prometheus-client", "metrics", "metrics") from exc
    return prometheus_client
