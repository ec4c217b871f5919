"""A Django project in a folder of its own, and the processes that work on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from easyimg.testing import images
from tests.adapters.django_site import database_settings
from tests.queues.sites import ROOT, until

MANAGE = """
import os, sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""

SETTINGS = """
import sys

try:
    import pymysql
    pymysql.install_as_MySQLdb()
except ImportError:
    pass

for name, value in {values!r}.items():
    setattr(sys.modules[__name__], name, value)
"""


class Project:
    """A project with easyimg and migrated tables, its pictures below ``media``.

    Args:
        folder: an empty one.
        database: URL; None = an SQLite file.
        migrated: make the tables.
        settings: further ones, or others; ``EASYIMG`` is empty otherwise.
    """

    def __init__(self, folder: Path, database: str | None = None, *, migrated: bool = True, **settings: Any) -> None:
        self.folder = folder
        self.media = folder / "media"
        self.media.mkdir()
        self.database = database or f"sqlite:///{folder / 'site.db'}"
        (folder / "manage.py").write_text(MANAGE)
        self.write_settings(**settings)
        if migrated:
            done = self.manage("migrate", "--verbosity", "0")
            assert done.returncode == 0, done.stderr

    def write_settings(self, **settings: Any) -> None:
        """Write the settings anew."""
        values = {
            "SECRET_KEY": "of no site, but long enough and with enough different characters: 0123456789",
            "INSTALLED_APPS": ["easyimg_django"],
            "DATABASES": {"default": database_settings(self.database)},
            "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
            "ALLOWED_HOSTS": ["*"],
            "MEDIA_ROOT": str(self.media),
            "MEDIA_URL": "/media/",
            "TIME_ZONE": "UTC",
            "USE_TZ": True,
            "EASYIMG": {},
            **settings,
        }
        (self.folder / "site_settings.py").write_text(SETTINGS.format(values=values))

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of its processes; another Django that ours imports is theirs as well."""
        path = [*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "DJANGO_SETTINGS_MODULE": "site_settings"}

    def put(self, *names: str, data: bytes | None = None) -> None:
        """Store small pictures."""
        for name in names:
            path = self.media / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.photo(160, 120) if data is None else data)

    def manage(self, *words: str, python: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py`` to its end, from another folder than its own."""
        return self.run(*python, str(self.folder / "manage.py"), *words, folder="/", **env)

    def run(self, *command: str, folder: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Run Python on the project to its end."""
        return subprocess.run(
            [sys.executable, *command],
            cwd=folder or self.folder,
            env={**self.environment, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *words: str, folder: str | None = None, **env: str) -> subprocess.Popen[str]:
        """Start ``manage.py``; its output goes to the file ``log``."""
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, str(self.folder / "manage.py"), *words],
                cwd=folder or self.folder,
                env={**self.environment, **env},
                stdout=log,
                stderr=log,
                text=True,
            )

    @contextmanager
    def started(self, *words: str, **options: str) -> Iterator[subprocess.Popen[str]]:
        """Start ``manage.py``, and end it with SIGTERM."""
        process = self.start(*words, **options)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)

    @property
    def log(self) -> str:
        """What started processes said."""
        return (self.folder / "log").read_text()

    def order(self, *names: str) -> None:
        """Order two variants of each, ringing as a page does."""
        done = self.manage("easyimg", "queue", *names, "width=40", "densities=[2]")
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        """Return the counts."""
        done = self.manage("easyimg", "status", "--format", "json")
        assert done.returncode == 0, done.stderr
        counts: dict[str, Any] = json.loads(done.stdout)["counts"]
        return counts

    @property
    def files(self) -> list[Path]:
        """The variants' files."""
        return sorted((self.media / "img").glob("*.*")) if (self.media / "img").is_dir() else []

    def wait_for_files(self, count: int, seconds: float = 90.0) -> None:
        """Wait until there are so many variants."""
        until(lambda: len(self.files) >= count, seconds)
