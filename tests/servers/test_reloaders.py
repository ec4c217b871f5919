"""The thread queue under the autoreloaders of Flask and Django: a file changes while a picture is being built."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg
from tests.adapters import django_site
from tests.queues.sites import alive, until
from tests.servers.test_web_servers import FLASK
from tests.servers.web import Served, WebSite

pytestmark = pytest.mark.slow

MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""

SETTINGS = """
from site_parts import settings

SECRET_KEY = "no secret"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_web"
INSTALLED_APPS = ["easyimg_django"]
TEMPLATES = [
    {"BACKEND": "django.template.backends.jinja2.Jinja2", "OPTIONS": {"environment": "site_web.environment"}}
]
EASYIMG = {name.upper(): value for name, value in settings.items()}
"""

OWN_ROWS = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": EASYIMG.pop("METADATA").partition("///")[2]}}
"""

DJANGO = """
import os
from django.http import HttpResponse
from django.template import engines
from django.urls import path
from easyimg.jinja import install
from jinja2 import Environment

PAGE = '{{ pid }}{% for name in names %} {{ img(name, width=30, alt="") }}{% endfor %}'


def environment(**options):
    env = Environment(**options)
    install(env)
    return env


def page(request, names):
    html = engines["jinja2"].from_string(PAGE).render({"names": names.split(","), "pid": os.getpid()})
    return HttpResponse(html)


urlpatterns = [path("", lambda request: HttpResponse("ready")), path("<path:names>", page)]
"""


@pytest.fixture(params=["flask", "django", "django with rows of its own"])
def development(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[WebSite, tuple[str, ...]]]:
    """A site, and the command that serves it and starts again when a file changes."""
    command: tuple[str, ...]
    with contextlib.ExitStack() as stack:
        site = WebSite(tmp_path, FLASK if request.param == "flask" else DJANGO)
        stack.callback(site.end)
        if request.param == "flask":
            command = ("-m", "flask", "--app", "site_web", "run", "--debug", f"--port={site.port}")
        else:
            command = ("manage.py", "runserver", f"127.0.0.1:{site.port}")
            (tmp_path / "manage.py").write_text(MANAGE)
            own = request.param == "django with rows of its own"
            (tmp_path / "site_settings.py").write_text(SETTINGS + OWN_ROWS if own else SETTINGS)
            if own:
                rows = stack.enter_context(django_site.database("reloaded", f"sqlite:///{tmp_path}/rows.db"))
                site.app = EasyImg(site.app.settings.replace(metadata=store_of(rows)))
        yield site, command


def store_of(alias: str) -> Any:
    from easyimg_django.metadata import DjangoMetadata

    return DjangoMetadata(alias)


def process_of(server: Served) -> int:
    return int(server.page("a.jpg").split()[0])


def test_a_file_changes_while_pictures_are_built(development: tuple[WebSite, tuple[str, ...]]) -> None:
    site, command = development
    site.upload("a.jpg", "held/b.jpg", "held/c.jpg", "d.jpg")
    site.hold()
    with site.served(*command) as server:
        server.page("a.jpg")
        site.assert_built("a.jpg")
        server.page("held/b.jpg", "held/c.jpg", "d.jpg")
        until(site.building)
        old, before = process_of(server), set(site.processes())

        site.module.write_text(site.module.read_text() + "\n\nCHANGED = True\n")
        until(lambda: "eload" in site.log, 60)
        site.let_go()  # the old process is ending, and waits for what it is building
        until(lambda: not alive(old), 60)
        until(server.answers, 60)
        assert process_of(server) != old
        server.page("held/b.jpg", "held/c.jpg", "d.jpg")
        site.assert_all_built()
        left = {pid for pid in before & set(site.processes()) if pid != server.process.pid}
        assert not left, site.processes()

        until(lambda: server.page("held/b.jpg").count("/media/img/") == 3)
        server.signal(signal.SIGINT)
        server.await_end()
