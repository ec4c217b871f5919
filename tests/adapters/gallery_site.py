"""The example ``docs/examples/flask_gallery``: in this process, and as processes of its own."""

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

FOLDER = ROOT / "docs" / "examples" / "flask_gallery"
_OURS = ("FLASK_", "EASYIMG_", "GALLERY_", "DATABASE_URL", "BROKER_URL", "STATUS_TOKEN", "PORT")


def load() -> ModuleType:
    """Return the example's module, anew."""
    spec = importlib.util.spec_from_file_location("gallery_example", FOLDER / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where Flask looks for the folder of templates
    spec.loader.exec_module(module)
    return module


class Gallery:
    """The example's processes, with their data in a folder.

    Args:
        folder: an empty one.
        **variables: of the environment.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._env |= {"PYTHONPATH": str(ROOT), "GALLERY_DATA": str(folder), "PORT": str(self.port), **variables}

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

    def flask(self, *arguments: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        """Run a command of Flask's on the example."""
        return self.running("-m", "flask", "--app", str(FOLDER / "gallery.py"), *arguments)

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Make the table and serve the example, without workers."""
        with self.flask("init-db") as process:
            assert process.wait(60) == 0, self.log
        with self.flask("run", "--port", str(self.port)) as process:
            self.await_answer(process)
            yield

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
