"""The default queue: threads of this process."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from easyimg import EasyImg, Img
from easyimg.testing.queues import assert_built, detail, order, statuses, upload, wait_until_settled
from easyimg.variant import VariantStatus
from tests.queues.sites import Site, until


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("easyimg-build")]


def test_nothing_starts_before_the_first_doorbell(tmp_path: Path) -> None:
    app = Site(tmp_path, "thread", threads=2).app
    _ = app.queue
    assert running() == []
    app.queue.ring([])
    assert len(running()) == 2
    app.close()
    assert running() == []


def test_rows_owed_since_before_a_restart_are_built_too(tmp_path: Path) -> None:
    site = Site(tmp_path, "thread", sweep_seconds=0.3)
    old, new, later = (upload(site.app, f"{name}.jpg") for name in ("old", "new", "later"))
    order(site.app, old, ring=False)
    order(site.app, new)
    wait_until_settled(site.app)
    order(site.app, later, ring=False)  # by another process, say
    wait_until_settled(site.app)
    assert_built(site.app, old, new, later)
    site.app.close()


def test_a_page_that_waits_for_rows_of_before_a_restart_starts_the_threads(tmp_path: Path) -> None:
    site = Site(tmp_path, "thread", sweep_seconds=600.0)
    source = upload(site.app, "old.jpg")
    img = Img(width=40, app=site.app)
    order(site.app, source, specs=tuple(img.plan.specs), ring=False)  # by a process that has ended since
    assert running() == []
    img(source, alt="").as_html()
    wait_until_settled(site.app)
    assert img(source, alt="").is_built
    site.app.close()


@pytest.mark.slow
def test_builds_run_in_a_child_so_that_this_process_may_fork(tmp_path: Path) -> None:
    script = """
import sys
from site_app import app
from easyimg.testing.queues import *
order(app, upload(app, "a.jpg"))
wait_until_settled(app)
print("pyvips" in sys.modules)
"""
    site = Site(tmp_path, "thread")
    done = site.run(script)
    assert (done.stdout, done.stderr) == ("False\n", "")
    site.app.close()


def test_a_locked_database_is_asked_again(tmp_path: Path) -> None:
    site = Site(tmp_path, "thread", sweep_seconds=0.2)
    source = upload(site.app, "a.jpg")
    order(site.app, source, ring=False)
    with sqlite3.connect(tmp_path / "rows.db", timeout=0) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        site.app.queue.ring([source.id])
        time.sleep(0.3)
        holder.rollback()
    holder.close()
    wait_until_settled(site.app)
    assert_built(site.app, source)
    site.app.close()


@pytest.mark.slow
def test_closing_lets_a_short_build_finish(tmp_path: Path) -> None:
    site = Site(tmp_path, "none")
    source = upload(site.app, "slow/1/a.jpg")
    script = """
from site_app import app, EasyImg
from easyimg.testing.queues import *
app = EasyImg(app.settings.replace(queue="thread"))
order(app, upload(app, "first.jpg"))
wait_until_settled(app)  # its child runs from now on: to start it may take longer than the build
order(app, Source("default", "slow/1/a.jpg"))
import time
while not app.metadata.counts(stale_after=60).building:
    time.sleep(0.02)
"""
    done = site.run(script)
    assert (done.returncode, done.stderr) == (0, "")
    assert_built(site.app, source)
    site.app.close()


@pytest.mark.slow
def test_closing_gives_a_long_build_back(tmp_path: Path) -> None:
    site = Site(tmp_path, "none")
    source = upload(site.app, "slow/60/a.jpg")
    script = """
from site_app import app, EasyImg
from easyimg.testing.queues import *
app = EasyImg(app.settings.replace(queue="thread"))
order(app, Source("default", "slow/60/a.jpg"))
import time
while not app.metadata.counts(stale_after=60).building:
    time.sleep(0.02)
"""
    started = time.monotonic()
    done = site.run(script)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 55
    assert set(statuses(site.app, source)) == {VariantStatus.QUEUED}
    assert {variant.attempts for variant in detail(site.app, source).variants} == {0}
    site.app.close()


@pytest.mark.slow
def test_a_script_that_only_orders_loses_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path, "thread")
    script = """
from site_app import app
from easyimg.testing.queues import *
order(app, *[upload(app, f"{n}.jpg") for n in range(5)])
"""
    started = time.monotonic()
    done = site.run(script)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - started < 55
    counts = site.app.metadata.counts(stale_after=60)
    assert (counts.building, counts.queued + counts.generated) == (0, 10)
    site.app.queue.ring([])
    wait_until_settled(site.app)
    assert site.app.metadata.counts(stale_after=60).generated == 10
    site.app.close()


FORK = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from site_app import app
from easyimg.testing.queues import *
order(app, upload(app, "parent.jpg"))
wait_until_settled(app)
pids = []
for number in range(2):
    pid = os.fork()
    if pid == 0:
        try:
            order(app, upload(app, f"child{number}.jpg"))
            wait_until_settled(app)
            app.close()
            os._exit(0)
        finally:
            os._exit(1)
    pids.append(pid)
assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
order(app, upload(app, "after.jpg"))
wait_until_settled(app)
assert app.metadata.counts(stale_after=60).generated == 8
print("fine")
"""


@pytest.mark.slow
def test_processes_forked_after_the_first_doorbell_build_too(tmp_path: Path) -> None:
    """As gunicorn's workers do when the parent has loaded the application."""
    site = Site(tmp_path, "thread")
    done = site.run(FORK)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr
    site.app.close()


FORK_MEANWHILE = """
import os, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from site_app import app
from easyimg.testing.queues import *
slow = upload(app, "slow/1/parent.jpg")
order(app, slow)
while not app.metadata.counts(stale_after=60).building:
    time.sleep(0.02)
pid = os.fork()
if pid == 0:
    app.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
wait_until_settled(app)
assert_built(app, slow)
print("fine")
"""


@pytest.mark.slow
def test_a_forked_process_that_ends_leaves_its_parent_s_build_alone(tmp_path: Path) -> None:
    site = Site(tmp_path, "thread")
    done = site.run(FORK_MEANWHILE)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr
    site.app.close()


def test_a_crashing_picture_counts_crashes_and_ends_as_an_error(tmp_path: Path) -> None:
    app: EasyImg = Site(tmp_path, "thread", build_seconds=0.05, sweep_seconds=0.2, max_attempts=1).app
    source = upload(app, "a.jpg")  # nothing is built in 50 ms by a child that has to start first
    order(app, source)
    until(lambda: set(statuses(app, source)) & {VariantStatus.BUILD_ERROR, VariantStatus.SOURCE_ERROR})
    assert not app.metadata.counts(stale_after=60).pending
    app.close()
