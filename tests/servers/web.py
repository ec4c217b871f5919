"""Sites behind real web servers: their folder, their processes, what they have built, and what they leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from easyimg import EasyImg, Source
from easyimg.testing.queues import assert_built, statuses, upload, wait_until_settled
from easyimg.variant import VariantStatus
from tests.queues.sites import ROOT, alive, free_port, until

AT_ONCE = 15.0
"""Seconds a page may take on a busy machine, imports included; the builds beside it are held for longer than that."""

PARTS = """\
import os, time
from easyimg.signals import img_built
from easyimg.storages.fsspec import FsspecStorage

FOLDER = {folder!r}


class Held(FsspecStorage):
    '''Names held/... cannot be read while there is a file called "hold".'''

    def read(self, name, max_bytes=None):
        while name.startswith("held/") and os.path.exists(FOLDER + "/hold"):
            time.sleep(0.02)
        return super().read(name, max_bytes)


@img_built.connect
def note(sender, built, **told):
    with open(FOLDER + "/built", "a") as log:
        log.write(f"{{built.key}} {{os.getpid()}}\\n")


settings = {{
    "storages": {{"default": Held(f"file://{{FOLDER}}/media", base_url="/media/")}}, "queue": "thread", **{options!r}
}}
"""


class WebSite:
    """A folder with pictures, rows, a module ``site_parts`` with settings, and a module of the server's own.

    Args:
        folder: an empty one.
        module: text of the module ``site_web``.
        options: further settings.
    """

    def __init__(self, folder: Path, module: str = "", **options: Any) -> None:
        self.folder = folder
        options = {"metadata": f"sqlite:///{folder}/rows.db", "sweep_seconds": 0.5, "lease_seconds": 5.0, **options}
        (folder / "site_parts.py").write_text(PARTS.format(folder=str(folder), options=options))
        self.module = folder / "site_web.py"
        self.module.write_text(module)
        self.app = EasyImg(storages={"default": f"file://{folder}/media"}, queue="none", **options)
        self.port = free_port()
        self.sources: list[Source] = []

    def upload(self, *names: str) -> None:
        """Store small pictures."""
        self.sources += [upload(self.app, name) for name in names]

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start Python with the site on its path, in a process group of its own; it speaks to the file ``log``."""
        path = os.pathsep.join([str(self.folder), str(ROOT)])
        env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env=env,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    @contextlib.contextmanager
    def served(self, *command: str) -> Iterator[Served]:
        """Run a web server until the end of the block, if not before, then check that nothing of it is left."""
        process = self.start(*command)
        server = Served(self, process)
        try:
            until(lambda: process.poll() is not None or server.answers(), 60)
            assert process.poll() is None, self.log
            yield server
            server.signal()
            server.await_end()
        finally:
            self.end()
            process.wait()

    def end(self) -> None:
        """Kill what a failed test left, and close."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.app.close()

    @property
    def log(self) -> str:
        """What its processes said."""
        return (self.folder / "log").read_text()

    def processes(self) -> dict[int, str]:
        """Return pid -> command of every process of this site, found by its folder in their environment (Linux)."""
        found = {}
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if os.fsencode(self.folder) in environ.read_bytes() and alive(pid := int(environ.parent.name)):
                    found[pid] = (environ.parent / "cmdline").read_text().replace("\0", " ")
        return found

    def built(self) -> Counter[str]:
        """Return how often each variant was built."""
        log = self.folder / "built"
        return Counter(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else Counter()

    def builders(self) -> set[int]:
        """Return the processes that built something."""
        return {int(line.split()[1]) for line in (self.folder / "built").read_text().splitlines()}

    def hold(self) -> None:
        """Let builds of pictures in ``held/`` come no further than reading them."""
        (self.folder / "hold").touch()

    def let_go(self) -> None:
        """Let them go on."""
        (self.folder / "hold").unlink()

    def building(self) -> bool:
        """Return whether something is claimed now."""
        return self.app.metadata.counts(stale_after=60).building > 0

    def assert_built(self, name: str) -> None:
        """Wait until a picture is built."""
        source = next(source for source in self.sources if source.name == name)
        until(lambda: (found := self.app.metadata.inspect(source)) and found.variants)
        until(lambda: set(statuses(self.app, source)) == {VariantStatus.BUILT})

    def assert_all_built(self) -> None:
        """Wait until nothing is owed; then every variant is BUILT, its file is there, and none was built twice."""
        wait_until_settled(self.app)
        assert_built(self.app, *self.sources)
        details = [self.app.metadata.inspect(source) for source in self.sources]
        keys = {variant.key for detail in details if detail for variant in detail.variants}
        assert len(keys) >= len(self.sources)
        # Published, then told: the last line may be a moment behind the row.
        until(lambda: set(self.built()) == keys)
        assert set(self.built().values()) == {1}


class Served:
    """A running web server of a site."""

    def __init__(self, site: WebSite, process: subprocess.Popen[str]) -> None:
        self.site = site
        self.process = process

    def answers(self) -> bool:
        """Return whether it serves already."""
        try:
            self.get("/")
        except OSError:
            return False
        return True

    def get(self, path: str) -> str:
        """Return a page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.site.port}{path}", timeout=20) as answer:
            return str(answer.read().decode())

    def page(self, *names: str) -> str:
        """Return a page with these pictures, which must come at once whatever is being built."""
        started = time.monotonic()
        html = self.get("/" + ",".join(names))
        seconds = time.monotonic() - started
        assert html.count("<img") == len(names)
        assert seconds < AT_ONCE, f"the page took {seconds:.1f} s"
        return html

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask the server to stop; Ctrl-C goes to all processes of a terminal."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if number == signal.SIGINT else os.kill)(self.process.pid, number)

    def await_end(self, seconds: float = 40.0) -> None:
        """See that the server, its workers and their children are gone."""
        deadline = time.monotonic() + seconds
        self.process.wait(seconds)
        until(lambda: not self.site.processes(), max(0.1, deadline - time.monotonic()))
