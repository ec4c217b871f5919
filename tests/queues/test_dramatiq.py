"""Doorbells through real brokers: up, down, cut off, forked, and inside a site's own Dramatiq."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dramatiq
import pika
import pytest
import redis as redis_library
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AgeLimit, Retries, TimeLimit

from easyimg import EasyImg, configure
from easyimg.errors import ConfigError
from easyimg.maintain import sweep
from easyimg.queues import sweeping
from easyimg.queues.dramatiq import DramatiqQueue, register_actor
from easyimg.queues.sweeping import Sweeper
from easyimg.spec import VariantSpec
from easyimg.testing.queues import assert_built, detail, order, statuses, upload, wait_until_settled
from easyimg.variant import VariantStatus, Wanted
from tests import services
from tests.faults.servers import Server
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
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
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
    assert time.monotonic() - started < 3


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
    queue: Any = app.queue
    until(lambda: len(queue._sender._sent) == 10)
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
from easyimg.queues import dramatiq
from easyimg.testing.queues import *
dramatiq._FLUSH_SECONDS = 20.0
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


@pytest.mark.parametrize("url_of", ["redis_url", "rabbitmq_url"])
def test_another_size_of_a_picture_just_built_does_not_wait_for_the_sweeper(
    tmp_path: Path, url_of: str, queue_name: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(url_of)
    app = Site(tmp_path, url, queue_name=queue_name, namespace=queue_name, sweep_seconds=600.0).app
    source = upload(app, "a.jpg")
    worker = in_process(app)
    order(app, source)
    wait_until_settled(app)
    spec = VariantSpec(width=20, format="webp")
    app.queue.ring(app.metadata.enqueue([Wanted(source, {spec.key(source.address): spec.canonical})]))
    wait_until_settled(app)
    assert len(detail(app, source).variants) == 3
    stop(worker)
    app.close()


def waiting(url: str, name: str) -> int:
    """Return how many doorbells a broker holds."""
    if url.startswith("redis"):
        with redis_library.Redis.from_url(url) as client:
            return client.hlen(f"{name}:{name}.msgs")
    no_queue_yet = contextlib.suppress(pika.exceptions.ChannelClosedByBroker)
    with contextlib.closing(services.rabbitmq_connection(url)) as connection, no_queue_yet:
        return connection.channel().queue_declare(name, passive=True).method.message_count
    return 0


@pytest.mark.slow
@pytest.mark.parametrize("url_of", ["redis_url", "rabbitmq_url"])
def test_while_nobody_answers_sweeps_fill_the_broker_up_to_a_limit_only(
    tmp_path: Path, url_of: str, queue_name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "FULL", 20)
    url, every = request.getfixturevalue(url_of), 0.1
    app = Site(tmp_path, url, queue_name=queue_name, namespace=queue_name, sweep_seconds=every).app
    order(app, *[upload(app, f"{n}.jpg") for n in range(6)], ring=False)
    sweeper = Sweeper(app)

    def swept() -> int:
        time.sleep(every)  # a source is rung for once an interval
        sweeper.sweep()
        return waiting(url, queue_name)

    until(lambda: swept() >= 20)
    found = [swept() for _ in range(10)]
    assert max(found) <= 20 + 2 * 6, f"the broker fills: {found}"
    assert found[-1] == found[4], f"the broker fills: {found}"
    _forget(url, queue_name)
    until(lambda: 6 <= swept() <= 18)  # the broker has forgotten them: all are rung for again
    app.close()


def _forget(url: str, name: str) -> None:
    if url.startswith("redis"):
        with redis_library.Redis.from_url(url) as client:
            client.delete(*client.keys(f"{name}:*"))
        return
    with contextlib.closing(services.rabbitmq_connection(url)) as connection:
        connection.channel().queue_purge(name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_doorbells_kept_during_an_outage_arrive_within_seconds_of_the_broker_s_return(
    tmp_path: Path, kind: str, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(kind)
    app = Site(tmp_path, server.url, queue_name=queue_name, namespace=queue_name, sweep_seconds=60.0).app
    try:
        order(app, upload(app, "before.jpg"))
        until(lambda: waiting(server.url, queue_name) == 1)
        server.kill()
        down = time.monotonic()
        ring_quickly(app, *[upload(app, f"{n}.jpg") for n in range(20)])
        until(lambda: caplog.text.count("doorbells wait") >= 5, 40.0)  # by then the pause is as long as it gets
        tries, seconds = caplog.text.count("doorbells wait"), time.monotonic() - down
        assert tries <= 4 + seconds / 3, f"{tries} tries in {seconds:.0f} s"
        server.again()
        back = time.monotonic()
        kept = 0 if kind == "redis" else 1  # without persistence, Redis forgot the first one
        until(lambda: waiting(server.url, queue_name) == 20 + kept, 30.0)
        assert time.monotonic() - back < 20.0
        noise = [
            record for record in caplog.records if record.name.startswith("pika") and "doorbell" in record.threadName
        ]
        assert not noise, "forty lines for each try, in every web process"
    finally:
        app.close()
        server.stop()


SITE_MODULE = """
import dramatiq
from dramatiq.middleware import AsyncIO, CurrentMessage
from dramatiq.middleware.prometheus import Prometheus
from dramatiq.results import Results
from dramatiq.results.backends import StubBackend
from easyimg import configure
from easyimg.queues.dramatiq import register_actor
from site_app import app

{broker}
for middleware in (Prometheus(), Results(backend=StubBackend()), AsyncIO(), CurrentMessage()):
    broker.add_middleware(middleware)
dramatiq.set_broker(broker)
{register}

@dramatiq.actor(queue_name={name!r})
async def of_the_site():
    print("the site's own actor ran")
"""

BROKERS = {
    "redis_url": "from dramatiq.brokers.redis import RedisBroker\nbroker = RedisBroker(url={!r}, namespace={!r})",
    "rabbitmq_url": "from dramatiq.brokers.rabbitmq import RabbitmqBroker\nbroker = RabbitmqBroker(url={!r})",
}
NAMED = "register_actor(broker, app{})"
CURRENT = "configure(app)\nregister_actor(broker, queue_name=app.settings.queue_name{})"


class Command:
    """The ``dramatiq`` command on a site whose module has a broker and actors of its own, with every middleware."""

    def __init__(self, site: Site, server: str, url: str, register: str = NAMED, more: str = "") -> None:
        name = site.options["queue_name"]
        text = SITE_MODULE.format(broker=BROKERS[server].format(url, name), register=register.format(more), name=name)
        (site.folder / "site_module.py").write_text(text)
        self.site, self.port = site, free_port()

    @contextlib.contextmanager
    def run(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run it, with two processes of two threads, until the end of the block."""
        command = ("-m", "dramatiq", "site_module", "--processes", "2", "--threads", "2", *arguments)
        files = {"dramatiq_prom_port": str(self.port), "dramatiq_prom_db": f"{self.site.folder}/prometheus"}
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in files.items():
                patch.setenv(variable, value)
            process = self.site.start(*command, start_new_session=True)
        try:
            until(lambda: self.site.log.count("is ready for action") >= 3, 30.0)  # the exporter is the third
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a session of its own
            process.wait(10)


@pytest.fixture(params=["redis_url", "rabbitmq_url"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def plain_site(tmp_path: Path, server: str, queue_name: str, request: pytest.FixtureRequest) -> Iterator[Site]:
    names = {"queue_name": queue_name, "namespace": queue_name, "lease_seconds": 5.0, "sweep_seconds": 1.0}
    site = Site(tmp_path, request.getfixturevalue(server), **names)
    yield site
    site.app.close()


@pytest.mark.slow
@pytest.mark.parametrize("register", [NAMED, CURRENT], ids=["named", "current"])
def test_the_plain_dramatiq_command_builds_with_a_site_s_own_broker(
    plain_site: Site, server: str, register: str
) -> None:
    command = Command(plain_site, server, plain_site.app.settings.queue, register)
    sources = [upload(plain_site.app, f"{n}.jpg") for n in range(3)]
    with command.run() as process:
        order(plain_site.app, *sources)
        wait_until_settled(plain_site.app)
        assert_built(plain_site.app, *sources)
        actor = f'actor_name="{plain_site.options["queue_name"]}.build"'
        until(lambda: _metrics(command.port, "dramatiq_messages_total", actor) >= 3)  # some find their picture built
        assert not _metrics(command.port, "dramatiq_message_errors_total", actor)
        process.terminate()
        assert process.wait(20) == 0
    for trouble in ("Traceback", "Unexpected failure", "CRITICAL", "same type twice"):
        assert trouble not in plain_site.log


def _metrics(port: int, name: str, label: str) -> float:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith(name) and label in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines)
    return 0.0


@pytest.mark.slow
def test_under_the_plain_dramatiq_command_lost_doorbells_are_rung_again(plain_site: Site, server: str) -> None:
    sources = [upload(plain_site.app, f"{n}.jpg") for n in range(5)]
    order(plain_site.app, *sources, ring=False)
    with Command(plain_site, server, plain_site.app.settings.queue, CURRENT).run():
        wait_until_settled(plain_site.app)
    assert_built(plain_site.app, *sources)
    assert "swept sources=5" in plain_site.log
    assert "Traceback" not in plain_site.log


@pytest.mark.slow
def test_the_sweep_of_the_plain_dramatiq_command_can_be_turned_off(plain_site: Site, server: str) -> None:
    lost, rung = upload(plain_site.app, "lost.jpg"), upload(plain_site.app, "rung.jpg")
    order(plain_site.app, lost, ring=False)
    with Command(plain_site, server, plain_site.app.settings.queue, more=", sweep=False").run():
        time.sleep(3 * plain_site.app.settings.sweep_seconds)  # nothing happens, and that cannot be awaited
        assert set(statuses(plain_site.app, lost)) == {VariantStatus.QUEUED}
        order(plain_site.app, rung)
        until(lambda: set(statuses(plain_site.app, rung)) == {VariantStatus.BUILT})
    assert "swept" not in plain_site.log


@pytest.mark.slow
def test_a_killed_dramatiq_command_s_lease_lapses_and_the_next_one_builds(plain_site: Site, server: str) -> None:
    command = Command(plain_site, server, plain_site.app.settings.queue)
    slow = upload(plain_site.app, "slow/1.5/a.jpg")
    with command.run():
        order(plain_site.app, slow)
        until(lambda: plain_site.app.metadata.counts(stale_after=60).building)
    (plain_site.folder / "log").unlink()
    with command.run():
        wait_until_settled(plain_site.app)
    assert_built(plain_site.app, slow, attempts=2)


@pytest.mark.slow
def test_sigterm_of_the_dramatiq_command_gives_claims_back(plain_site: Site, server: str) -> None:
    slow, other = upload(plain_site.app, "slow/60/a.jpg"), upload(plain_site.app, "b.jpg")
    with Command(plain_site, server, plain_site.app.settings.queue).run() as process:
        order(plain_site.app, slow)
        until(lambda: plain_site.app.metadata.counts(stale_after=60).building)
        process.terminate()
        until(lambda: "Stopping worker process" in plain_site.log)
        until(lambda: set(statuses(plain_site.app, slow)) == {VariantStatus.QUEUED}, 40)  # Dramatiq itself waits 600 s
        assert detail(plain_site.app, slow).crashes == 0
        assert {variant.attempts for variant in detail(plain_site.app, slow).variants} == {0}
        order(plain_site.app, other)
    assert "builds given back released=1" in plain_site.log
    assert set(statuses(plain_site.app, other)) == {VariantStatus.QUEUED}


@pytest.mark.slow
def test_easyimg_worker_takes_a_site_s_own_broker_and_sweeps_itself(plain_site: Site, server: str) -> None:
    url, name = plain_site.app.settings.queue, plain_site.options["queue_name"]
    text = (plain_site.folder / "site_app.py").read_text()
    broker = BROKERS[server].format(url, name)
    (plain_site.folder / "site_app.py").write_text(
        f"{broker}\n{text}".replace(repr(url) + ", 'queue_name'", "broker, 'queue_name'")
    )
    assert "'queue': broker" in (plain_site.folder / "site_app.py").read_text()
    sources = [upload(plain_site.app, f"{n}.jpg") for n in range(3)]
    order(plain_site.app, *sources, ring=False)
    with plain_site.worker("--processes", "2") as worker:
        wait_until_settled(plain_site.app)
        worker.terminate()
        assert worker.wait(12) == 0
    assert_built(plain_site.app, *sources)
    assert "swept sources=3" in plain_site.log
    assert "broker=RedisBroker" in plain_site.log or "broker=RabbitmqBroker" in plain_site.log
    assert "Traceback" not in plain_site.log
