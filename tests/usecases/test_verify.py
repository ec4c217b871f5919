"""Rows are compared with files and originals; what is wrong is told, and queued again where that can help."""

import contextlib

import pytest

from easyimg import Img, Source
from easyimg.clean import clean
from easyimg.drain import drain
from easyimg.errors import StorageError
from easyimg.geometry import Focus
from easyimg.presence import Spill
from easyimg.testing import images
from easyimg.variant import VariantStatus
from easyimg.verify import Finding, Verified, report_missing, verify, verify_names
from tests.counting import Statements
from tests.usecases.files import Counting, build, lost_files, make_many, order, orphan, rows_of

QUEUED, BUILT = VariantStatus.QUEUED, VariantStatus.BUILT


@pytest.fixture
def counted(make_site, tmp_path):
    storage = Counting(f"file://{tmp_path}/media")
    site = make_site(storages={"default": storage})
    site.storage = storage
    with site.app:
        yield site


def findings(app, **options):
    """Return what was found as (kind, name, fixed), and the totals."""
    found: list[Finding] = []
    report = verify(app, found=found.append, **options)
    assert report.found == len(found)
    assert report.fixed == sum(f.fixed for f in found)
    return sorted((f.kind, f.file_name or f.source.name, f.fixed) for f in found), report


def statuses(app, source):
    return {row.status for row in app.metadata.inspect(source).variants}


def test_a_site_in_order_has_nothing_wrong(site):
    build(site, "a.jpg", "b.jpg")
    assert findings(site.app, fix=True, content=True) == ([], Verified(sources=2, variants=6))
    assert len(rows_of(site.app)) == 6


def test_lost_and_changed_files_are_told_and_only_fixed_when_asked(site):
    source, other = build(site, "a.jpg", "b.jpg")
    mine = [row.file_name for row in rows_of(site.app) if row.source_id == source.id]
    (site.media / mine[0]).unlink()
    (site.media / mine[1]).write_bytes(b"cut")
    before = rows_of(site.app)
    found, report = findings(site.app)
    assert found == [("missing", mine[0], False), ("resized", mine[1], False)]
    assert (report.missing, report.resized, report.fixed) == (1, 1, 0)
    assert rows_of(site.app) == before

    site.bell.rung.clear()
    assert findings(site.app, fix=True)[0] == [("missing", mine[0], True), ("resized", mine[1], True)]
    assert site.bell.rung == [[source.id]]
    assert statuses(site.app, other) == {BUILT}
    assert sorted(row.status for row in site.app.metadata.inspect(source).variants) == [QUEUED, QUEUED, BUILT]
    assert drain(site.app).built == 2
    assert lost_files(site.app) == []
    assert findings(site.app)[0] == []


def test_a_page_shows_the_stand_in_until_the_lost_file_is_back(make_site):
    site = make_site(cache_seconds=10)
    img = Img(width=60, app=site.app)
    [source] = build(site, "a.jpg")
    img(source, alt="").build("all")
    whole = img(source, alt="").as_html()
    assert "/img/" in whole
    for name in site.variants():
        (site.media / name).unlink()
    assert verify(site.app, fix=True).fixed == 6
    assert "/img/" not in img(source, alt="").as_html()
    drain(site.app)
    site.app.cache.clear()
    assert img(source, alt="").as_html() == whole


def test_a_variant_whose_original_is_gone_too_is_told_and_left_alone(site):
    build(site, "a.jpg", "b.jpg")
    lost = [row.file_name for row in rows_of(site.app) if row.source_id == Source("default", "a.jpg").id]
    (site.media / "a.jpg").unlink()
    (site.media / lost[0]).unlink()
    found, _ = findings(site.app, fix=True)
    assert found == [("missing", lost[0], False), ("vanished", "a.jpg", False)]
    assert {row.status for row in rows_of(site.app)} == {BUILT}


def test_a_storage_that_is_not_mounted_spoils_no_row(site, tmp_path):
    build(site, "a.jpg", "b.jpg")
    before = rows_of(site.app)
    site.media.rename(tmp_path / "away")
    _, report = findings(site.app, fix=True, content=True)
    assert (report.vanished, report.missing, report.fixed) == (2, 6, 0)
    assert rows_of(site.app) == before
    (tmp_path / "away").rename(site.media)
    assert findings(site.app)[0] == []


def test_variants_in_a_storage_the_settings_do_not_have_are_missing(make_site, tmp_path):
    old = make_site(storages={"default": f"file://{tmp_path}/media", "old": f"file://{tmp_path}/old"}, variants="old")
    [source] = build(old, "a.jpg")
    site = make_site()
    found, report = findings(site.app, fix=True)
    assert (report.missing, report.fixed, len(found)) == (3, 3, 3)
    assert statuses(site.app, source) == {QUEUED}
    drain(site.app)
    assert lost_files(site.app) == []


def test_sources_in_a_storage_the_settings_do_not_have_have_vanished(site):
    build(site, "a.jpg")
    order(site.app, "b.jpg")
    site.app.metadata.replace(Source("archive", "old.jpg"))
    found, report = findings(site.app)
    assert found == [("vanished", "b.jpg", False), ("vanished", "old.jpg", False)]
    assert report.sources == 3


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\\b.jpg"])
def test_names_that_no_storage_holds_have_vanished(site, name):
    order(site.app, name)
    assert findings(site.app, fix=True)[0] == [("vanished", name, False)]


# contents


def test_an_original_that_changed_under_its_name_is_found_by_its_content_only(site):
    source, other = build(site, "a.jpg", "b.jpg")
    site.put("a.jpg", images.corners(120, 90, format="jpeg"))
    assert findings(site.app)[0] == []
    assert findings(site.app, content=True)[0] == [("changed", "a.jpg", False)]
    assert statuses(site.app, source) == {BUILT}
    site.bell.rung.clear()
    assert findings(site.app, content=True, fix=True)[0] == [("changed", "a.jpg", True)]
    assert site.bell.rung == [[source.id]]
    assert (statuses(site.app, source), statuses(site.app, other)) == ({QUEUED}, {BUILT})
    drain(site.app)
    assert findings(site.app, content=True)[0] == []


def test_a_focus_point_is_no_change_of_content(site):
    [source] = build(site, "a.jpg")
    site.app.metadata.set_focus(source, Focus(0.25, 1 / 3))
    drain(site.app)
    assert findings(site.app, content=True) == ([], Verified(sources=1, variants=3))


def test_an_original_that_was_taken_up_while_it_was_read_is_no_finding(counted):
    [source] = build(counted, "a.jpg")
    read = counted.storage.read
    counted.put("a.jpg", images.corners(120, 90, format="jpeg"))

    def read_late(name, max_bytes=None):
        counted.storage.read = read
        data = read(name, max_bytes)
        counted.app.metadata.replace(source)
        drain(counted.app)
        return data

    counted.storage.read = read_late
    generation = counted.app.metadata.inspect(source).generation
    assert findings(counted.app, content=True, fix=True)[0] == []
    assert counted.app.metadata.inspect(source).generation == generation + 1
    assert statuses(counted.app, source) == {BUILT}


def test_an_original_that_cannot_be_read_is_told_and_the_others_are_compared(counted):
    build(counted, "a.jpg", "b.jpg", "c.jpg")
    counted.put("c.jpg", images.corners(120, 90, format="jpeg"))
    read = counted.storage.read

    def fail_at_a(name, max_bytes=None):
        if name == "a.jpg":
            raise StorageError("timed out")
        return read(name, max_bytes)

    counted.storage.read = fail_at_a
    found, _ = findings(counted.app, content=True, fix=True)
    assert found == [("changed", "c.jpg", True), ("unreadable", "a.jpg", False)]


# what happens at the same moment


def test_a_file_that_is_written_after_the_listing_is_no_finding(counted):
    files = make_many(counted, 400)
    late = [
        (name, (counted.media / name).read_bytes()) for name in files[-20:]
    ]  # on the second page: the first thousand are asked one by one
    for name, _ in late:
        (counted.media / name).unlink()
    counted.storage.after_listing = lambda: [counted.put(name, data) for name, data in late]
    assert findings(counted.app, fix=True)[0] == []
    assert counted.storage.calls["list"] == 1


def test_a_variant_built_again_between_look_and_fix_is_left_alone(counted):
    [source] = build(counted, "a.jpg")
    lost = rows_of(counted.app)[0].file_name
    (counted.media / lost).unlink()
    size = counted.storage.size

    def size_then_build(name):
        found = size(name)
        if name == lost and found is None:
            counted.app.metadata.replace(source)
            drain(counted.app)
        return found

    counted.storage.size = size_then_build
    assert findings(counted.app, fix=True)[0] == []
    assert statuses(counted.app, source) == {BUILT}
    assert lost_files(counted.app) == []


# reports of single files


def test_a_404_queues_a_variant_again_whose_file_is_really_gone(site):
    [source] = build(site, "a.jpg")
    gone, there, _ = site.variants()
    (site.media / gone).unlink()
    site.bell.rung.clear()
    words = [f"/media/{there}", f"https://cdn.example/x/{gone}?v=1#top", gone, "/favicon.ico", "", f"/media/{orphan()}"]
    assert report_missing(words) == 1
    assert site.bell.rung == [[source.id]]
    assert report_missing(words) == 0
    assert sorted(row.status for row in rows_of(site.app)) == [QUEUED, BUILT, BUILT]
    drain(site.app)
    assert lost_files(site.app) == []
    assert report_missing(words, site.app) == 0


def test_a_404_of_a_replaced_pictures_old_file_means_nothing(site):
    [source] = build(site, "a.jpg")
    old = site.variants()
    site.put("a.jpg", images.corners(120, 90, format="jpeg"))
    site.app.metadata.replace(source)
    drain(site.app)
    for name in old:
        (site.media / name).unlink()
    assert report_missing(old) == 0
    assert statuses(site.app, source) == {BUILT}


def test_other_names_ask_no_storage_and_at_most_one_query(counted):
    build(counted, "a.jpg")
    counted.storage.calls.clear()
    with Statements(counted.app) as sent:
        assert report_missing(["/wp-login.php", "/media/photos/a.jpg", "img/logo.png"]) == 0
        assert sent == []
        assert report_missing([orphan(n) for n in range(400)]) == 0
    assert len(sent) == 1
    assert counted.storage.calls == {}


def test_names_are_only_told_without_fix(site):
    build(site, "a.jpg")
    gone = site.variants()[0]
    (site.media / gone).unlink()
    found: list[Finding] = []
    report = verify_names(site.app, [gone, "/nothing.jpg"], found=found.append)
    assert report == Verified(variants=1, missing=1, unknown=1)
    assert [(f.kind, f.file_name, f.source.name, f.fixed) for f in found] == [("missing", gone, "a.jpg", False)]
    assert {row.status for row in rows_of(site.app)} == {BUILT}


def test_a_name_given_twice_is_looked_at_once_and_not_unknown(site):
    build(site, "a.jpg")
    name = site.variants()[0]
    report = verify_names(site.app, [name, f"/media/{name}", "/nothing.jpg", "/nothing.jpg"])
    assert report == Verified(variants=1, unknown=2)


# at size


@pytest.mark.slow
def test_ten_percent_of_nine_thousand_files_are_found_by_one_listing(counted):
    files = make_many(counted, 3000)
    gone = files[::10]
    for name in gone:
        (counted.media / name).unlink()
    with Statements(counted.app) as looked:
        report = verify(counted.app)
    assert report == Verified(sources=3000, variants=9000, missing=900)
    # Originals: the first page is asked one by one or, as here with 3,000, listed from the second page on. The files
    # are in that same listing, and only the 900 that are not are asked for.
    assert counted.storage.calls == {"list": 1, "size": 1000 + 900}
    # 3 + 1 pages of sources, 9 + 1 of variants, one question for the sources of each page's lost files
    assert len(looked) == 4 + 10 + 9

    with Statements(counted.app) as fixed:
        assert verify(counted.app, fix=True).fixed == 900
    assert len(fixed) == len(looked) + 9 * 3  # two locks and one update for each page
    assert verify(counted.app).found == 0
    rows = rows_of(counted.app)
    assert {row.key for row in rows if row.status == QUEUED} == {name[4:36] for name in gone}
    assert clean(counted.app, older_than=0).kept == 8100


@pytest.mark.slow
def test_a_thousand_rows_need_no_listing(counted):
    files = make_many(counted, 250)
    for name in files[:7]:
        (counted.media / name).unlink()
    assert verify(counted.app, fix=True).fixed == 7
    # each of 250 originals and 750 files; then the originals of those lost, before anything is queued
    assert counted.storage.calls["list"] == 0
    assert 250 + 750 < counted.storage.calls["size"] <= 250 + 750 + 7


def test_a_spill_keeps_the_last_value_and_every_name():
    with contextlib.closing(Spill()) as spill:
        spill.add((f"Ärger/{n}'\".jpg", n) for n in range(2500))
        spill.add([("Ärger/7'\".jpg", None)])
        assert len(spill) == 2500
        assert spill.get(["Ärger/7'\".jpg", "Ärger/8'\".jpg", "none"]) == {"Ärger/7'\".jpg": None, "Ärger/8'\".jpg": 8}
        pages = list(spill.pages(1000))
        assert [len(page) for page in pages] == [1000, 1000, 500]
        assert len({name for page in pages for name in page}) == 2500
