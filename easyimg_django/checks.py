"""System checks: what cannot work, or seldom is what was meant, before it shows in a page.

None connects to anything, but for those of the tag ``database``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.core.files.storage import FileSystemStorage, storages
from django.db import Error as DatabaseError
from django.db import connections
from django.utils.translation import gettext as _

import easyimg
from easyimg.errors import ConfigError, MissingDependency
from easyimg.review import review
from easyimg_django.conf import current, is_strict_unless_said
from easyimg_django.metadata import DjangoMetadata
from easyimg_django.storage import UnmadeStorage

TAG = "easyimg"

_LOCAL_MEMORY = "django.core.cache.backends.locmem.LocMemCache"
_PAGE_CACHE = "django.middleware.cache.UpdateCacheMiddleware"


def register_checks() -> None:
    """Register them; for the AppConfig."""
    register(check_settings, TAG)
    register(check_media, TAG)
    register(check_dramatiq, TAG)
    register(check_production, TAG, deploy=True)
    register(check_processes, TAG, deploy=True)
    register(check_charset, TAG, Tags.database)
    register(check_journal, TAG, Tags.database, deploy=True)


def check_settings(app_configs: Any, **_options: Any) -> list[CheckMessage]:
    """Look at ``EASYIMG`` and what it names."""
    try:
        app = current()
    except ConfigError as exc:
        return [_complaint(exc)]
    if app is None:
        hint = _("Write EASYIMG = {} for the defaults.")
        return [checks.Warning(_("There is no setting EASYIMG: images cannot be shown."), hint=hint, id="easyimg.W001")]
    return [_complaint(error) for error in review(app)]


def _wrong_setting(error: Exception) -> CheckMessage:
    told = _("EASYIMG cannot be used: %(error)s") % {"error": error}
    return checks.Error(
        told, hint=_("The settings page of the documentation lists what is allowed."), id="easyimg.E001"
    )


def _wrong_storage(error: UnmadeStorage) -> CheckMessage:
    told = _("A storage of STORAGES cannot be made: %(error)s") % {"error": error}
    return checks.Error(told, hint=_("Correct its BACKEND and OPTIONS, or take the alias out."), id="easyimg.E004")


def _complaint(error: ConfigError) -> CheckMessage:
    if isinstance(error, MissingDependency):
        text, _pip, command = str(error).partition("pip install")
        hint = _("Run: %(command)s") % {"command": f"pip install{command}"}
        return checks.Error(
            _("A package is missing: %(what)s") % {"what": text.rstrip(": ")}, hint=hint, id="easyimg.E003"
        )
    if isinstance(error, UnmadeStorage):
        return _wrong_storage(error)
    if str(error).startswith("presets: '"):
        return checks.Error(_("A preset of EASYIMG cannot be used: %(error)s") % {"error": error}, id="easyimg.E002")
    if str(error).startswith("queue: 'dramatiq'"):
        hint = _("Put 'django_dramatiq' into INSTALLED_APPS, or name the broker's URL in EASYIMG['QUEUE'].")
        return checks.Error(_("The queue cannot be used: %(error)s") % {"error": error}, hint=hint, id="easyimg.E005")
    return _wrong_setting(error)


def check_media(app_configs: Any, **_options: Any) -> list[CheckMessage]:
    """Find a site that has not said where its files are."""
    app = _usable()
    if app is None or not _is_plain(app):
        return []
    unset = [name for name in ("MEDIA_ROOT", "MEDIA_URL") if not settings.is_overridden(name)]
    if not unset:
        return []
    told = _("%(names)s is not set: originals and variants lie in the working directory, or have no URL of their own.")
    hint = _("Set both, or give STORAGES another place.")
    return [checks.Warning(told % {"names": ", ".join(unset)}, hint=hint, id="easyimg.W002")]


def _is_plain(app: easyimg.EasyImg) -> bool:
    """Return whether variants go to a folder that only MEDIA_ROOT and MEDIA_URL describe."""
    alias = app.settings.variants
    if isinstance(app.settings.storages[alias], str) or alias not in storages.backends:
        return False
    options = storages.backends[alias].get("OPTIONS", {})
    is_local = type(storages[alias]) is FileSystemStorage
    return is_local and not {"location", "base_url"} & set(options)


def check_dramatiq(app_configs: Any, **_options: Any) -> list[CheckMessage]:
    """Find a ``rundramatiq`` that would not look for our actor."""
    app = _usable()
    if app is None or app.settings.queue != "dramatiq" or not apps.is_installed("django_dramatiq"):
        return []
    if "tasks" in getattr(settings, "DRAMATIQ_AUTODISCOVER_MODULES", ("tasks",)):
        return []
    hint = _("Add 'tasks' to DRAMATIQ_AUTODISCOVER_MODULES.")
    return [checks.Warning(_("rundramatiq does not find easyimg_django.tasks."), hint=hint, id="easyimg.W003")]


def check_production(app_configs: Any, **_options: Any) -> list[CheckMessage]:
    """Find what is meant for development and tests."""
    app = _usable()
    found: list[CheckMessage] = []
    if app is not None and app.settings.queue == "immediate":
        hint = _("Use 'thread', a broker, or 'none' with build_img_queue from cron.")
        found.append(checks.Warning(_("QUEUE is 'immediate': pages wait for builds."), hint=hint, id="easyimg.W010"))
    if app is not None and app.settings.strict and not is_strict_unless_said():
        hint = _("Leave STRICT out: it is on in debug mode and in tests.")
        found.append(
            checks.Warning(_("STRICT is on: a missing picture breaks its page."), hint=hint, id="easyimg.W011")
        )
    return found


def check_processes(app_configs: Any, **_options: Any) -> list[CheckMessage]:
    """Say what to know where a site runs in several processes, or in one that reloads itself.

    Nothing is wrong with it; so it is not among what ``runserver`` repeats at each start.
    """
    app = _usable()
    if app is None:
        return []
    return [*_reloaded_threads(app), *_threads_of_processes(app), *_caches_of_processes()]


def _reloaded_threads(app: easyimg.EasyImg) -> Iterator[CheckMessage]:
    if app.settings.queue == "thread" and settings.DEBUG:
        told = _("QUEUE is 'thread' in debug mode: each reload of runserver ends the threads that build.")
        hint = _(
            "A reload waits some seconds for builds under way and gives back the others, which the next picture that "
            "is asked for has built. To keep them apart, set QUEUE to 'none' and run manage.py easyimg worker."
        )
        yield checks.Info(told, hint=hint, id="easyimg.I010")


def _threads_of_processes(app: easyimg.EasyImg) -> Iterator[CheckMessage]:
    count = os.environ.get("WEB_CONCURRENCY", "")  # which gunicorn and uvicorn obey
    if app.settings.queue == "thread" and count.isdecimal() and int(count) > 1:
        told = _("QUEUE is 'thread', and WEB_CONCURRENCY %(count)s: up to %(builds)d builds run beside the pages.")
        hint = _("Set QUEUE to a broker or 'none' and run manage.py easyimg worker, or lower THREADS.")
        numbers = {"count": count, "builds": int(count) * app.settings.threads}
        yield checks.Info(told % numbers, hint=hint, id="easyimg.I011")


def _caches_of_processes() -> Iterator[CheckMessage]:
    """Yield one for each cache in local memory, where the site has chosen its caches or caches whole pages."""
    if not settings.is_overridden("CACHES") and _PAGE_CACHE not in settings.MIDDLEWARE:
        return
    for alias, cache in settings.CACHES.items():
        if cache.get("BACKEND") == _LOCAL_MEMORY:
            told = _(
                "The cache '%(alias)s' is in local memory: each process keeps pages, and the pictures in them, apart."
            )
            hint = _("With several processes, choose a cache that they share. easyimg itself needs none.")
            yield checks.Info(told % {"alias": alias}, hint=hint, id="easyimg.I012")


def check_charset(app_configs: Any, databases: Sequence[str] | None = None, **_options: Any) -> list[CheckMessage]:
    """Find a connection to MariaDB or MySQL that would spoil names with emoji."""
    return [
        checks.Warning(
            _("The database '%(alias)s' is spoken to in %(charset)s: names with emoji are refused.")
            % {"alias": alias, "charset": charset},
            hint=_("Set OPTIONS = {'charset': 'utf8mb4'} in DATABASES."),
            id="easyimg.W004",
        )
        for alias, charset in _ask(databases, "mysql", "SELECT @@character_set_connection")
        if charset != "utf8mb4"
    ]


def check_journal(app_configs: Any, databases: Sequence[str] | None = None, **_options: Any) -> list[CheckMessage]:
    """Find an SQLite file that cannot be read while it is written."""
    return [
        checks.Warning(
            _("The SQLite database '%(alias)s' has no write-ahead log: pages wait while a worker writes.")
            % {"alias": alias},
            hint=_("From Django 5.1 on, set OPTIONS = {'init_command': 'PRAGMA journal_mode = WAL'} in DATABASES."),
            id="easyimg.W012",
        )
        for alias, mode in _ask(databases, "sqlite", "PRAGMA journal_mode")
        if mode not in ("wal", "memory")
    ]


def _ask(databases: Sequence[str] | None, vendor: str, sql: str) -> Iterator[tuple[str, str]]:
    """Yield the answer of the database of our rows, if it is one of these, of this kind, and answers."""
    app = _usable()
    store = app.settings.metadata if app is not None else None
    if not isinstance(store, DjangoMetadata) or store.alias not in (databases or ()):
        return
    alias = store.alias
    if connections[alias].vendor != vendor:
        return
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(sql)
            yield alias, str(cursor.fetchone()[0])
    except DatabaseError:
        return  # who cannot be reached is told by what needs it


def _usable() -> easyimg.EasyImg | None:
    """Return the site's EasyImg; what is wrong with it, ``check_settings`` says."""
    try:
        return current()
    except ConfigError:
        return None
