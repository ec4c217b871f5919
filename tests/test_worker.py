"""``easyimg worker``: real processes that build, die, are replaced, and stop when asked."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from easyimg import EasyImg, process_queue
from easyimg.errors import ConfigError
from easyimg.testing.queues import assert_built, detail, order, statuses, upload, wait_until_settled
from easyimg.variant import VariantStatus
from easyimg.worker import Sweeper, _environment, main, run_worker
from tests.queues.sites import Site, alive, children, kill, until

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


def test_one_supervisor_sweeps_at_a_time(tmp_path: Path) -> None:
    apps = [
        EasyImg(storages={"default": f"file://{tmp_path}"}, metadata=f"sqlite:///{tmp_path}/rows.db", queue="immediate")
    ]
    apps.append(EasyImg(apps[0].settings.replace(sweep_seconds=0.05)))
    order(apps[0], upload(apps[0], "a.jpg"), ring=False)
    first, second = (Sweeper(app) for app in apps)
    time.sleep(0.1)
    assert [second.sweep(), first.sweep()] == [1, 0]
    time.sleep(0.2)  # the second's term of 2.5 intervals is over
    assert first.sweep() == 0
    assert second.sweep() == 0
    for app in apps:
        app.close()


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
        assert time.monotonic() - started < 6
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
        worker.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert worker.wait(15) == 0
        assert 9 < time.monotonic() - started < 13
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
    slow = upload(site.app, "slow/0.6/a.jpg")
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


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    site = Site(tmp_path, "none")
    with site.worker() as worker:
        until(lambda: "crew=" in site.log)
        (pid,) = builders(worker.pid)
        kill(worker.pid)
        worker.wait()
        until(lambda: not alive(pid))
    site.app.close()


def test_a_process_with_a_stuck_build_gives_back_the_others_and_is_replaced(tmp_path: Path) -> None:
    site = Site(tmp_path, "none", lease_seconds=0.6, build_seconds=0.6, max_attempts=1)
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


def test_the_memory_allocator_is_told_how_many_threads_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    assert [_environment(n)["MALLOC_ARENA_MAX"] for n in (1, 4)] == ["1", "2"]
    assert _environment(1)["VIPS_CONCURRENCY"] == "1"
    monkeypatch.setenv("MALLOC_ARENA_MAX", "8")
    assert _environment(1)["MALLOC_ARENA_MAX"] == "8"


def test_wrong_settings_are_told_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="no module 'no_such_site'"):
        run_worker("no_such_site:app")
    assert main(["--app", "no_such_site:app"]) == 2
    assert "error: app: 'no_such_site:app': there is no module 'no_such_site'" in capsys.readouterr().err


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
