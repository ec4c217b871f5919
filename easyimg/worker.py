"""``easyimg worker``: supervises worker processes, and sweeps. Also ``python -m easyimg.worker``.

Each process is a fresh Python, never a fork: libvips must not be used in a parent that forks, and Dramatiq's own parent
stops all its processes when one dies. One that dies here is started again, the others go on.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from easyimg.app import EasyImg
from easyimg.capacity import measure
from easyimg.errors import ConfigError, did_you_mean, shown
from easyimg.joined import rest
from easyimg.loading import load_app
from easyimg.logs import FORMATS, event, formatter
from easyimg.queues.builder import FINISH_SECONDS
from easyimg.queues.sweeping import Sweeper
from easyimg.worker_process import POLL_SECONDS, work

logger = logging.getLogger("easyimg")

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_KILL_SECONDS: Final = FINISH_SECONDS + 4.0
"""After SIGTERM; a process that is still there then is killed, and its leases lapse."""

_BACK_OFF: Final = (0.5, 30.0)
"""Seconds until a dead process is started again: first, and at most."""

_HEALTHY: Final = 60.0
"""A process that lived so long is started again at once when it dies."""


def run_worker(
    app: str | None = None,
    processes: int | None = None,
    threads: int = 1,
    *,
    poll: float = POLL_SECONDS,
    log_level: str = "INFO",
    log_format: str = "plain",
    metrics: str | None = None,
) -> int:
    """Supervise worker processes until SIGTERM or SIGINT, and return the exit code 0.

    Builds under way then are finished within 10 seconds, or their leases given back. Call it in the main thread.

    Args:
        app: where the EasyImg is found, see :func:`easyimg.loading.load_app`.
        processes: how many; None = one a processor, as far as processors, quotas and memory allow: see
            :mod:`easyimg.capacity`.
        threads: of each process; more than one helps where storage is slow.
        poll: seconds between two looks at the rows, where ``queue`` is no broker.
        log_level: of what goes to standard error.
        log_format: ``"plain"``, or ``"json"`` for one object a line.
        metrics: ``[HOST:]PORT`` to serve Prometheus metrics at; None = nowhere.

    Raises:
        ConfigError: a number or the log level is not allowed, there is no such EasyImg, its settings or the address
            cannot work, or the metadata store, the broker or a storage is not within reach now. When they go away
            later, the worker waits for them.
    """
    _check(processes, threads, poll, log_level)
    _log_to_stderr(log_level, log_format)
    site = load_app(app)
    command = [sys.executable, "-m", "easyimg.worker", "--child", str(os.getpid()), "--threads", str(threads)]
    command += ["--poll", str(poll), "--log-level", log_level, "--log-format", log_format]
    command += ["--app", app] if app else []
    try:
        site.check(broker=True)  # what cannot work shows here, once, and not in each process again and again
        rest(site.metadata)
        processes = _announced(site, processes, threads)
        sweeper = Sweeper(site)
        with ExitStack() as running:
            if metrics is not None:
                from easyimg.metrics.exporter import Exporter

                command += running.enter_context(Exporter(site, metrics)).arguments
            running.enter_context(sweeper)
            Supervisor(command, _environment(threads), processes).run()
    finally:
        site.close()
    return 0


def _check(processes: int | None, threads: int, poll: float, log_level: str) -> None:
    for name, number in (("processes", processes), ("threads", threads)):
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
            raise ConfigError(f"{name}: {shown(number)} is not a whole number from 1")
    if not (isinstance(poll, int | float) and 0 < poll < float("inf")):
        raise ConfigError(f"poll: {shown(poll)} is not a number of seconds above 0")
    if log_level not in LEVELS:
        raise ConfigError(f"log_level: {shown(log_level)} is not known{did_you_mean(str(log_level), LEVELS)}")


def _announced(site: EasyImg, processes: int | None, threads: int) -> int:
    """Say what was chosen, and return the number of processes."""
    here = measure()
    chosen = processes or here.processes
    event(
        logging.INFO,
        "the worker starts",
        processes=chosen,
        threads=threads,
        processors=here.processors,
        memory_mb=here.memory >> 20,
        queue=site.settings.queue_name,
        broker=getattr(site.queue, "label", "none"),
        worker=os.getpid(),
    )
    return chosen


class Slot:
    """The place of one worker process: what runs there, and when the next may start. Times are ``time.monotonic``."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.not_before = 0.0
        self._started = 0.0
        self._pause = 0.0

    def start(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Start a process; where the system has no room for one more, it is tried again later."""
        try:
            self.process = subprocess.Popen([*command, "--slot", str(self.number)], env=environment)
        except OSError as exc:
            pause, kind = self._back_off(0.0), type(exc).__name__
            event(logging.ERROR, "a process did not start", kind=kind, error=exc, restart_in=pause, slot=self.number)
            return
        self._started = time.monotonic()
        event(logging.INFO, "a process is started", slot=self.number, worker=self.process.pid)

    def look(self) -> None:
        """Note a process that has ended, and when to start the next."""
        if self.process is None or self.process.poll() is None:
            return
        lived, code, pid = time.monotonic() - self._started, self.process.returncode, self.process.pid
        pause = self._back_off(lived)
        event(logging.ERROR, "a process died", code=code, seconds=lived, restart_in=pause, slot=self.number, worker=pid)
        self.process = None

    def _back_off(self, lived: float) -> float:
        """Return the seconds until the next start, after a process that lived so long."""
        self._pause = 0.0 if lived > _HEALTHY else min(max(self._pause * 2, _BACK_OFF[0]), _BACK_OFF[1])
        self.not_before = time.monotonic() + self._pause
        return self._pause


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
                event(logging.ERROR, "workers killed: they did not end in time")
                break
            time.sleep(0.05)
        for process in running:
            process.kill()
            process.wait()


def _environment(threads: int) -> dict[str, str]:
    """Return the environment of worker processes; what is set already stays.

    glibc gives each thread its own arena and keeps what it freed there: 350 MB instead of 200 MB after 120 builds.
    They import from where this process does: beside the script that was run, and wherever it was told to look.
    """
    chosen = {"MALLOC_ARENA_MAX": "1" if threads == 1 else "2", "VIPS_CONCURRENCY": "1", **os.environ}
    return {**chosen, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _log_to_stderr(level: str, form: str) -> None:
    """Log one line per event; libraries only from WARNING (libvips tells each of its steps)."""
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(formatter(form))
    logging.basicConfig(handlers=[to_stderr], level=logging.WARNING, force=True)
    logger.setLevel(level)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # up to six lines for each failure that Dramatiq tells, too
    logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # what it warns of is in our own line, and in the row
    for handler in list(logger.handlers):  # the command line's own, or every line would show twice
        logger.removeHandler(handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the supervisor, or with ``--child`` one of its processes; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m easyimg.worker", description="Build what is owed.")
    parser.add_argument("--app", help="package.module:attribute; default: the EASYIMG_* environment")
    parser.add_argument("--processes", type=int, help="default: one a processor, where memory suffices")
    parser.add_argument("--threads", type=int, default=1, help="per process")
    parser.add_argument("--poll", type=float, default=POLL_SECONDS, help="seconds, where no broker is used")
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--log-format", choices=FORMATS, default="plain")
    parser.add_argument("--metrics", metavar="[HOST:]PORT", help="serve Prometheus metrics there")
    parser.add_argument("--child", type=int, metavar="PARENT", help=argparse.SUPPRESS)
    parser.add_argument("--slot", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--metrics-folder", help=argparse.SUPPRESS)
    chosen: Any = parser.parse_args(arguments)
    if chosen.child is None:
        return _supervise(chosen)
    _log_to_stderr(chosen.log_level, chosen.log_format)
    site = _counted_app(chosen) if chosen.metrics_folder else load_app(chosen.app)
    code = work(site, threads=chosen.threads, poll=chosen.poll, parent=chosen.child)
    logging.shutdown()
    if code == 0:
        site.close()
    if code == 0 and not threading.active_count() > 1:
        return code
    os._exit(code)  # a thread is still inside libvips, or waits for a broker; ending Python under it could crash


def _counted_app(chosen: Any) -> EasyImg:
    """Return the EasyImg, its builds counted; what the site itself counts while it is imported is exported, too."""
    from easyimg.metrics import exporter

    exporter.join(chosen.metrics_folder, chosen.slot)
    site = load_app(chosen.app)
    exporter.count(site)
    return site


def _supervise(chosen: Any) -> int:
    try:
        return run_worker(
            chosen.app,
            chosen.processes,
            chosen.threads,
            poll=chosen.poll,
            log_level=chosen.log_level,
            log_format=chosen.log_format,
            metrics=chosen.metrics,
        )
    except ConfigError as exc:
        print(f"Error: {exc}", file=sys.stderr)  # noqa: T201  # this is a command
        return 2


if __name__ == "__main__":
    sys.exit(main())
