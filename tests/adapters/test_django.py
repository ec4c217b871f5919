"""What the Django app covers so far: settings.EASYIMG, and Django's Jinja2 backend. In a process of its own."""

import subprocess
import sys

from easyimg.testing import images

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
