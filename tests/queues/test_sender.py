"""The one thread that talks to a broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from easyimg.queues import sender as module
from easyimg.queues.sender import Sender
from tests.queues.sites import until


class Broker:
    """Takes ids, unless it is down; may be slow."""

    def __init__(self) -> None:
        self.got: list[tuple[str, float]] = []
        self.threads: set[str] = set()
        self.down, self.slow, self.tries, self.hung_up = False, 0.0, 0, 0

    def send(self, id_: str) -> None:
        self.tries += 1
        self.threads.add(threading.current_thread().name)
        time.sleep(self.slow)
        if self.down:
            raise ConnectionError("refused")
        self.got.append((id_, time.monotonic()))

    def hang_up(self) -> None:
        self.hung_up += 1

    @property
    def ids(self) -> list[str]:
        return [id_ for id_, _ in self.got]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def make(broker: Broker) -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def make(interval: float = 60.0, **options: float) -> Sender:
        made.append(Sender(broker.send, broker.hang_up, interval=interval, **options))
        return made[-1]

    yield make
    for sender in made:
        sender.close(0)


def test_ids_go_out_in_the_background_once_per_interval(make: Callable[..., Sender], broker: Broker) -> None:
    sender = make()
    for _ in range(50):
        sender.post(["a", "b"])
    until(lambda: len(broker.got) == 2)
    sender.post(["a", "c"])
    until(lambda: len(broker.got) == 3)
    time.sleep(0.05)
    assert broker.ids == ["a", "b", "c"]
    assert broker.threads == {"easyimg-doorbell"}


def test_an_id_posted_while_it_is_being_sent_waits_for_the_interval_too(
    make: Callable[..., Sender], broker: Broker
) -> None:
    broker.slow = 0.2
    sender = make()
    sender.post(["a"])
    until(lambda: broker.tries)
    sender.post(["a"])
    until(lambda: broker.got)
    time.sleep(0.5)
    assert broker.ids == ["a"]


def test_an_id_posted_again_within_the_interval_goes_out_at_its_end(
    make: Callable[..., Sender], broker: Broker
) -> None:
    sender = make(2.0)
    sender.post(["a"])
    until(lambda: broker.got)
    sender.post(["a"])
    sender.post(["a"])
    until(lambda: len(broker.got) == 2)
    assert broker.got[1][1] - broker.got[0][1] >= 0.5
    time.sleep(2.2)
    assert broker.ids == ["a", "a"]


def test_posting_never_waits_for_the_broker(make: Callable[..., Sender], broker: Broker) -> None:
    broker.slow = 4.0
    sender = make()
    started = time.monotonic()
    sender.post(str(n) for n in range(100))
    assert time.monotonic() - started < 3.5


def test_a_broker_that_is_down_is_asked_seldom_and_gets_everything_later(
    make: Callable[..., Sender], broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PAUSES", (1.0, 2.0))
    broker.down = True
    sender = make()
    for n in range(100):
        sender.post([str(n)])
    time.sleep(0.5)
    assert broker.tries <= 3
    until(lambda: len(caplog.records) == broker.tries)
    assert "the broker cannot be reached, doorbells wait doorbells=" in caplog.text
    broker.down = False
    until(lambda: len(broker.got) == 100)
    assert sorted(map(int, broker.ids)) == list(range(100))


def test_memory_is_bounded(make: Callable[..., Sender], broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZE", 10)
    sender = make()
    broker.slow = 0.01
    sender.post(str(n) for n in range(50))
    assert len(sender._waiting) <= 10
    until(lambda: not sender._waiting)
    assert len(sender._sent) <= 10


def test_close_sends_what_waits_and_gives_up_in_time(make: Callable[..., Sender], broker: Broker) -> None:
    sender = make(0.0)
    broker.slow = 0.01
    sender.post(str(n) for n in range(20))
    sender.close(20)
    assert len(broker.got) == 20
    assert broker.hung_up
    broker.slow = 0.2
    sender.post(str(n) for n in range(100))
    started = time.monotonic()
    sender.close(0.5)
    assert time.monotonic() - started < 10  # all hundred would take 20


def test_what_is_posted_while_it_closes_is_sent_by_one_thread() -> None:
    begun, go, sent = threading.Event(), threading.Event(), list[str]()

    def send(id_: str) -> None:
        if id_ == "a":
            begun.set()
            assert go.wait(20)
        sent.append(id_)

    sender = Sender(send, lambda: None, interval=60.0)
    sender.post(["a"])
    assert begun.wait(20)
    old = sender._thread
    closer = threading.Thread(target=sender.close, args=(20,))
    closer.start()
    until(lambda: sender._thread is None)
    sender.post(["b"])
    new = sender._thread
    go.set()
    closer.join(30)
    assert old is not None
    assert not old.is_alive()
    until(lambda: sorted(sent) == ["a", "b"])
    sender.close(20)
    assert new is not None
    assert not new.is_alive()


def test_an_idle_connection_is_closed_and_opened_again(make: Callable[..., Sender], broker: Broker) -> None:
    sender = make(0.0, idle=0.1)
    sender.post(["a"])
    until(lambda: broker.hung_up == 1)
    sender.post(["b"])
    until(lambda: broker.ids == ["a", "b"])
    until(lambda: broker.hung_up == 2)
