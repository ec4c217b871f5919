"""A Flask page of 100 images behind gunicorn: our ``img()`` against the same page with its HTML written by hand.

The application is ``docs/examples/flask_gallery`` with two gunicorn workers of two threads. The floor is another
application behind a gunicorn of its own, with the same query and template, that prints finished HTML where ours calls
``img()``; it knows nothing of easyimg.

- *ratio*: requests a second of ours over those of the floor, in turns, the row cache warm. Goal: at least 0.8. Beside
  it, the same of the processors' time that the servers took for each request, which a machine that is lent out moment
  by moment disturbs less.
- *load*: our page is asked for without a pause, and a visitor uploads a picture each second, while a worker builds 500
  variants of other pictures and its broker is killed and started again half-way: the web process orders what is new all
  the time. Goal: no answer but 200 (303 to an upload), no connection refused or cut, and everything built.

``wrk`` asks where it is installed (Debian: apt install wrk), else a client in Python, which takes more of the machine:
it slows both pages down, and so brings the ratio nearer to 1. The broker is a Redis of this script's own.

As a script: ``python -m tests.benchmarks.flask_page [--seconds N] [--load N] [--rounds N] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
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

from werkzeug.test import EnvironBuilder

from easyimg import EasyImg, Img, Source
from easyimg.existing import queue_pictures
from easyimg.testing import images
from tests.adapters.gallery_site import EXAMPLES
from tests.faults.servers import Server
from tests.queues.sites import ROOT, children, free_port, until

IMAGES: Final = 100
BESIDE: Final = 250
"""Pictures with two variants each that a worker builds under load."""

CLIENTS: Final = 4

UPLOAD_PAUSE: Final = 1.0
"""Seconds between two uploads under load."""

CALL: Final = '{{ img(photo.picture, "card", alt=photo.title) }}'

SITE: Final = """\
import sys
sys.path.insert(0, {gallery!r})
import gallery

app = gallery.create_app()
"""

FLOOR: Final = """\
import json
from pathlib import Path

import sqlalchemy
from flask import Flask, make_response, render_template

HERE = Path(__file__).parent
by_hand = json.loads((HERE / "by_hand.json").read_text())
engine = sqlalchemy.create_engine(f"sqlite:///{HERE}/gallery.db")
photos = sqlalchemy.Table(
    "photo",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("title", sqlalchemy.String(200), nullable=False),
    sqlalchemy.Column("picture", sqlalchemy.String(1024), nullable=False),
)
app = Flask(__name__, template_folder=HERE / "floor", static_folder=None)
app.add_url_rule("/static/<path:filename>", "static", lambda filename: "")
app.add_url_rule("/photos/<int:number>", "detail", lambda number: "")
app.add_url_rule("/photos", "upload", lambda: "", methods=["POST"])


@app.get("/")
def list():
    with engine.connect() as connection:
        found = connection.execute(photos.select().order_by(photos.c.id.desc()).limit(100)).all()
    answer = make_response(render_template("list.html", photos=found, refused="", by_hand=by_hand))
    answer.headers["Cache-Control"] = "public, max-age=0, s-maxage=60"
    return answer
"""


class Asked(NamedTuple):
    """What came of asking for a page again and again: requests a second, and how many went wrong."""

    per_second: float
    errors: int
    answers: int = 0


class Served(NamedTuple):
    """A page: its URL, and the process that serves it with its children."""

    url: str
    pid: int

    def ask(self, seconds: float) -> tuple[Asked, float]:
        """Ask for so long; return as well the CPU milliseconds that each answer took."""
        before = self._cpu()
        asked = ask(self.url, seconds)
        return asked, (self._cpu() - before) / max(1, asked.answers) * 1e3

    def _cpu(self) -> float:
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in children(self.pid)]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


class Site:
    """The gallery behind gunicorn, its data in a folder."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.floor_port = free_port()
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "EASYIMG_"))},
            "GALLERY_DATA": str(folder),
            "BROKER_URL": broker,
            "FLASK_APP": "bench_site:app",
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        }
        self.env.pop("DATABASE_URL", None)
        example = EXAMPLES / "flask_gallery"
        (folder / "bench_site.py").write_text(SITE.format(gallery=str(example)))
        (folder / "bench_floor.py").write_text(FLOOR)
        shutil.copytree(example / "templates", folder / "floor")
        template = (folder / "floor" / "list.html").read_text()
        assert CALL in template
        (folder / "floor" / "list.html").write_text(template.replace(CALL, "{{ by_hand[photo.picture]|safe }}"))
        self.app = EasyImg(
            storages=f"file://{folder}/media", metadata=f"sqlite:///{folder}/gallery.db", queue=broker,
            isolation="never",
        )  # fmt: skip

    @property
    def url(self) -> str:
        """Of our page."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def floor_url(self) -> str:
        """Of the page written by hand."""
        return f"http://127.0.0.1:{self.floor_port}/"

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
        by_hand = (
            "import bench_site as site, json\n"
            "with site.app.test_request_context():\n"
            "    with site.gallery.database().connect() as connection:\n"
            "        photos = connection.execute(site.gallery.photos.select()).all()\n"
            f"    call = site.app.jinja_env.from_string({CALL!r})\n"
            "    html = {photo.picture: str(call.render(photo=photo)) for photo in photos}\n"
            "open('by_hand.json', 'w').write(json.dumps(html))\n"
        )
        self.run("-c", by_hand)

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
    def served(self) -> Iterator[dict[str, Served]]:
        """Serve both pages."""
        with (
            self._gunicorn("bench_floor:app", self.floor_port) as floor,
            self._gunicorn("bench_site:app", self.port) as ours,
        ):
            yield {"floor": Served(self.floor_url, floor), "img()": Served(self.url, ours)}

    @contextlib.contextmanager
    def _gunicorn(self, app: str, port: int) -> Iterator[int]:
        options = ("--workers=2", "--worker-class=gthread", "--threads=2", f"--bind=127.0.0.1:{port}")
        with self.process("-m", "gunicorn", *options, app) as server:
            until(lambda: server.poll() is not None or _answers(f"http://127.0.0.1:{port}/"), 60)
            if server.poll() is not None:
                raise SystemExit((self.folder / "log").read_text())
            yield server.pid


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def _answers(url: str) -> bool:
    try:
        return bool(get(url))
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
    answers = re.search(r"(\d+) requests in", said)
    return Asked(float(rate[1]), errors + (int(codes[1]) if codes else 0), int(answers[1]) if answers else 0)


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
    good = sum(good for good, _ in counts)
    return Asked(good / took, sum(bad for _, bad in counts), good)


def _client(host: str, path: str, end: float, count: list[int]) -> None:
    """Ask on one connection; count good answers and errors, such as a connection that the server ended."""
    connection = http.client.HTTPConnection(host, timeout=30)
    while time.monotonic() < end:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            count[answer.status != 200] += 1
        except (OSError, http.client.HTTPException):
            count[1] += 1
            connection.close()
    connection.close()


def compare(site: Site, pages: dict[str, Served], rounds: int, seconds: float) -> dict[str, Any]:
    """Return requests a second of both pages, in turns, and the ratios."""
    if get(site.url).replace("\n", "") != get(site.floor_url).replace("\n", ""):
        raise SystemExit("the floor is another page")
    if get(site.url).count("/media/img/") != 3 * IMAGES:
        raise SystemExit("the page is not built")
    for page in pages.values():
        page.ask(1)
    turn = list(pages.items())
    found: dict[str, list[tuple[Asked, float]]] = {name: [] for name in pages}
    for _ in range(rounds):
        for name, page in turn:
            found[name].append(page.ask(seconds))
        turn.reverse()  # the second of a pair may find less left of its share of the machine
    result: dict[str, Any] = {"errors": sum(asked.errors for both in found.values() for asked, _ in both)}
    for name, both in found.items():
        result[name] = statistics.median(asked.per_second for asked, _ in both)
        result[f"{name} CPU ms"] = statistics.median(cpu for _, cpu in both)
    pairs = list(zip(found["floor"], found["img()"], strict=True))
    result["ratio"] = statistics.median(ours.per_second / floor.per_second for (floor, _), (ours, _) in pairs)
    result["CPU ratio"] = statistics.median(floor / ours for (_, floor), (_, ours) in pairs)
    return result


class Uploads(threading.Thread):
    """A visitor who uploads a picture each second: the page shows it, and the web process orders its variants."""

    def __init__(self, site: Site, seconds: float) -> None:
        super().__init__()
        self._url = f"{site.url}photos"
        self._seconds = seconds
        self.done = 0
        self.errors = 0

    def run(self) -> None:
        file = {"title": "New", "picture": (io.BytesIO(images.photo(900, 700)), "new.jpg")}
        form = EnvironBuilder(method="POST", data=file).get_request()
        body, headers = form.get_data(), {"Content-Type": str(form.content_type)}
        end = time.monotonic() + self._seconds
        while time.monotonic() < end:
            try:
                # It follows the redirection to the page, which orders the new picture.
                with urllib.request.urlopen(urllib.request.Request(self._url, body, headers), timeout=30) as answer:
                    answer.read()
                self.done += 1
            except (OSError, http.client.HTTPException):
                self.errors += 1
            time.sleep(UPLOAD_PAUSE)


def under_load(site: Site, broker: Server, seconds: float) -> dict[str, Any]:
    """Return what came of asking for our page while a worker builds and its broker is killed and started again."""
    before = site.app.metadata.counts(stale_after=60).generated
    data, img = images.photo(900, 700), Img(app=site.app, width=300, densities=[])
    storage = site.app.storage("default")
    sources = [Source("default", f"beside/{number}.jpg") for number in range(BESIDE)]
    for source in sources:
        storage.write(source.name, data, "image/jpeg")
    done: list[Asked] = []
    asking = threading.Thread(target=lambda: done.append(ask(site.url, seconds)))
    uploads = Uploads(site, seconds)
    started = time.monotonic()
    with site.process("-m", "flask", "easyimg", "worker", "--processes=1"):
        asking.start()
        uploads.start()
        queue_pictures(site.app, img.plan, sources)
        time.sleep(seconds / 3)
        broker.kill()
        time.sleep(min(3.0, seconds / 6))
        broker.again()
        asking.join()
        uploads.join()
        expected = before + 2 * BESIDE + 3 * uploads.done
        with contextlib.suppress(AssertionError, TimeoutError):  # what is missing is told below
            until(lambda: site.app.metadata.counts(stale_after=60).generated >= expected, 300)
        built_after = time.monotonic() - started
    counts = site.app.metadata.counts(stale_after=60)
    return {
        "per_second": done[0].per_second,
        "errors": done[0].errors + uploads.errors,
        "uploads": uploads.done,
        "built": counts.generated - before,
        "expected": expected - before,
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
            with site.served() as pages:
                results: dict[str, Any] = {"client": "wrk" if shutil.which("wrk") else "python"}
                results["pages"] = compare(site, pages, chosen.rounds, chosen.seconds)
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
    cpu = [pages[f"{name} CPU ms"] for name in ("floor", "img()")]
    print(f"CPU of a request: floor {cpu[0]:.2f} ms, img() {cpu[1]:.2f} ms, ratio {pages['CPU ratio']:.3f}")
    if load := results.get("load"):
        met = load["errors"] == load["failed"] == 0 and load["built"] == load["expected"]
        print(
            f"{'met   ' if met else 'MISSED'} load: {load['errors']} errors at {load['per_second']:.0f}/s and "
            f"{load['uploads']} uploads; {load['built']} of {load['expected']} variants built after "
            f"{load['built_after']:.0f} s, {load['failed']} failed"
        )


if __name__ == "__main__":
    main()
