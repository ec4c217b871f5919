"""``flask easyimg ...``: by Flask's runner, and as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from flask.cli import FlaskGroup

from easyimg import EasyImg, Img, Source
from easyimg.cli import COMMANDS
from easyimg.existing import queue_pictures
from easyimg.testing import images
from tests.adapters.flask_site import core_of, make_app
from tests.queues.sites import ROOT, until

SITE = """\
from flask import Flask, render_template_string
from easyimg_flask import EasyImg

media = EasyImg()


def create_app(metadata="rows.db"):
    app = Flask(__name__)
    app.config.update(
        EASYIMG_STORAGES={"default": "file://media"}, EASYIMG_METADATA="sqlite:///" + metadata,
        EASYIMG_QUEUE="none", EASYIMG_ISOLATION="never",
    )
    media.init_app(app)
    app.get("/")(lambda: render_template_string('{{ img("shoe.jpg", width=30, alt="") }}'))
    return app
"""


class Site:
    """A folder with the module ``shop`` and a picture; Flask's command in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "media").mkdir()
        (folder / "media" / "shoe.jpg").write_bytes(images.photo(60, 40))
        (folder / "shop.py").write_text(SITE)
        self.core = EasyImg(storages=f"file://{folder}/media", metadata=f"sqlite:///{folder}/rows.db", queue="none")

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "EASYIMG_"))}
        return subprocess.Popen(
            [sys.executable, "-m", "flask", *arguments],
            cwd=self.folder,
            env={**clean, "PYTHONPATH": str(ROOT), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, **env: str) -> str:
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, out + err
        return out if code == 0 else err

    def order(self) -> None:
        """Queue the picture's three variants."""
        assert queue_pictures(self.core, Img(width=30).plan, [Source("default", "shoe.jpg")]) == 1

    def generated(self) -> int:
        """Return how many variants are built."""
        return self.core.metadata.counts(stale_after=60).generated


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.core.close()


@pytest.mark.slow
def test_commands_of_an_application_that_a_factory_makes(site):
    site.order()
    assert "Built 3 variants of 1 source" in site.run("--app", "shop:create_app('rows.db')", "easyimg", "build")
    assert "BUILT" in site.run("easyimg", "inspect", "shoe.jpg", "--format=plain", FLASK_APP="shop")


@pytest.mark.slow
def test_the_processes_of_a_worker_find_the_application_again(site):
    site.order()
    worker = site.start("--app", "shop.py:create_app('rows.db')", "easyimg", "worker", "--processes=1")
    try:
        until(lambda: site.generated() == 3, 60)
    finally:
        worker.send_signal(signal.SIGTERM)
        _, err = worker.communicate(timeout=20)
    assert worker.returncode == 0, err
    assert "Traceback" not in err
    assert "the worker starts" in err


@pytest.mark.slow
def test_a_worker_of_an_application_without_the_extension_ends_with_one_line(site):
    (site.folder / "app.py").write_text("from flask import Flask\napp = Flask('plain')\n")
    code = "import easyimg_flask.cli, easyimg.worker, sys; sys.exit(easyimg.worker.main(['--app', sys.argv[1]]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "easyimg_flask.cli:find_core"],
        cwd=site.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FLASK_APP": "app"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "Error: easyimg: EasyImg().init_app(app) was not called for 'plain'\n")


def test_every_command_but_the_demo_is_there(tmp_path):
    app = make_app(tmp_path)
    shown = app.test_cli_runner().invoke(args=["easyimg", "--help"])
    assert shown.exit_code == 0
    for command in COMMANDS:
        assert (f"\n  {command.name} " in shown.output) == (command.name != "demo")
    assert "Look after the variants" in app.test_cli_runner().invoke(args=["--help"]).output


def test_commands_work_on_the_application_they_are_asked_of(tmp_path):
    apps = [make_app(tmp_path / name, name=name) for name in ("one", "two")]
    for app, width in zip(apps, ("width=30", "width=31"), strict=True):
        assert app.test_cli_runner().invoke(args=["easyimg", "queue", "/", width]).exit_code == 0
    built = apps[0].test_cli_runner().invoke(args=["easyimg", "build"])
    assert "Built 3 variants of 1 source" in built.output
    counts = [
        json.loads(app.test_cli_runner().invoke(args=["easyimg", "status", "--format", "json"]).output)["counts"]
        for app in apps
    ]
    assert [(c["generated"], c["queued"]) for c in counts] == [(3, 0), (0, 3)]


def test_suggestions_are_commands_of_flask(tmp_path):
    app = make_app(tmp_path)
    run = app.test_cli_runner().invoke
    run(args=["easyimg", "queue", "shoe.jpg", "width=30"])
    assert "flask easyimg build" in run(args=["easyimg", "status", "--format", "plain"]).output
    run(args=["easyimg", "build"])
    for file in (tmp_path / "media" / "img").iterdir():
        file.unlink()
    checked = run(args=["easyimg", "check"])
    assert checked.exit_code == 1
    assert "Try: flask easyimg check --fix" in checked.output


def test_what_is_wrong_is_one_line_and_an_exit_code(tmp_path):
    app = make_app(tmp_path, EASYIMG_METADATA=f"sqlite:///{tmp_path}/absent/rows.db")
    failed = app.test_cli_runner().invoke(args=["easyimg", "status"])
    assert failed.exit_code == 2
    assert "Error: metadata: " in failed.output
    assert "Traceback" not in failed.output
    assert app.test_cli_runner().invoke(args=["easyimg", "satus"]).exit_code == 2


def test_a_command_line_of_the_site_s_own_says_what_a_worker_needs(tmp_path, monkeypatch):
    monkeypatch.delenv("FLASK_APP", raising=False)
    app = make_app(tmp_path)
    group = FlaskGroup(create_app=lambda: app)
    failed = app.test_cli_runner().invoke(group, ["easyimg", "worker"])
    assert failed.exit_code == 2
    assert "Error: worker: set FLASK_APP" in failed.output


def test_the_application_can_be_used_after_a_command(tmp_path):
    app = make_app(tmp_path)
    app.test_cli_runner().invoke(args=["easyimg", "status"])
    assert core_of(app).metadata.counts(stale_after=0).sources == 0
    core_of(app).close()


def test_an_application_without_the_extension_has_no_commands():
    failed = Flask("plain").test_cli_runner().invoke(args=["easyimg", "status"])
    assert failed.exit_code == 2
    assert "No such command 'easyimg'" in failed.output
