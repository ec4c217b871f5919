"""The rows in Django's own database: the contract of every metadata store, on three databases."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest

from easyimg.errors import MetadataError
from easyimg.testing.metadata import MetadataContract, drain, in_threads, wanted
from tests.adapters import django_site
from tests.metadata.test_rivals import Rival

django_site.start()

from easyimg_django.metadata import DjangoMetadata  # noqa: E402 - models need a Django that is set up


class TestSqlite(MetadataContract):
    @pytest.fixture
    def store(self, sqlite_alias: str) -> DjangoMetadata:
        django_site.empty(sqlite_alias)
        return DjangoMetadata(sqlite_alias)


class TestPostgres(MetadataContract):
    @pytest.fixture
    def store(self, postgres_alias: str) -> DjangoMetadata:
        django_site.empty(postgres_alias)
        return DjangoMetadata(postgres_alias)


class TestMariaDb(MetadataContract):
    @pytest.fixture
    def store(self, mysql_alias: str) -> DjangoMetadata:
        django_site.empty(mysql_alias)
        return DjangoMetadata(mysql_alias)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("postgres_url", {"options": "-c default_transaction_isolation=serializable"}),
        ("mysql_url", {"charset": "utf8mb4", "isolation_level": "repeatable read"}),
    ],
)
def test_rivals_never_meet_an_error_and_lose_no_change(
    url: str, options: dict[str, str], request: pytest.FixtureRequest
) -> None:
    with django_site.database("rivals", request.getfixturevalue(url), OPTIONS=options) as alias:
        store = DjangoMetadata(alias)
        seeds = count()
        replaced: Counter[str] = sum(in_threads(6, lambda: Rival(store, next(seeds)).run(), store), Counter())
        assert replaced
        for name in replaced:
            detail = store.inspect(wanted(name).source)
            assert detail is not None
            assert detail.generation == 1 + replaced[name]
        drain(store)
        assert store.counts(stale_after=0).queued == 0


def test_a_name_that_a_narrow_connection_would_spoil_is_refused(mysql_url: str) -> None:
    with django_site.database("narrow", mysql_url, OPTIONS={"charset": "utf8"}) as alias:
        store = DjangoMetadata(alias)
        store.enqueue([wanted("Ärger/日本.jpg")])
        with pytest.raises(MetadataError, match="set OPTIONS = "):
            store.enqueue([wanted("🎉.jpg")])
        assert store.counts(stale_after=0).sources == 1
