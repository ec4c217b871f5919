"""Prometheus metrics: real workers scraped over HTTP while they build, and the exporters of sites themselves."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event

from easyimg import EasyImg, Source, process_queue
from easyimg.errors import ConfigError, MissingDependency, StorageError
from easyimg.metrics import RowsCollector, client, count_builds, instrument
from easyimg.metrics.exporter import Exporter, parse_address
from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing.queues import detail, order, upload, wait_until_settled
from tests.queues.sites import Forwarder, Site, children, free_port, kill, until

FOLDERS = "easyimg-metrics-*"


class Scrape(NamedTuple):
    """What an exporter said: the types by family, the values by sample (``name`` or ``name{label}``)."""

    types: dict[str, str]
    values: dict[str, float]


def parsed(text: str) -> Scrape:
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families), "a metric without help"
    assert len({family.name for family in families}) == len(families)
    samples = [sample for family in families for sample in family.samples]
    values = {s.name + (f"{{{','.join(s.labels.values())}}}" if s.labels else ""): s.value for s in samples}
    assert len(values) == len(samples), "a sample twice"
    return Scrape({family.name: family.type for family in families}, values)


def scraped(url: str) -> Scrape:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return parsed(answer.read().decode())


def shown(registry: Any) -> Scrape:
    return parsed(prometheus_client.generate_latest(registry).decode())


def address(site: Site) -> str:
    """Return where the site's worker says that it serves metrics."""
    return str(until(lambda: re.search(r"metrics are served url=(\S+)", site.log), 30)[1])


@pytest.fixture
def app(tmp_path: Path) -> Iterator[EasyImg]:
    made = EasyImg(
        storages={"default": f"file://{tmp_path}/media"}, metadata=f"sqlite:///{tmp_path}/rows.db", queue="none"
    )
    yield made
    made.close()


@pytest.fixture
def registry() -> Any:
    return prometheus_client.CollectorRegistry()


def total_bytes(app: EasyImg, *sources: Source) -> int:
    return sum(variant.bytes for source in sources for variant in detail(app, source).variants)


# easyimg worker --metrics


@pytest.mark.slow
@pytest.mark.parametrize("server", [None, "redis_url", "rabbitmq_url"])
def test_a_worker_s_one_endpoint_counts_what_its_processes_build_and_agrees_with_the_rows(
    tmp_path: Path, server: str | None, queue_name: str, request: pytest.FixtureRequest
) -> None:
    queue = request.getfixturevalue(server) if server else "none"
    site = Site(tmp_path, queue, queue_name=queue_name, namespace=queue_name)
    good = [upload(site.app, f"slow/0.1/{n}.jpg") for n in range(10)]
    bad = upload(site.app, "bad.jpg", b"\xff\xd8\xff no picture")
    with site.worker("--processes", "2", "--metrics", "0"):
        url = address(site)
        until(lambda: site.log.count("crew=") == 2, 30)
        order(site.app, *good, bad)
        under_way = until(lambda: (now := scraped(url)).values.get("easyimg_built_total{webp}") and now)
        assert under_way.values["easyimg_up"] == 1
        wait_until_settled(site.app)
        until(lambda: scraped(url).values["easyimg_build_seconds_count"] == 11)
        final = until(lambda: (now := scraped(url)).values["easyimg_generated"] == 20 and now)  # asked anew by then
    assert final.types["easyimg_built"] == final.types["easyimg_built_bytes"] == "counter"
    assert final.types["easyimg_build_seconds"] == "histogram"
    assert final.types["easyimg_oldest_owed_seconds"] == "gauge"
    expected = {
        "easyimg_built_total{webp}": 20,
        "easyimg_built_bytes_total{webp}": total_bytes(site.app, *good),
        "easyimg_failed_total{SourceUnreadable}": 2,
        "easyimg_superseded_total": 0,
        "easyimg_worker_starts_total": 2,
        "easyimg_build_seconds_count": 11,
        "easyimg_build_seconds_bucket{+Inf}": 11,
        "easyimg_sources": 11,
        "easyimg_pending": 0,
        "easyimg_queued": 0,
        "easyimg_building": 0,
        "easyimg_stale": 0,
        "easyimg_oldest_owed_seconds": 0,
        "easyimg_errors{SourceUnreadable}": 2,
    }
    assert {name: final.values.get(name) for name in expected} == expected
    assert final.values["easyimg_build_seconds_sum"] >= 10 * 0.1
    assert under_way.values["easyimg_built_total{webp}"] <= 20
    messages = final.values.get(f"dramatiq_messages_total{{{queue_name}.build,{queue_name}}}")
    assert (messages is not None and messages >= 11) if server else messages is None
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)
    site.app.close()


def builders(supervisor: int) -> list[int]:
    return [pid for pid in children(supervisor) if b"--child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.slow
def test_counters_go_on_when_a_process_is_killed_and_what_it_was_at_is_forgotten(
    tmp_path: Path, redis_url: str, queue_name: str
) -> None:
    names = {"queue_name": queue_name, "namespace": queue_name}
    site = Site(tmp_path, redis_url, lease_seconds=1.0, sweep_seconds=0.5, **names)
    in_progress = f"dramatiq_messages_inprogress{{{queue_name}.build,{queue_name}}}"
    with site.worker("--processes", "1", "--metrics", "0") as worker:
        url = address(site)
        first = upload(site.app, "first.jpg")
        order(site.app, first)
        wait_until_settled(site.app)
        until(lambda: scraped(url).values.get("easyimg_built_total{webp}") == 2)
        order(site.app, upload(site.app, "slow/4/second.jpg"))
        until(lambda: scraped(url).values[in_progress] == 1)
        until(lambda: site.app.metadata.counts(stale_after=60).building)
        (pid,) = builders(worker.pid)
        kill(pid)
        until(lambda: scraped(url).values["easyimg_worker_starts_total"] == 2)
        assert scraped(url).values["easyimg_built_total{webp}"] >= 2
        wait_until_settled(site.app)
        until(lambda: scraped(url).values["easyimg_built_total{webp}"] == 4)
        until(lambda: scraped(url).values[in_progress] == 0)
        (folder,) = re.findall(r"--metrics-folder\0([^\0]+)", cmdline(builders(worker.pid)[0]))
        assert {path.stem.rpartition("_")[2] for path in Path(folder).iterdir()} == {"0"}, "one set of files a slot"
    assert not Path(folder).exists()
    site.app.close()


def cmdline(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.slow
def test_a_second_worker_on_the_same_port_says_so_and_ends(tmp_path: Path) -> None:
    site = Site(tmp_path, "none")
    before = set(Path(tempfile.gettempdir()).glob(FOLDERS))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command(site, "--metrics", str(port))
    assert (done.returncode, done.stdout) == (2, "")
    reason = f"Error: metrics: cannot listen at 127.0.0.1:{port}: Address already in use"
    assert [line for line in done.stderr.splitlines() if "the worker starts" not in line] == [reason]
    assert set(Path(tempfile.gettempdir()).glob(FOLDERS)) == before
    site.app.close()


def run_command(site: Site, *words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    script = f"{before}\nfrom easyimg.cli import main\nmain()"
    command = [sys.executable, "-c", script, "--app", "site_app:app", "worker", *words]
    return subprocess.run(command, cwd=site.folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_without_the_library_the_command_says_what_to_install(tmp_path: Path) -> None:
    site = Site(tmp_path, "none")
    absent = "import sys; sys.modules['prometheus_client'] = None"
    done = run_command(site, "--metrics", "0", before=absent)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "Error: metrics needs the package 'prometheus-client': pip install 'easyimg[metrics]'"
    )
    site.app.close()


def test_without_the_library_instrument_says_what_to_install(app: EasyImg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingDependency, match=r"pip install 'easyimg\[metrics\]'"):
        instrument(app)
    with pytest.raises(MissingDependency):
        client.load_client()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9191", ("127.0.0.1", 9191)),
        (":0", ("127.0.0.1", 0)),
        ("0.0.0.0:9191", ("0.0.0.0", 9191)),
        ("[::1]:9191", ("::1", 9191)),
        ("metrics.internal:80", ("metrics.internal", 80)),
    ],
)
def test_an_address_is_a_port_or_a_host_and_a_port(text: str, found: tuple[str, int]) -> None:
    assert parse_address(text) == found


@pytest.mark.parametrize("text", ["", "localhost", "host:", "65536", "-1", "9191:host", "٣"])
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        parse_address(text)


def test_a_host_that_is_not_this_machine_s_is_refused(app: EasyImg) -> None:
    with pytest.raises(ConfigError, match=r"metrics: cannot listen at 192\.0\.2\.1:0: "):
        Exporter(app, "192.0.2.1:0")


def test_a_file_that_was_only_begun_does_not_fail_the_scrape(app: EasyImg, caplog: pytest.LogCaptureFixture) -> None:
    with Exporter(app, "0") as exporter:
        Path(exporter.arguments[1], "counter_0.db").touch()
        assert scraped(exporter.url).values["easyimg_up"] == 1
    assert "metrics of the processes cannot be read" in caplog.text


# What the rows say


def test_the_gauges_are_what_status_shows(app: EasyImg, registry: Any) -> None:
    instrument(app, registry)
    order(app, upload(app, "a.jpg"), upload(app, "b.jpg"))
    app.metadata.claim(lease=60, max_attempts=3)
    values = shown(registry).values
    assert [values[f"easyimg_{name}"] for name in ("sources", "pending", "queued", "building")] == [2, 4, 2, 2]
    assert 0 <= values["easyimg_oldest_owed_seconds"] < 60


def test_the_rows_are_asked_once_in_a_while_and_not_when_registering(app: EasyImg, registry: Any) -> None:
    rows: Any = app.metadata
    rows.setup()
    asked: list[str] = []
    event.listen(rows.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    instrument(app, registry)
    assert asked == []
    shown(registry)
    first = len(asked)
    assert first > 0
    for _ in range(10):
        shown(registry)
    assert len(asked) == first


def test_a_database_that_is_away_makes_up_0_and_hides_the_old_numbers(
    tmp_path: Path, postgres_url: str, registry: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from sqlalchemy import make_url

    url = make_url(postgres_url)
    between = Forwarder(url.host or "127.0.0.1", url.port or 5432)
    between.mend()
    rows = url.set(host="127.0.0.1", port=between.port).render_as_string(hide_password=False)
    app = EasyImg(storages={"default": f"file://{tmp_path}/media"}, metadata=rows, queue="none")
    count_builds(app, registry)
    registry.register(RowsCollector(app, every=0.0))
    order(app, upload(app, "a.jpg"))
    process_queue(app)
    assert shown(registry).values["easyimg_generated"] == 2

    between.cut()
    away = shown(registry).values
    assert away["easyimg_up"] == 0
    assert "easyimg_generated" not in away
    assert away["easyimg_built_total{webp}"] == 2
    assert "metrics cannot ask the rows kind=MetadataError" in caplog.text

    between.mend()
    back = until(lambda: (now := shown(registry).values)["easyimg_up"] and now)
    assert back["easyimg_generated"] == 2
    app.close()
    between.cut()


def test_a_database_that_never_answers_does_not_hold_up_the_scrape(tmp_path: Path, registry: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        rows = f"postgresql+psycopg://me:hunter2@127.0.0.1:{silent.getsockname()[1]}/site?connect_timeout=8"
        app = EasyImg(storages={"default": f"file://{tmp_path}"}, metadata=rows, queue="none")
        collector = RowsCollector(app, patience=0.2)
        registry.register(collector)
        for _ in range(2):
            started = time.monotonic()
            assert shown(registry).values == {"easyimg_up": 0}
            assert time.monotonic() - started < 6
        asking = collector._asking
        assert asking is not None
    asking.join(30)
    assert not asking.is_alive()
    app.close()


# What is built, in the exporters of sites


class Odd(FsspecStorage):
    """A storage whose ``down.jpg`` cannot be read now; ``replaced.jpg`` is replaced while it is first read."""

    app: EasyImg
    is_replaced = False

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        if name == "down.jpg":
            raise StorageError("out of reach")
        if name == "replaced.jpg" and not self.is_replaced:
            self.is_replaced = True
            self.app.metadata.replace(Source("default", name))
        return super().read(name, max_bytes)


def test_failures_for_good_and_for_now_and_superseded_builds_are_counted_apart(tmp_path: Path, registry: Any) -> None:
    storage = Odd(f"file://{tmp_path}/media")
    rows = f"sqlite:///{tmp_path}/rows.db"
    app = EasyImg(storages={"default": storage}, metadata=rows, queue="none")
    storage.app = app
    instrument(app, registry)
    order(app, upload(app, "a.jpg"), Source("default", "absent.jpg"), upload(app, "down.jpg"))
    process_queue(app)
    order(app, upload(app, "replaced.jpg"))
    process_queue(app)
    values = shown(registry).values
    assert values["easyimg_built_total{webp}"] == 4
    assert values["easyimg_failed_total{SourceNotFound}"] == 2
    assert values["easyimg_retried_total{StorageError}"] == 2
    assert values["easyimg_superseded_total"] == 2
    assert "easyimg_failed_total{StorageError}" not in values
    app.close()


def test_what_is_given_up_without_another_build_is_counted(app: EasyImg, registry: Any) -> None:
    instrument(app, registry)
    order(app, upload(app, "a.jpg"))
    for _ in range(3):
        assert app.metadata.claim(lease=0.01, max_attempts=3)
        time.sleep(0.05)
    process_queue(app)
    values = shown(registry).values
    assert values["easyimg_failed_total{GaveUp}"] == values["easyimg_errors{GaveUp}"] == 2


def test_instrumenting_twice_counts_once_and_a_second_site_needs_its_own_registry(
    app: EasyImg, registry: Any, tmp_path: Path
) -> None:
    instrument(app, registry)
    instrument(app, registry)
    order(app, upload(app, "a.jpg"))
    process_queue(app)
    assert shown(registry).values["easyimg_built_total{webp}"] == 2
    other = EasyImg(app.settings)
    with pytest.raises(ConfigError, match="another EasyImg"):
        instrument(other, registry)
    instrument(other, prometheus_client.CollectorRegistry())
    other.close()


def test_the_thread_queue_of_a_web_process_is_counted(tmp_path: Path, registry: Any) -> None:
    app = Site(tmp_path, "none").make("thread")
    instrument(app, registry)
    sources = [upload(app, f"{n}.jpg") for n in range(3)]
    order(app, *sources)
    wait_until_settled(app)
    values = until(lambda: (now := shown(registry).values).get("easyimg_built_total{webp}") == 6 and now)
    assert values["easyimg_built_bytes_total{webp}"] == total_bytes(app, *sources)
    assert until(lambda: shown(registry).values["easyimg_build_seconds_count"]) == 3
    app.close()


FORKS = """
import os, sys
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from easyimg import process_queue
from easyimg.metrics import RowsCollector, count_builds
from site_app import app

count_builds(app)
for _ in range(2):
    if os.fork() == 0:
        process_queue(app, limit=6)
        os._exit(0)
codes = [os.wait()[1] for _ in range(2)]
assert codes == [0, 0], codes
registry = CollectorRegistry()
MultiProcessCollector(registry)
registry.register(RowsCollector(app))
sys.stdout.write(generate_latest(registry).decode())
"""


@pytest.mark.slow
def test_forked_processes_of_a_task_runner_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, "none", isolation="always")
    order(site.app, *(upload(site.app, f"{n}.jpg") for n in range(6)))
    (tmp_path / "prometheus").mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "prometheus"))
    done = site.run(FORKS, timeout=60)
    assert done.returncode == 0, done.stderr
    values = parsed(done.stdout).values
    assert values["easyimg_built_total{webp}"] == values["easyimg_generated"] == 12
    assert values["easyimg_build_seconds_count"] == 6
    site.app.close()


SITE_MODULE = """
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.prometheus import Prometheus
from easyimg.metrics import count_builds
from easyimg.queues.dramatiq import register_actor
from site_app import app

broker = RedisBroker(url={url!r}, namespace={name!r})
broker.add_middleware(Prometheus())
dramatiq.set_broker(broker)
register_actor(broker, app)
count_builds(app)
"""


@pytest.mark.slow
def test_the_plain_dramatiq_command_exports_ours_beside_its_own(
    tmp_path: Path, redis_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, redis_url, queue_name=queue_name, namespace=queue_name)
    (tmp_path / "site_module.py").write_text(SITE_MODULE.format(url=redis_url, name=queue_name))
    (tmp_path / "prometheus").mkdir()
    port = free_port()
    for name in ("PROMETHEUS_MULTIPROC_DIR", "dramatiq_prom_db"):
        monkeypatch.setenv(name, str(tmp_path / "prometheus"))
    monkeypatch.setenv("dramatiq_prom_host", "127.0.0.1")
    monkeypatch.setenv("dramatiq_prom_port", str(port))
    command = ("-m", "dramatiq", "site_module", "--processes", "2", "--threads", "1")
    process = site.start(*command, "--worker-shutdown-timeout", "5000", start_new_session=True)
    try:
        order(site.app, *(upload(site.app, f"{n}.jpg") for n in range(5)))
        wait_until_settled(site.app)
        url = f"http://127.0.0.1:{port}/"

        def counted() -> Any:
            with contextlib.suppress(OSError):  # the exporter may start after the builds
                return (now := scraped(url).values).get("easyimg_built_total{webp}") == 10 and now
            return None

        values = until(counted)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert values["easyimg_build_seconds_count"] == 5
    assert values[f"dramatiq_messages_total{{{queue_name}.build,{queue_name}}}"] >= 1
    site.app.close()


def test_the_package_loads_the_library_only_when_it_is_used() -> None:
    script = "import sys, easyimg.metrics, easyimg.worker; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "False\n"
