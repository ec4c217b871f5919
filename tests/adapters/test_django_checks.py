"""System checks: ids, messages, hints; and the commands that a site runs before it is deployed, as processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.adapters import django_site
from tests.adapters.django_project import Project

django_site.start()

from django.conf import settings  # noqa: E402 - needs a Django that is set up
from django.core import checks  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

LOCAL = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
STATIC = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}


def found(*, deploy: bool = False, databases: list[str] | None = None, **changes: Any) -> list[Any]:
    """Return what our checks say of a site whose media are in order unless settings say otherwise."""
    with override_settings(**{"MEDIA_ROOT": "/srv/media", "MEDIA_URL": "/media/", "EASYIMG": {}, **changes}):
        return checks.run_checks(tags=["easyimg"], include_deployment_checks=deploy, databases=databases)


def ids(**options: Any) -> list[str]:
    return [message.id for message in found(**options)]


def test_a_site_with_nothing_but_media_is_in_order() -> None:
    assert found(deploy=True) == []


@pytest.mark.parametrize(
    ("easyimg", "id_", "text", "hint"),
    [
        ({"QUEU": "none"}, "E001", "unknown setting 'queu'; did you mean 'queue'?", "settings page"),
        (None, "E001", "EASYIMG: NoneType is not a dict; write EASYIMG = {} for the defaults", "settings page"),
        (["QUEUE"], "E001", "EASYIMG: list is not a dict", "settings page"),
        ("redis://:pass#word@host/0", "E001", "EASYIMG: str is not a dict", "settings page"),
        ({1: 2}, "E001", "EASYIMG: 1 is not the name of a setting", "settings page"),
        ({"QUEUE": "none", "queue": "thread"}, "E001", "EASYIMG: 'QUEUE' is there twice", "settings page"),
        ({"THREADS": 0}, "E001", "threads: 0 is not in 1..64", "settings page"),
        ({"VARIANTS": "easymig"}, "E001", "variants: no storage 'easymig'", "settings page"),
        ({"METADATA": "django:defalt"}, "E001", "no database 'defalt' in DATABASES; did you mean 'default'?", "sett"),
        ({"QUEUE": "redis://:pass#word@host/0"}, "E001", "queue: the URL cannot be read", "settings page"),
        ({"STORAGES": {"default": "file:///srv", "a": "sh3://b"}}, "E001", "storages: 'a': storage sh3:// is not", ""),
        ({"PRESETS": {"card": {"widht": 3}}}, "E002", "presets: 'card': unknown option 'widht'; did you mean", None),
        ({"PRESETS": {"card": 7}}, "E002", "presets: 'card': ", None),
        ({"QUEUE": "dramatiq"}, "E005", "queue: 'dramatiq' means the site's own broker", "'django_dramatiq'"),
    ],
)
def test_settings_that_cannot_work_are_errors(easyimg: Any, id_: str, text: str, hint: str | None) -> None:
    (message,) = found(EASYIMG=easyimg)
    assert (message.id, message.level) == (f"easyimg.{id_}", checks.ERROR)
    assert text in message.msg
    assert (hint in message.hint) if hint is not None else message.hint is None
    assert "pass#word" not in message.msg


@pytest.mark.parametrize(
    ("easyimg", "module", "hint"),
    [
        ({"QUEUE": "redis://host/0"}, "dramatiq.brokers.redis", "Run: pip install 'easyimg[redis]'"),
        ({"QUEUE": "amqp://host/"}, "dramatiq.brokers.rabbitmq", "Run: pip install 'easyimg[rabbitmq]'"),
        ({"METADATA": "postgresql://host/db"}, "psycopg", "Run: pip install 'easyimg[postgres]'"),
    ],
)
def test_a_missing_driver_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, easyimg: dict[str, Any], module: str, hint: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    (message,) = found(EASYIMG=easyimg)
    assert (message.id, message.hint) == ("easyimg.E003", hint)


def test_a_storage_that_cannot_be_made_is_an_error_of_ours_and_breaks_no_check() -> None:
    with override_settings(STORAGES={"default": {"BACKEND": "storages.nothing.S3"}, "staticfiles": STATIC}):
        (message,) = found()
    assert (message.id, "take the alias out" in message.hint) == ("easyimg.E004", True)
    assert "storages: 'default': Could not find backend" in message.msg


def test_each_alias_that_cannot_be_made_is_told_used_or_not(tmp_path: Path) -> None:
    chosen = {
        "default": LOCAL,
        "staticfiles": STATIC,
        "backup": {"BACKEND": "storages.nothing.S3"},
        "cold": {**LOCAL, "OPTIONS": {"lcation": "/srv"}},
    }
    with override_settings(STORAGES=chosen):
        backup, cold = found()
    assert (backup.id, cold.id) == ("easyimg.E004", "easyimg.E004")
    assert "storages: 'backup': Could not find backend 'storages.nothing.S3'" in backup.msg
    assert "storages: 'cold': TypeError: " in cold.msg
    assert "'lcation'" in cold.msg
    with override_settings(STORAGES={"default": LOCAL, "staticfiles": STATIC, "easyimg": chosen["cold"]}):
        (message,) = found()
    assert "storages: 'easyimg': TypeError: " in message.msg


@pytest.mark.slow
def test_an_alias_that_cannot_be_made_is_one_line_of_check_and_of_build(tmp_path: Path) -> None:
    chosen = {"default": LOCAL, "staticfiles": STATIC, "backup": {**LOCAL, "OPTIONS": {"lcation": "/srv"}}}
    project = Project(tmp_path)
    project.write_settings(STORAGES=chosen)
    for words, line in (
        ("check", "(easyimg.E004) A storage of"),
        ("easyimg build", "CommandError: storages: 'backup': "),
    ):
        done = project.manage(*words.split())
        assert done.returncode in (1, 2)
        assert line in done.stderr
        assert "Traceback" not in done.stderr


def test_a_site_without_the_setting_is_told_so() -> None:
    with override_settings(EASYIMG={}):
        del settings.EASYIMG
        (message,) = checks.run_checks(tags=["easyimg"])
    assert (message.id, message.hint) == ("easyimg.W001", "Write EASYIMG = {} for the defaults.")


@pytest.mark.slow
def test_media_that_were_not_set_are_told(tmp_path: Path) -> None:
    project = Project(tmp_path, migrated=False)
    path = project.folder / "site_settings.py"
    path.write_text(f"{path.read_text()}\ndel MEDIA_ROOT, MEDIA_URL\n")
    done = project.manage("check")
    assert "?: (easyimg.W002) MEDIA_ROOT, MEDIA_URL is not set" in done.stderr
    assert "HINT: Set both, or give STORAGES another place." in done.stderr


def test_media_of_storages_with_options_of_their_own_are_nobodys_business() -> None:
    own = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": "/srv", "base_url": "/m/"}}
    with override_settings(STORAGES={"default": own, "staticfiles": STATIC}):
        assert found() == []


def test_what_is_meant_for_development_is_told_before_a_deployment_only() -> None:
    development = {"QUEUE": "immediate", "STRICT": True}
    assert ids(EASYIMG=development) == []
    assert ids(EASYIMG=development, deploy=True) == ["easyimg.W010", "easyimg.W011"]
    assert "easyimg.W011" not in ids(EASYIMG={}, DEBUG=True, deploy=True)


LOCAL_MEMORY = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
PAGE_CACHE = "django.middleware.cache.UpdateCacheMiddleware"


@pytest.mark.parametrize(
    ("changes", "processes", "expected"),
    [
        ({}, "", []),
        ({}, "1", []),
        ({}, "many", []),
        ({"DEBUG": True}, "", ["easyimg.I010"]),
        ({"DEBUG": True, "EASYIMG": {"QUEUE": "none"}}, "4", []),
        ({"EASYIMG": {"THREADS": 3}}, "4", ["easyimg.I011"]),
        ({"CACHES": {"default": LOCAL_MEMORY}}, "", ["easyimg.I012"]),
        ({"CACHES": {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}}, "", []),
        ({"MIDDLEWARE": [PAGE_CACHE]}, "", ["easyimg.I012"]),
    ],
)
def test_several_processes_and_reloads_are_spoken_of_before_a_deployment_only(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], processes: str, expected: list[str]
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", processes)
    messages = found(deploy=True, **changes)
    assert [message.id for message in messages] == expected
    assert all(message.level == checks.INFO and message.hint for message in messages)
    assert ids(**changes) == []


def test_what_is_said_of_processes_names_numbers_and_aliases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    threads, cache = found(deploy=True, EASYIMG={"THREADS": 3}, CACHES={"default": LOCAL_MEMORY})
    assert "WEB_CONCURRENCY 4: up to 12 builds run" in threads.msg
    assert "The cache 'default' is in local memory" in cache.msg
    assert "easyimg itself needs none" in cache.hint


# Databases.


def test_no_check_asks_a_database_unless_it_is_named(sqlite_alias: str) -> None:
    easyimg = {"METADATA": f"django:{sqlite_alias}"}
    with CaptureQueriesContext(connections[sqlite_alias]) as queries:
        assert ids(EASYIMG=easyimg, deploy=True) == []
        assert ids(EASYIMG=easyimg, deploy=True, databases=["default"]) == []
    assert len(queries) == 0
    assert ids(EASYIMG=easyimg, databases=[sqlite_alias]) == []
    assert ids(EASYIMG=easyimg, deploy=True, databases=[sqlite_alias]) == ["easyimg.W012"]
    with connections[sqlite_alias].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
    assert ids(EASYIMG=easyimg, deploy=True, databases=[sqlite_alias]) == []


def test_a_narrow_connection_to_mariadb_is_told(mysql_url: str, postgres_alias: str) -> None:
    with django_site.database("narrow", mysql_url, migrated=False, OPTIONS={"charset": "utf8mb3"}):
        (message,) = found(EASYIMG={"METADATA": "django:narrow"}, databases=["narrow"])
    assert message.id == "easyimg.W004"
    assert "'narrow' is spoken to in utf8mb3" in message.msg
    assert "{'charset': 'utf8mb4'}" in message.hint
    with django_site.database("wide", mysql_url, migrated=False):
        assert ids(EASYIMG={"METADATA": "django:wide"}, databases=["wide"]) == []
    assert ids(EASYIMG={"METADATA": f"django:{postgres_alias}"}, databases=[postgres_alias], deploy=True) == []


def test_a_database_that_is_away_breaks_no_check() -> None:
    with django_site.database("away", "mysql://root@127.0.0.1:1/x", migrated=False):
        assert ids(EASYIMG={"METADATA": "django:away"}, databases=["away"]) == []


# As processes, with every warning shown.

SECURE = {
    "SECURE_HSTS_SECONDS": 3600,
    "SECURE_HSTS_INCLUDE_SUBDOMAINS": True,
    "SECURE_HSTS_PRELOAD": True,
    "SECURE_SSL_REDIRECT": True,
    "SESSION_COOKIE_SECURE": True,
    "CSRF_COOKIE_SECURE": True,
    "MIDDLEWARE": [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    "INSTALLED_APPS": [app for app in django_site.WITH_ADMIN["INSTALLED_APPS"] if not app.startswith("tests.")],
    "TEMPLATES": django_site.WITH_ADMIN["TEMPLATES"],
}

COMMANDS = (
    ("makemigrations", "--check", "--dry-run"),
    ("check", "--deploy", "--fail-level", "WARNING"),
    ("migrate", "--check"),
    ("easyimg", "queue", "a.jpg", "width=40"),
    ("build_img_queue",),
    ("easyimg", "check"),
)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["django.db.models.BigAutoField", "django.db.models.AutoField"])
def test_a_site_is_ready_to_be_deployed_without_a_warning(tmp_path: Path, field: str) -> None:
    project = Project(tmp_path, DEFAULT_AUTO_FIELD=field, **SECURE)
    project.put("a.jpg")
    for words in COMMANDS:
        done = project.manage(*words, python=("-Wd", "-X", "dev"))
        said = [line for line in done.stderr.splitlines() if line]
        assert (words, done.returncode, said) == (words, 0, []), done.stdout
    assert len(project.files) == 3


@pytest.mark.slow
def test_ids_can_be_silenced(tmp_path: Path) -> None:
    project = Project(tmp_path, migrated=False, EASYIMG={"PRESETS": {"a": {"wide": 3}}})
    assert project.manage("check").returncode == 1
    project.write_settings(EASYIMG={"PRESETS": {"a": {"wide": 3}}}, SILENCED_SYSTEM_CHECKS=["easyimg.E002"])
    assert project.manage("check").returncode == 0
