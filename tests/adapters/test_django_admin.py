"""The admin over HTTP: what people see, may do and may not, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg, Img, set_focus
from easyimg.drain import drain
from easyimg.errors import MetadataError
from easyimg.source import Source as Address
from easyimg.source import SourceInfo
from easyimg.testing import images
from easyimg.variant import Priority, VariantStatus, Wanted
from tests.adapters import django_site
from tests.counting import Bell

django_site.start()

from django.apps import apps  # noqa: E402 - needs a Django that is set up
from django.contrib.auth.management import create_permissions  # noqa: E402
from django.contrib.auth.models import Permission, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from easyimg_django.admin import paging, rows, sources  # noqa: E402
from easyimg_django.indexes import begins_with  # noqa: E402
from easyimg_django.models import Source, Variant  # noqa: E402

ALIASES = ["sqlite_alias", "postgres_alias", "mysql_alias"]
SOURCES = "/admin/easyimg_django/source/"
VARIANTS = "/admin/easyimg_django/variant/"


@pytest.fixture(scope="module", autouse=True)
def people() -> Iterator[None]:
    """Tables of users and sessions, and one user of each kind."""
    for app in ("contenttypes", "auth", "sessions", "admin"):
        call_command("migrate", app, verbosity=0, interactive=False)
    for app in ("easyimg_django", "shop"):  # Django makes them by itself for what it migrates
        create_permissions(apps.get_app_config(app), verbosity=0)
    User.objects.create_superuser("chief")
    for name, permissions in (
        ("viewer", ["view_source", "view_variant"]),
        ("editor", ["view_source", "view_variant", "change_source", "change_variant"]),
        ("remover", ["view_source", "delete_source"]),
        ("nobody", []),
    ):
        user = User.objects.create_user(name, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    yield
    User.objects.all().delete()


@pytest.fixture
def alias(request: pytest.FixtureRequest) -> Iterator[str]:
    name: str = request.getfixturevalue(getattr(request, "param", "sqlite_alias"))
    django_site.empty(name)
    with django_site.routed(name):
        yield name


@pytest.fixture
def make_site(alias: str, tmp_path: Path, use_settings: Callable[..., EasyImg]) -> Callable[..., EasyImg]:
    """Return a function that makes the site's settings, and gives its EasyImg."""

    def make(**settings: Any) -> EasyImg:
        given = {
            "STORAGES": {"default": f"file://{tmp_path}"},
            "BASE_URLS": {"default": "/media/"},
            "QUEUE": Bell(),
            "ISOLATION": "never",
            "STRICT": True,
            **settings,
        }
        return use_settings(EASYIMG=given, ROOT_URLCONF="tests.adapters.admin_urls", ALLOWED_HOSTS=["testserver"])

    return make


@pytest.fixture
def site(make_site: Callable[..., EasyImg]) -> EasyImg:
    return make_site()


@pytest.fixture
def photos(site: EasyImg, tmp_path: Path) -> list[Address]:
    """Two pictures and one that is broken, each with variants that a page has ordered; what can be is built."""
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        (tmp_path / name).write_bytes(images.photo(400, 300, seed=seed))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    found = [Address("default", name) for name in ("a.jpg", "b.jpg", "broken.jpg")]
    for source in found:
        Img(width=100).order(source)
    drain(site)
    return found


def logged_in(name: str = "chief") -> Client:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client


def text_of(response: Any) -> str:
    """Return the words of a page."""
    body = re.sub(r"(?s)<(script|style).*?</\1>", "", response.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def pictures(response: Any) -> list[str]:
    """Return the pictures of a page that are ours."""
    return re.findall(r'<img src="(/media/[^"]+)"', response.content.decode())


def act(client: Client, url: str, action: str, *keys: str, **fields: str) -> Any:
    return client.post(url, {"action": action, "_selected_action": list(keys), **fields}, follow=True)


def states(app: EasyImg, source: Address) -> list[str]:
    detail = app.metadata.inspect(source)
    return sorted(v.status.name for v in detail.variants) if detail else []


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# Lists.


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_the_list_of_sources_shows_thumbnails_once_they_are_built(
    site: EasyImg, photos: list[Address], alias: str
) -> None:
    client = logged_in()
    first = client.get(SOURCES)
    assert first.content.count(b'<span class="easyimg-thumbnail easyimg-absent">no picture') == 3
    assert pictures(first) == []
    drain(site)
    second = client.get(SOURCES)
    shown = re.findall(r'<img src="(/media/img/[^"]+\.webp)" alt="" width="120" height="90"', second.content.decode())
    assert len(shown) == 2
    assert "a.jpg 400 × 300 jpeg" in text_of(second)
    assert "broken.jpg not read yet" in text_of(second)


def test_a_list_costs_as_many_queries_for_many_sources_as_for_few(site: EasyImg, alias: str, tmp_path: Path) -> None:
    client = logged_in()
    numbers = []
    for count in (2, 30):
        for number in range(count):
            name = f"p{number}.jpg"
            (tmp_path / name).write_bytes(images.photo(60, 40, seed=number))
            Img(width=20).order(name)
        client.get(SOURCES)
        drain(site)
        site.cache.clear()
        with CaptureQueriesContext(connections[alias]) as captured:
            assert len(pictures(client.get(SOURCES))) == count
        numbers.append([query["sql"].split()[0] for query in captured])
    # How many, the rows, their thumbnails, their states.
    assert numbers[0] == numbers[1] == ["SELECT"] * 4


def test_showing_a_list_builds_nothing_even_where_pages_do(make_site: Callable[..., EasyImg], tmp_path: Path) -> None:
    site = make_site(PENDING="build")
    (tmp_path / "a.jpg").write_bytes(images.photo(400, 300))
    Img(width=100).order("a.jpg")
    assert logged_in().get(SOURCES).status_code == 200
    assert files(tmp_path) == ["a.jpg"]
    assert set(states(site, Address("default", "a.jpg"))) == {"QUEUED"}


def test_thumbnails_are_ordered_like_the_images_of_pages(site: EasyImg, photos: list[Address]) -> None:
    bell = site.settings.queue
    bell.rung.clear()
    logged_in().get(SOURCES)
    assert sorted(id_ for ids in bell.rung for id_ in ids) == sorted(s.id for s in photos)
    ordered = Variant.objects.using("site_sqlite").filter(source_id=photos[0].id, status=VariantStatus.QUEUED)
    assert [v.priority for v in ordered] == [Priority.PAGE]


def test_rows_of_a_storage_that_is_gone_are_shown_without_a_picture(site: EasyImg, alias: str) -> None:
    lost = Address("gone", "photos/a.jpg")
    site.metadata.enqueue([Wanted(lost, {"0" * 32: "spec"})])
    row = {"status": 2, "due_at": None, "file_storage": "gone", "file_name": "img/x.webp", "bytes": 5}
    Variant.objects.using(alias).update(**row)
    client = logged_in()
    for url in (SOURCES, VARIANTS, f"{SOURCES}{lost.id}/change/", f"{VARIANTS}{'0' * 32}/change/"):
        response = client.get(url)
        assert response.status_code == 200, url
        assert "photos/a.jpg" in text_of(response)
        assert pictures(response) == []


def test_a_list_is_shown_without_thumbnails_when_their_rows_cannot_be_asked_for(
    site: EasyImg, photos: list[Address], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise MetadataError("down")

    monkeypatch.setattr(site.metadata, "fetch", fail)
    response = logged_in().get(SOURCES)
    assert "a.jpg" in text_of(response)
    assert pictures(response) == []
    assert "down" in caplog.text


def test_an_svg_is_its_own_thumbnail(site: EasyImg, tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>')
    site.metadata.record_info(Address("default", "logo.svg"), SourceInfo(8, 8, "svg"))
    assert b'<img src="/media/logo.svg" alt=""' in logged_in().get(SOURCES).content


def test_the_list_of_variants_tells_state_error_file_and_attempts(site: EasyImg, photos: list[Address]) -> None:
    client = logged_in()
    everything = text_of(client.get(VARIANTS))
    assert "100 × 75 jpeg" in everything
    failed = client.get(VARIANTS, {"status": VariantStatus.SOURCE_ERROR.value})
    assert "SourceUnreadable: " in text_of(failed)
    assert "3 image variants" in text_of(failed)
    built = client.get(VARIANTS, {"status": VariantStatus.BUILT.value}).content.decode()
    assert built.count('<img src="/media/img/') == built.count("easyimg-built") == 6
    assert len(re.findall(r'<a href="/media/img/\w+\.\w+\.(?:jpg|webp)">', built)) == 6


VARIANT_QUERIES: list[tuple[dict[str, str], int]] = [
    ({}, 13),
    ({"status": "0"}, 1),
    ({"status": "1"}, 0),
    ({"status": "2"}, 8),
    ({"status": "3"}, 4),
    ({"status": "4"}, 0),
    ({"status": "nonsense"}, 13),
    ({"error_kind": "SourceUnreadable"}, 4),
    ({"error_kind": "SourceUnreadable", "status": "3"}, 4),
    ({"error_kind": "BuildError"}, 0),
    ({"q": "a."}, 4),
    ({"q": "b"}, 9),
    ({"q": "nothing"}, 0),
]


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_variants_are_found_by_state_kind_and_name(site: EasyImg, photos: list[Address], alias: str) -> None:
    client = logged_in()
    client.get(VARIANTS)
    drain(site)  # the thumbnails
    str(Img(width=77).url(photos[1]))
    for query, count in VARIANT_QUERIES:
        found = client.get(VARIANTS, query).context_data["cl"]
        assert (found.result_count, len(found.result_list)) == (count, count), query


def test_a_variant_is_found_by_its_key_its_file_and_its_url(site: EasyImg, photos: list[Address], alias: str) -> None:
    row = Variant.objects.using(alias).filter(status=2).first()
    for term in (row.key, row.file_name, f"https://cdn.example.com/media/{row.file_name}?x=1"):
        found = logged_in().get(VARIANTS, {"q": term}).context_data["cl"].result_list
        assert [variant.key for variant in found] == [row.key], term


SOURCE_QUERIES: list[tuple[dict[str, str], list[str]]] = [
    ({}, ["a.jpg", "b.jpg", "broken.jpg"]),
    ({"q": "b"}, ["b.jpg", "broken.jpg"]),
    ({"q": "B"}, []),
    ({"q": "%"}, []),
    ({"q": Address("default", "a.jpg").id}, ["a.jpg"]),
    ({"variants": "3"}, ["broken.jpg"]),
    ({"variants": "1"}, []),
    ({"variants": "2"}, ["a.jpg", "b.jpg", "broken.jpg"]),
]


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_sources_are_found_by_name_id_and_state(site: EasyImg, photos: list[Address], alias: str) -> None:
    client = logged_in()
    for query, names in SOURCE_QUERIES:
        found = client.get(SOURCES, query).context_data["cl"].result_list
        assert sorted(row.name for row in found) == names, query


BEGINNINGS = {
    "é": ["é", "été"],
    "\ud7ff": ["\ud7ffx"],
    "\U0010ffff": ["\U0010ffff!"],
    "a\U0010ffff": ["a\U0010ffff"],
    "100%": ["100%.jpg"],
    "x_": ["x_y"],
}


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_beginnings_are_compared_character_by_character(alias: str) -> None:
    names = [name for found in BEGINNINGS.values() for name in found]
    names += ["e", "\ue000", "b", "1000", "xay", "É"]
    Source.objects.using(alias).bulk_create(Source(id=Address("", n).id, storage="", name=n) for n in names)
    for beginning, found in BEGINNINGS.items():
        condition = begins_with("name", beginning, connections[alias].vendor)
        assert sorted(Source.objects.using(alias).filter(condition).values_list("name", flat=True)) == found


def test_the_filter_by_storage_is_there_where_there_are_several(
    make_site: Callable[..., EasyImg], tmp_path: Path
) -> None:
    storages = {"default": f"file://{tmp_path}", "archive": f"file://{tmp_path}/archive"}
    site = make_site(STORAGES=storages)
    for storage in storages:
        Img(width=100).order(Address(storage, f"{storage}.jpg"))
    client = logged_in()
    assert "By storage" in text_of(client.get(SOURCES))
    for url in (SOURCES, VARIANTS):
        page = text_of(client.get(url, {"storage": "archive"}))
        assert "archive.jpg" in page
        assert "default.jpg" not in page
    assert site.metadata.counts(stale_after=0).sources == 2


def test_a_long_list_is_estimated_and_never_counted_as_a_whole(
    site: EasyImg, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "EXACT", 5)
    monkeypatch.setattr(rows.RowsAdmin, "list_per_page", 4)
    for number in range(9):
        Img(width=20).order(f"p{number}.jpg")
    client = logged_in()
    client.get(SOURCES)
    with CaptureQueriesContext(connections[alias]) as captured:
        everything = client.get(SOURCES).context_data["cl"]
    assert everything.result_count == 9
    limited = [q["sql"] for q in captured if "COUNT" in q["sql"] and "FROM (SELECT" in q["sql"]]
    assert len(limited) == 1
    assert "LIMIT 6" in limited[0]
    cut = client.get(SOURCES, {"q": "p"})
    assert cut.context_data["cl"].result_count == 6
    assert len(client.get(SOURCES, {"p": "3"}).context_data["cl"].result_list) == 1


# The plans of the lists.


LISTS: list[tuple[str, dict[str, str], str]] = [
    (SOURCES, {}, "easyimg_source_created"),
    (SOURCES, {"storage": "default"}, "easyimg_source_created"),
    (SOURCES, {"q": "photos/99"}, "easyimg_source_name"),
    (VARIANTS, {}, "easyimg_variant_source"),
    (VARIANTS, {"storage": "default"}, "easyimg_variant_source"),
    (VARIANTS, {"status": "0"}, "easyimg_variant_due"),
    (VARIANTS, {"status": "2"}, "easyimg_variant_source"),
    (VARIANTS, {"status": "3"}, "easyimg_variant_failed"),
    (VARIANTS, {"status": "4", "error_kind": "BuildError"}, "easyimg_variant_failed"),
]
LARGE: list[tuple[str, dict[str, str]]] = [
    *((url, query) for url, query, index in LISTS if index in ("easyimg_source_created", "easyimg_variant_source")),
    (SOURCES, {"q": "photos/"}),
]
"""Lists of nearly all rows."""

SORTS = {"site_sqlite": "USE TEMP B-TREE FOR ORDER BY", "site_postgres": "-> Sort", "site_mysql": "filesort"}
"""What plans call it to sort all rows of a list; those of equal times or of one source may be."""


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_lists_are_read_by_an_index_and_a_table_never_counted_or_sorted(site: EasyImg, alias: str, full: None) -> None:
    for url, query, index in LISTS:
        assert index in plan_of(alias, asked_for(alias, url, query)[1]), (url, query)
    for url, query in LARGE:
        count, rows = asked_for(alias, url, query)
        assert "LIMIT 10001) subquery" in count, (url, query)
        assert SORTS[alias] not in plan_of(alias, rows), (url, query)


def asked_for(alias: str, url: str, query: dict[str, str]) -> tuple[str, str]:
    """Return the statements that count a list and that read a page of it."""
    with CaptureQueriesContext(connections[alias]) as captured:
        assert logged_in().get(url, query).status_code == 200
    quote = connections[alias].ops.quote_name
    table = quote("easyimg_source" if url == SOURCES else "easyimg_variant")
    about = [q["sql"] for q in captured if f"FROM {table}" in q["sql"] and "GROUP BY" not in q["sql"]]
    counts = [sql for sql in about if sql.startswith("SELECT COUNT(*) FROM (SELECT")]
    lists = [sql for sql in about if "ORDER BY" in sql]
    assert (len(counts), len(lists)) == (1, 1)
    return counts[0], lists[0]


@pytest.fixture
def full(alias: str) -> None:
    """Rows enough for a planner to prefer an index."""
    Source.objects.using(alias).bulk_create(
        Source(id=f"{n:032x}", storage="default", name=f"photos/{n}.jpg", created_at=moment(n)) for n in range(20_000)
    )
    Variant.objects.using(alias).bulk_create(
        Variant(key=f"{n:032x}", source_id=f"{n // 2:032x}", spec="spec", **state_of(n)) for n in range(8000)
    )
    with connections[alias].cursor() as cursor:
        for table in ("easyimg_source", "easyimg_variant"):
            cursor.execute("ANALYZE" if alias != "site_mysql" else f"ANALYZE TABLE {table}")


def moment(number: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)


def state_of(number: int) -> dict[str, Any]:
    if number % 100 == 0:
        return {"status": 0, "due_at": moment(number)}
    if number % 100 in (1, 2):
        return {"status": 2 + number % 100, "error_kind": "BuildError", "error": "no"}
    return {"status": 2, "file_storage": "default", "file_name": f"img/{number}.webp"}


def plan_of(alias: str, sql: str) -> str:
    how = {"site_sqlite": "EXPLAIN QUERY PLAN ", "site_postgres": "EXPLAIN ", "site_mysql": "EXPLAIN "}[alias]
    with closing(connections[alias].connection.cursor()) as cursor:
        cursor.execute(how + (sql if alias == "site_sqlite" else sql.replace("%", "%%")))
        return "\n".join(" ".join(map(str, row)) for row in cursor.fetchall())


# One source, its focus point.


def test_the_page_of_a_source_shows_its_picture_its_facts_and_its_variants(
    site: EasyImg, photos: list[Address]
) -> None:
    client = logged_in()
    url = f"{SOURCES}{photos[0].id}/change/"
    assert b'<img src="/media/a.jpg"' in client.get(url).content, "the original stands in"
    drain(site)
    page = client.get(url)
    assert re.search(rb'easyimg-frame" dir="ltr"><img src="/media/img/\w+\.\w+\.webp" alt="" width="200"', page.content)
    assert "400 × 300 jpeg" in text_of(page)
    assert page.content.count(b'<a href="/media/img/') == 4
    assert page.content.count(b"easyimg-state easyimg-built") == 4


def test_the_original_does_not_stand_in_where_the_settings_keep_it_back(
    make_site: Callable[..., EasyImg], tmp_path: Path
) -> None:
    site = make_site(PENDING="placeholder")
    (tmp_path / "a.jpg").write_bytes(images.photo(400, 300))
    Img(width=100).order("a.jpg")
    page = logged_in().get(f"{SOURCES}{Address('default', 'a.jpg').id}/change/")
    assert pictures(page) == []
    assert b'name="focus_x"' in page.content
    assert site.settings.pending == "placeholder"


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_a_chosen_focus_point_queues_the_variants_again_and_rings_after_the_commit(
    site: EasyImg, photos: list[Address], alias: str
) -> None:
    bell = site.settings.queue
    bell.rung.clear()
    in_transaction: list[bool] = []
    ring = bell.ring
    bell.ring = lambda ids: (in_transaction.append(connections[alias].in_atomic_block), ring(ids))
    url = f"{SOURCES}{photos[0].id}/change/"
    done = logged_in().post(url, {"focus_x": "0.25", "focus_y": "1", "_continue": "1"}, follow=True)
    assert "was changed successfully" in text_of(done)
    assert site.metadata.inspect(photos[0]).focus == (0.25, 1.0)
    assert states(site, photos[0])[:3] == ["QUEUED"] * 3
    assert bell.rung[0] == [photos[0].id]
    assert not any(in_transaction)
    assert re.search(rb'name="focus_x" value="0.25"', done.content)
    assert b'<circle cx="25.00%" cy="100.00%"' in done.content
    history = text_of(logged_in().get(f"{SOURCES}{photos[0].id}/history/"))
    assert "Changed Focus point." in history


def test_an_unchanged_focus_point_builds_nothing_again(site: EasyImg, photos: list[Address]) -> None:
    site.metadata.set_focus(photos[0], None)
    url = f"{SOURCES}{photos[0].id}/change/"
    assert logged_in().post(url, {"focus_x": "", "focus_y": ""}).status_code == 302
    assert states(site, photos[0]) == ["BUILT"] * 3 + ["QUEUED"], "the picture of the page"


def test_an_emptied_focus_point_is_the_centre_again(site: EasyImg, photos: list[Address]) -> None:
    url = f"{SOURCES}{photos[0].id}/change/"
    client = logged_in()
    client.post(url, {"focus_x": "0.1", "focus_y": "0.2"})
    client.post(url, {"focus_x": "", "focus_y": ""})
    assert site.metadata.inspect(photos[0]).focus is None


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ("0.5", "", "Give both numbers, or none."),
        ("1.5", "0", "less than or equal to 1"),
        ("-0.1", "0", "greater than or equal to 0"),
        ("nan", "0", "Enter a number."),
        ("left", "0", "Enter a number."),
    ],
)
def test_a_point_outside_of_the_picture_is_refused(
    site: EasyImg, photos: list[Address], x: str, y: str, message: str
) -> None:
    page = logged_in().post(f"{SOURCES}{photos[0].id}/change/", {"focus_x": x, "focus_y": y})
    assert message in text_of(page)
    assert site.metadata.inspect(photos[0]).focus is None


def test_nothing_else_of_a_source_can_be_sent(site: EasyImg, photos: list[Address], alias: str) -> None:
    before = Source.objects.using(alias).filter(pk=photos[0].id).values().get()
    sent = {"focus_x": "", "focus_y": "", "name": "../etc/passwd", "storage": "x", "generation": "9", "error": "x"}
    assert logged_in().post(f"{SOURCES}{photos[0].id}/change/", sent).status_code == 302
    assert Source.objects.using(alias).filter(pk=photos[0].id).values().get() == before


def test_numbers_are_written_with_points_in_every_language(site: EasyImg, photos: list[Address]) -> None:
    set_focus(photos[0], (0.25, 0.5))
    with override_settings(LANGUAGE_CODE="de", USE_THOUSAND_SEPARATOR=True):
        page = logged_in().get(f"{SOURCES}{photos[0].id}/change/").content
    assert b'name="focus_x" value="0.25"' in page
    assert b'<circle cx="25.00%" cy="50.00%"' in page


GERMAN = [
    (
        SOURCES,
        ["Originalbilder", "noch nicht gelesen", "Nach Varianten", "kein Bild", "Alle Varianten neu erzeugen"],
    ),
    (
        f"{SOURCES}{Address('default', 'broken.jpg').id}/change/",
        [
            "Fokuspunkt: Klicken Sie auf",
            "Von links",
            "Aufgegeben: nein",
            "Fehler im Original",
            "Eintrag",
            "Abstürze: 0",
        ],
    ),
    (f"{SOURCES}{Address('default', 'a.jpg').id}/delete/", ["a.jpg (4 Varianten, ", "Die Originale bleiben"]),
    (
        VARIANTS,
        ["Bildvarianten", "Der Anfang des Namens", "Nach Art des Fehlers", "Spezifikation", "Die Dateien neu erzeugen"],
    ),
    (f"{SOURCES}status/", ["Varianten je Original 2,00", "am längsten offen", "Fehler in Originalen 3", "was hilft"]),
]


def test_pages_are_german_where_the_site_is(site: EasyImg, photos: list[Address]) -> None:
    client = logged_in()
    with override_settings(LANGUAGE_CODE="de"):
        shown = {url: text_of(client.get(url)) for url, _ in GERMAN}
        done = text_of(act(client, SOURCES, "requeue", photos[2].id))
        refused = text_of(client.post(GERMAN[1][0], {"focus_x": "0.5", "focus_y": ""}))
    for url, words in GERMAN:
        assert [word for word in words if word not in shown[url]] == [], (url, shown[url])
    assert "3 Varianten warten erneut." in done
    assert "Geben Sie beide Zahlen an oder keine." in refused


# Actions.


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_failed_variants_are_tried_again(site: EasyImg, photos: list[Address], alias: str, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(images.photo(200, 100))
    bell = site.settings.queue
    bell.rung.clear()
    page = act(logged_in(), SOURCES, "requeue", *(s.id for s in photos))
    assert "3 variants are queued again." in text_of(page)
    assert [photos[2].id] in bell.rung
    drain(site)
    assert set(states(site, photos[2])) == {"BUILT"}


def test_failed_variants_are_tried_again_from_the_list_of_variants(
    site: EasyImg, photos: list[Address], alias: str
) -> None:
    keys = list(Variant.objects.using(alias).values_list("pk", flat=True))
    assert "3 variants are queued again." in text_of(act(logged_in(), VARIANTS, "requeue", *keys))
    assert states(site, photos[2])[:3] == ["QUEUED"] * 3
    assert "BUILT" in states(site, photos[0]), "what is built stays so"


def test_all_variants_of_a_source_are_built_anew_and_pages_keep_their_boxes(
    site: EasyImg, photos: list[Address], tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(images.photo(200, 150, seed=9))
    assert "All variants of 1 source are built anew." in text_of(act(logged_in(), SOURCES, "rebuild", photos[0].id))
    detail = site.metadata.inspect(photos[0])
    assert (detail.generation, detail.info.width) == (2, 400), "known until the build has read the new file"
    drain(site)
    detail = site.metadata.inspect(photos[0])
    assert (detail.info.width, {v.status for v in detail.variants}) == (200, {VariantStatus.BUILT})


def test_chosen_files_are_built_anew_and_no_others(site: EasyImg, photos: list[Address], alias: str) -> None:
    keys = list(Variant.objects.using(alias).filter(source_id=photos[0].id).values_list("pk", flat=True))[:2]
    assert "2 variants are queued again." in text_of(act(logged_in(), VARIANTS, "rebuild", *keys))
    queued = Variant.objects.using(alias).filter(status=0, pk__in=keys)
    assert queued.count() == 2
    assert states(site, photos[1])[:3] == ["BUILT"] * 3


def test_what_needs_nothing_says_so(site: EasyImg, photos: list[Address]) -> None:
    page = act(logged_in(), SOURCES, "requeue", photos[0].id)
    assert "There was nothing to queue again." in text_of(page)


def test_more_than_a_request_can_do_is_refused(
    site: EasyImg, photos: list[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_DELETED", 2)
    page = act(logged_in(), SOURCES, "delete_selected", *(s.id for s in photos), post="yes")
    assert "At most 2 can be chosen at once" in text_of(page)
    assert site.metadata.counts(stale_after=0).sources == 3


def test_rows_that_cannot_be_written_are_told_in_a_line(
    site: EasyImg, photos: list[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise MetadataError("the database is read-only")

    for name in ("requeue", "replace", "set_focus", "remove"):
        monkeypatch.setattr(site.metadata, name, fail)
    client = logged_in()
    for page in (  # one after the other
        act(client, SOURCES, "requeue", photos[2].id),
        act(client, SOURCES, "rebuild", photos[2].id),
        act(client, SOURCES, "delete_selected", photos[2].id, post="yes"),
        client.post(f"{SOURCES}{photos[0].id}/change/", {"focus_x": "0.1", "focus_y": "0.2"}, follow=True),
        client.post(f"{SOURCES}{photos[0].id}/delete/", {"post": "yes"}, follow=True),
    ):
        assert page.status_code == 200, page
        assert "The database is read-only" in text_of(page), page.request
        assert "success" not in text_of(page).lower()


# Deleting.


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_deleting_a_source_deletes_its_rows_and_files_and_keeps_the_original(
    site: EasyImg, photos: list[Address], alias: str, tmp_path: Path
) -> None:
    client = logged_in()
    url = f"{SOURCES}{photos[0].id}/delete/"
    asked = text_of(client.get(url))
    assert "a.jpg (3 variants, " in asked
    assert "The originals stay in their storage" in asked
    others = [f for f in files(tmp_path) if not f.startswith("img/")]
    assert "was deleted successfully" in text_of(client.post(url, {"post": "yes"}, follow=True))
    assert site.metadata.inspect(photos[0]) is None
    assert len([f for f in files(tmp_path) if f.startswith("img/")]) == 3, "those of b.jpg"
    assert [f for f in files(tmp_path) if not f.startswith("img/")] == others
    assert not Variant.objects.using(alias).filter(source_id=photos[0].id).exists()


def test_chosen_sources_are_deleted_after_a_question(site: EasyImg, photos: list[Address], tmp_path: Path) -> None:
    client = logged_in()
    asked = act(client, SOURCES, "delete_selected", photos[0].id, photos[1].id)
    assert "Source images: 2" in text_of(asked)
    assert "Image variants: 8" in text_of(asked), "the thumbnails among them"
    assert site.metadata.counts(stale_after=0).sources == 3
    done = act(client, SOURCES, "delete_selected", photos[0].id, photos[1].id, post="yes")
    assert "Successfully deleted 2 source images." in text_of(done)
    assert files(tmp_path) == ["a.jpg", "b.jpg", "broken.jpg"]


def test_files_stay_when_the_deletion_is_rolled_back(
    site: EasyImg, photos: list[Address], alias: str, tmp_path: Path
) -> None:
    before = files(tmp_path)
    client = logged_in()
    with transaction.atomic(using=alias):
        client.post(f"{SOURCES}{photos[0].id}/delete/", {"post": "yes"})
        assert site.metadata.inspect(photos[0]) is None
        assert files(tmp_path) == before
        transaction.set_rollback(True, using=alias)
    assert files(tmp_path) == before
    assert states(site, photos[0]) == ["BUILT"] * 3


def test_a_file_that_cannot_be_deleted_is_logged_and_the_row_goes(
    site: EasyImg, photos: list[Address], alias: str, caplog: pytest.LogCaptureFixture
) -> None:
    Variant.objects.using(alias).filter(source_id=photos[0].id).update(file_storage="gone")
    done = logged_in().post(f"{SOURCES}{photos[0].id}/delete/", {"post": "yes"}, follow=True)
    assert "was deleted successfully" in text_of(done)
    assert caplog.text.count("a file cannot be removed") == 3


# Who may do what.


@pytest.mark.parametrize("name", ["viewer", "editor", "remover", "nobody"])
def test_nobody_adds_rows(site: EasyImg, photos: list[Address], name: str) -> None:
    client = logged_in(name)
    for url in (SOURCES, VARIANTS):
        assert client.get(f"{url}add/").status_code == 403
        assert client.post(f"{url}add/", {}).status_code == 403


def test_who_may_only_look_changes_nothing_even_by_post(
    site: EasyImg, photos: list[Address], alias: str, tmp_path: Path
) -> None:
    before = (list(Source.objects.using(alias).values()), list(Variant.objects.using(alias).values()), files(tmp_path))
    client = logged_in("viewer")
    key = before[1][0]["key"]
    assert client.post(f"{SOURCES}{photos[0].id}/change/", {"focus_x": "0.1", "focus_y": "0"}).status_code == 403
    assert client.post(f"{SOURCES}{photos[0].id}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"{VARIANTS}{key}/change/", {"status": "0"}).status_code == 403
    assert client.post(f"{VARIANTS}{key}/delete/", {"post": "yes"}).status_code == 403
    for action in ("requeue", "rebuild", "delete_selected"):
        act(client, SOURCES, action, photos[2].id, post="yes")
        act(client, VARIANTS, action, key, post="yes")
    after = (list(Source.objects.using(alias).values()), list(Variant.objects.using(alias).values()), files(tmp_path))
    assert [r for r in after[1] if r["key"] in {v["key"] for v in before[1]}] == before[1]
    assert (after[0], after[2]) == (before[0], before[2])


def test_who_may_only_look_sees_the_picture_and_the_point_but_no_inputs(site: EasyImg, photos: list[Address]) -> None:
    set_focus(photos[0], (0.25, 0.5))
    page = logged_in("viewer").get(f"{SOURCES}{photos[0].id}/change/")
    assert len(pictures(page)) == 1
    assert "0.25, 0.5" in text_of(page)
    assert b'name="focus_x"' not in page.content
    assert b'name="action"' not in logged_in("viewer").get(SOURCES).content


def test_who_may_not_delete_is_not_offered_it(site: EasyImg, photos: list[Address]) -> None:
    page = logged_in("editor").get(SOURCES).content
    assert b'value="requeue"' in page
    assert b'value="delete_selected"' not in page
    assert logged_in("editor").post(f"{SOURCES}{photos[0].id}/delete/", {"post": "yes"}).status_code == 403
    assert states(site, photos[0])[:3] == ["BUILT"] * 3


def test_who_may_delete_sources_needs_no_right_on_variants(site: EasyImg, photos: list[Address]) -> None:
    done = logged_in("remover").post(f"{SOURCES}{photos[0].id}/delete/", {"post": "yes"}, follow=True)
    assert "was deleted successfully" in text_of(done)
    assert site.metadata.inspect(photos[0]) is None


def test_who_has_no_right_sees_nothing(site: EasyImg, photos: list[Address]) -> None:
    client = logged_in("nobody")
    for url in (SOURCES, VARIANTS, f"{SOURCES}status/", f"{SOURCES}{photos[0].id}/change/"):
        assert client.get(url).status_code == 403
    assert Client().get(f"{SOURCES}status/").status_code == 302


def test_variants_are_never_edited_or_deleted_one_by_one(site: EasyImg, photos: list[Address], alias: str) -> None:
    key = Variant.objects.using(alias).values_list("pk", flat=True)[0]
    client = logged_in()
    assert client.get(f"{VARIANTS}{key}/change/").status_code == 200
    assert client.post(f"{VARIANTS}{key}/change/", {}).status_code == 403
    assert client.post(f"{VARIANTS}{key}/delete/", {"post": "yes"}).status_code == 403


# The status.


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_the_status_says_what_the_command_says(site: EasyImg, photos: list[Address], alias: str) -> None:
    Img(width=333).order(photos[0])
    page = text_of(logged_in("viewer").get(f"{SOURCES}status/"))
    assert re.search(r"built 6 queued 3 building 0 source errors 3 build errors 0", page)
    assert re.search(r"sources 3 variants per source 2\.00 pending 3 oldest owed \d+ s stale 0 \(over 600 s\)", page)
    assert re.search(r"SourceUnreadable 3 .+ replace the upload", page)
    assert "python manage.py easyimg build" in page


def test_the_status_of_a_new_site_has_nothing_to_tell(site: EasyImg) -> None:
    page = text_of(logged_in().get(f"{SOURCES}status/"))
    assert "built 0 queued 0 building 0" in page
    assert "Errors" not in page
    assert "Try" not in page


# Sites without rows of ours.


@pytest.mark.parametrize("broken", [False, True])
def test_where_the_rows_are_elsewhere_the_admin_shows_nothing(
    make_site: Callable[..., EasyImg], tmp_path: Path, broken: bool
) -> None:
    make_site(METADATA=f"sqlite:///{tmp_path}/rows.db")
    setting = {"QUEU": "none"} if broken else {"METADATA": f"sqlite:///{tmp_path}/rows.db"}
    with override_settings(EASYIMG=setting):
        client = logged_in()
        assert client.get("/admin/").status_code == 200
        assert "Source images" not in text_of(client.get("/admin/"))
        assert client.get(SOURCES).status_code == 403
        assert client.get(f"{SOURCES}status/").status_code == 403


def test_pages_need_nothing_inline(site: EasyImg, photos: list[Address], alias: str) -> None:
    client = logged_in()
    key = Variant.objects.using(alias).values_list("pk", flat=True)[0]
    for url in (f"{SOURCES}status/", f"{SOURCES}{photos[0].id}/change/", f"{VARIANTS}{key}/change/", VARIANTS):
        main = client.get(url).content.decode().partition('id="content')[2]
        ours = re.findall(r"<[^>]*easyimg[^>]*>", main)
        assert ours
        assert not [tag for tag in ours if " style=" in tag or re.search(r"\son\w+=", tag)]
