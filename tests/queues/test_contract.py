"""Every queue keeps the contract of the port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from easyimg import EasyImg, process_queue
from easyimg.testing.queues import QueueContract


class TestThread(QueueContract):
    @pytest.fixture
    def queue(self) -> str:
        return "thread"


class TestSeveralThreads(TestThread):
    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"threads": 3, "isolation": "never"}


class TestImmediate(QueueContract):
    @pytest.fixture
    def queue(self) -> str:
        return "immediate"


class TestNone(QueueContract):
    @pytest.fixture
    def queue(self) -> str:
        return "none"

    @pytest.fixture
    def helper(self, app: EasyImg) -> Any:
        return lambda: process_queue(app)


class _Brokered(QueueContract):
    """With a Dramatiq worker in this process."""

    @pytest.fixture
    def settings(self, queue_name: str) -> dict[str, Any]:
        return {"queue_name": queue_name, "namespace": queue_name}

    @pytest.fixture
    def helper(self, app: EasyImg) -> Iterator[Any]:
        broker = app.queue.broker  # type: ignore[attr-defined]
        worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=50)
        worker.start()
        yield lambda: None
        worker.stop()
        broker.close()


class TestRedis(_Brokered):
    @pytest.fixture
    def queue(self, redis_url: str) -> str:
        return redis_url


class TestRabbitmq(_Brokered):
    @pytest.fixture
    def queue(self, rabbitmq_url: str) -> str:
        return rabbitmq_url


class TestGivenBroker(_Brokered):
    @pytest.fixture
    def queue(self) -> StubBroker:
        return StubBroker()


del QueueContract, _Brokered  # or pytest would run them by themselves
