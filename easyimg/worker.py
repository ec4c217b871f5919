"""``easyimg worker``: supervises worker processes, and sweeps. Also ``python -m easyimg.worker``.

Each process is a fresh Python, never a fork: libvips must not be used in a parent that forks, and Dramatiq's own parent
stops all its processes when one dies. One that dies here is started again, the others go on.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Final, Self

from easyimg.app import EasyImg
from easyimg.errors import ConfigError, EasyImgError
from easyimg.loading import load_app
from easyimg.maintain import sweep
from easyimg.queues import uses_broker
from easyimg.worker_process import FINISH_SECONDS, POLL_SECONDS, work

logger = logging.getLogger("easyimg")

_KILL_SECONDS: Final = FINISH_SECONDS + 4.0
"""After SIGTERM; a process that is still there then is killed, and its leases lapse."""

_BACK_OFF: Final = (0.5, 30.0)
"""Seconds until a dead process is started again: first, and at most."""

_AT_ONCE: Final = 1000
"""Sources rung for by one sweep. When there were as many, more may wait, and the next sweep follows soon."""

_SOON: Final = 2.0

_HEALTHY: Final = 60.0
"""A process that lived so long is started again at once when it dies."""


def run_worker(
    app: str | None = None,
    processes: int = 1,
    threads: int = 1,
    *,
    poll: float = POLL_SECONDS,
    log_level: str = "INFO",
) -> int:
    """Supervise worker processes until SIGTERM or SIGINT, and return the exit code 0.

    Builds under way then are finished within 10 seconds, or their leases given back. Call it in the main thread.

    Args:
        app: where the EasyImg is found, see :func:`easyimg.loading.load_app`.
        processes: how many; one per processor uses a machine fully.
        threads: of each process; more than one helps where storage is slow.
        poll: seconds between two looks at the rows, where ``queue`` is no broker.
        log_level: of what goes to standard error.

    Raises:
        ConfigError: there is no such EasyImg, or its settings cannot work.
    """
    _log_to_stderr(log_level)
    site = load_app(app)
    command = [sys.executable, "-m", "easyimg.worker", "--child", str(os.getpid()), "--threads", str(threads)]
    command += ["--poll", str(poll), "--log-level", log_level, *(["--app", app] if app else [])]
    try:
        site.check()  # what cannot work shows here, once, and not in each process again and again
        sweeper = Sweeper(site)
        supervisor = Supervisor(command, _environment(threads), processes)
        with sweeper:
            supervisor.run()
    finally:
        site.close()
    return 0


class Slot:
    """The place of one worker process: what runs there, and when the next may start. Times are ``time.monotonic``."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.not_before = 0.0
        self._started = 0.0
        self._pause = 0.0

    def start(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Start a process."""
        self.process = subprocess.Popen(command, env=environment)
        self._started = time.monotonic()
        logger.info("worker=%d slot=%d started", self.process.pid, self.number)

    def look(self) -> None:
        """Note a process that has ended, and when to start the next."""
        if self.process is None or self.process.poll() is None:
            return
        now = time.monotonic()
        lived, code = now - self._started, self.process.returncode
        self._pause = 0.0 if lived > _HEALTHY else min(max(self._pause * 2, _BACK_OFF[0]), _BACK_OFF[1])
        self.not_before = now + self._pause
        logger.error("worker=%d died code=%d after=%.1f restart_in=%g", self.process.pid, code, lived, self._pause)
        self.process = None


class Supervisor:
    """Keeps a number of processes running.

    Args:
        command: starts one.
        environment: of each.
        processes: how many.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str], processes: int) -> None:
        self._command = command
        self._environment = environment
        self._slots = [Slot(number) for number in range(processes)]
        self._signals = 0

    def run(self) -> None:
        """Start the processes, replace dead ones, and stop all on SIGTERM or SIGINT; a second signal kills."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._signals:
                for slot in self._slots:
                    slot.look()
                    if slot.process is None and time.monotonic() >= slot.not_before:
                        slot.start(self._command, self._environment)
                time.sleep(0.2)
        finally:
            self._stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, *_: Any) -> None:
        self._signals += 1  # and nothing that takes a lock: a signal may come while it is held

    def _stop(self) -> None:
        running = [slot.process for slot in self._slots if slot.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _KILL_SECONDS
        while any(process.poll() is None for process in running):
            if time.monotonic() > deadline or self._signals > 1:
                logger.error("workers killed: they did not end in time")
                break
            time.sleep(0.05)
        for process in running:
            process.kill()
            process.wait()


class Sweeper:
    """Rings every ``sweep_seconds`` for rows owed too long: one supervisor at a time, elected through the rows.

    Without a broker there is nothing to ring: the processes look at the rows themselves.

    Args:
        app: whose rows and doorbell.
    """

    def __init__(self, app: EasyImg) -> None:
        self._app = app
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="easyimg-sweeper", daemon=True)

    def __enter__(self) -> Self:
        if uses_broker(self._app.settings.queue):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def sweep(self) -> int:
        """Sweep once, if this process is the elected one; return for how many sources was rung."""
        every = self._app.settings.sweep_seconds
        if not self._app.metadata.elect("sweeper", self._owner, every * 2.5):
            return 0
        count = sweep(self._app, limit=_AT_ONCE)
        if count:
            logger.info("swept sources=%d", count)
        return count

    def _run(self) -> None:
        while True:
            every, count = self._app.settings.sweep_seconds, 0
            try:
                count = self.sweep()
            except EasyImgError as exc:
                logger.warning("sweeping failed: %s: %s", exc.kind, exc)
            except Exception:
                logger.exception("sweeping failed in an unforeseen way")
            if self._stopping.wait(min(every, _SOON) if count >= _AT_ONCE else every):
                return


def _environment(threads: int) -> dict[str, str]:
    """Return the environment of worker processes; what is set already stays.

    glibc gives each thread its own arena and keeps what it freed there: 350 MB instead of 200 MB after 120 builds.
    """
    return {"MALLOC_ARENA_MAX": "1" if threads == 1 else "2", "VIPS_CONCURRENCY": "1", **os.environ}


def _log_to_stderr(level: str) -> None:
    """Log one line per event; libraries only from WARNING (libvips tells each of its steps)."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING, force=True)
    logger.setLevel(level)
    logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # what it warns of is in our own line, and in the row
    for handler in list(logger.handlers):  # the command line's own, or every line would show twice
        logger.removeHandler(handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the supervisor, or with ``--child`` one of its processes; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m easyimg.worker", description="Build what is owed.")
    parser.add_argument("--app", help="package.module:attribute; default: the EASYIMG_* environment")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="per process")
    parser.add_argument("--poll", type=float, default=POLL_SECONDS, help="seconds, where no broker is used")
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--child", type=int, metavar="PARENT", help=argparse.SUPPRESS)
    chosen: Any = parser.parse_args(arguments)
    if chosen.child is None:
        return _supervise(chosen)
    _log_to_stderr(chosen.log_level)
    site = load_app(chosen.app)
    code = work(site, threads=chosen.threads, poll=chosen.poll, parent=chosen.child)
    logging.shutdown()
    if code == 0:
        site.close()
    if code == 0 and not threading.active_count() > 1:
        return code
    os._exit(code)  # a thread is still inside libvips, or waits for a broker; ending Python under it could crash


def _supervise(chosen: Any) -> int:
    try:
        return run_worker(chosen.app, chosen.processes, chosen.threads, poll=chosen.poll, log_level=chosen.log_level)
    except ConfigError as exc:
        print(f"error: {exc}", file=sys.stderr)  # noqa: T201  # this is a command
        return 2


if __name__ == "__main__":
    sys.exit(main())
