"""``easyimg worker``: real processes that build, die, are replaced, and stop when asked."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from easyimg import EasyImg, process_queue
from easyimg.capacity import measure
from easyimg.errors import ConfigError
from easyimg.queues.sweeping import Sweeper
from easyimg.testing.queues import assert_built, detail, order, statuses, upload, wait_until_settled
from easyimg.variant import VariantStatus
from easyimg.worker import _environment, main, run_worker
from tests.faults.servers import Server
from tests.passwords import require_password
from tests.queues.sites import ROOT, Site, alive, children, kill, until

pytestmark = pytest.mark.slow


def builders(supervisor: int) -> list[int]:
    """Return the worker processes that have started to build."""
    return [pid for pid in children(supervisor) if b"--child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("queue", ["thread", "none", "immediate"])
def test_without_a_broker_it_looks_at_the_rows(tmp_path: Path, queue: str) -> None:
    site = Site(tmp_path, queue)
    app = site.make("none")
    sources = [upload(app, f"{n}.jpg") for n in range(3)]
    order(app, *sources)
    with site.worker():
        wait_until_settled(app)
        assert_built(app, *sources)
        late = upload(app, "late.jpg")
        order(app, late)
        wait_until_settled(app)
    assert_built(app, late)
    app.close()


@pytest.mark.parametrize("server", ["redis_url", "rabbitmq_url"])
def test_a_page_orders_a_doorbell_goes_out_a_worker_builds(
    tmp_path: Path, server: str, queue_name: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    site = Site(tmp_path, url, queue_name=queue_name, namespace=queue_name, sweep_seconds=60.0)
    sources = [upload(site.app, f"{n}.jpg") for n in range(3)]
    with site.worker("--threads", "2") as worker:
        until(lambda: "crew=DramatiqCrew" in site.log)
        order(site.app, *sources)
        wait_until_settled(site.app)
        assert_built(site.app, *sources)
        worker.terminate()
        assert worker.wait(12) == 0
    assert "Traceback" not in site.log
    site.app.close()


def test_doorbells_that_were_lost_are_rung_again(tmp_path: Path, redis_url: str, queue_name: str) -> None:
    site = Site(tmp_path, redis_url, queue_name=queue_name, namespace=queue_name, sweep_seconds=0.5)
    sources = [upload(site.app, f"{n}.jpg") for n in range(5)]
    order(site.app, *sources, ring=False)
    with site.worker("--processes", "2"):
        wait_until_settled(site.app)
    assert_built(site.app, *sources)
    assert "swept sources=5" in site.log
    site.app.close()


def test_one_supervisor_sweeps_at_a_time_and_another_takes_over(tmp_path: Path) -> None:
    rows = f"sqlite:///{tmp_path}/rows.db"
    first, second = (
        EasyImg(storages={"default": f"file://{tmp_path}"}, metadata=rows, queue="none", sweep_seconds=seconds)
        for seconds in (1.0, 4.0)
    )
    order(first, upload(first, "a.jpg"), ring=False)
    sweepers = [Sweeper(app) for app in (first, second)]
    assert until(sweepers[1].sweep) == 1
    assert sweepers[0].sweep() == 0
    assert until(sweepers[0].sweep) == 1, "the one that swept is gone, and nobody took over"
    first.close()
    second.close()


def test_sigterm_lets_a_build_finish(tmp_path: Path) -> None:
    site = Site(tmp_path, "none")
    slow, other = upload(site.app, "slow/1.5/a.jpg"), upload(site.app, "b.jpg")
    order(site.app, slow)
    with site.worker() as worker:
        until(lambda: site.app.metadata.counts(stale_after=60).building)
        worker.send_signal(signal.SIGTERM)
        order(site.app, other)
        started = time.monotonic()
        assert worker.wait(15) == 0
        assert time.monotonic() - started < 8.5
    assert_built(site.app, slow)
    assert set(statuses(site.app, other)) == {VariantStatus.QUEUED}
    site.app.close()


def test_sigterm_gives_back_what_takes_too_long(tmp_path: Path) -> None:
    site = Site(tmp_path, "none")
    slow = upload(site.app, "slow/40/a.jpg")
    order(site.app, slow)
    with site.worker() as worker:
        until(lambda: site.app.metadata.counts(stale_after=60).building)
        pids = builders(worker.pid)
        started = time.monotonic()
        worker.send_signal(signal.SIGINT)
        assert worker.wait(15) == 0
        assert 8 < time.monotonic() - started < 13  # promised are 10; at 13 they are killed, and give nothing back
    assert not [pid for pid in pids if alive(pid)]
    assert set(statuses(site.app, slow)) == {VariantStatus.QUEUED}
    assert detail(site.app, slow).crashes == 0
    assert {variant.attempts for variant in detail(site.app, slow).variants} == {0}
    site.app.close()


@pytest.mark.parametrize("server", [None, "redis_url", "rabbitmq_url"])
def test_a_process_killed_while_building_is_replaced_and_its_rows_are_built(
    tmp_path: Path, server: str | None, queue_name: str, request: pytest.FixtureRequest
) -> None:
    queue = request.getfixturevalue(server) if server else "none"
    names = {"queue_name": queue_name, "namespace": queue_name}
    site = Site(tmp_path, queue, lease_seconds=1.0, sweep_seconds=0.5, **names)
    slow = upload(site.app, "slow/3/a.jpg")
    order(site.app, slow)
    with site.worker("--processes", "2") as worker:
        until(lambda: len(builders(worker.pid)) == 2)
        until(lambda: site.app.metadata.counts(stale_after=60).building)
        before = builders(worker.pid)
        for pid in before:
            kill(pid)
        until(lambda: len(set(builders(worker.pid)) - set(before)) == 2)
        wait_until_settled(site.app)
        assert worker.poll() is None
    assert_built(site.app, slow, attempts=2)
    assert site.log.count("died code=-9") == 2
    site.app.close()


def test_one_dead_process_does_not_stop_the_others(tmp_path: Path) -> None:
    site = Site(tmp_path, "none")
    with site.worker("--processes", "2") as worker:
        first, second = until(lambda: len(pids := builders(worker.pid)) == 2 and pids)
        kill(first)
        until(lambda: len(pids := builders(worker.pid)) == 2 and first not in pids)
        assert second in builders(worker.pid)
    site.app.close()


SUPERVISED = """
import logging, os, sys
from easyimg.logs import formatter
from easyimg.worker import Supervisor
handler = logging.FileHandler(sys.argv[2])
handler.setFormatter(formatter("plain"))
logging.basicConfig(handlers=[handler], level=logging.INFO)
Supervisor([sys.argv[1]], dict(os.environ), 2).run()
"""


def test_a_process_that_cannot_be_started_stops_no_other_and_is_tried_again(tmp_path: Path) -> None:
    command, log = tmp_path / "build", tmp_path / "log"
    text = "#!/bin/sh\nexec sleep 1000\n"
    command.write_text(text)
    command.chmod(0o700)
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISED, str(command), str(log)], cwd=ROOT)
    try:
        first, second = until(lambda: len(pids := children(supervisor.pid)) == 2 and pids, 60.0)
        command.unlink()  # as good as a system without room for one more process
        kill(first)
        until(lambda: log.read_text().count("did not start") >= 2, 60.0)
        assert children(supervisor.pid) == [second]
        command.write_text(text)
        command.chmod(0o700)
        until(lambda: len(children(supervisor.pid)) == 2, 60.0)
        assert second in children(supervisor.pid)
        assert re.search("a process did not start .*kind=FileNotFoundError .*restart_in=[12] slot=", log.read_text())
    finally:
        supervisor.terminate()
        assert supervisor.wait(15) == 0


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    site = Site(tmp_path, "none")
    with site.worker() as worker:
        until(lambda: "crew=" in site.log)
        (pid,) = builders(worker.pid)
        kill(worker.pid)
        worker.wait()
        until(lambda: not alive(pid))
    site.app.close()


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    site = Site(tmp_path, "none", lease_seconds=3.0)
    slow = upload(site.app, "slow/40/a.jpg")
    order(site.app, slow)
    with site.worker("--processes", "2") as worker:
        until(lambda: site.app.metadata.counts(stale_after=60).building)
        pids = until(lambda: len(pids := builders(worker.pid)) == 2 and pids)
        worker.send_signal(signal.SIGTERM)
        until(lambda: len([pid for pid in pids if alive(pid)]) == 1)  # the idle one has ended: the first was heard
        worker.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert worker.wait(10) == 0
        assert time.monotonic() - started < 5.5
    assert not [pid for pid in pids if alive(pid)]
    until(site.app.metadata.due)  # its lease ends by itself
    site.app.close()


def test_a_database_that_changes_its_password_costs_lines_not_tracebacks_and_no_process(tmp_path: Path) -> None:
    server = Server("postgres")
    try:
        require_password(server, "first")
        rows = server.url.replace("postgres@", "site:first@")
        site = Site(tmp_path, "none", rows=rows)
        with site.worker("--processes", "2") as worker:
            pids = until(lambda: site.log.count("crew=PollingCrew") == 2 and builders(worker.pid))
            require_password(server, "second")
            until(lambda: site.log.count("password authentication failed") >= 6)
            lines = site.log.splitlines()
            require_password(server, "first")
            source = upload(site.app, "a.jpg")
            order(site.app, source)
            wait_until_settled(site.app, 40.0)  # the pause has grown meanwhile
            assert builders(worker.pid) == pids
        assert_built(site.app, source)
        site.app.close()
    finally:
        server.stop()
    assert "Traceback" not in site.log
    assert "first" not in site.log
    assert all("building pauses" in line for line in lines if "password authentication failed" in line)
    assert len(lines) < 30, "one line a try, and the tries become rarer"


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_broker_that_goes_away_ends_no_process_and_is_answered_again(tmp_path: Path, kind: str) -> None:
    server = Server(kind)
    site = Site(tmp_path, server.url, sweep_seconds=60.0)
    try:
        with site.worker("--processes", "1") as worker:
            pids = until(lambda: "crew=DramatiqCrew" in site.log and builders(worker.pid))
            server.kill()
            until(lambda: "Consumer encountered a connection error" in site.log)
            source = upload(site.app, "a.jpg")
            order(site.app, source)
            server.again()
            wait_until_settled(site.app, 30.0)
            assert builders(worker.pid) == pids
        assert_built(site.app, source)
        assert "pika" not in site.log
        assert site.log.count("Traceback") <= 1  # Dramatiq's own, once, of a connection that broke off in use
    finally:
        site.app.close()
        server.stop()


def test_a_process_with_a_stuck_build_gives_back_the_others_and_is_replaced(tmp_path: Path) -> None:
    site = Site(tmp_path, "none", lease_seconds=1.5, build_seconds=1.5, max_attempts=1)
    stuck = upload(site.app, "slow/60/stuck.jpg")
    order(site.app, stuck)
    with site.worker():
        until(lambda: "died code=3" in site.log)
        until(lambda: set(statuses(site.app, stuck)) & {VariantStatus.BUILD_ERROR, VariantStatus.SOURCE_ERROR})
        good = upload(site.app, "good.jpg")
        order(site.app, good)
        wait_until_settled(site.app)
    assert "stuck source=slow/60/stuck.jpg" in site.log
    assert_built(site.app, good)
    site.app.close()


@pytest.mark.parametrize(("threads", "arenas"), [("1", "1"), ("4", "2")])
def test_processes_are_told_how_to_share_memory_and_processors(tmp_path: Path, threads: str, arenas: str) -> None:
    site = Site(tmp_path, "none")
    with site.worker("--threads", threads) as worker:
        (pid,) = until(lambda: builders(worker.pid))
        told = dict(part.partition("=")[::2] for part in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    assert (told["MALLOC_ARENA_MAX"], told["VIPS_CONCURRENCY"]) == (arenas, "1")
    site.app.close()


def test_what_the_environment_says_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "8")
    assert _environment(1)["MALLOC_ARENA_MAX"] == "8"


@pytest.mark.parametrize("server", [None, "redis_url", "rabbitmq_url"])
def test_it_says_at_start_what_it_chose_and_where_it_listens(
    tmp_path: Path, server: str | None, queue_name: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server) if server else "none"
    site = Site(tmp_path, url, queue_name=queue_name, namespace=queue_name)
    chosen = measure().processes
    command = site.start("-m", "easyimg.worker", "--app", "site_app:app")
    try:
        until(lambda: len(builders(command.pid)) == chosen)
    finally:
        command.terminate()
        command.wait(15)
    lines = [line for line in site.log.splitlines() if "the worker starts" in line]
    assert len(lines) == 1
    assert f"processes={chosen} threads=1 processors=" in lines[0]
    assert f"queue={queue_name} broker={urlsplit(url).scheme or 'none'}" in lines[0]
    assert "guest" not in site.log
    site.app.close()


def test_wrong_settings_are_told_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="no module 'no_such_site'"):
        run_worker("no_such_site:app")
    assert main(["--app", "no_such_site:app"]) == 2
    assert "Error: app: 'no_such_site:app': there is no module 'no_such_site'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--threads", "0"), "threads: 0 is not a whole number from 1"),
        (("--processes", "-1"), "processes: -1 is not a whole number from 1"),
        (("--processes", "0"), "processes: 0 is not a whole number from 1"),
        (("--poll", "-1"), "poll: -1.0 is not a number of seconds above 0"),
        (("--poll", "nan"), "poll: nan is not a number of seconds above 0"),
        (("--log-level", "FOO"), "log_level: 'FOO' is not known; known: CRITICAL, DEBUG, ERROR, INFO, WARNING"),
        (("--log-level", "info"), "log_level: 'info' is not known"),
    ],
)
def test_arguments_that_cannot_work_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert f"Error: {said}" in lines[0]


TWO = """
import sys
from easyimg import process_queue
from easyimg.signals import img_built
from site_app import app
keys = []
img_built.connect(lambda **kwargs: keys.append(kwargs["built"].key), weak=False)
while app.metadata.counts(stale_after=60).pending:
    process_queue(app)
open(sys.argv[1], "w").write("\\n".join(keys))
app.close()
"""


def test_two_processes_on_one_sqlite_file_build_each_of_400_variants_once(tmp_path: Path) -> None:
    site = Site(tmp_path, "none", isolation="never")
    sources = [upload(site.app, f"{n}.jpg") for n in range(200)]
    order(site.app, *sources)
    processes = [site.start("-c", TWO, str(tmp_path / name)) for name in ("one", "two")]
    assert [process.wait(90) for process in processes] == [0, 0], site.log
    built = [(tmp_path / name).read_text().split() for name in ("one", "two")]
    assert all(built)
    assert len(built[0] + built[1]) == len({*built[0], *built[1]}) == 400
    assert_built(site.app, *sources)
    assert len(list((tmp_path / "media/img").rglob("*.webp"))) == 400
    assert process_queue(site.app) == 0
    site.app.close()
