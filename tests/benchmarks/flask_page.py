"""A Flask page of 100 images behind gunicorn: our ``img()`` against the same page with its HTML written by hand.

The application is ``docs/examples/flask_gallery`` with two gunicorn workers of two threads. Both pages come from the
same view function, query and template, which for the floor prints finished HTML where ours calls ``img()``.

- *ratio*: requests a second of ours over those of the floor, in turns, the row cache warm. Goal: at least 0.8.
- *load*: our page is asked for without a pause while a worker builds 500 variants of other pictures and its broker is
  killed and started again half-way. Goal: no answer but 200, no connection refused, and all 500 built.

``wrk`` asks where it is installed (Debian: apt install wrk), else a client in Python, which takes more of the machine.
The broker is a Redis of this script's own.

As a script: ``python -m tests.benchmarks.flask_page [--seconds N] [--load N] [--rounds N] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from easyimg import EasyImg, Img, Source
from easyimg.existing import queue_pictures
from easyimg.testing import images
from tests.adapters.gallery_site import EXAMPLES
from tests.faults.servers import Server
from tests.queues.sites import ROOT, free_port, until

IMAGES: Final = 100
BESIDE: Final = 250
"""Pictures with two variants each that a worker builds under load."""

CLIENTS: Final = 4

SITE: Final = """\
import sys
sys.path.insert(0, {gallery!r})
import gallery
from flask import render_template
from pathlib import Path

app = gallery.create_app()
TEMPLATE = (Path(gallery.__file__).parent / "templates/list.html").read_text()
CALL = '{{{{ img(photo.picture, "card", alt=photo.title) }}}}'
assert CALL in TEMPLATE
FLOOR = app.jinja_env.from_string(TEMPLATE.replace(CALL, "{{{{ by_hand[photo.picture]|safe }}}}"))
by_hand = {{}}


@app.get("/floor")
def floor():
    with gallery.database().connect() as connection:
        query = gallery.photos.select().order_by(gallery.photos.c.id.desc()).limit(gallery.PER_PAGE)
        photos = connection.execute(query).all()
    if not by_hand:
        make = app.jinja_env.from_string(CALL)
        by_hand.update({{photo.picture: make.render(photo=photo) for photo in photos}})
    answer = gallery.make_response(render_template(FLOOR, photos=photos, by_hand=by_hand))
    answer.headers["Cache-Control"] = "public, max-age=0, s-maxage=60"
    return answer
"""


class Asked(NamedTuple):
    """What came of asking for a page again and again: requests a second, and how many went wrong."""

    per_second: float
    errors: int


class Site:
    """The gallery behind gunicorn, its data in a folder."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "EASYIMG_"))},
            "GALLERY_DATA": str(folder),
            "BROKER_URL": broker,
            "FLASK_APP": "bench_site:app",
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        }
        self.env.pop("DATABASE_URL", None)
        (folder / "bench_site.py").write_text(SITE.format(gallery=str(EXAMPLES / "flask_gallery")))
        self.app = EasyImg(
            storages=f"file://{folder}/media", metadata=f"sqlite:///{folder}/gallery.db", queue=broker,
            isolation="never",
        )  # fmt: skip

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url(path), timeout=60) as answer:
            return str(answer.read().decode())

    def prepare(self) -> None:
        """Store the pictures of the page, their rows in both tables, and their files."""
        self.flask("init-db")
        script = (
            "import bench_site as site, easyimg.testing.images as images\n"
            "gallery, data = site.gallery, images.photo(900, 700)\n"
            "with site.app.app_context():\n"
            f"    sources = [gallery.media.core.save_upload(data, prefix='photos/') for _ in range({IMAGES})]\n"
            "    rows = [{'title': f'Picture <{n}>', 'picture': s.name} for n, s in enumerate(sources)]\n"
            "    with gallery.database().begin() as connection:\n"
            "        connection.execute(gallery.photos.insert(), rows)\n"
            "with site.app.test_request_context():\n"
            "    gallery.list_photos()\n"
        )
        self.run("-c", script)
        self.flask("easyimg", "build")

    def run(self, *command: str) -> None:
        subprocess.run([sys.executable, *command], cwd=self.folder, env=self.env, check=True, stdout=subprocess.DEVNULL)

    def flask(self, *arguments: str) -> None:
        self.run("-m", "flask", *arguments)

    @contextlib.contextmanager
    def process(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=self.folder, env=self.env, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        command = (
            "-m",
            "gunicorn",
            "--workers=2",
            "--worker-class=gthread",
            "--threads=2",
            f"--bind=127.0.0.1:{self.port}",
        )
        with self.process(*command, "bench_site:app") as server:
            until(lambda: server.poll() is not None or self._answers(), 60)
            if server.poll() is not None:
                raise SystemExit((self.folder / "log").read_text())
            yield

    def _answers(self) -> bool:
        try:
            return bool(self.get("/"))
        except OSError:
            return False


def ask(url: str, seconds: float) -> Asked:
    """Ask for a page with some connections for so long."""
    return _ask_with_wrk(url, seconds) if shutil.which("wrk") else _ask_with_python(url, seconds)


def _ask_with_wrk(url: str, seconds: float) -> Asked:
    command = [
        "wrk",
        "--threads=1",
        f"--connections={CLIENTS}",
        f"--duration={max(1, round(seconds))}s",
        "--timeout=30s",
        url,
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if rate is None:
        raise SystemExit(said)
    socket_errors = re.search(r"Socket errors: (.*)", said)
    codes = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    errors = sum(map(int, re.findall(r"\d+", socket_errors[1]))) if socket_errors else 0
    return Asked(float(rate[1]), errors + (int(codes[1]) if codes else 0))


def _ask_with_python(url: str, seconds: float) -> Asked:
    host, _, path = url.removeprefix("http://").partition("/")
    counts = [[0, 0] for _ in range(CLIENTS)]
    started = time.monotonic()
    threads = [threading.Thread(target=_client, args=(host, f"/{path}", started + seconds, count)) for count in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - started
    return Asked(sum(good for good, _ in counts) / took, sum(bad for _, bad in counts))


def _client(host: str, path: str, end: float, count: list[int]) -> None:
    """Ask on one connection; count good answers and errors. A connection that the server ended while idle is none."""
    connection = http.client.HTTPConnection(host, timeout=30)
    while time.monotonic() < end:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            count[answer.status != 200] += 1
        except http.client.RemoteDisconnected:
            connection.close()
        except (OSError, http.client.HTTPException):
            count[1] += 1
            connection.close()
    connection.close()


def compare(site: Site, rounds: int, seconds: float) -> dict[str, Any]:
    """Return requests a second of both pages, in turns, and the ratio."""
    if site.get("/").replace("\n", "") != site.get("/floor").replace("\n", ""):
        raise SystemExit("the floor is another page")
    if site.get("/").count("/media/img/") != 3 * IMAGES:
        raise SystemExit("the page is not built")
    pages = {"floor": "/floor", "img()": "/"}
    found: dict[str, list[Asked]] = {name: [] for name in pages}
    for path in pages.values():
        ask(site.url(path), 1)
    for _ in range(rounds):
        for name, path in pages.items():
            found[name].append(ask(site.url(path), seconds))
    rates = {name: statistics.median(one.per_second for one in asked) for name, asked in found.items()}
    ratios = [ours.per_second / floor.per_second for ours, floor in zip(found["img()"], found["floor"], strict=True)]
    errors = sum(one.errors for asked in found.values() for one in asked)
    return {**rates, "ratio": statistics.median(ratios), "errors": errors}


def under_load(site: Site, broker: Server, seconds: float) -> dict[str, Any]:
    """Return what came of asking for our page while a worker builds and its broker is killed and started again."""
    before = site.app.metadata.counts(stale_after=60).generated
    data, img = images.photo(900, 700), Img(app=site.app, width=300, densities=[])
    storage = site.app.storage("default")
    sources = [Source("default", f"beside/{number}.jpg") for number in range(BESIDE)]
    for source in sources:
        storage.write(source.name, data, "image/jpeg")
    done: list[Asked] = []
    asking = threading.Thread(target=lambda: done.append(ask(site.url("/"), seconds)))
    started = time.monotonic()
    with site.process("-m", "flask", "easyimg", "worker", "--processes=1"):
        asking.start()
        queue_pictures(site.app, img.plan, sources)
        time.sleep(seconds / 3)
        broker.kill()
        time.sleep(min(3.0, seconds / 6))
        broker.again()
        until(lambda: site.app.metadata.counts(stale_after=60).generated >= before + 2 * BESIDE, seconds + 300)
        built_after = time.monotonic() - started
        asking.join()
    counts = site.app.metadata.counts(stale_after=60)
    return {
        "per_second": done[0].per_second,
        "errors": done[0].errors,
        "built": counts.generated - before,
        "built_after": built_after,
        "failed": counts.source_errors + counts.build_errors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask for a Flask page of 100 images.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of each round and page")
    parser.add_argument("--load", type=float, default=60, help="seconds under load; 0 = leave it out")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    chosen = parser.parse_args()
    broker = Server("redis")
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), broker.url)
        try:
            site.prepare()
            with site.served():
                results: dict[str, Any] = {"client": "wrk" if shutil.which("wrk") else "python"}
                results["pages"] = compare(site, chosen.rounds, chosen.seconds)
                if chosen.load:
                    results["load"] = under_load(site, broker, chosen.load)
        finally:
            site.app.close()
            broker.stop()
    _print(results)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2) + "\n")


def _print(results: dict[str, Any]) -> None:
    pages = results["pages"]
    print(f"client: {results['client']}, {CLIENTS} connections")
    print(f"floor {pages['floor']:.0f}/s, img() {pages['img()']:.0f}/s, errors {pages['errors']}")
    print(f"{'met   ' if pages['ratio'] >= 0.8 else 'MISSED'} ratio: {pages['ratio']:.3f}, goal at least 0.8")
    if load := results.get("load"):
        met = load["errors"] == load["failed"] == 0 and load["built"] == 2 * BESIDE
        print(
            f"{'met   ' if met else 'MISSED'} load: {load['errors']} errors at {load['per_second']:.0f}/s, "
            f"{load['built']} variants built after {load['built_after']:.0f} s, {load['failed']} failed"
        )


if __name__ == "__main__":
    main()
