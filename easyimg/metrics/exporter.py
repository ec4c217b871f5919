"""The metrics of ``easyimg worker``: one endpoint for a command, however many processes it has.

The processes keep their numbers in files of a folder, as ``prometheus_client`` does it for several processes, and the
supervisor adds them up when it is asked. A process that is started anew goes on with the file of its predecessor, so
that counters never fall and files do not pile up.

Where the queue is a broker, Dramatiq's own middleware counts messages into the same files. Its exporter is not used: it
is a forked process on a fixed port, and what it would export is exported here.
"""

from __future__ import annotations

import logging
import os
import shutil
import struct
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any, Final, Self

from easyimg.errors import ConfigError, shown
from easyimg.logs import event
from easyimg.metrics.builds import count_builds, is_counted
from easyimg.metrics.client import load_client
from easyimg.metrics.rows import RowsCollector
from easyimg.ports import App
from easyimg.queues import uses_broker

_HERE: Final = "127.0.0.1"


class Exporter:
    """Serves the metrics of a worker command over HTTP, from a thread.

    Args:
        app: whose rows are asked.
        address: ``[HOST:]PORT``; the host is this machine alone (127.0.0.1) unless given, port 0 is any free one.

    Raises:
        ConfigError: the address is none, or somebody listens there already.
        MissingDependency: ``prometheus_client`` is not installed.
    """

    def __init__(self, app: App, address: str) -> None:
        client = load_client()
        host, port = parse_address(address)
        self._folder = tempfile.mkdtemp(prefix="easyimg-metrics-")
        registry = client.CollectorRegistry()
        registry.register(_Files(self._folder))
        registry.register(RowsCollector(app))
        try:
            self._server, self._thread = client.start_http_server(port, host, registry)
        except OSError as exc:
            shutil.rmtree(self._folder)
            raise ConfigError(f"metrics: cannot listen at {host}:{port}: {exc.strerror or exc}") from exc
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.server_port}/metrics"

    @property
    def arguments(self) -> Sequence[str]:
        """What to give to each worker process beside its slot's number."""
        return ("--metrics-folder", self._folder)

    def __enter__(self) -> Self:
        event(logging.INFO, "metrics are served", url=self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Files:
    """A collector of what the processes wrote.

    Args:
        folder: where.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Any]:
        """Return the metrics of all processes, added up; none while a file is being made."""
        collector = load_client().multiprocess.MultiProcessCollector
        try:
            return list(collector(None, self._folder).collect())
        except (struct.error, RuntimeError, OSError, ValueError) as exc:  # of a process killed in its first moment
            event(logging.WARNING, "metrics of the processes cannot be read", error=exc)
            return []


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``[HOST:]PORT``; an IPv6 host stands in brackets.

    Raises:
        ConfigError: it is none.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigError(
            f"metrics: {shown(text)} is no address; give a port, or a host and a port: 9191, 0.0.0.0:9191"
        )
    return host.strip("[]") or _HERE, int(port)


def join(folder: str, slot: int) -> None:
    """Keep this worker process's numbers in a folder; call it before anything makes a metric.

    Args:
        folder: of the Exporter.
        slot: number of the process's place, which none other has at the same time.
    """
    client = load_client()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    os.environ["dramatiq_prom_db"] = folder  # noqa: SIM112  # Dramatiq's name for the same
    client.multiprocess.mark_process_dead(slot, folder)  # the one before it in this slot
    me = os.getpid()
    client.values.ValueClass = client.values.MultiProcessValue(
        lambda: slot if os.getpid() == me else f"{slot}-{os.getpid()}"  # a fork of this process has its own files
    )
    starts = client.Counter(
        "easyimg_worker_starts_total", "Worker processes started; more than there are = some died.", registry=None
    )
    starts.inc()


def count(app: App) -> None:
    """Count the builds of this worker process, and the messages it gets where the queue is a broker.

    Args:
        app: whose; call it before the worker starts.
    """
    if not is_counted(app):  # the site may have done so itself
        count_builds(app)
    if not uses_broker(app.settings.queue):
        return
    from dramatiq.middleware.prometheus import Prometheus

    broker: Any = app.queue.broker  # type: ignore[attr-defined]
    if not any(isinstance(known, Prometheus) for known in broker.middleware):
        broker.add_middleware(Prometheus())
