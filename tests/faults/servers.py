"""Servers that a fault may kill and start again: ``services.py`` starts them, in folders and on ports of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from tests import services

SERVICE = {"postgres": "postgres", "mariadb": "mysql", "redis": "redis", "rabbitmq": "rabbitmq"}


class Server:
    """One database or broker server.

    Args:
        name: ``postgres``, ``mariadb``, ``redis`` or ``rabbitmq``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._service = services.BY_NAME[SERVICE[name]]
        self._folder = Path(tempfile.mkdtemp(prefix=f"easyimg-faults-{name}-"))
        self._port = services.free_port()
        self._popen: dict[str, Any] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._processes = self._service.start(self._folder, self._port)
            self._await()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return self._service.at(self._port)

    @property
    def pid(self) -> int:
        return self._processes[-1].pid

    def kill(self) -> None:
        """End it without a goodbye. PostgreSQL by its "immediate" shutdown: its processes share memory."""
        process = self._processes[-1]
        self._popen = _as_started(process)
        if self.name == "postgres":
            process.send_signal(signal.SIGQUIT)
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(120)

    def again(self) -> None:
        """Start it on what it left."""
        args = self._processes[-1].args
        assert isinstance(args, list)
        self._processes[-1] = services._launch(self._folder, args, **self._popen)
        self._await()

    def freeze(self) -> None:
        """Let it take connections and answer nothing, as behind a network that swallows packets."""
        os.killpg(self._processes[-1].pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self._processes[-1].pid, signal.SIGCONT)

    def revive(self) -> None:
        """Bring it back if it is dead or frozen."""
        if self._processes[-1].poll() is None:
            self.thaw()
        else:
            self.again()

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError, IndexError):
            self.thaw()
        for process in reversed(self._processes):
            services._stop(process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _await(self) -> None:
        services._await(self._service, self.url, self._processes[-1], self._folder / "log")
        if self.name == "mariadb":  # the tests' other servers may lose a second of commits; a promise cannot
            with contextlib.closing(services.mysql_connection(self.url)) as connection, connection.cursor() as cursor:
                cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")


def _as_started(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return the Popen arguments that start a process like this one: its environment and account."""
    proc = Path(f"/proc/{process.pid}")
    pairs = (part.partition("=") for part in proc.joinpath("environ").read_text().split("\0") if part)
    found: dict[str, Any] = {"env": {name: value for name, _, value in pairs}}
    owner = proc.stat().st_uid
    if owner != os.geteuid():
        group = next(line for line in proc.joinpath("status").read_text().splitlines() if line.startswith("Gid:"))
        found |= {"user": owner, "group": int(group.split()[1]), "extra_groups": []}
    return found


class Servers:
    """Servers started when first asked for, stopped together. Use it as a context manager."""

    def __init__(self) -> None:
        self._running: dict[str, Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        running, self._running = self._running, {}
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Server.stop, running.values()))

    def get(self, name: str) -> Server:
        """Return the running server of that name."""
        if name not in self._running:
            self._running[name] = Server(name)
        return self._running[name]

    def revive(self) -> None:
        """Bring back what the last case left dead or frozen: the next one must not fail for it."""
        for server in self._running.values():
            server.revive()

    def new_database(self, kind: str, folder: Path) -> str:
        """Return the URL of a new, empty database."""
        if kind == "sqlite":
            return f"sqlite:///{folder}/rows.db"
        name, url = f"faults_{uuid.uuid4().hex[:12]}", self.get(kind).url
        end = time.monotonic() + 120
        while True:
            try:
                _create(kind, url, name)
                return f"{url.rpartition('/')[0]}/{name}"
            except Exception:  # just started again, and not quite there
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)


def _create(kind: str, url: str, name: str) -> None:
    if kind == "postgres":
        import psycopg

        with psycopg.connect(services.plain(url), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return
    with contextlib.closing(services.mysql_connection(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
