"""What happens to pages, orders, builds and connections inside the transactions of a Django site."""

from __future__ import annotations

import sqlite3
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg, ImageBatch, Img, process_queue
from easyimg.signals import queued_img
from easyimg.source import Source
from easyimg.testing import images
from easyimg.testing.metadata import wanted
from easyimg.variant import VariantStatus
from tests.adapters import django_site

django_site.start()

from django.core import checks  # noqa: E402 - needs a Django that is set up
from django.db import DatabaseError, connections, transaction  # noqa: E402
from django.test import TestCase, override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from easyimg_django.metadata import DjangoMetadata  # noqa: E402
from easyimg_django.models import Variant  # noqa: E402

ALIASES = ["sqlite_alias", "postgres_alias", "mysql_alias"]
Open = Callable[..., EasyImg]


@pytest.fixture
def alias(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(getattr(request, "param", "sqlite_alias"))
    django_site.empty(name)
    return name


@pytest.fixture
def media(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(images.photo(300, 200))
    return tmp_path


@pytest.fixture
def site(media: Path) -> Iterator[Open]:
    """Return a function that opens an EasyImg whose rows are in a database of Django's."""
    opened: list[EasyImg] = []

    def open_site(alias: str, **options: Any) -> EasyImg:
        options = {"queue": "immediate", "isolation": "never", "strict": True, **options}
        opened.append(EasyImg(storages={"default": f"file://{media}"}, metadata=DjangoMetadata(alias), **options))
        return opened[-1]

    yield open_site
    for app in opened:
        app.close()


@pytest.fixture
def rung() -> Iterator[list[str]]:
    """The names of sources that were announced, in order."""
    names: list[str] = []

    def hear(source: Source, **_: Any) -> None:
        names.append(source.name)

    queued_img.connect(hear, weak=False)
    yield names
    queued_img.disconnect(hear)


def page(app: EasyImg, *names: str, **options: Any) -> str:
    batch = ImageBatch(app=app)
    return "".join([str(b) for b in [Img(width=30, batch=batch)(n, alt="", **options) for n in names or ("a.jpg",)]])


def files(media: Path) -> list[str]:
    return sorted(str(path.relative_to(media)) for path in media.rglob("img/*"))


def count(alias: str, **terms: Any) -> int:
    return int(Variant.objects.using(alias).filter(**terms).count())


class Undone(Exception):
    pass


@contextmanager
def undone(alias: str) -> Iterator[None]:
    """A transaction, or a savepoint, that is rolled back at its end."""
    with suppress(Undone), transaction.atomic(using=alias):
        yield
        raise Undone


# Commit and rollback.


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_a_commit_announces_once_and_only_then_builds(alias: str, site: Open, media: Path, rung: list[str]) -> None:
    app = site(alias)
    with transaction.atomic(using=alias):
        assert page(app) == page(app) == '<img src="/media/a.jpg" alt="" loading="lazy" decoding="async">'
        assert (count(alias), rung, files(media)) == (3, [], [])
    assert (count(alias, status=VariantStatus.BUILT), rung, len(files(media))) == (3, ["a.jpg"], 3)
    assert page(app).count("/media/img/") == 3


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_a_rollback_leaves_no_row_no_file_and_no_doorbell(alias: str, site: Open, media: Path, rung: list[str]) -> None:
    app = site(alias)
    with undone(alias):
        page(app)
        page(app, "b.jpg", build="all")
        assert count(alias) == 6
    assert (count(alias), rung, files(media), len(app.outbox)) == (0, [], [], 0)


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_a_savepoint_that_is_undone_takes_its_own_orders_along(alias: str, site: Open, rung: list[str]) -> None:
    app = site(alias)
    with transaction.atomic(using=alias):
        page(app)
        with undone(alias):
            page(app, "b.jpg")
        with transaction.atomic(using=alias):
            pass
    assert (count(alias), rung) == (3, ["a.jpg"])


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_an_inline_build_waits_for_the_commit(alias: str, site: Open, media: Path) -> None:
    app = site(alias, queue="none")
    with transaction.atomic(using=alias):
        bound = Img(width=30, app=app)("a.jpg", build="src", immediate=True)
        assert (bound.is_built, files(media)) == (False, [])
    assert (bound.is_built, len(files(media))) == (True, 1)


def test_what_was_built_in_an_undone_transaction_is_not_remembered(alias: str, site: Open) -> None:
    app = site(alias, queue="none")
    with undone(alias):
        page(app)
        assert process_queue(app) == 3
        assert page(app).count("/media/img/") == 3
    assert "/media/img/" not in page(app)


def test_without_a_transaction_all_happens_at_once(alias: str, site: Open, rung: list[str]) -> None:
    page(site(alias))
    assert (count(alias, status=VariantStatus.BUILT), rung) == (3, ["a.jpg"])


def test_a_failing_callback_of_ours_does_not_reach_who_commits(
    alias: str, site: Open, caplog: pytest.LogCaptureFixture
) -> None:
    app, called = site(alias, queue="none"), []
    with transaction.atomic(using=alias):
        app.metadata.after_commit(lambda: 1 / 0)  # type: ignore[attr-defined]
        transaction.on_commit(lambda: called.append(True), using=alias)
    assert called == [True]
    assert "ZeroDivisionError" in caplog.text


# TestCase.


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_django_test_cases_see_rows_and_choose_when_callbacks_run(
    alias: str, site: Open, media: Path, rung: list[str]
) -> None:
    app = site(alias)

    class Pages(TestCase):
        databases = {alias}  # noqa: RUF012 - as Django has it

        def test_orders(self) -> None:
            page(app)
            assert (count(alias, status=VariantStatus.QUEUED), rung) == (3, [])
            assert process_queue(app) == 3
            assert page(app).count("/media/img/") == 3

        def test_starts_afresh_and_may_run_callbacks(self) -> None:
            assert count(alias) == 0
            with self.captureOnCommitCallbacks(using=alias) as callbacks:
                page(app)
            assert (len(callbacks), rung) == (1, [])
            with self.captureOnCommitCallbacks(using=alias, execute=True):
                page(app, "b.jpg")
            assert rung == ["b.jpg"]
            assert count(alias, status=VariantStatus.BUILT) == 3

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Pages)
    result = suite.run(unittest.TestResult())
    assert result is not None
    assert [text for _, text in result.errors + result.failures] == []
    assert (result.testsRun, count(alias)) == (2, 0)


# Transactions that can do less.


@pytest.mark.parametrize("alias", ["postgres_alias"], indirect=True)
def test_a_page_in_a_read_only_transaction_is_ordered_after_it(alias: str, site: Open) -> None:
    app = site(alias, queue="none")
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        assert "/media/a.jpg" in page(app)
        cursor.execute("SELECT 1")
        assert (cursor.fetchone(), len(app.outbox)) == ((1,), 0)
    assert len(app.outbox) == 1
    assert app.outbox.flush()
    assert count(alias) == 3


@pytest.mark.parametrize("alias", ["postgres_alias"], indirect=True)
def test_a_page_in_a_broken_transaction_is_rendered_all_the_same(alias: str, site: Open) -> None:
    app = site(alias, strict=False)
    with transaction.atomic(using=alias):
        with connections[alias].cursor() as cursor, pytest.raises(DatabaseError):
            cursor.execute("SELECT nothing")
        assert "/media/a.jpg" in page(app)
        transaction.set_rollback(True, using=alias)
        assert "/media/b.jpg" in page(app, "b.jpg")
    assert count(alias) == 0


@pytest.mark.parametrize("url", ["postgres_url", "mysql_url"])
def test_a_page_without_tables_breaks_no_transaction(url: str, site: Open, request: pytest.FixtureRequest) -> None:
    with django_site.database("bare", request.getfixturevalue(url), migrated=False) as alias:
        app = site(alias, strict=False)
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            assert "/media/a.jpg" in page(app)
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)
        with pytest.raises(Exception, match=r"; run: python manage\.py migrate easyimg_django --database bare"):
            app.metadata.setup()
        app.outbox._kept.clear()


# SQLite. Its connections here would wait ten minutes for a lock: waiting once fails a test by pytest's own limit.


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[str]:
    url = f"sqlite:///{tmp_path / 'patient.db'}"
    with django_site.database("patient", url, OPTIONS={"timeout": 600}) as alias:
        with connections[alias].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("CREATE TABLE shop (name text)")
        yield alias


def busy_timeout(alias: str) -> int:
    with connections[alias].cursor() as cursor:
        return int(cursor.execute("PRAGMA busy_timeout").fetchone()[0])


def test_a_page_inside_its_views_own_write_does_not_wait_for_itself(patient: str, site: Open) -> None:
    app = site(patient, queue="none")
    with transaction.atomic(using=patient), connections[patient].cursor() as cursor:
        cursor.execute("INSERT INTO shop VALUES ('shoe')")
        assert "/media/a.jpg" in page(app)
        assert (count(patient), len(app.outbox)) == (3, 0)
    assert (count(patient), busy_timeout(patient)) == (3, 600_000)


def test_a_page_does_not_wait_for_another_writer_and_keeps_its_transaction(patient: str, site: Open) -> None:
    app = site(patient, queue="none")
    with closing(sqlite3.connect(connections[patient].settings_dict["NAME"], isolation_level=None)) as rival:
        rival.execute("BEGIN IMMEDIATE")
        with transaction.atomic(using=patient), connections[patient].cursor() as cursor:
            assert cursor.execute("SELECT count(*) FROM shop").fetchone() == (0,)
            assert "/media/a.jpg" in page(app)
            assert cursor.execute("SELECT count(*) FROM shop").fetchone() == (0,)
            assert len(app.outbox) == 0  # it will be kept if this transaction is not undone
        assert "/media/b.jpg" in page(app, "b.jpg")
        rival.execute("ROLLBACK")
    assert app.outbox.flush()
    assert (count(patient), busy_timeout(patient)) == (6, 600_000)


# Costs, connections, times.


def test_a_page_asks_once_however_many_images_it_has(alias: str, site: Open) -> None:
    app = site(alias, queue="none", cache_seconds=0)
    names = [f"{n}.jpg" for n in range(50)]
    app.metadata.enqueue([wanted(name) for name in names])
    page(app, *names)
    with CaptureQueriesContext(connections[alias]) as queries:
        page(app, *names)
    assert len(queries) == 1


@pytest.mark.parametrize("alias", ["postgres_alias"], indirect=True)
def test_builder_threads_leave_no_connection_behind(alias: str, site: Open) -> None:
    app = site(alias, queue="thread")
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    page(app)
    while count(alias, status=VariantStatus.BUILT) < 3:
        time.sleep(0.1)
    app.close()
    with connections[alias].cursor() as cursor:
        while cursor.execute(others).fetchone() != (0,):  # the server ends its processes a little later
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("alias", "who", "end"),
    [
        ("postgres_alias", "SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        ("mysql_alias", "SELECT connection_id()", "KILL {}"),
    ],
    indirect=["alias"],
)
def test_a_lost_connection_is_opened_again(alias: str, who: str, end: str) -> None:
    store, wish = DjangoMetadata(alias), wanted("a.jpg")

    def lose_connection() -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(who)
            (number,) = cursor.fetchone()
        with closing(connections[alias].copy()) as other, other.cursor() as cursor:
            cursor.execute(end.format(number))

    lose_connection()
    assert store.enqueue([wish]) == [wish.source.id]
    lose_connection()
    assert store.counts(stale_after=0).queued == 3
    lose_connection()
    assert len(store.claim(lease=60, max_attempts=3)) == 1


@pytest.mark.parametrize("url", ["postgres_url", "mysql_url"])
def test_times_are_utc_whatever_the_sites_time_zone_is(url: str, request: pytest.FixtureRequest) -> None:
    from datetime import UTC, datetime, timedelta

    with (
        override_settings(USE_TZ=False, TIME_ZONE="America/New_York"),
        django_site.database("new_york", request.getfixturevalue(url)) as alias,
    ):
        store = DjangoMetadata(alias)
        store.enqueue([wanted("a.jpg")])
        detail = store.inspect(Source("default", "a.jpg"))
        assert detail is not None
        created = datetime.fromisoformat(detail.variants[0].created_at)
        assert abs(datetime.now(UTC) - created) < timedelta(minutes=5)
        assert store.due() == [Source("default", "a.jpg").id]
        assert 0 <= store.counts(stale_after=0).oldest_owed < 300


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_no_system_check_complains(alias: str) -> None:
    found = checks.run_checks(databases=[alias])
    assert [message.id for message in found] == ["easyimg.W001"], "this site has no setting EASYIMG"


def test_routers_say_where_rows_are_written_read_and_made(tmp_path: Path, site: Open) -> None:
    with (
        django_site.database("images", f"sqlite:///{tmp_path / 'images.db'}") as images_alias,
        django_site.database("replica", f"sqlite:///{tmp_path / 'replica.db'}") as replica,
        django_site.database("shop", f"sqlite:///{tmp_path / 'shop.db'}", migrated=False) as shop,
        django_site.routed(images_alias, replica),
    ):
        django_site.migrate(shop)
        assert connections[shop].introspection.table_names() == ["django_migrations"]
        store = DjangoMetadata()
        wish = wanted("a.jpg")
        with undone(shop):
            assert store.enqueue([wish]) == [wish.source.id]
        assert (count(images_alias), count(replica)) == (3, 0)
        assert store.fetch({wish.source.id: list(wish.specs)}) == {}
        DjangoMetadata(replica).enqueue([wish])
        assert len(store.fetch({wish.source.id: list(wish.specs)})[wish.source.id].variants) == 3
