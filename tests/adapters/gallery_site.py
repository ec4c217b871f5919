"""The galleries of ``docs/examples``: in this process, and as processes of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.queues.sites import ROOT, free_port, until

EXAMPLES = ROOT / "docs" / "examples"
FRAMEWORKS = ["flask", "fastapi"]
_OURS = ("FLASK_", "EASYIMG_", "GALLERY_", "DATABASE_URL", "BROKER_URL", "QUEUE_NAME", "STATUS_TOKEN", "PORT")


def load(framework: str) -> ModuleType:
    """Return an example's module, anew."""
    path = EXAMPLES / f"{framework}_gallery" / "gallery.py"
    spec = importlib.util.spec_from_file_location(f"{framework}_gallery_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where Flask looks for templates, and FastAPI for what annotations name
    spec.loader.exec_module(module)
    return module


class Gallery:
    """An example's processes, with their data in a folder.

    Args:
        framework: which example.
        folder: an empty one.
        **variables: of the environment.
    """

    def __init__(self, framework: str, folder: Path, **variables: str) -> None:
        self.framework = framework
        self.example = EXAMPLES / f"{framework}_gallery"
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        paths = os.pathsep.join([str(ROOT), str(self.example)])
        self._env |= {"PYTHONPATH": paths, "GALLERY_DATA": str(folder), "PORT": str(self.port), **variables}

    @property
    def log(self) -> str:
        """What its processes said."""
        return (self.folder / "log").read_text()

    @contextlib.contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Run Python with arguments; ends it with SIGTERM, if it has not ended."""
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=self.folder, env=self._env, stdout=log, stderr=log, text=True
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Serve the example, without workers."""
        if self.framework == "flask":
            with self._flask("init-db") as process:
                assert process.wait(60) == 0, self.log
        with self._site() as process:
            self.await_answer(process)
            yield

    def _site(self) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        if self.framework == "flask":
            return self._flask("run", "--port", str(self.port))
        return self.running("-m", "uvicorn", "--factory", "gallery:create_app", "--port", str(self.port))

    def worker(self) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        """Run a worker of one process."""
        if self.framework == "flask":
            return self._flask("easyimg", "worker", "--processes", "1")
        return self.running("-m", "easyimg.worker", "--app", "gallery:make_images", "--processes", "1")

    def _flask(self, *arguments: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        return self.running("-m", "flask", "--app", str(self.example / "gallery.py"), *arguments)

    def await_answer(self, process: subprocess.Popen[str]) -> None:
        """Wait for the first answer."""
        until(lambda: process.poll() is not None or self._answers(), 90)
        assert process.poll() is None, self.log

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=30) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
