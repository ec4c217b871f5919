"""Configuration that cannot work: real commands in real processes say it in one line, without a secret, and exit 2."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import services
from tests.faults.servers import Server
from tests.passwords import require_password
from tests.queues.sites import ROOT, until

pytestmark = pytest.mark.slow

SECRET = "s3cr3t"
"""Stands in the URLs and must not stand in any output."""

PATIENCE = 40.0
"""Seconds until a command has given up, on a machine that takes half a minute to start Python; our own limit is 8."""

CLI = ("-c", "from easyimg.cli import main; main()")
WORKERS = {"easyimg worker": (*CLI, "worker"), "python -m easyimg.worker": ("-m", "easyimg.worker")}
OTHERS = {"easyimg status": (*CLI, "status"), "easyimg build": (*CLI, "build")}


class Case(NamedTuple):
    """A setting, the value of its variable with places for servers, and what its line must say."""

    setting: str
    value: str
    words: str


SETTINGS = [
    Case("queue", "reddis://u:{secret}@localhost", r"'reddis://' is not known; did you mean 'redis://'?"),
    Case("queue", "redis:u:{secret}@localhost", "'redis://' is not known"),
    Case("queue", "redis://u:x/{secret}@localhost", "the URL cannot be read"),
    Case("queue", "amqp://u:x/{secret}@localhost", "the URL cannot be read"),
    Case("metadata", "oracle://u:{secret}@localhost/x", "'oracle' is not supported; use one of sqlite, postgresql"),
    Case("metadata", "u:{secret}@localhost", "not a database URL"),
    Case("storages", "foo://u:{secret}@bucket", "storage foo:// is not known; use file://, s3://"),
    Case("storages", "sftpp://u:{secret}@host/x", "did you mean 'sftp'?"),
    Case("storages", '{{"default": "s3://x", "key": {secret}}}', "cannot be read"),
]

MISSING = [
    Case("queue", "redis://u:{secret}@localhost", "needs the package 'redis': pip install 'easyimg[redis]'"),
    Case("queue", "amqp://u:{secret}@localhost", "needs the package 'pika': pip install 'easyimg[rabbitmq]'"),
    Case("metadata", "postgresql://u:{secret}@localhost/x", "'psycopg': pip install 'easyimg[postgres]'"),
    Case("metadata", "mysql://u:{secret}@localhost/x", "'PyMySQL': pip install 'easyimg[mysql]'"),
    Case("storages", "s3://bucket", "'s3fs': pip install 'easyimg[s3]'"),
    Case("storages", "gcs://bucket", "pip install gcsfs"),
]

BROKERS = [
    Case("queue", "redis://:{secret}@127.0.0.1:{redis}/0", "check the user and the password"),
    Case("queue", "redis://:right@127.0.0.1:{redis}/99", "DB index is out of range; create it"),
    Case("queue", "redis://:{secret}@127.0.0.1:{closed}/0", "refused; start the server"),
    Case("queue", "redis://:{secret}@127.0.0.1:{silent}/0", "start the server"),
    Case("queue", "amqp://guest:{secret}@{rabbitmq}/%2F", "ACCESS_REFUSED"),
    Case("queue", "amqp://guest:guest@{rabbitmq}/nowhere", "vhost nowhere not found'; create it"),
    Case("queue", "amqp://guest:{secret}@127.0.0.1:{closed}/%2F", "start the server"),
    Case("queue", "amqp://guest:{secret}@127.0.0.1:{silent}/%2F", "start the server"),
]

ROWS = [
    Case("metadata", "postgresql://site:{secret}@127.0.0.1:{postgres}/postgres", "check the user and the password"),
    Case("metadata", "postgresql://site:right@127.0.0.1:{postgres}/nowhere", 'database "nowhere" does not exist'),
    Case("metadata", "postgresql://u:{secret}@127.0.0.1:{closed}/x", "start the server"),
    Case("metadata", "postgresql://u:{secret}@127.0.0.1:{silent}/x", "start the server"),
    Case("metadata", "mysql://root:{secret}@{mysql}/mysql", "check the user and the password"),
    Case("metadata", "mysql://root@{mysql}/nowhere", "Unknown database"),
    Case("metadata", "mysql://u:{secret}@127.0.0.1:{closed}/x", "start the server"),
    Case("metadata", "mysql://u:{secret}@127.0.0.1:{silent}/x", "no answer within 8 s; start the server"),
    Case("metadata", "sqlite:///{folder}/nowhere/rows.db", "nowhere' does not exist"),
    Case("metadata", "sqlite:///{folder}/old.db", "is version 0, this easyimg needs"),
    Case("metadata", "sqlite:///{folder}/new.db", "is version 99, this easyimg needs"),
    Case("storages", "file://{folder}/a_file", "a_file is not a folder"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, server_url: Any) -> Iterator[dict[str, str]]:
    """What stands in the braces: ports of servers with passwords, of none, and of one that never answers."""
    folder = tmp_path_factory.mktemp("places")
    (folder / "a_file").write_text("no folder")
    for name, version in (("old.db", "0"), ("new.db", "99")):
        _with_version(folder / name, version)
    found = {"secret": SECRET, "folder": str(folder), "closed": str(services.free_port())}
    for name in ("rabbitmq", "mysql"):
        found[name] = server_url(name).rpartition("@")[2].partition("/")[0]
    with contextlib.ExitStack() as stack:
        found["silent"] = str(stack.enter_context(_silent()))
        found["postgres"] = str(stack.enter_context(_postgres()))
        found["redis"] = str(stack.enter_context(_redis(folder)))
        yield found


def _with_version(file: Path, version: str) -> None:
    """Make tables of another version."""
    script = "from easyimg import EasyImg; import sys; EasyImg(metadata=sys.argv[1]).metadata.setup()"
    subprocess.run([sys.executable, "-c", script, f"sqlite:///{file}"], check=True, cwd=ROOT)
    with contextlib.closing(sqlite3.connect(file)) as rows:
        rows.execute("UPDATE easyimg_meta SET value = ? WHERE name = 'schema'", (version,))
        rows.commit()


@contextlib.contextmanager
def _silent() -> Iterator[int]:
    """Listen, and never say a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def _postgres() -> Iterator[int]:
    """Run a PostgreSQL that asks its user ``site`` for the password ``right``."""
    server = Server("postgres")
    try:
        require_password(server, "right")
        yield server._port
    finally:
        server.stop()


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[int]:
    """Run a Redis with the password ``right``."""
    port = services.free_port()
    command = [services._program("redis-server", "valkey-server"), "--port", str(port), "--bind", "127.0.0.1"]
    options = ["--save", "", "--requirepass", "right", "--dir", str(folder)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port))
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def fails(folder: Path, command: tuple[str, ...], setting: str, value: str, *path: str, **more: str) -> str:
    """Run a command with one setting that cannot work, and return its one line."""
    usual = {
        "EASYIMG_STORAGES": f"file://{folder}/media",
        "EASYIMG_METADATA": f"sqlite:///{folder}/rows.db",
        "EASYIMG_QUEUE": "none",
    }
    path_of_python = os.pathsep.join([*path, str(ROOT)])
    env = {**os.environ, **usual, f"EASYIMG_{setting.upper()}": value, "PYTHONPATH": path_of_python, **more}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    seconds = time.monotonic() - started
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(("Error: ", f"Error: EASYIMG_{setting.upper()}"))
    assert setting in done.stderr.lower()
    assert SECRET not in done.stderr
    assert seconds < PATIENCE
    return done.stderr


def name(case: Case) -> str:
    return f"{case.setting}={case.value}".replace("{secret}", "secret")


@pytest.mark.parametrize("command", WORKERS)
@pytest.mark.parametrize("case", SETTINGS + BROKERS + ROWS, ids=name)
def test_a_worker_that_cannot_work_says_why_in_one_line(
    tmp_path: Path, places: dict[str, str], command: str, case: Case
) -> None:
    line = fails(tmp_path, WORKERS[command], case.setting, case.value.format(**places))
    assert case.words in line


@pytest.mark.parametrize("command", OTHERS)
@pytest.mark.parametrize("case", [case for case in SETTINGS + ROWS if case.setting == "metadata"], ids=name)
def test_status_and_build_say_the_same_line(tmp_path: Path, places: dict[str, str], command: str, case: Case) -> None:
    line = fails(tmp_path, OTHERS[command], case.setting, case.value.format(**places))
    assert case.words in line


@pytest.mark.parametrize(
    "case", [case for case in SETTINGS + ROWS if case.setting == "metadata" and "old.db" not in case.value], ids=name
)
def test_migrate_says_the_same_line(tmp_path: Path, places: dict[str, str], case: Case) -> None:
    line = fails(tmp_path, (*CLI, "migrate"), case.setting, case.value.format(**places))
    assert case.words.removeprefix("no answer within 8 s; ") in line


@pytest.mark.parametrize("command", ["easyimg worker", "easyimg build"])
@pytest.mark.parametrize("case", MISSING, ids=name)
def test_a_missing_driver_is_named_with_what_to_install(
    tmp_path: Path, places: dict[str, str], command: str, case: Case
) -> None:
    if command == "easyimg build" and case.setting == "queue":
        command = "easyimg queue"  # building needs no broker, ordering does
    commands = WORKERS | OTHERS | {"easyimg queue": (*CLI, "queue", "/", "width=80")}
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.jpg").write_bytes(b"")
    absent = tmp_path / "absent"
    absent.mkdir()
    for module in ("redis", "pika", "psycopg", "pymysql", "s3fs", "gcsfs"):
        (absent / f"{module}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')"
        )
    line = fails(tmp_path, commands[command], case.setting, case.value.format(**places), str(absent))
    assert case.words in line


def test_a_queue_of_other_options_is_named(tmp_path: Path, rabbitmq_url: str, queue_name: str) -> None:
    with contextlib.closing(services.rabbitmq_connection(rabbitmq_url)) as connection:
        connection.channel().queue_declare(queue_name, durable=True)  # without Dramatiq's dead-letter options
    line = fails(tmp_path, WORKERS["easyimg worker"], "queue", rabbitmq_url, EASYIMG_QUEUE_NAME=queue_name)
    assert "delete it, or set another queue_name" in line


def test_config_shows_settings_that_lead_nowhere_but_none_that_cannot_be_read(
    tmp_path: Path, places: dict[str, str]
) -> None:
    command = [sys.executable, *CLI, "config"]
    nowhere = f"postgresql://u:{SECRET}@127.0.0.1:{places['closed']}/x"
    env = {**os.environ, "EASYIMG_METADATA": nowhere}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"metadata = 'postgresql://***@127.0.0.1:{places['closed']}/x'" in done.stdout
    assert "'reddis://' is not known" in fails(tmp_path, (*CLI, "config"), "queue", f"reddis://u:{SECRET}@h")
