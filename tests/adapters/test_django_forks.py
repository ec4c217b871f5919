"""Processes that are forked while threads use the site's database through the Django store."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.adapters.django_project import Project

pytestmark = pytest.mark.slow

URLS = ["sqlite", "postgres_url", "mysql_url"]

BEGIN = """
import os, sys, threading, time, warnings
import django
django.setup()
warnings.simplefilter("ignore", DeprecationWarning)
from django.db import connections, transaction
from easyimg import current_app
from easyimg.testing.metadata import drain, wanted
store = current_app().metadata
"""

BESIDE_A_WRITER = """
store.enqueue([wanted("a.jpg")])
begun, count = threading.Event(), [0]
def write(rows, _):
    begun.set()
    time.sleep(0.5)
def work():
    store._db.write(write)
    while not count[0]:
        store.counts(stale_after=60)
writer = threading.Thread(target=work, name="easyimg-build-0")
writer.start()
begun.wait(10)
child = os.fork()
if child == 0:
    started = time.monotonic()
    files = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    if any("site.db" in os.readlink(file) for file in files if os.path.islink(file)):
        os._exit(2)
    assert store.enqueue([wanted("b.jpg")])
    os._exit(0 if time.monotonic() - started < 4 else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
count[0] = 1
writer.join()
assert code == 0, f"exit code {code} of the forked process (2: it inherited an open file; 1: it found it locked)"
assert len(drain(store)) == 6
"""

AFTER_A_PAGE = """
from easyimg import Img
str(Img(width=40)("a.jpg", alt=""))  # as a page that a server renders before it forks
child = os.fork()
if child == 0:
    str(Img(width=40)("b.jpg", alt=""))
    os._exit(0 if store.counts(stale_after=60).sources == 2 else 1)
for _ in range(20):  # over one connection with the child, the answers would be mixed up
    store.counts(stale_after=60)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert store.counts(stale_after=60).queued == 6
"""

IN_A_TRANSACTION = """
with transaction.atomic():
    store.enqueue([wanted("a.jpg")])
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert store.counts(stale_after=60).sources == 1
assert store.counts(stale_after=60).sources == 1
with connections["default"].cursor() as cursor:  # opened by the site, so it is the site's to close
    before = connections["default"].connection
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
assert connections["default"].connection is before
"""


@pytest.fixture(params=URLS)
def project(request: pytest.FixtureRequest, tmp_path: Any) -> Project:
    url = None if request.param == "sqlite" else request.getfixturevalue(request.param)
    return Project(tmp_path, url, EASYIMG={"QUEUE": "none", "CACHE_SECONDS": 0})


def run(project: Project, script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script],
        env=project.environment,
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_forked_beside_a_thread_that_writes_finds_no_lock(project: Project) -> None:
    run(project, BESIDE_A_WRITER)


def test_a_process_forked_after_a_page_has_a_connection_of_its_own(project: Project) -> None:
    run(project, AFTER_A_PAGE)


def test_a_fork_leaves_transactions_and_the_sites_own_connections_alone(project: Project) -> None:
    run(project, IN_A_TRANSACTION)
