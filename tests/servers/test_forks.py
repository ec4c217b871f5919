"""Forks at bad moments: while a thread of the parent is about to start a child process, or holds a lock."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from easyimg.cache import RowCache
from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata
from tests.servers.web import WebSite

pytestmark = pytest.mark.slow

STARTS = """
import os, threading, time, warnings
from easyimg.engines.limited import LimitedEngine

warnings.simplefilter("ignore", DeprecationWarning)
engine, took, stop = LimitedEngine("pillow"), [], threading.Event()


def start_children():
    while not stop.is_set():
        started = time.monotonic()
        engine._take(None)
        took.append(time.monotonic() - started)
        engine.close()


thread = threading.Thread(target=start_children)
thread.start()
pids = []
while len(took) < 40 and len(pids) < 300:
    time.sleep(0.011)
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
    pids.append(pid)
    assert not took or max(took) < 20, "a start waited for a forked process to end"
stop.set()
for pid in pids:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
thread.join()
print(len(took), max(took))
"""


def test_a_child_process_starts_although_its_parent_is_forked_meanwhile(tmp_path: Path) -> None:
    """As gunicorn does with ``--preload``, when a page was rendered at import."""
    site = WebSite(tmp_path)
    process = site.start("-c", STARTS)
    try:
        assert process.wait(60) == 0, site.log
    finally:
        for pid in site.processes():
            os.kill(pid, 9)
    starts, slowest = site.log.split()
    assert int(starts) >= 40
    assert float(slowest) < 20
    site.app.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_a_lock_that_its_parent_held(tmp_path: Path) -> None:
    store = SqlAlchemyMetadata(f"sqlite:///{tmp_path}/rows.db")
    held, done = threading.Event(), threading.Event()

    cache = RowCache(10.0, 100)

    def hold() -> None:
        with store._lock, cache._lock:  # as while the tables are made
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    pid = os.fork()
    if pid == 0:
        cache.clear()
        os._exit(0 if store.counts(stale_after=60).pending == 0 else 1)
    try:
        deadline = time.monotonic() + 20
        while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            assert time.monotonic() < deadline, "the forked process hangs"
            time.sleep(0.02)
    finally:
        done.set()
        thread.join()
        if ended == (0, 0):
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    store.close()
