"""The servers that integration tests talk to: find a running one, else start one, else install it, else say so.

    python tests/services.py run -- pytest ...    start what is needed, run the command, stop what was started
    python tests/services.py status               say what is there and what would be started

Each server's URL is exported as ``TEST_<NAME>_URL``, and the browser's path as ``TEST_CHROMIUM``; a value set
beforehand is used as it is. Only the processes started here are stopped, each by its own process id.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 60.0
HOST = "127.0.0.1"


class Missing(Exception):
    """A server is neither running nor installed, or did not start; the message is one line."""


@dataclass(frozen=True)
class Service:
    """One kind of server.

    Args:
        name: of the environment variable: ``TEST_<NAME>_URL``.
        url: of a server on its standard local port, or with ``{port}`` of one started here.
        port: the standard one.
        ping: logs in and asks something; raises when that fails.
        start: starts a server in an empty folder on a port and returns its processes, the server last.
        package: the Debian package.
    """

    name: str
    url: str
    port: int
    ping: Callable[[str], None]
    start: Callable[[Path, int], list[subprocess.Popen[bytes]]]
    package: str

    @property
    def variable(self) -> str:
        """The environment variable that holds the URL."""
        return f"TEST_{self.name.upper()}_URL"

    def at(self, port: int) -> str:
        """Return the URL of a server on that port."""
        return self.url.format(port=port)


# Pings. They speak the protocol and log in: an open port may belong to anything.


def _ping_postgres(url: str) -> None:
    import psycopg

    with psycopg.connect(plain(url), connect_timeout=3) as connection:
        connection.execute("SELECT 1")


def _ping_mysql(url: str) -> None:
    with contextlib.closing(mysql_connection(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _ping_redis(url: str) -> None:
    import redis

    with contextlib.closing(redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)) as client:
        client.ping()


def _ping_rabbitmq(url: str) -> None:
    with contextlib.closing(rabbitmq_connection(url)) as connection:
        connection.channel().close()


def plain(url: str) -> str:
    """Return a SQLAlchemy URL without the driver's name, as libpq reads it."""
    scheme, rest = url.split("://", 1)
    return f"{scheme.split('+')[0]}://{rest}"


def mysql_connection(url: str) -> Any:
    """Open a PyMySQL connection, in autocommit, to a ``mysql+pymysql://`` URL."""
    import pymysql
    from sqlalchemy import make_url

    parts = make_url(url)
    return pymysql.connect(
        host=parts.host or HOST,
        port=parts.port or 3306,
        user=parts.username or "root",
        password=parts.password or "",
        database=parts.database or None,
        connect_timeout=3,
        autocommit=True,
    )


def rabbitmq_connection(url: str) -> Any:
    """Open a blocking AMQP connection that tries once."""
    import pika

    parameters = pika.URLParameters(url)
    parameters.connection_attempts = 1
    parameters.socket_timeout = parameters.blocked_connection_timeout = 5
    parameters.stack_timeout = 10
    return pika.BlockingConnection(parameters)


# Starters.


def _program(*names: str, also: str = "") -> str:
    """Return the path of the first installed program; ``also`` is a glob of folders outside PATH, the last one wins."""
    for name in names:
        places = sorted(Path("/").glob(f"{also}/{name}")) if also else []
        found = str(places[-1]) if places else shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if found:
            return found
    raise Missing(f"no program {' or '.join(names)} is installed")


def _account(folder: Path, *names: str) -> dict[str, Any]:
    """Return Popen arguments for an unprivileged account that owns the folder: these servers refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in (*names, "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise Missing(f"no account {' or '.join(names)} to run the server as")


def _launch(folder: Path, command: list[str], **popen: Any) -> subprocess.Popen[bytes]:
    """Start a server in its own session, its output in ``log``."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **popen
        )


def _prepare(folder: Path, command: list[str], **popen: Any) -> None:
    """Run a set-up command to its end."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=START_SECONDS, check=False, **popen
    )
    if done.returncode:
        raise Missing(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-300:]}")


def _start_postgres(folder: Path, port: int) -> list[subprocess.Popen[bytes]]:
    initdb = _program("initdb", also="usr/lib/postgresql/*/bin")
    account = _account(folder, "postgres")
    data = str(folder / "data")
    _prepare(folder, [initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"], **account)
    server = str(Path(initdb).with_name("postgres"))
    options = ["fsync=off", f"listen_addresses={HOST}", f"unix_socket_directories={folder}", "max_connections=200"]
    return [_launch(folder, [server, "-D", data, "-p", str(port), *(f"-c{o}" for o in options)], **account)]


def _start_mysql(folder: Path, port: int) -> list[subprocess.Popen[bytes]]:
    install = _program("mariadb-install-db", "mysql_install_db")
    server = _program("mariadbd", "mysqld")
    account = _account(folder, "mysql")
    data = f"--datadir={folder / 'data'}"
    _prepare(
        folder,
        [install, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db"],
        **account,
    )
    options = [data, f"--port={port}", f"--bind-address={HOST}", f"--socket={folder / 's'}", "--skip-name-resolve"]
    relaxed = ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--max-connections=200"]
    return [_launch(folder, [server, "--no-defaults", *options, *relaxed], **account)]


def _start_redis(folder: Path, port: int) -> list[subprocess.Popen[bytes]]:
    server = _program("redis-server", "valkey-server")
    options = ["--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", "", "--appendonly", "no"]
    return [_launch(folder, [server, *options])]


def _start_rabbitmq(folder: Path, port: int) -> list[subprocess.Popen[bytes]]:
    """Start a broker with its own node name, ports, cookie and epmd, so that it meets no other node."""
    server = _program("rabbitmq-server", also="usr/lib/rabbitmq/bin")
    epmd = _program("epmd", also="usr/lib/erlang/erts-*/bin")
    account = _account(folder, "rabbitmq")
    (folder / "plugins").write_text("[].\n")
    epmd_port = free_port()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_NODENAME": f"easyimg{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    }
    names = _launch(folder, [epmd, "-port", str(epmd_port), "-address", HOST], env=environment, **account)
    return [names, _launch(folder, [server], env=environment, **account)]


SERVICES = (
    Service(
        "postgres",
        f"postgresql+psycopg://postgres@{HOST}:{{port}}/postgres",
        5432,
        _ping_postgres,
        _start_postgres,
        "postgresql",
    ),
    Service("mysql", f"mysql+pymysql://root@{HOST}:{{port}}/mysql", 3306, _ping_mysql, _start_mysql, "mariadb-server"),
    Service("redis", f"redis://{HOST}:{{port}}/0", 6379, _ping_redis, _start_redis, "redis-server"),
    Service(
        "rabbitmq",
        f"amqp://guest:guest@{HOST}:{{port}}/%2F",
        5672,
        _ping_rabbitmq,
        _start_rabbitmq,
        "rabbitmq-server",
    ),
)
BY_NAME = {service.name: service for service in SERVICES}


def free_port() -> int:
    """Return a free local port below those that the system gives to clients.

    While a server is down, nobody else must get its port; a client that asks for it might even be connected to itself.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(max(1024, first - 12_000), first)
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind((HOST, port))
            return port


def find(service: Service, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the URL of a running server: the one named in the environment, else that on the standard port."""
    if named := environ.get(service.variable):
        return named
    with contextlib.suppress(Exception):  # whatever goes wrong means: there is none that we can use
        service.ping(service.at(service.port))
        return service.at(service.port)
    return None


def find_chromium(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of an installed Chromium."""
    named = environ.get("TEST_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def find_sshd() -> str | None:
    """Return the path of OpenSSH's server; tests start their own, which knows their keys only."""
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@contextlib.contextmanager
def started(service: Service) -> Iterator[str]:
    """Run a server of our own on a free port; stop it and remove its folder at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"easyimg-{service.name}-"))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        port = free_port()
        processes += service.start(folder, port)
        _await(service, service.at(port), processes[-1], folder / "log")
        yield service.at(port)
    finally:
        for process in reversed(processes):
            _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _await(service: Service, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return service.ping(url)
        except Exception as exc:  # drivers raise errors of many kinds while a server starts
            if process.poll() is not None or time.monotonic() > end:
                tail = " | ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
                raise Missing(f"{service.name} did not start ({exc}): {tail}") from exc
        time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process started here, politely at first; its session holds nothing but its own children."""
    if process.poll() is None:
        # SIGINT is PostgreSQL's "fast" shutdown; the others treat SIGTERM as a clean one.
        process.send_signal(signal.SIGINT if "postgres" in str(process.args) else signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def apt_install(packages: list[str]) -> None:
    """Install Debian packages when we are root on a machine that has apt; else do nothing."""
    if not packages or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print(f"services: installing {' '.join(packages)} with apt", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *command], env=environment, stdout=subprocess.DEVNULL, check=False)


def provide(stack: contextlib.ExitStack) -> tuple[dict[str, str], list[str]]:
    """Return the environment with every server's URL, and one line for each that cannot be had."""
    found: dict[str, str] = {}
    _take(stack, found)
    missing = [s.package for s in SERVICES if s.variable not in found]
    programs = {"chromium": find_chromium, "openssh-server": find_sshd}
    apt_install(missing + [package for package, find_program in programs.items() if not find_program()])
    lines = _take(stack, found) if missing else []
    if chromium := find_chromium():
        found["TEST_CHROMIUM"] = chromium
    else:
        lines.append("chromium: not installed; on Debian: apt install chromium")
    if not find_sshd():
        lines.append("sshd: not installed; on Debian: apt install openssh-server")
    return found, lines


def _take(stack: contextlib.ExitStack, found: dict[str, str]) -> list[str]:
    """Find or start every server not yet found."""
    lines = []
    for service in SERVICES:
        if service.variable in found:
            continue
        try:
            url = find(service) or stack.enter_context(started(service))
        except (Missing, OSError, subprocess.SubprocessError) as exc:
            lines.append(f"{service.name}: {exc}; on Debian: apt install {service.package}")
        else:
            found[service.variable] = url
            print(f"services: {service.name} at {url}", flush=True)
    return lines


def run(command: list[str]) -> int:
    """Run a command with the servers' URLs in its environment; return its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stack is unwound
    with contextlib.ExitStack() as stack:
        found, lines = provide(stack)
        for line in lines:
            print(f"services: {line}", flush=True)
        if lines and os.environ.get("CI") == "true":
            print("services: CI=true, nothing may be missing", flush=True)
            return 1
        child = subprocess.Popen(command, env={**os.environ, **found})
        try:
            return child.wait()
        except BaseException:  # Ctrl-C or SIGTERM: the command ends before its servers do
            child.terminate()
            child.wait(30)
            raise


def status() -> int:
    """Print what runs now; start nothing."""
    for service in SERVICES:
        print(f"{service.name}: {find(service) or 'not running on its standard port'}")
    print(f"chromium: {find_chromium() or 'not installed'}")
    print(f"sshd: {find_sshd() or 'not installed'}")
    return 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="servers for the integration tests")
    commands = parser.add_subparsers(dest="action", required=True)
    commands.add_parser("run").add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    commands.add_parser("status")
    arguments = parser.parse_args()
    if arguments.action == "status":
        return status()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    return run(command) if command else parser.error("say what to run: run -- COMMAND")


if __name__ == "__main__":
    sys.exit(main())
