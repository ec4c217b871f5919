"""A Django in the tests' own process: databases come and go as tests need them; no EASYIMG unless a test sets it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
import pymysql
from django.conf import settings
from django.db import connections, router
from sqlalchemy import make_url

ENGINES = {"sqlite": "sqlite3", "postgresql": "postgresql", "mysql": "mysql"}

WITH_ADMIN: dict[str, Any] = {
    "INSTALLED_APPS": [
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "easyimg_django",
        "tests.adapters.shop",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    "STATIC_URL": "/static/",
    "MEDIA_URL": "/media/",
    "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
    "USE_TZ": True,
}
"""Settings of every site here that has an admin."""


def start() -> None:
    """Set Django up, once."""
    if settings.configured:
        return
    pymysql.install_as_MySQLdb()
    settings.configure(
        SECRET_KEY="of no site",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DATABASE_ROUTERS=["tests.adapters.django_site.Router"],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        **WITH_ADMIN,
    )
    django.setup()


class Router:
    """Sends our models where a test says; None = ``default``."""

    writer: str | None = None
    reader: str | None = None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return self.writer if model._meta.app_label == "easyimg_django" else None

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self.reader if model._meta.app_label == "easyimg_django" else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == self.writer if self.writer and app_label == "easyimg_django" else None


@contextmanager
def routed(writer: str, reader: str | None = None) -> Iterator[None]:
    """Send our models to these aliases inside the block."""
    Router.writer, Router.reader = writer, reader or writer
    assert isinstance(router.routers[0], Router)
    try:
        yield
    finally:
        Router.writer = Router.reader = None


@contextmanager
def database(alias: str, url: str, *, migrated: bool = True, **options: Any) -> Iterator[str]:
    """Add a database under an alias, with our tables, and take it away again."""
    start()
    config = {**database_settings(url), **options}
    connections.settings.update(
        {
            name: value
            for name, value in connections.configure_settings({"default": {}, alias: config}).items()
            if name == alias
        }
    )
    try:
        if migrated:
            migrate(alias)
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


def database_settings(url: str) -> dict[str, Any]:
    """Return an entry of DATABASES."""
    parts = make_url(url)
    kind = parts.get_backend_name()
    options = {
        "mysql": {"charset": "utf8mb4"},  # Django 4.2's default is narrower
        "sqlite": {"timeout": 20},
    }
    return {
        "ENGINE": f"django.db.backends.{ENGINES[kind]}",
        "NAME": parts.database,
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.host or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": options.get(kind, {}),
    }


def migrate(alias: str) -> None:
    """Make our tables."""
    from django.core.management import call_command

    call_command("migrate", "easyimg_django", database=alias, verbosity=0, interactive=False)


def make_tables(alias: str, *models: Any) -> None:
    """Make tables of models that have no migrations; ``migrate`` of ours makes easyimg's."""
    with connections[alias].schema_editor() as editor:
        for model in models:
            editor.create_model(model)


def empty(alias: str) -> None:
    """Delete all rows."""
    with connections[alias].cursor() as cursor:
        for table in ("variant", "source", "meta"):
            cursor.execute(f"DELETE FROM easyimg_{table}")
