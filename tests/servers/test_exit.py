"""The thread queue in processes that end while builds are under way, each in its own way, and in their children."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from easyimg.testing.images import photo
from easyimg.testing.queues import detail, upload
from easyimg.variant import VariantStatus
from tests.queues.sites import until
from tests.servers.web import WebSite

pytestmark = pytest.mark.slow

SITE = """\
import os, sys, threading, time
from easyimg import EasyImg, Img, ImageBatch
from site_parts import FOLDER, settings

app = EasyImg(**settings)


def page(*names):
    img = Img(width=30, batch=ImageBatch(app))
    return "".join(bound.as_html() for bound in [img(name, alt="") for name in names])


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def building():
    return app.metadata.counts(stale_after=60).building


def settled():
    return not app.metadata.counts(stale_after=60).pending


def go_on():
    while True:
        page("c.jpg", f"{time.monotonic_ns()}.jpg")


def all_at_work():
    page("held/a.jpg", "held/b.jpg", "c.jpg")
    until(building)
    open(FOLDER + "/ready", "w").close()
"""

NAMES = ("held/a.jpg", "held/b.jpg", "c.jpg")

IN_TIME = 30.0
"""Seconds a process may take to end: seven for its builds, and what a busy machine adds."""

ENDS = {
    "the end of a script": ("all_at_work()", 0),
    "sys.exit": ("all_at_work(); sys.exit(3)", 3),
    "sys.exit in a thread": ("all_at_work(); t = threading.Thread(target=sys.exit); t.start(); t.join()", 0),
    "an exception": ("all_at_work(); 1 / 0", 1),
    "an exception in a thread": (
        "t = threading.Thread(target=lambda: [all_at_work(), 1 / 0]); t.start(); t.join(); sys.exit(4)",
        4,
    ),
    "daemon threads that go on rendering": (
        "all_at_work(); [threading.Thread(target=go_on, daemon=True).start() for _ in range(3)]; time.sleep(0.3)",
        0,
    ),
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WebSite]:
    site = WebSite(tmp_path, SITE)
    site.upload(*NAMES)
    site.hold()
    yield site
    site.end()


def build_the_rest(site: WebSite) -> None:
    """Start again and show a page, as a site does; everything is built then, and nothing of all is left running."""
    assert_all_rows_are_free(site)
    again = site.start("-c", "from site_web import *; page('held/a.jpg', 'held/b.jpg', 'c.jpg'); until(settled)")
    assert again.wait(90) == 0, site.log
    site.assert_all_built()
    assert_nothing_left(site)


def assert_all_rows_are_free(site: WebSite) -> None:
    """Nothing is lost: every row is built, once, or queued and nobody's, without a try or a crash being counted."""
    found = [detail(site.app, source) for source in site.sources]
    variants = [variant for source in found for variant in source.variants]
    built = {variant.key for variant in variants if variant.status is VariantStatus.BUILT}
    assert {variant.status for variant in variants} <= {VariantStatus.BUILT, VariantStatus.QUEUED}
    assert site.built() == dict.fromkeys(built, 1)
    assert {source.crashes for source in found} == {variant.attempts for variant in variants} == {0}


def assert_nothing_left(site: WebSite) -> None:
    until(lambda: not site.processes(), 20)


@pytest.mark.parametrize("end", ENDS)
def test_a_process_that_ends_lets_its_builds_finish(site: WebSite, end: str) -> None:
    script, code = ENDS[end]
    process = site.start("-c", "from site_web import *\n" + script)
    until((site.folder / "ready").exists)
    time.sleep(0.5)  # it is ending by now, whatever the way
    assert process.poll() is None, "it must wait for its build"
    site.let_go()
    assert process.wait(IN_TIME) == code, site.log
    assert site.built(), "what was under way is finished"
    assert_all_rows_are_free(site)
    assert_nothing_left(site)
    assert ("Traceback" in site.log) is (code in (1, 4))
    assert "Fatal" not in site.log


def test_a_site_that_starts_again_builds_what_is_owed(site: WebSite) -> None:
    process = site.start("-c", "from site_web import *; all_at_work()")
    until((site.folder / "ready").exists)
    assert process.wait(IN_TIME) == 0, "it gives back what takes too long"
    assert not site.built()
    site.let_go()
    build_the_rest(site)


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_ctrl_c(site: WebSite, again: bool) -> None:
    """The first lets builds under way finish, a second gives them back at once."""
    process = site.start("-c", "from site_web import *; all_at_work(); time.sleep(60)")
    until((site.folder / "ready").exists)
    process.send_signal(signal.SIGINT)
    until(lambda: "KeyboardInterrupt" in site.log)
    if again:
        time.sleep(2)  # for the first to arrive where it waits for its builds; it would wait for seven
        process.send_signal(signal.SIGINT)
        assert process.wait(4) == -signal.SIGINT, site.log
        site.let_go()
    else:
        site.let_go()
        assert process.wait(IN_TIME) == -signal.SIGINT
    assert bool(site.built()) is not again
    assert_all_rows_are_free(site)
    assert_nothing_left(site)


@pytest.mark.parametrize("end", ["sigterm", "os._exit"])
def test_a_process_that_ends_at_once_loses_nothing(site: WebSite, end: str) -> None:
    """Its leases lapse, which counts as a crash of what it was building, and its child notices that it is gone."""
    process = site.start(
        "-c", f"from site_web import *; all_at_work(); {end == 'os._exit'} and os._exit(0); time.sleep(60)"
    )
    until((site.folder / "ready").exists)
    if end == "sigterm":
        process.terminate()
    assert process.wait(4) == (0 if end == "os._exit" else -signal.SIGTERM)
    until(lambda: not site.processes(), 20)
    assert site.building()
    site.let_go()
    again = site.start("-c", "from site_web import *; page('held/a.jpg', 'held/b.jpg', 'c.jpg'); until(settled)")
    assert again.wait(90) == 0, site.log
    site.assert_all_built()
    assert_nothing_left(site)


def test_a_process_killed_in_the_middle_of_a_decode_leaves_no_child(site: WebSite) -> None:
    site.sources.clear()
    site.sources.append(upload(site.app, "big.png", photo(5000, 5000, format="png")))
    process = site.start("-c", "from site_web import *; page('big.png'); time.sleep(60)")
    until(lambda: len(site.processes()) == 2)
    process.kill()
    process.wait()
    until(lambda: not site.processes(), 20)
    again = site.start("-c", "from site_web import *; page('big.png'); until(settled)")
    assert again.wait(90) == 0, site.log
    site.assert_all_built()


CHILDREN = {
    "os.fork": """
pid = os.fork()
if pid == 0:
    all_at_work()
    sys.exit()
os.waitpid(pid, 0)
""",
    "multiprocessing fork": """
import multiprocessing
process = multiprocessing.get_context("fork").Process(target=all_at_work)
process.start()
process.join()
assert process.exitcode == 0
""",
    "multiprocessing spawn": """
import multiprocessing
process = multiprocessing.get_context("spawn").Process(target=all_at_work)
process.start()
process.join()
assert process.exitcode == 0
""",
    "multiprocessing forkserver": """
import multiprocessing
process = multiprocessing.get_context("forkserver").Process(target=all_at_work)
process.start()
process.join()
assert process.exitcode == 0
""",
    "a process pool": """
import concurrent.futures, multiprocessing
with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
    pool.submit(all_at_work).result()
""",
}


@pytest.mark.parametrize(
    ("kind", "used"), [*((kind, False) for kind in CHILDREN), ("os.fork", True), ("multiprocessing fork", True)]
)
def test_a_child_process_ends_like_any_other(site: WebSite, kind: str, used: bool) -> None:
    site.upload("d.jpg")
    script = "from site_web import *\nif __name__ == '__main__':\n    " + (
        "page('d.jpg'); until(settled)" if used else "0"
    )
    (site.folder / "script.py").write_text(script + CHILDREN[kind].replace("\n", "\n    ") + "\n    page('d.jpg')\n")
    process = site.start("script.py")
    until((site.folder / "ready").exists)
    time.sleep(0.3)
    assert process.poll() is None, site.log
    site.let_go()
    assert process.wait(IN_TIME) == 0, site.log
    assert site.built()
    assert_all_rows_are_free(site)
    assert_nothing_left(site)


PYTEST = """
from site_web import *


def test_a_page():
    assert "/media/held/a.jpg" in page("held/a.jpg", "held/b.jpg", "c.jpg")
    until(building)
    open(FOLDER + "/ready", "w").close()
"""


def test_a_test_run_ends_too(site: WebSite) -> None:
    (site.folder / "test_site.py").write_text(PYTEST)
    process = site.start("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_site.py")
    until((site.folder / "ready").exists)
    site.let_go()
    assert process.wait(IN_TIME) == 0, site.log
    assert "1 passed" in site.log
    assert "Traceback" not in site.log
    assert_all_rows_are_free(site)
    assert_nothing_left(site)
