"""What is done to chosen sources and variants: try again, build anew, remove."""

from __future__ import annotations

from easyimg import Img
from easyimg.drain import drain
from easyimg.removal import remove_rows
from easyimg.source import Source
from easyimg.tend import build_anew, build_files_anew, try_again


def ordered(site, *names):
    found = [Source("default", name) for name in names]
    for source in found:
        Img(width=60, app=site.app).order(source)
    drain(site.app)
    site.bell.rung.clear()
    return found


def states(site, source):
    return {v.status.name for v in site.app.metadata.inspect(source).variants}


def test_failed_variants_of_chosen_sources_are_queued_again_and_rung_for(site):
    site.put("bad.jpg", b"\xff\xd8\xff no")
    site.put("worse.jpg", b"\xff\xd8\xff no")
    site.put("good.jpg")
    bad, worse, good = ordered(site, "bad.jpg", "worse.jpg", "good.jpg")
    assert try_again(site.app, [bad.id, good.id, bad.id, "0" * 32]) == 3
    assert (states(site, bad), states(site, worse), states(site, good)) == ({"QUEUED"}, {"SOURCE_ERROR"}, {"BUILT"})
    assert site.bell.rung == [[bad.id]]


def test_sources_are_built_anew_and_their_size_stays_known_meanwhile(site):
    (source,) = ordered(site, site.put("a.jpg"))
    before = site.variants()
    assert build_anew(site.app, [source.id, "0" * 32]) == 1
    detail = site.app.metadata.inspect(source)
    assert (detail.generation, detail.info.width, states(site, source)) == (2, 900, {"QUEUED"})
    assert site.bell.rung == [[source.id]]
    drain(site.app)
    assert site.variants() == before, "the same content has the same names"


def test_chosen_files_are_built_anew_and_no_others(site):
    site.put("bad.jpg", b"\xff\xd8\xff no")
    good, bad = ordered(site, site.put("a.jpg"), "bad.jpg")
    keys = [v.key for v in site.app.metadata.inspect(good).variants][:1]
    keys += [v.key for v in site.app.metadata.inspect(bad).variants]
    assert build_files_anew(site.app, keys) == 1
    assert states(site, good) == {"QUEUED", "BUILT"}
    assert states(site, bad) == {"SOURCE_ERROR"}
    assert site.bell.rung == [[good.id]]


def test_a_source_goes_with_its_files_and_without_its_original(site):
    one, other = ordered(site, site.put("a.jpg"), site.put("b.jpg"))
    str(Img(width=60, app=site.app)(one, alt=""))  # remembered by the process
    assert len(site.variants()) == 6
    assert remove_rows(site.app, [one.id, one.id, "0" * 32]) == (1, 3)
    assert site.app.metadata.inspect(one) is None
    assert len(site.variants()) == 3
    assert (site.media / "a.jpg").exists()
    assert states(site, other) == {"BUILT"}
    assert "/media/a.jpg" in str(Img(width=60, app=site.app)(one, alt="")), "the original stands in again"


def test_a_source_that_is_replaced_meanwhile_goes_all_the_same(site, monkeypatch):
    (source,) = ordered(site, site.put("a.jpg"))
    metadata = site.app.metadata
    remove = metadata.remove
    replaced: list[int] = []

    def replace_first(rows):
        if not replaced:
            replaced.append(metadata.replace(source))
        return remove(rows)

    monkeypatch.setattr(metadata, "remove", replace_first)
    assert remove_rows(site.app, [source.id]).sources == 1
    assert metadata.inspect(source) is None
