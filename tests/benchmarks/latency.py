"""How long after a page has ordered a picture its build starts, on an idle site.

    python -m tests.benchmarks.latency [--orders 200] [--queues thread rabbitmq redis polling] [--json FILE]

Each order is a page with one picture nobody has asked for yet, after a pause of 0.3 to 0.6 seconds in which nothing
happens. From just before the page is rendered until the builder reads the source, which is what it does first after
its claim: both on the system-wide monotonic clock. ``page`` is how long the rendering took, order included. Builders
are real: threads of the page's process, else ``easyimg worker`` with one process of one thread. Rows are in SQLite;
the brokers are those of TEST_REDIS_URL and TEST_RABBITMQ_URL, else on their standard ports.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from easyimg import EasyImg, Img
from easyimg.signals import img_built
from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing.images import photo
from tests import services
from tests.queues.sites import Site, until

QUEUES = ("thread", "rabbitmq", "redis", "polling")
GOALS = {"thread": 5.0, "rabbitmq": 5.0, "redis": 50.0}
"""Milliseconds, of the median."""

SITE = """\
from tests.benchmarks.latency import make_app

app = make_app({folder!r}, **{options!r})
"""


class Telling(FsspecStorage):
    """Files whose reading is told to a socket, with the time it began."""

    def __init__(self, folder: str) -> None:
        super().__init__(f"file://{folder}/media", base_url="/media/")
        self._teller = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listener = f"{folder}/told"

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        self.tell("read", name)
        return super().read(name, max_bytes)

    def tell(self, what: str, name: str) -> None:
        self._teller.sendto(json.dumps([what, name, time.monotonic()]).encode(), self._listener)


def make_app(folder: str, **options: Any) -> EasyImg:
    """Return the site's EasyImg, in the benchmark and in its workers."""
    storage = Telling(folder)
    app = EasyImg(storages={"default": storage}, metadata=f"sqlite:///{folder}/rows.db", **options)
    img_built.connect(lambda **told: storage.tell("built", told["source"].name), sender=app, weak=False)
    return app


class Listener:
    """Hears what ``Telling`` tells."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "told"))
        self._socket.settimeout(60)

    def hear(self, what: str, name: str) -> float:
        """Wait for that to happen to that source, and return when it did."""
        while True:
            told = json.loads(self._socket.recv(65536))
            if told[:2] == [what, name]:
                return float(told[2])

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@contextlib.contextmanager
def running(folder: Path, queue: str) -> Iterator[EasyImg | None]:
    """Lend the EasyImg that pages use, a builder ready beside it; None where the broker does not run."""
    name = f"easyimg_{uuid.uuid4().hex[:12]}"
    setting = BUILT_IN.get(queue) or services.find(services.BY_NAME[queue])
    if setting is None:
        yield None
        return
    options = {"queue": setting, "queue_name": name, "namespace": name}
    site = Site(folder, "none")
    (folder / "site_app.py").write_text(SITE.format(folder=str(folder), options=options))
    with contextlib.ExitStack() as stack:
        app = make_app(str(folder), **options)
        if queue in CLEAN_UP:
            stack.callback(CLEAN_UP[queue], setting, name)
        stack.callback(app.close)
        if queue != "thread":
            stack.enter_context(site.worker("--poll", "1"))
            until(lambda: "crew=" in site.log, 30)
        yield app


def delete_queues(url: str, name: str) -> None:
    """Delete what was declared on RabbitMQ."""
    with contextlib.closing(services.rabbitmq_connection(url)) as connection:
        for suffix in ("", ".DQ", ".XQ"):
            connection.channel().queue_delete(name + suffix)


def delete_keys(url: str, name: str) -> None:
    """Delete what was stored on Redis."""
    import redis

    with contextlib.closing(redis.Redis.from_url(url)) as client:
        for key in client.scan_iter(f"{name}*"):
            client.delete(key)


BUILT_IN = {"thread": "thread", "polling": "none"}
CLEAN_UP = {"rabbitmq": delete_queues, "redis": delete_keys}


def measure(queue: str, orders: int) -> dict[str, Any] | None:
    """Return one queue's figures, milliseconds; None where its broker does not run."""
    with tempfile.TemporaryDirectory() as name, contextlib.closing(Listener(Path(name))) as listener:
        folder = Path(name)
        with running(folder, queue) as app:
            if app is None:
                return None
            picture = photo(320, 240)
            for number in range(-WARM_UP, orders):
                app.storage("default").write(f"{number}.jpg", picture, "image/jpeg")
            taken = [order(app, listener, f"{number}.jpg") for number in range(-WARM_UP, orders)][WARM_UP:]
    starts, pages = zip(*taken, strict=True)
    return {"queue": queue, "orders": orders, **quantiles("", starts), **quantiles("page_", pages)}


WARM_UP = 3
"""Orders that are not counted: they connect, load and start what stays from then on."""


def order(app: EasyImg, listener: Listener, name: str) -> tuple[float, float]:
    """Render a page that orders a picture; return milliseconds until its build began, and until the page was there."""
    time.sleep(random.uniform(0.3, 0.6))
    before = time.monotonic()
    html = Img(width=100, app=app)(name, alt="").as_html()
    rendered = time.monotonic()
    assert "/media/" + name in html, "not built before"
    began = listener.hear("read", name)
    listener.hear("built", name)
    return (began - before) * 1e3, (rendered - before) * 1e3


def quantiles(prefix: str, values: tuple[float, ...]) -> dict[str, float]:
    """Return the median and the 95th of a hundred."""
    return {f"{prefix}p50_ms": statistics.median(values), f"{prefix}p95_ms": statistics.quantiles(values, n=20)[-1]}


def show(f: dict[str, Any]) -> None:
    """Print one queue's line."""
    goal = GOALS.get(f["queue"])
    print(
        f"{f['queue']:<10}{f['orders']:>8}{f['p50_ms']:>11.1f}{f['p95_ms']:>11.1f}"
        f"{'' if goal is None else f'{goal:g}':>8}{f['page_p50_ms']:>12.1f}{f['page_p95_ms']:>12.1f}",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--queues", nargs="+", choices=QUEUES, default=list(QUEUES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    results = []
    print("ms          orders  start p50  start p95    goal    page p50    page p95")
    for queue in options.queues:
        found = measure(queue, options.orders)
        if found is None:
            print(f"{queue}: no server is running")
            continue
        results.append(found)
        show(found)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
