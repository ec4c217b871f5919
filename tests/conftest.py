"""What every test may use: fresh databases and brokers, a browser, the image corpus; and what no run may hide.

Markers are set by what a test uses: ``services`` for the server fixtures, ``browser`` for Chromium, ``corpus`` for the
folder of images.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import services

ROOT = Path(__file__).resolve().parent.parent
CI = os.environ.get("CI") == "true"
SERVER_FIXTURES = frozenset({"postgres_url", "postgres_alias", "mysql_url", "mysql_alias", "redis_url", "rabbitmq_url"})

# The same examples on every machine in CI; a deadline would measure the machine, not the code.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile("ci" if CI else "dev")


def pytest_configure(config: pytest.Config) -> None:
    """Forget the developer's own settings: a stray ``EASYIMG_*`` variable would reach every test."""
    for name in [name for name in os.environ if name.startswith("EASYIMG_")]:
        del os.environ[name]


@pytest.hookimpl(tryfirst=True)  # before -m deselects by these markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by fixtures, and put browser tests last: Playwright leaves an event loop running in this thread."""
    for item in items:
        used = _fixtures_and_parameters(item)
        if used & SERVER_FIXTURES:
            item.add_marker("services")
        if "corpus" in used:
            item.add_marker("corpus")
        if "chromium" in used:
            item.add_marker("browser")
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def _fixtures_and_parameters(item: pytest.Item) -> set[str]:
    """Return the names of an item's fixtures, and its parameters that name one (for ``request.getfixturevalue``)."""
    callspec = getattr(item, "callspec", None)
    parameters = callspec.params.values() if callspec else ()
    return set(getattr(item, "fixturenames", ())) | {value for value in parameters if isinstance(value, str)}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a CI run that skipped anything."""
    if CI and session.exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say why a CI run failed that shows no failed test."""
    if CI and (count := _skipped(config)):
        terminalreporter.write_line(f"CI=true: {count} skipped, and nothing may be skipped", red=True)


def _skipped(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", ())) if reporter else 0


def absent(reason: str) -> None:
    """Skip a test that needs what this machine lacks; in CI that is a failure."""
    if CI:
        pytest.fail(f"CI=true and {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def server_url() -> Any:
    """Return a function: a service's name -> the URL of a running server."""
    known: dict[str, str | None] = {}

    def find(name: str) -> str:
        if name not in known:
            known[name] = services.find(services.BY_NAME[name])
        url = known[name]
        if url is None:
            absent(f"no {name} is running; start one for the tests with: python tests/services.py run -- pytest ...")
        assert url is not None
        return url

    return find


@pytest.fixture
def unique_name() -> str:
    """A name no other test uses."""
    return f"easyimg_{uuid.uuid4().hex[:16]}"


@pytest.fixture
def postgres_url(server_url: Any, unique_name: str) -> Iterator[str]:
    """A new, empty PostgreSQL database: ``postgresql+psycopg://...``."""
    with postgres_database(server_url("postgres"), unique_name) as url:
        yield url


@contextlib.contextmanager
def postgres_database(server: str, unique_name: str) -> Iterator[str]:
    """Create a PostgreSQL database and drop it at the end."""
    import psycopg

    with psycopg.connect(services.plain(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {unique_name}")
        try:
            yield _with_database(server, unique_name)
        finally:
            connection.execute(f"DROP DATABASE {unique_name} WITH (FORCE)")


@pytest.fixture
def mysql_url(server_url: Any, unique_name: str) -> Iterator[str]:
    """A new, empty MariaDB database: ``mysql+pymysql://...``."""
    with mysql_database(server_url("mysql"), unique_name) as url:
        yield url


@contextlib.contextmanager
def mysql_database(server: str, unique_name: str) -> Iterator[str]:
    """Create a MariaDB database and drop it at the end."""
    with contextlib.closing(services.mysql_connection(server)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {unique_name} CHARACTER SET utf8mb4")
        try:
            yield _with_database(server, unique_name)
        finally:
            # An open transaction of a test would make DROP wait for its metadata lock.
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (unique_name,))
            for (thread,) in cursor.fetchall():
                with contextlib.suppress(Exception):  # it may have ended meanwhile
                    cursor.execute(f"KILL {thread}")
            cursor.execute(f"DROP DATABASE {unique_name}")


def _with_database(url: str, database: str) -> str:
    from sqlalchemy import make_url

    return make_url(url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture
def redis_url(server_url: Any) -> Iterator[str]:
    """An empty Redis database of this test's own, emptied afterwards: ``redis://host:port/number``.

    Only a database that holds nothing is taken; it is marked with its taker, so that what a killed run left is known.
    """
    import redis

    base = server_url("redis").rsplit("/", 1)[0]
    for number in range(1, 16):
        with contextlib.closing(redis.Redis.from_url(f"{base}/{number}")) as client:
            if not _take_redis(client):
                continue
            try:
                yield f"{base}/{number}"
            finally:
                client.flushdb()
            return
    absent(f"no empty database among 1-15 of {base}")


_OWNER = "easyimg:test:owner"


def _take_redis(client: Any) -> bool:
    """Take an empty database, or one whose taker on this machine is dead."""
    me = f"{socket.gethostname()}:{os.getpid()}"
    owner = (client.get(_OWNER) or b"").decode()
    if owner and not _alive(owner):
        client.flushdb()
    return client.dbsize() == 0 and bool(client.set(_OWNER, me, nx=True))


def _alive(owner: str) -> bool:
    host, _, pid = owner.rpartition(":")
    return host != socket.gethostname() or Path(f"/proc/{pid}").exists() or not Path("/proc/self").exists()


@pytest.fixture
def queue_name(unique_name: str) -> str:
    """A queue name of this test's own; with ``rabbitmq_url`` its queues are deleted afterwards."""
    return unique_name


@pytest.fixture
def rabbitmq_url(server_url: Any, queue_name: str) -> Iterator[str]:
    """A RabbitMQ server: ``amqp://...``. It is shared: use ``queue_name``, and Dramatiq's ``.DQ`` and ``.XQ`` of it."""
    url = server_url("rabbitmq")
    yield url
    with contextlib.closing(services.rabbitmq_connection(url)) as connection:
        for suffix in ("", ".DQ", ".XQ"):
            connection.channel().queue_delete(queue_name + suffix)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running Chromium, driven by Playwright: open pages with ``chromium.new_page()`` or ``new_context()``."""
    path = services.find_chromium()
    if path is None:
        absent("no Chromium is installed; on Debian: apt install chromium")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    silent = ["--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments + silent)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real and hostile images, ``manifest.csv`` in it; never committed."""
    folder = Path(os.environ.get("TEST_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not (folder / "manifest.csv").is_file():
        absent(f"the image corpus is not at {folder}")
    return folder
