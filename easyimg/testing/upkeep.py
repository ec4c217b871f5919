"""The part of the metadata store's contract that compares rows with files; ``MetadataContract`` includes it."""

from __future__ import annotations

import time

from easyimg.geometry import Focus
from easyimg.ports import MetadataStore
from easyimg.source import Source, SourceInfo
from easyimg.spec import VariantSpec
from easyimg.variant import Built, Claim, FileRow, VariantStatus, Wanted

SPECS = (VariantSpec(width=300, format="webp"), VariantSpec(width=600, format="webp"))
INFO = SourceInfo(4000, 3000, "jpeg")


def order(store: MetadataStore, name: str) -> Source:
    """Queue two variants of a source in storage ``default``."""
    source = Source("default", name)
    store.enqueue([Wanted(source, {spec.key(source.address): spec.canonical for spec in SPECS})])
    return source


def claim(store: MetadataStore, source: Source) -> Claim:
    """Claim a source's variants."""
    [found] = store.claim(lease=60.0, max_attempts=3, source_id=source.id)
    return found


def publish(store: MetadataStore, found: Claim, version: str = "0123456789ab") -> frozenset[str]:
    """Settle a claim as built; return the keys that were accepted."""
    files = [Built(v.key, "default", f"img/{v.key}.{version}.webp", "webp", 300, 225, 1234) for v in found.variants]
    return store.publish(found, files, info=INFO, version=version)


def build(store: MetadataStore, name: str) -> Source:
    """Queue, claim and publish two variants of a source."""
    source = order(store, name)
    assert len(publish(store, claim(store, source))) == len(SPECS)
    return source


def keys_of(source: Source) -> list[str]:
    """Return the keys of the two variants."""
    return [spec.key(source.address) for spec in SPECS]


class UpkeepContract:
    """Rows by pages, rows owed again, rows removed: what ``easyimg check`` and ``easyimg clean`` rest on."""

    # reading

    def test_pages_tell_every_variant_once_in_order_of_key(self, store: MetadataStore) -> None:
        assert store.file_page() == []
        built = build(store, "a.jpg")
        sources = [built, *(order(store, f"{n}.jpg") for n in range(4))]
        pages, after = [], ""
        while page := store.file_page(after, 4):
            pages.append(page)
            after = page[-1].key
        assert [len(page) for page in pages] == [4, 4, 2]
        rows = [row for page in pages for row in page]
        assert [row.key for row in rows] == sorted(key for source in sources for key in keys_of(source))
        assert {row.source_id for row in rows} == {source.id for source in sources}
        assert {row.key for row in rows if row.status == VariantStatus.BUILT} == set(keys_of(built))

    def test_a_row_tells_its_file_and_when_it_was_built(self, store: MetadataStore) -> None:
        built, queued = build(store, "a.jpg"), order(store, "b.jpg")
        [key, other] = [keys_of(built)[0], keys_of(queued)[0]]
        rows = store.file_rows([key, other, "0" * 32, key])
        assert set(rows) == {key, other}
        moment = time.strftime("%Y-%m-%d", time.gmtime())
        name = f"img/{key}.0123456789ab.webp"
        assert rows[key][:6] == (key, built.id, VariantStatus.BUILT, "default", name, 1234)
        assert rows[key].built_at.startswith(moment)
        assert rows[other] == FileRow(other, queued.id, VariantStatus.QUEUED, "", "", 0, "")
        assert store.file_rows([]) == {}

    def test_more_keys_than_one_statement_takes_are_found(self, store: MetadataStore) -> None:
        sources = [Source("default", f"{n}.jpg") for n in range(600)]
        store.enqueue([Wanted(s, {SPECS[0].key(s.address): SPECS[0].canonical}) for s in sources])
        keys = [SPECS[0].key(s.address) for s in sources]
        assert set(store.file_rows(keys)) == set(keys)
        assert set(store.source_rows([s.id for s in sources])) == {s.id for s in sources}
        assert len(store.remove(list(store.source_rows([s.id for s in sources]).values()))) == 600
        assert store.source_page() == []

    def test_pages_tell_every_source_once_with_its_version_and_focus(self, store: MetadataStore) -> None:
        assert store.source_page() == []
        built, seen = build(store, "Ärger/1.jpg"), order(store, "b.jpg")
        store.set_focus(seen, Focus(0.25, 0.75))
        first, second = store.source_page(limit=1), store.source_page(min(built.id, seen.id), 5)
        rows = {row.id: row for row in [*first, *second]}
        assert [row.id for row in [*first, *second]] == sorted([built.id, seen.id])
        assert (rows[built.id].source, rows[built.id].version, rows[built.id].focus) == (built, "0123456789ab", None)
        assert (rows[seen.id].source, rows[seen.id].version, rows[seen.id].focus) == (seen, "", Focus(0.25, 0.75))
        assert rows[seen.id].generation == rows[built.id].generation + 1
        assert all(0 <= row.idle < 30 for row in rows.values())
        assert set(store.source_rows([seen.id, "0" * 32])) == {seen.id}

    def test_a_source_is_idle_since_its_row_changed(self, store: MetadataStore) -> None:
        source = build(store, "a.jpg")
        time.sleep(1)
        before = store.source_rows([source.id])[source.id].idle
        assert before >= 0.9
        store.replace(source)
        assert store.source_rows([source.id])[source.id].idle < before

    # owed again

    def test_variants_whose_files_are_lost_are_queued_again(self, store: MetadataStore) -> None:
        source, other = build(store, "a.jpg"), build(store, "b.jpg")
        [key, kept] = keys_of(source)
        assert store.owe([store.file_rows([key])[key]]) == {key}
        rows = store.file_rows([key, kept])
        assert rows[key] == FileRow(key, source.id, VariantStatus.QUEUED, "", "", 0, "")
        assert rows[kept].status == VariantStatus.BUILT
        assert store.due() == [source.id]
        again = claim(store, source)
        assert [(v.key, v.attempts) for v in again.variants] == [(key, 1)]
        assert publish(store, again) == {key}
        assert {row.status for row in store.file_rows(keys_of(other)).values()} == {VariantStatus.BUILT}

    def test_a_row_that_changed_meanwhile_is_left_alone(self, store: MetadataStore) -> None:
        source = build(store, "a.jpg")
        old = list(store.file_rows(keys_of(source)).values())
        store.replace(source)
        assert store.owe(old) == frozenset()
        time.sleep(0.005)
        publish(store, claim(store, source))  # the same content, so that the file's name is the same again
        assert store.owe(old) == frozenset()
        assert {row.status for row in store.file_rows(keys_of(source)).values()} == {VariantStatus.BUILT}
        assert store.owe([old[0]._replace(key="0" * 32)]) == frozenset()
        assert store.owe([]) == frozenset()

    def test_a_build_under_way_can_be_called_off(self, store: MetadataStore) -> None:
        source = order(store, "a.jpg")
        under_way = claim(store, source)
        rows = list(store.file_rows(keys_of(source)).values())
        assert store.owe(rows) == set(keys_of(source))
        assert publish(store, under_way) == frozenset()
        assert len(claim(store, source).variants) == len(SPECS)

    def test_what_is_queued_or_given_up_is_not_owed_by_this(self, store: MetadataStore) -> None:
        source = order(store, "a.jpg")
        assert store.owe(list(store.file_rows(keys_of(source)).values())) == frozenset()

    # removed

    def test_a_removed_source_takes_its_variants_along(self, store: MetadataStore) -> None:
        gone, kept = build(store, "a.jpg"), build(store, "b.jpg")
        rows = list(store.source_rows([gone.id]).values())
        assert store.remove(rows) == {gone.id}
        assert store.inspect(gone) is None
        assert store.file_rows(keys_of(gone)) == {}
        assert len(store.file_rows(keys_of(kept))) == len(SPECS)
        assert store.remove(rows) == frozenset()
        assert store.remove([]) == frozenset()

    def test_a_source_that_was_replaced_meanwhile_is_not_removed(self, store: MetadataStore) -> None:
        source = build(store, "a.jpg")
        rows = list(store.source_rows([source.id]).values())
        store.replace(source)
        assert store.remove(rows) == frozenset()
        assert len(store.file_rows(keys_of(source))) == len(SPECS)

    def test_a_removed_source_takes_no_build_and_may_come_back(self, store: MetadataStore) -> None:
        source = order(store, "a.jpg")
        under_way = claim(store, source)
        assert store.remove(list(store.source_rows([source.id]).values())) == {source.id}
        assert publish(store, under_way) == frozenset()
        assert store.due() == []
        build(store, "a.jpg")
        assert {row.status for row in store.file_rows(keys_of(source)).values()} == {VariantStatus.BUILT}
