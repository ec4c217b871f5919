"""What the Django app covers so far: settings.EASYIMG, and Django's Jinja2 backend. In a process of its own."""

import os
import subprocess
import sys

import django

from easyimg.testing import images
from tests.adapters import origin
from tests.adapters.django_project import Project

SITE = """
import sys
import django
from django.conf import settings

root = sys.argv[1]
settings.configure(
    INSTALLED_APPS=["easyimg_django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": root + "/site.db"}},
    TEMPLATES=[{
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "OPTIONS": {"environment": "__main__.environment"},
    }],
    EASYIMG={
        "STORAGES": {"default": "file://" + root},
        "METADATA": "sqlite:///" + root + "/rows.db",
        "QUEUE": "immediate",
        "ISOLATION": "never",
    },
)


def environment(**options):
    from jinja2 import Environment
    from easyimg.jinja import install

    env = Environment(**options)
    install(env)
    return env


django.setup()

from django.template import engines
from django.test.utils import override_settings

from easyimg import Img, current_app

print(engines["jinja2"].from_string('{{ img("shoe.jpg", width=30, alt="x") }}').render())
print(Img(width=30)("shoe.jpg", alt="x"))
first = current_app()
with override_settings(EASYIMG={"QUEUE": "none"}):
    assert current_app() is not first and current_app().settings.queue == "none"
with override_settings(EASYIMG={"QUEU": "none"}):
    try:
        current_app()
    except Exception as exc:
        print(exc)
"""


def test_a_django_site_gets_its_images_from_its_settings(tmp_path):
    (tmp_path / "shoe.jpg").write_bytes(images.photo(300, 200))
    (tmp_path / "site.py").write_text(SITE)
    done = subprocess.run(
        [sys.executable, tmp_path / "site.py", tmp_path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    by_jinja, by_python, error = done.stdout.strip().splitlines()
    assert by_jinja == by_python
    assert by_jinja.count("/media/img/") == 3
    assert error == "unknown setting 'queu'; did you mean 'queue'?"


def test_processes_have_the_django_that_is_to_be_tested(tmp_path):
    expected = os.environ.get("TEST_DJANGO", django.__version__)
    project = Project(tmp_path, migrated=False)
    asked = (
        subprocess.run(
            [sys.executable, "-m", "django", "--version"], capture_output=True, text=True, check=True
        ).stdout,
        project.manage("version").stdout,
        origin.run(tmp_path, "", start="import django; print(django.__version__)"),
    )
    for version in (django.__version__, *asked):
        assert f"{version.strip()}.".startswith(f"{expected}."), (version, expected)
