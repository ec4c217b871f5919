"""Doorbells through real brokers: up, down, cut off, forked, and inside a site's own Dramatiq."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dramatiq
import pytest
import redis as redis_library
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AgeLimit, Retries, TimeLimit

from easyimg import EasyImg, configure
from easyimg.errors import ConfigError
from easyimg.maintain import sweep
from easyimg.queues.dramatiq import DramatiqQueue, register_actor
from easyimg.testing.queues import assert_built, order, statuses, upload, wait_until_settled
from easyimg.variant import VariantStatus
from tests.queues.sites import Forwarder, Site, free_port, until


def in_process(app: EasyImg) -> dramatiq.Worker:
    """Return a started Dramatiq worker of the app's queue, in this process."""
    queue = app.queue
    assert isinstance(queue, DramatiqQueue)
    worker = dramatiq.Worker(queue.broker, worker_threads=1, worker_timeout=50)
    worker.start()
    return worker


def stop(worker: dramatiq.Worker) -> None:
    worker.stop()
    worker.broker.close()


def test_a_message_is_plain_json_and_says_only_which_source(tmp_path: Path, redis_url: str, queue_name: str) -> None:
    app = Site(tmp_path, redis_url, queue_name=queue_name, namespace=queue_name).app
    source = upload(app, "a.jpg")
    order(app, source)
    with redis_library.Redis.from_url(redis_url) as client:
        (raw,) = until(lambda: client.hvals(f"{queue_name}:{queue_name}.msgs"))
    message = json.loads(raw)
    assert message["args"] == [{"v": 1, "source": source.id}]
    assert message["kwargs"] == {}
    app.close()


@pytest.mark.parametrize(
    "message", [{"v": 2, "source": "x"}, {"source": "x"}, {"v": 1}, {"v": 1, "source": 3}, "x", None, ["v", 1]]
)
def test_a_message_of_another_version_is_ignored_and_its_rows_stay(
    tmp_path: Path, message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = Site(tmp_path, "none").app
    source = upload(app, "a.jpg")
    order(app, source)
    actor = register_actor(StubBroker(), app)
    actor(message)
    assert "was ignored, its rows stay queued" in caplog.text
    assert set(statuses(app, source)) == {VariantStatus.QUEUED}
    app.close()


def test_the_actor_has_no_limits_and_no_retries_and_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    site_broker = StubBroker(middleware=[AgeLimit(max_age=1), TimeLimit(time_limit=1), Retries(max_retries=9)])
    actor = register_actor(site_broker)
    assert actor.options == {"max_retries": 0, "time_limit": float("inf"), "max_age": float("inf")}
    assert register_actor(StubBroker(middleware=[])).options == {}
    actor({"v": 1, "source": "0" * 32})  # no EasyImg is configured here
    assert "no EasyImg is configured" in caplog.text


def test_two_sites_on_one_broker_need_names_of_their_own(tmp_path: Path) -> None:
    broker = StubBroker()
    first = EasyImg(storages={"default": f"file://{tmp_path}"}, metadata=f"sqlite:///{tmp_path}/1.db", queue=broker)
    second = EasyImg(first.settings.replace(metadata=f"sqlite:///{tmp_path}/2.db"))
    assert register_actor(broker, first) is register_actor(broker, first)
    with pytest.raises(ConfigError, match="'easyimg' of this broker is another EasyImg's"):
        _ = second.queue
    _ = first.queue
    first.close()
    _ = second.queue
    second.close()


def test_a_site_may_register_the_actor_before_it_configures_easyimg(tmp_path: Path) -> None:
    broker = StubBroker()
    actor = register_actor(broker)
    app = EasyImg(storages={"default": f"file://{tmp_path}"}, metadata=f"sqlite:///{tmp_path}/1.db", queue="none")
    source = upload(app, "a.jpg")
    order(app, source)
    previous = configure(app)
    actor({"v": 1, "source": source.id})
    configure(previous)
    assert_built(app, source)
    app.close()


def test_importing_the_module_declares_no_broker() -> None:
    script = "import easyimg.queues.dramatiq, dramatiq.broker as b; assert b.global_broker is None"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Any]:
    """A Redis of this test's own: call it with True to start it, with False to kill it."""
    binary, port = shutil.which("redis-server"), free_port()
    assert binary, "install redis-server"
    running: list[subprocess.Popen[bytes]] = []

    def switch(on: bool) -> str:
        if on:
            options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
            running.append(subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL))
            with redis_library.Redis(port=port) as client:
                until(lambda: _pings(client))
        else:
            running[-1].kill()
            running.pop().wait()
        return f"redis://127.0.0.1:{port}/0"

    yield switch
    for process in running:
        process.kill()
        process.wait()


def _pings(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis_library.ConnectionError:
        return False


def ring_quickly(app: EasyImg, *sources: Any) -> None:
    """Order, as a page does, and check that it took no time."""
    _ = app.metadata.counts(stale_after=60), app.queue
    order(app, *sources, ring=False)
    started = time.monotonic()
    app.queue.ring([source.id for source in sources])
    assert time.monotonic() - started < 0.05


@pytest.mark.slow
def test_redis_down_holds_up_no_page_and_loses_nothing(tmp_path: Path, own_redis: Any) -> None:
    url = own_redis(True)
    own_redis(False)
    app = Site(tmp_path, url, sweep_seconds=0.5).app
    sources = [upload(app, f"{n}.jpg") for n in range(10)]
    ring_quickly(app, *sources)
    time.sleep(0.3)
    assert set(statuses(app, sources[0])) == {VariantStatus.QUEUED}
    own_redis(True)
    worker = in_process(app)
    wait_until_settled(app)
    assert_built(app, *sources)
    stop(worker)
    app.close()


@pytest.mark.slow
def test_a_redis_that_forgot_everything_costs_latency_only(tmp_path: Path, own_redis: Any) -> None:
    app = Site(tmp_path, own_redis(True), sweep_seconds=0.3).app
    sources = [upload(app, f"{n}.jpg") for n in range(10)]
    order(app, *sources)
    time.sleep(0.5)
    own_redis(False)
    own_redis(True)
    worker = in_process(app)
    until(lambda: sweep(app) == 10)
    wait_until_settled(app)
    assert_built(app, *sources)
    stop(worker)
    app.close()


def test_rabbitmq_cut_off_holds_up_no_page_and_loses_nothing(
    tmp_path: Path, rabbitmq_url: str, queue_name: str
) -> None:
    parts = urlsplit(rabbitmq_url)
    network = Forwarder(parts.hostname or "", parts.port or 5672)
    url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{network.port}").geturl()
    options = {"queue_name": queue_name, "sweep_seconds": 0.5}
    app = Site(tmp_path, url, **options).app
    sources = [upload(app, f"{n}.jpg") for n in range(6)]
    ring_quickly(app, *sources[:2])  # never connected yet
    time.sleep(0.3)
    network.mend()
    direct = EasyImg(app.settings.replace(queue=rabbitmq_url))
    worker = in_process(direct)
    wait_until_settled(app)
    network.cut()
    ring_quickly(app, *sources[2:])  # a connection that is dead
    time.sleep(0.3)
    network.mend()
    until(lambda: sweep(app, overdue=0) or not app.metadata.counts(stale_after=60).pending)
    wait_until_settled(app)
    assert_built(app, *sources)
    app.close()
    stop(worker)
    direct.close()
    network.cut()


def test_a_process_that_only_rings_sends_before_it_ends(tmp_path: Path, redis_url: str, queue_name: str) -> None:
    site = Site(tmp_path, redis_url, queue_name=queue_name, namespace=queue_name)
    script = """
from site_app import app
from easyimg.testing.queues import *
order(app, *[upload(app, f"{n}.jpg") for n in range(20)])
"""
    done = site.run(script)
    assert (done.returncode, done.stderr) == (0, "")
    with redis_library.Redis.from_url(redis_url) as client:
        assert client.hlen(f"{queue_name}:{queue_name}.msgs") == 20
    site.app.close()


FORK = """
import os, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from site_app import app
from easyimg.testing.queues import *
order(app, upload(app, "parent.jpg"))
while not app.queue._sender._sent:
    time.sleep(0.02)
pid = os.fork()
if pid == 0:
    try:
        order(app, upload(app, "child.jpg"))
        app.close()
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
order(app, upload(app, "after.jpg"))
app.close()
print("fine")
"""


@pytest.mark.parametrize("server", ["redis_url", "rabbitmq_url"])
def test_a_forked_process_rings_over_its_own_connection(
    tmp_path: Path, server: str, queue_name: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    site = Site(tmp_path, url, queue_name=queue_name, namespace=queue_name, sweep_seconds=600.0)
    done = site.run(FORK)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr
    worker = in_process(site.app)
    wait_until_settled(site.app)
    assert site.app.metadata.counts(stale_after=60).generated == 6
    stop(worker)
    site.app.close()


SITE_MODULE = """
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from easyimg import configure
from easyimg.queues.dramatiq import register_actor
from site_app import app

broker = RedisBroker(url={url!r}, namespace={name!r})
dramatiq.set_broker(broker)
register_actor(broker, app)

@dramatiq.actor
def of_the_site():
    pass
"""


@pytest.mark.slow
def test_the_plain_dramatiq_command_builds_with_a_site_s_own_broker(
    tmp_path: Path, redis_url: str, queue_name: str
) -> None:
    site = Site(tmp_path, redis_url, queue_name=queue_name, namespace=queue_name)
    (tmp_path / "site_module.py").write_text(SITE_MODULE.format(url=redis_url, name=queue_name))
    sources = [upload(site.app, f"{n}.jpg") for n in range(3)]
    order(site.app, *sources)
    command = (
        "-m",
        "dramatiq",
        "site_module",
        "--processes",
        "1",
        "--threads",
        "2",
        "--worker-shutdown-timeout",
        "5000",
    )
    process = site.start(*command, start_new_session=True)
    try:
        wait_until_settled(site.app)
        assert_built(site.app, *sources)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert "Traceback" not in site.log
    site.app.close()
