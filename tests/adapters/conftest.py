"""Databases for the tests of the Django app: made once a module, since making tables takes longer than most tests."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg, current_app
from tests.adapters import django_site
from tests.conftest import mysql_database, postgres_database


@pytest.fixture(autouse=True)
def _no_outbox_left() -> Iterator[None]:
    """Take away what Django's TestCase leaves behind, and what says that its tests run."""
    yield
    if mail := sys.modules.get("django.core.mail"):
        vars(mail).pop("outbox", None)


@pytest.fixture(scope="module")
def sqlite_alias(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An alias of DATABASES: a file, in the mode that the docs recommend."""
    folder: Path = tmp_path_factory.mktemp("rows")
    with django_site.database("site_sqlite", f"sqlite:///{folder / 'site.db'}") as alias:
        yield alias


@pytest.fixture(scope="module")
def postgres_alias(server_url: Any) -> Iterator[str]:
    """An alias of DATABASES: PostgreSQL."""
    name = f"easyimg_{uuid.uuid4().hex[:16]}"
    with (
        postgres_database(server_url("postgres"), name) as url,
        django_site.database("site_postgres", url) as alias,
    ):
        yield alias


@pytest.fixture(scope="module")
def mysql_alias(server_url: Any) -> Iterator[str]:
    """An alias of DATABASES: MariaDB."""
    name = f"easyimg_{uuid.uuid4().hex[:16]}"
    with mysql_database(server_url("mysql"), name) as url, django_site.database("site_mysql", url) as alias:
        yield alias


@pytest.fixture
def use_settings() -> Iterator[Callable[..., EasyImg]]:
    """Return a function that puts settings in force until the test ends, and gives the EasyImg of a Django site."""
    from django.test import override_settings

    with ExitStack() as stack:

        def use(**settings: Any) -> EasyImg:
            stack.enter_context(override_settings(**settings))
            app = current_app()
            assert isinstance(app, EasyImg)
            return app

        yield use
