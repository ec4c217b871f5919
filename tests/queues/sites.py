"""Sites for tests with processes of their own: a module that holds an EasyImg, and the processes that use it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from easyimg import EasyImg
from easyimg.queues.simple import NoneQueue

ROOT = Path(__file__).resolve().parents[2]

SITE = """\
import time
from easyimg import EasyImg, configure
from easyimg.storages.fsspec import FsspecStorage

class Slow(FsspecStorage):
    def read(self, name, max_bytes=None):
        if name.startswith("slow/"):
            time.sleep(float(name.split("/")[1]))
        return super().read(name, max_bytes)

app = EasyImg(
    storages={{"default": Slow({media!r}, base_url="/media/")}}, metadata={rows!r}, **{options!r}
)
"""


class Site:
    """A folder with a media directory, a SQLite file and a module ``site_app`` with the EasyImg ``app``.

    Names ``slow/<seconds>/...`` take that long to read. ``rows`` names another database.
    """

    def __init__(self, folder: Path, queue: str, *, rows: str | None = None, **options: Any) -> None:
        self.folder = folder
        self.media, self.rows = f"file://{folder}/media", rows or f"sqlite:///{folder}/rows.db"
        text = SITE.format(media=self.media, rows=self.rows, options={"queue": queue, **options})
        (folder / "site_app.py").write_text(text)
        self.options = options
        self.app = self.make(queue)

    def make(self, queue: Any) -> EasyImg:
        """Return an EasyImg on the same rows and files, in this process."""
        return EasyImg(
            storages={"default": self.media},
            metadata=self.rows,
            queue=NoneQueue() if queue is None else queue,
            **self.options,
        )

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start Python with the site on its path, standard error and output to a file ``log``."""
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)])}
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, *command], cwd=self.folder, env=env, stdout=log, stderr=log, text=True, **options
            )

    @property
    def log(self) -> str:
        """What its processes said."""
        return (self.folder / "log").read_text()

    @contextlib.contextmanager
    def worker(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run ``python -m easyimg.worker`` on the site; ends it with SIGTERM."""
        command = ("-m", "easyimg.worker", "--app", "site_app:app", "--poll", "0.1", "--processes", "1", *arguments)
        process = self.start(*command)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(20)

    def run(self, script: str, *, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        """Run a script that can ``from site_app import app``, and return what came of it."""
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)])}
        return subprocess.run(
            [sys.executable, "-X", "dev", "-c", script],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for something to become true and return it, or fail."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    """Kill a process, as the kernel does when memory is short."""
    os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Forwarder:
    """A TCP forwarder in front of a server, to be cut and mended like a network."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = free_port()
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def mend(self) -> None:
        """Accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Drop all connections, and refuse new ones."""
        listeners = [self._listener] if self._listener else []
        self._listener = None
        for one in [*listeners, *self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open = []

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self.target)
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
