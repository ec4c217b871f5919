"""What the setting ``queue`` may be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq.broker
import pytest
from dramatiq.brokers.stub import StubBroker

from easyimg import EasyImg
from easyimg.errors import ConfigError, MissingDependency
from easyimg.queues import make_queue, uses_broker, uses_site_broker
from easyimg.queues.dramatiq import DramatiqQueue
from easyimg.queues.simple import ImmediateQueue, NoneQueue
from easyimg.queues.thread import ThreadQueue


@pytest.fixture
def app(tmp_path: Path) -> Iterator[EasyImg]:
    app = EasyImg(storages={"default": f"file://{tmp_path}"}, metadata=f"sqlite:///{tmp_path}/rows.db", queue="none")
    yield app
    app.close()


@pytest.mark.parametrize(
    ("value", "kind", "broker"),
    [
        ("thread", ThreadQueue, None),
        ("immediate", ImmediateQueue, None),
        ("none", NoneQueue, None),
        ("redis://127.0.0.1:1/0", DramatiqQueue, "RedisBroker"),
        ("rediss://127.0.0.1:1/0", DramatiqQueue, "RedisBroker"),
        ("amqp://guest:guest@127.0.0.1:1/", DramatiqQueue, "RabbitmqBroker"),
        ("amqps://guest:guest@127.0.0.1:1/", DramatiqQueue, "RabbitmqBroker"),
    ],
)
def test_names_and_urls_make_queues_without_connecting(
    app: EasyImg, value: str, kind: type, broker: str | None
) -> None:
    queue = make_queue(value, app)
    assert type(queue) is kind
    assert uses_broker(value) is (broker is not None)
    if isinstance(queue, DramatiqQueue):
        assert type(queue.broker).__name__ == broker
        assert not queue.broker.middleware
    queue.close()


def test_a_name_means_the_sites_own_broker_and_none_is_made(app: EasyImg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq.broker, "global_broker", None)
    with pytest.raises(ConfigError, match=r"none was given to dramatiq\.set_broker\(\)"):
        make_queue("dramatiq", app)
    assert dramatiq.broker.global_broker is None

    broker = StubBroker()
    dramatiq.set_broker(broker)
    queue = make_queue("dramatiq", app)
    assert isinstance(queue, DramatiqQueue)
    assert (queue.broker, list(broker.actors)) == (broker, ["easyimg.build"])
    assert [uses_site_broker(value) for value in ("dramatiq", broker, "redis://a", "none")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_broker_is_used_as_it_is_and_an_object_that_fits_is_the_queue(app: EasyImg) -> None:
    broker, own = StubBroker(), NoneQueue()
    queue = make_queue(broker, app)
    assert isinstance(queue, DramatiqQueue)
    assert queue.broker is broker
    assert list(broker.actors) == ["easyimg.build"]
    assert make_queue(own, app) is own
    queue.close()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("thraed", "'thraed' is not known; did you mean 'thread'"),
        ("celery", "'celery' is not known; known: dramatiq, immediate, none, thread"),
        ("redsi://user:secret@host", "'redsi://' is not known; did you mean 'redis://'"),
        (3, "3 is not a name, a URL, a Dramatiq broker or a BuildQueue"),
        (["redis://me:secret@x"], r"\['redis://\*\*\*@x'\] is not a name, a URL"),
        (None, "None is not a name"),
    ],
)
def test_anything_else_is_refused_without_repeating_passwords(app: EasyImg, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_queue(value, app)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "library", "extra"), [("redis://x", "redis", "redis"), ("amqp://x", "pika", "rabbitmq")]
)
def test_a_missing_client_library_is_named_with_its_extra(
    app: EasyImg, url: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"dramatiq.brokers.{extra}", raising=False)
    with pytest.raises(MissingDependency, match=rf"pip install 'easyimg\[{extra}\]'"):
        make_queue(url, app)


def test_a_page_with_the_default_queue_loads_no_broker_library_and_starts_nothing() -> None:
    script = (
        "import sys, threading; from easyimg import EasyImg; app = EasyImg(); app.queue\n"
        "assert not {'dramatiq', 'redis', 'pika', 'pyvips'} & set(sys.modules), sys.modules\n"
        "assert threading.active_count() == 1"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
