"""A short selection of the fault suite for every test run: ``make test-faults`` runs the whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests import services
from tests.conftest import absent
from tests.faults import cases
from tests.faults.harness import FAULTS, run
from tests.faults.servers import Servers

pytestmark = pytest.mark.slow

cases.load()


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Servers of our own: other tests' must not be flushed."""
    with Servers() as running:
        yield running


@pytest.mark.parametrize("number", [1, 10, 13, 14])
def test_nothing_is_lost_on_sqlite_without_a_broker(number: int, servers: Servers) -> None:
    check(number, "sqlite", "none", servers)


@pytest.mark.services
@pytest.mark.parametrize("number", [2, 4, 6, 19])
def test_nothing_is_lost_on_postgresql_with_redis(number: int, servers: Servers) -> None:
    for name in ("postgres", "redis"):
        try:
            servers.get(name)
        except services.Missing as exc:
            absent(f"{name} cannot be started: {exc}")
    check(number, "postgres", "redis", servers)


def check(number: int, database: str, broker: str, servers: Servers) -> None:
    seed = secrets.randbelow(10**6)
    runs = 1 if number in (4, 6) else 2
    result = run(FAULTS[number], database, broker, runs=runs, seed=seed, servers=servers, scale=0.2)
    assert not result.is_bad, "\n".join([f"seed {seed}: {result}", *result.notes])
    assert result.rows
    assert result.looks > 10
    if number in (4, 6, 19):  # the others may be over before a visitor has come
        assert result.pages, "nobody saw a page"
