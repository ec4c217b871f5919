"""A site in a temporary folder, its worker processes, and the EasyImg they use."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from easyimg import EasyImg
from easyimg.signals import img_built
from easyimg.storages.fsspec import FsspecStorage
from tests.queues.sites import children, kill

ROOT = Path(__file__).resolve().parents[2]
APP = "from pathlib import Path\nfrom tests.faults.site import make_app\n\napp = make_app(Path(__file__).parent)\n"

_STARTED = re.compile(r"started threads=(\d+) crew=\w+ worker=(\d+)")

LEASE = 1.5
SWEEP = 0.7
"""Seconds, where a case does not choose others."""

TIMED_SWEEP = 3.0
"""Seconds, where a case times what the sweeper does: long beside what a busy machine adds."""

POLL = 0.2
"""Seconds between two looks at the rows, where there is no broker."""


class Paced(FsspecStorage):
    """Files that take a while, so that a fault finds something under way.

    ``pace.json`` in the site's folder says how long at most, seconds: ``read``, before each reading; ``decode``, after
    it; ``written``, between a whole file and the return. While ``hold-read`` (``-decode``, ``-written``) is there,
    whoever comes to that point waits, and ``held`` names what. ``written`` tells who wrote which file. A source in the
    folder ``poison`` kills its reader, one in ``hang`` never comes.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"file://{folder}/media", base_url="/media/")
        self._folder = folder
        self._pace = folder / "pace.json"
        self._written = folder / "written"

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        if name.startswith("poison/"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("hang/"):
            time.sleep(3600)
        self._wait("read", name)
        data = super().read(name, max_bytes)
        self._wait("decode", name)
        return data

    def write(self, name: str, data: bytes, content_type: str) -> None:
        super().write(name, data, content_type)
        with self._written.open("a") as log:
            log.write(f"{name} {os.getpid()}\n")
        self._wait("written", name)

    def _wait(self, what: str, name: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            time.sleep(random.uniform(0, json.loads(self._pace.read_text()).get(what, 0.0)))
        hold = self._folder / f"hold-{what}"
        if hold.exists():
            with (self._folder / "held").open("a") as log:
                log.write(f"{what} {name}\n")
            while hold.exists():
                time.sleep(0.005)


def make_app(folder: Path, **storages: Any) -> EasyImg:
    """Return the site's EasyImg for one more process; notes each published variant in ``published``.

    Args:
        folder: the site's.
        **storages: beside ``default``.
    """
    options = json.loads((folder / "site.json").read_text())
    log = os.open(folder / "published", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(sender: Any, built: Any, **_: Any) -> None:
        os.write(log, f"{built.key} {built.file_name} {os.getpid()}\n".encode())

    img_built.connect(note, weak=False)
    return EasyImg(storages={"default": Paced(folder), **storages}, **options)


class Worker:
    """One ``easyimg worker`` command."""

    def __init__(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        command = [
            sys.executable,
            "-m",
            "easyimg.worker",
            "--app",
            "site_app:app",
            "--poll",
            str(POLL),
            "--processes",
            "1",
        ]
        command += arguments
        self.hits = 0
        self._is_asked = False
        with (folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**_environment(folder), **(environment or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_up(self) -> bool:
        """Whether it runs and was not asked to stop."""
        return not self._is_asked and self.process.poll() is None

    def builders(self) -> list[int]:
        """Return its building processes."""
        return [pid for pid in children(self.pid) if b"--child" in _command(pid)]

    def limited(self) -> list[int]:
        """Return the limited children of its building processes."""
        return [pid for builder in self.builders() for pid in children(builder) if b"easyimg.child" in _command(pid)]

    def terminate(self) -> None:
        """Ask it to stop; whatever of it was stopped is woken first."""
        for pid in self.builders():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._is_asked = True  # a second signal would mean: at once
        self.process.terminate()

    def kill(self) -> None:
        """Kill the command and all it started."""
        for pid in [self.pid, *self.builders(), *self.limited()]:
            with contextlib.suppress(ProcessLookupError):
                kill(pid)
        self.process.wait(10)

    def stop(self) -> int:
        """End it politely and return its exit code."""
        if self.process.poll() is None and not self._is_asked:
            self.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9


def _runs(pid: int, commands: set[int]) -> bool:
    """Return whether a process, of one of these commands, is neither stopped nor dead."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return False
    return state not in "TtZX" and int(parent) in commands


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EASYIMG_", "COV"))}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


class Site:
    """A folder with media, rows (or their URL), the module ``site_app``, and the workers started on it."""

    def __init__(self, folder: Path, metadata: str, queue: str, **options: Any) -> None:
        self.folder = folder
        self.media = folder / "media"
        self.media.mkdir()
        self.metadata = metadata
        settings = {"lease_seconds": LEASE, "sweep_seconds": SWEEP, "max_attempts": 12, **options}
        settings |= {"metadata": metadata, "queue": queue, "queue_name": folder.name, "namespace": folder.name}
        (folder / "site.json").write_text(json.dumps(settings))
        (folder / "site_app.py").write_text(APP)
        (folder / "log").touch()
        (folder / "published").touch()
        (folder / "written").touch()
        self.app = EasyImg(storages={"default": f"file://{self.media}"}, **settings)
        self.workers: list[Worker] = []
        self.environment: dict[str, str] = {}
        """Of workers started from now on, beside what is usual."""
        self._threads: dict[int, int] = {}
        self._read = 0

    def pace(self, **seconds: float) -> None:
        """Let storages take so long from now on; whole file or nothing, as the workers read it again and again."""
        (self.folder / "pace.tmp").write_text(json.dumps(seconds))
        (self.folder / "pace.tmp").replace(self.folder / "pace.json")

    @contextlib.contextmanager
    def holding(self, what: str) -> Iterator[None]:
        """Stop builds at ``read``, ``decode`` or ``written`` until the block is left; ``held`` then lists them."""
        hold = self.folder / f"hold-{what}"
        (self.folder / "held").unlink(missing_ok=True)
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    @property
    def held(self) -> list[str]:
        """Names of the files at which builds were stopped by ``holding``."""
        with contextlib.suppress(FileNotFoundError):
            return [line.split()[1] for line in (self.folder / "held").read_text().splitlines()]
        return []

    def start(self, number: int = 1, *arguments: str) -> None:
        """Start worker commands and wait until each builds."""
        ready = self.log.count("crew=")
        processes = int(arguments[arguments.index("--processes") + 1]) if "--processes" in arguments else 1
        self.workers += [Worker(self.folder, *arguments, environment=self.environment) for _ in range(number)]
        end = time.monotonic() + 180
        while self.log.count("crew=") < ready + number * processes:
            assert time.monotonic() < end, f"the workers did not start: {self.log[-800:]}"
            time.sleep(0.05)

    def ready(self) -> int:
        """Return how many builds its workers could do at a time now: threads of processes that have said they started.

        One that is stopped, dead, or asked to stop does nothing.
        """
        with (self.folder / "log").open("rb") as log:
            log.seek(self._read)
            lines = log.read()
        end = lines.rfind(b"\n") + 1
        self._read += end
        for threads, pid in _STARTED.findall(lines[:end].decode(errors="replace")):
            self._threads[int(pid)] = int(threads)
        commands = {worker.pid for worker in self.workers if worker.is_up}
        return sum(threads for pid, threads in list(self._threads.items()) if _runs(pid, commands))

    def replace(self, worker: Worker) -> None:
        """Kill a worker command that now waits long before it starts processes again, and start another."""
        worker.kill()
        self.workers[self.workers.index(worker)] = Worker(self.folder)

    @property
    def writers(self) -> dict[str, int]:
        """Variant key -> the process that wrote its file last."""
        lines = [line.split() for line in (self.folder / "written").read_text().splitlines()]
        return {Path(name).name.partition(".")[0]: int(pid) for name, pid in lines}

    def script(self, text: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Python on a script that can ``from site_app import app``."""
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-c", text, *arguments],
                cwd=self.folder,
                env=_environment(self.folder),
                stdout=log,
                stderr=log,
            )

    def command(
        self, *arguments: str, environment: dict[str, str] | None = None, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run the ``easyimg`` command in another process and return what it said."""
        text = "from easyimg.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", text, "--app", "site_app:app", *arguments],
            cwd=self.folder,
            env={**_environment(self.folder), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    @property
    def log(self) -> str:
        """What its processes said."""
        return (self.folder / "log").read_text(errors="replace")

    def kill(self) -> None:
        """End all workers at once: nobody looks at what they leave."""
        for worker in self.workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.kill()

    def stop(self) -> None:
        """End all workers politely."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.terminate()  # all, before any is waited for
        for worker in self.workers:
            worker.stop()
        self.workers.clear()

    def close(self) -> None:
        self.stop()
        self.app.close()
