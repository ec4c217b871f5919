"""The contract of ``ports.MetadataStore`` as tests: subclass :class:`MetadataContract` and give it a store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from easyimg.errors import MetadataError
from easyimg.geometry import Focus
from easyimg.joined import rest
from easyimg.ports import MetadataStore
from easyimg.preview import Preview
from easyimg.source import Source, SourceInfo
from easyimg.spec import VariantSpec
from easyimg.testing.upkeep import UpkeepContract
from easyimg.variant import Built, Claim, ClaimOrder, Failure, GivenUp, Priority, Variant, VariantStatus, Wanted

SPECS = (VariantSpec(width=300, format="webp"), VariantSpec(width=600, format="webp"), VariantSpec(width=300))
INFO = SourceInfo(4000, 3000, "jpeg", has_alpha=False, frames=1, interlaced=True)
SHORT = 0.05
"""A lease that is over after ``wait_out()``, seconds."""


def wait_out() -> None:
    """Sleep until a SHORT lease has ended."""
    time.sleep(SHORT + 0.03)


def wanted(name: str, specs: Sequence[VariantSpec] = SPECS, info: SourceInfo | None = None) -> Wanted:
    """Return the wish for some variants of a source in storage ``default``."""
    source = Source("default", name)
    return Wanted(source, {spec.key(source.address): spec.canonical for spec in specs}, info)


def built(claim: Claim) -> list[Built]:
    """Return a finished file for each variant of a claim."""
    return [Built(v.key, "default", f"img/{v.key}.1.webp", "webp", 300, 225, 1234) for v in claim.variants]


def failed(claim: Claim, *, retry_in: float | None = None, kind: str = "StorageError") -> list[Failure]:
    """Return a failure for each variant of a claim."""
    return [Failure(v.key, VariantStatus.BUILD_ERROR, kind, "disk full", retry_in) for v in claim.variants]


class MetadataContract(UpkeepContract):
    """Subclass it as ``class TestMine(MetadataContract)`` and override the fixture ``store``.

    Attributes:
        says_what_is_new: False = ``enqueue`` returns all given sources when anything at all is new.
    """

    says_what_is_new = True

    @pytest.fixture
    def store(self) -> MetadataStore | Iterator[MetadataStore]:
        """Yield an empty store."""
        raise NotImplementedError("override the fixture `store`")

    def variants(self, store: MetadataStore, wish: Wanted) -> dict[str, Variant]:
        return store.fetch({wish.source.id: list(wish.specs)})[wish.source.id].variants

    def statuses(self, store: MetadataStore, wish: Wanted) -> set[VariantStatus]:
        return {variant.status for variant in self.variants(store, wish).values()}

    def claim(self, store: MetadataStore, *, lease: float = 60.0, **terms: Any) -> Claim:
        [claim] = store.claim(lease=lease, max_attempts=terms.pop("max_attempts", 3), **terms)
        return claim

    # setup

    def test_the_store_is_a_metadata_store(self, store: MetadataStore) -> None:
        assert isinstance(store, MetadataStore)

    def test_setup_may_be_called_again(self, store: MetadataStore) -> None:
        store.setup()
        store.enqueue([wanted("a.jpg")])
        store.setup()
        assert store.counts(stale_after=60).queued == 3

    # fetch and enqueue

    def test_fetching_what_has_no_row_gives_nothing(self, store: MetadataStore) -> None:
        assert store.fetch({}) == {}
        assert store.fetch({Source("default", "a.jpg").id: ["0" * 32]}) == {}

    def test_enqueued_variants_are_queued_and_fetched_by_source(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg", info=INFO)
        assert store.enqueue([wish]) == [wish.source.id]
        record = store.fetch({wish.source.id: list(wish.specs)})[wish.source.id]
        assert (record.id, record.info, record.focus, record.given_up) == (wish.source.id, INFO, None, "")
        assert record.variants == {key: Variant(key, VariantStatus.QUEUED) for key in wish.specs}

    def test_fetch_gives_only_the_asked_keys_and_absent_ones_are_left_out(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        first = next(iter(wish.specs))
        record = store.fetch({wish.source.id: [first, "0" * 32]})[wish.source.id]
        assert list(record.variants) == [first]
        assert store.fetch({wish.source.id: []})[wish.source.id].variants == {}

    def test_fetch_gives_more_than_five_thousand_keys(self, store: MetadataStore) -> None:
        wishes = [wanted(f"{i}.jpg") for i in range(1700)]
        store.enqueue(wishes)
        records = store.fetch({w.source.id: list(w.specs) for w in wishes})
        assert {id_: set(r.variants) for id_, r in records.items()} == {w.source.id: set(w.specs) for w in wishes}

    def test_enqueue_leaves_existing_rows_alone_and_says_so(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        claim = self.claim(store)
        store.publish(claim, built(claim))
        assert store.enqueue([wish]) == []
        assert store.enqueue([]) == []
        assert self.statuses(store, wish) == {VariantStatus.BUILT}

    def test_enqueue_returns_only_sources_with_anything_new(self, store: MetadataStore) -> None:
        old, more, new = wanted("old.jpg"), wanted("more.jpg", SPECS[:1]), wanted("new.jpg")
        store.enqueue([old, more])
        ids = store.enqueue([old, wanted("more.jpg"), new])
        assert ids == [w.source.id for w in ((more, new) if self.says_what_is_new else (old, more, new))]

    def test_facts_fill_empty_ones_and_never_overwrite(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        assert store.fetch({wish.source.id: []})[wish.source.id].info is None
        store.enqueue([wish._replace(info=INFO)])
        store.enqueue([wish._replace(info=SourceInfo(1, 1, "png", has_alpha=True))])
        assert store.fetch({wish.source.id: []})[wish.source.id].info == INFO

    def test_enqueue_with_a_wait_writes_the_same(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        assert store.enqueue([wish], wait=0.05) == [wish.source.id]
        assert store.enqueue([wish], wait=0.05) == []
        assert self.statuses(store, wish) == {VariantStatus.QUEUED}

    @pytest.mark.parametrize("name", ["Ärger/日本/🎉.jpg", "a'b\"c%s:x?.jpg", "x" * 1000, "A.jpg"])
    def test_names_are_kept_to_the_letter(self, store: MetadataStore, name: str) -> None:
        wishes = [wanted(name), wanted("a.jpg")]
        store.enqueue(wishes)
        detail = store.inspect(wishes[0].source)
        assert detail is not None
        assert detail.source == wishes[0].source
        assert store.counts(stale_after=60).sources == 2

    @pytest.mark.parametrize("name", ["a\ud800.jpg", "a\0.jpg", "x" * 1025])
    def test_names_that_cannot_be_kept_are_refused_and_nothing_is_written(
        self, store: MetadataStore, name: str
    ) -> None:
        with pytest.raises(MetadataError):
            store.enqueue([wanted("good.jpg"), wanted(name)])
        assert store.counts(stale_after=60).sources == 0

    # facts

    def test_recorded_facts_overwrite_and_keep_variants(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.record_info(wish.source, SourceInfo(1, 2, "png", has_alpha=True), "v1")
        store.enqueue([wish])
        store.record_info(wish.source, INFO, "v2")
        detail = store.inspect(wish.source)
        assert detail is not None
        assert (detail.info, detail.version, detail.generation) == (INFO, "v2", 1)
        assert len(detail.variants) == 3

    def test_a_new_focus_queues_the_variants_again(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg", info=INFO)
        store.enqueue([wish])
        claim = self.claim(store)
        store.publish(claim, built(claim))
        store.set_focus(wish.source, Focus(0.25, 0.1))
        assert store.fetch({wish.source.id: []})[wish.source.id].focus == Focus(0.25, 0.1)
        assert store.fetch({wish.source.id: []})[wish.source.id].info == INFO
        again = self.claim(store)
        assert (len(again.variants), again.focus, again.generation) == (3, Focus(0.25, 0.1), claim.generation + 1)

    def test_the_same_focus_again_changes_nothing(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.set_focus(wish.source, Focus(0.1, 1 / 3))
        store.enqueue([wish])
        claim = self.claim(store)
        store.publish(claim, built(claim))
        store.set_focus(wish.source, Focus(0.1, 1 / 3))
        assert self.statuses(store, wish) == {VariantStatus.BUILT}
        store.set_focus(wish.source, None)
        assert self.statuses(store, wish) == {VariantStatus.QUEUED}
        assert store.fetch({wish.source.id: []})[wish.source.id].focus is None

    # claim

    def test_a_claim_takes_all_of_a_source_and_counts_the_attempt_first(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        claim = self.claim(store)
        assert {(v.key, v.spec) for v in claim.variants} == set(wish.specs.items())
        assert (claim.source_id, claim.source, claim.crashes) == (wish.source.id, wish.source, 0)
        detail = store.inspect(wish.source)
        assert detail is not None
        assert {(v.status, v.attempts) for v in detail.variants} == {(VariantStatus.BUILDING, 1)}
        assert store.claim(lease=60, max_attempts=3) == []

    def test_sources_are_claimed_oldest_first(self, store: MetadataStore) -> None:
        names = ["c.jpg", "a.jpg", "b.jpg"]
        for name in names:
            store.enqueue([wanted(name)])
            time.sleep(0.005)
        claims = store.claim(lease=60, max_attempts=3, limit=2)
        assert [c.source.name for c in claims] == names[:2]
        assert [c.source.name for c in store.claim(lease=60, max_attempts=3, limit=2)] == names[2:]

    def test_a_claim_may_be_for_one_source_or_some_keys(self, store: MetadataStore) -> None:
        first, second = wanted("a.jpg"), wanted("b.jpg")
        store.enqueue([first, second])
        key = next(iter(second.specs))
        claim = self.claim(store, source_id=second.source.id, keys=[key])
        assert [v.key for v in claim.variants] == [key]
        rest = self.claim(store, source_id=second.source.id, limit=9)
        assert {v.key for v in rest.variants} == set(second.specs) - {key}
        assert store.claim(lease=60, max_attempts=3, source_id=second.source.id) == []
        assert store.claim(lease=60, max_attempts=3, keys=[]) == []
        assert self.claim(store).source == first.source

    def test_variants_with_more_attempts_come_first(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        tried = max(wish.specs)
        first = self.claim(store, keys=[tried])
        store.publish(first, [], failed(first, retry_in=0))
        time.sleep(0.005)
        claim = self.claim(store)
        assert [(v.key, v.attempts) for v in claim.variants[:2]] == [(tried, 2), (min(wish.specs), 1)]

    def test_a_lapsed_lease_counts_a_crash_and_is_taken_over(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        lost = self.claim(store, lease=SHORT)
        wait_out()
        claim = self.claim(store)
        assert (claim.crashes, {v.attempts for v in claim.variants}) == (1, {2})
        assert claim.token != lost.token
        assert store.publish(lost, built(lost)) == frozenset()
        assert store.renew(lost, 60) is False
        store.release(lost)
        assert self.statuses(store, wish) == {VariantStatus.BUILDING}
        assert store.publish(claim, built(claim)) == frozenset(wish.specs)

    def test_a_renewed_lease_does_not_lapse(self, store: MetadataStore) -> None:
        store.enqueue([wanted("a.jpg")])
        claim = self.claim(store, lease=SHORT)
        assert store.renew(claim, 60) is True
        wait_out()
        assert store.claim(lease=60, max_attempts=3) == []

    def test_a_source_is_given_up_after_as_many_crashes(self, store: MetadataStore) -> None:
        wish, other = wanted("bomb.jpg"), wanted("fine.jpg")
        store.enqueue([wish])
        for _ in range(3):
            self.claim(store, lease=SHORT)
            wait_out()
        store.enqueue([other])
        assert self.claim(store).source == other.source
        assert store.claim(lease=60, max_attempts=3) == []
        detail = store.inspect(wish.source)
        assert detail is not None
        reason = "gave up: the process that built it died or hung 3 times"
        assert detail.error == reason
        assert {(v.status, v.error_kind, v.error, v.due_at) for v in detail.variants} == {
            (VariantStatus.BUILD_ERROR, "GaveUp", reason, "")
        }

    def test_the_last_error_is_told_of_a_source_that_is_given_up(self, store: MetadataStore) -> None:
        wish = wanted("bomb.jpg")
        store.enqueue([wish])
        claim = self.claim(store)
        store.publish(claim, [], failed(claim, retry_in=0), crashed=True)
        time.sleep(0.005)
        self.claim(store, lease=SHORT)
        wait_out()
        assert store.claim(lease=60, max_attempts=2) == []
        assert (detail := store.inspect(wish.source)) is not None
        assert detail.error == "gave up: the process that built it died or hung 2 times (last error: disk full)"

    def test_new_variants_of_a_given_up_source_are_born_failed(self, store: MetadataStore) -> None:
        wish = wanted("bomb.jpg", SPECS[:1])
        store.enqueue([wish])
        self.claim(store, lease=SHORT)
        wait_out()
        assert store.claim(lease=60, max_attempts=1) == []
        store.enqueue([wanted("bomb.jpg")])
        reason = "gave up: the process that built it died or hung once"
        assert (detail := store.inspect(wish.source)) is not None
        assert {(v.key in wish.specs, v.status, v.error_kind, v.error) for v in detail.variants} == {
            (True, VariantStatus.BUILD_ERROR, "GaveUp", reason),
            (False, VariantStatus.SOURCE_ERROR, "GaveUp", reason),
        }
        assert store.fetch({wish.source.id: []})[wish.source.id].given_up == reason
        assert store.claim(lease=60, max_attempts=3) == []
        assert store.requeue(kinds=["GaveUp"]) == 3
        assert len(self.claim(store).variants) == 3

    def test_giving_up_is_told_once_and_with_the_rows_as_they_are_by_then(self, store: MetadataStore) -> None:
        bomb, tired, fine = wanted("bomb.jpg"), wanted("tired.jpg", SPECS[:1]), wanted("fine.jpg")
        store.enqueue([tired])
        claim = self.claim(store)
        store.publish(claim, [], failed(claim, retry_in=0))
        store.enqueue([bomb])
        self.claim(store, lease=SHORT, source_id=bomb.source.id)
        wait_out()
        store.enqueue([fine])
        told: list[tuple[GivenUp, VariantStatus]] = []

        def note(given_up: GivenUp) -> None:
            [status] = {v.status for v in store.fetch(asked)[given_up.source_id].variants.values()}
            told.append((given_up, status))

        asked = {w.source.id: list(w.specs) for w in (bomb, tired)}
        [claim] = store.claim(lease=60, max_attempts=1, gave_up=note)
        assert claim.source == fine.source
        assert store.claim(lease=60, max_attempts=1, gave_up=note) == []
        closed = VariantStatus.BUILD_ERROR
        reasons = {
            tired.source: "gave up after 1 attempts: disk full",
            bomb.source: "gave up: the process that built it died or hung once",
        }
        assert {given_up.source: {f[1:] for f in given_up.failed} for given_up, _ in told} == {
            source: {(closed, "GaveUp", reason, None)} for source, reason in reasons.items()
        }
        assert sorted(f.key for given_up, _ in told for f in given_up.failed) == sorted([*tired.specs, *bomb.specs])
        assert {status for _, status in told} == {closed}

    def test_used_up_attempts_close_a_variant(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg", SPECS[:1])
        store.enqueue([wish])
        for _ in range(2):
            claim = self.claim(store, max_attempts=2)
            store.publish(claim, [], failed(claim, retry_in=0))
            time.sleep(0.005)
        assert store.claim(lease=60, max_attempts=2) == []
        detail = store.inspect(wish.source)
        assert detail is not None
        [variant] = detail.variants
        assert (variant.status, variant.error_kind) == (VariantStatus.BUILD_ERROR, "GaveUp")
        assert variant.error.startswith("gave up after 2 attempts")
        assert detail.error == ""

    # publish and release

    def test_what_was_committed_before_an_error_is_accepted_again_and_nothing_else(self, store: MetadataStore) -> None:
        source = wanted("a.jpg").source
        store.enqueue([wanted("a.jpg")])
        [claim] = store.claim(lease=60, max_attempts=3)
        files = built(claim)
        keys = {file.key for file in files}
        assert store.publish(claim, files, info=INFO) == keys
        assert store.publish(claim, files, info=INFO) == frozenset()
        assert store.publish(claim, files, info=INFO, again=True) == keys
        others = [file._replace(file_name=f"other/{file.key}.webp") for file in files]
        assert store.publish(claim, others, info=INFO, again=True) == frozenset()
        store.replace(source)
        assert store.publish(claim, files, info=INFO, again=True) == frozenset()

    def test_a_published_variant_is_built_and_its_errors_forgotten(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        claim = self.claim(store)
        store.publish(claim, [], failed(claim, retry_in=0))
        time.sleep(0.005)
        claim = self.claim(store)
        assert store.publish(claim, built(claim), info=INFO, version="abc") == frozenset(wish.specs)
        key = next(iter(wish.specs))
        assert self.variants(store, wish)[key] == Variant(
            key, VariantStatus.BUILT, "default", f"img/{key}.1.webp", "webp", 300, 225
        )
        detail = store.inspect(wish.source)
        assert detail is not None
        assert (detail.info, detail.version) == (INFO, "abc")
        assert {(v.attempts, v.error, v.error_kind, v.due_at, v.bytes) for v in detail.variants} == {
            (0, "", "", "", 1234)
        }
        assert all(v.built_at for v in detail.variants)

    def test_a_verdict_resets_crashes_and_a_retry_does_not(self, store: MetadataStore) -> None:
        store.enqueue([wanted("a.jpg")])
        self.claim(store, lease=SHORT)
        wait_out()
        claim = self.claim(store)
        store.publish(claim, [], failed(claim, retry_in=0))
        time.sleep(0.005)
        claim = self.claim(store)
        assert claim.crashes == 1
        store.publish(claim, built(claim)[:1])
        assert (detail := store.inspect(claim.source)) is not None
        assert detail.crashes == 0

    def test_failures_take_their_status_or_wait_for_the_retry(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        claim = self.claim(store)
        one, two, three = (v.key for v in claim.variants)
        verdicts = [
            Failure(one, VariantStatus.SOURCE_ERROR, "SourceUnreadable", "truncated ' \" % é"),
            Failure(two, VariantStatus.BUILD_ERROR, "BuildError", "x" * 5000),
            Failure(three, VariantStatus.BUILD_ERROR, "StorageError", "disk full", retry_in=60),
        ]
        assert store.publish(claim, [], verdicts) == frozenset(wish.specs)
        assert (detail := store.inspect(wish.source)) is not None
        rows = {v.key: v for v in detail.variants}
        assert rows[one][2:7] == (VariantStatus.SOURCE_ERROR, 1, 1, "SourceUnreadable", "truncated ' \" % é")
        assert rows[two].status == VariantStatus.BUILD_ERROR
        assert rows[two].error.startswith("xxx")
        assert rows[three][2:7] == (VariantStatus.QUEUED, 1, 1, "StorageError", "disk full")
        assert rows[three].due_at
        assert not rows[one].due_at
        assert store.claim(lease=60, max_attempts=3) == []

    def test_released_variants_are_due_and_the_attempt_is_not_counted(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        claim = self.claim(store)
        store.publish(claim, built(claim)[:1])
        store.release(claim)
        time.sleep(0.005)
        again = self.claim(store)
        assert {v.key for v in again.variants} == {v.key for v in claim.variants[1:]}
        assert ({v.attempts for v in again.variants}, again.crashes) == ({1}, 0)
        assert store.publish(claim, built(claim)) == frozenset()

    def test_what_is_released_is_owed_as_long_as_before(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        assert (before := store.inspect(wish.source)) is not None
        for _ in range(2):
            time.sleep(0.06)
            store.release(self.claim(store))
        assert (after := store.inspect(wish.source)) is not None
        assert {v.due_at for v in after.variants} == {v.due_at for v in before.variants}
        assert store.counts(stale_after=60).oldest_owed > 0.1

    @pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\0" * 3000])
    def test_an_error_of_any_text_is_settled(self, store: MetadataStore, text: str) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        claim = self.claim(store)
        verdicts = [Failure(v.key, VariantStatus.BUILD_ERROR, "Odd" * 40, text) for v in claim.variants]
        assert store.publish(claim, [], verdicts) == frozenset(wish.specs)
        assert (detail := store.inspect(wish.source)) is not None
        for variant in detail.variants:
            assert variant.status == VariantStatus.BUILD_ERROR
            assert len(variant.error) == min(len(text), 2000)
            assert variant.error_kind.startswith("OddOdd")

    # replace

    def test_a_replaced_source_starts_over_and_refuses_the_old_build(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg", info=INFO)
        store.enqueue([wish])
        old = self.claim(store)
        new_info = SourceInfo(10, 20, "png")
        assert store.replace(wish.source, new_info) == old.generation + 1
        assert store.publish(old, built(old), info=INFO, version="old") == frozenset()
        assert store.renew(old, 60) is False
        assert (detail := store.inspect(wish.source)) is not None
        assert (detail.info, detail.version, detail.crashes) == (new_info, "", 0)
        assert {(v.status, v.attempts, v.file_name) for v in detail.variants} == {(VariantStatus.QUEUED, 0, "")}
        new = self.claim(store)
        assert new.generation == old.generation + 1
        assert store.publish(new, built(new)) == frozenset(wish.specs)

    def test_replacing_forgets_built_files_facts_and_giving_up(self, store: MetadataStore) -> None:
        good, bad = wanted("good.jpg", info=INFO), wanted("bad.jpg")
        store.enqueue([good])
        claim = self.claim(store)
        store.publish(claim, built(claim))
        store.enqueue([bad])
        self.claim(store, lease=SHORT)
        wait_out()
        assert store.claim(lease=60, max_attempts=1) == []
        for wish in (good, bad):
            store.replace(wish.source)
            record = store.fetch({wish.source.id: list(wish.specs)})[wish.source.id]
            assert (record.info, record.given_up) == (None, "")
            queued = {key: Variant(key, VariantStatus.QUEUED, is_background=True) for key in wish.specs}
            assert record.variants == queued

    def test_replacing_what_has_no_row_makes_one(self, store: MetadataStore) -> None:
        source = Source("default", "new.jpg")
        generation = store.replace(source, INFO)
        assert store.fetch({source.id: []})[source.id][:3] == (source.id, generation, INFO)
        assert store.replace(source) == generation + 1

    # previews

    def preview(self, store: MetadataStore, source: Source) -> Preview | None:
        return store.fetch({source.id: []}, previews=True)[source.id].preview

    def test_a_preview_is_published_fetched_and_known_to_the_next_claim(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg", info=INFO)
        store.enqueue([wish])
        assert self.preview(store, wish.source) is None
        claim = self.claim(store)
        assert claim.preview is None
        first, second = Preview("#0a0b0c"), Preview("#102030", "0 0 1 1 " + "A+/=" * 100)
        store.publish(claim, built(claim)[:1], preview=first)
        assert self.preview(store, wish.source) == first
        store.publish(claim, built(claim)[1:], preview=second)
        assert self.preview(store, wish.source) == second
        store.set_focus(wish.source, Focus(0.1, 0.2))
        claim = self.claim(store)
        assert claim.preview == second
        store.publish(claim, built(claim))
        assert self.preview(store, wish.source) == second
        asked = {wish.source.id: list(wish.specs)}
        for previews in (True, False):
            record = store.fetch(asked, previews=previews)[wish.source.id]
            expected = (second, True) if previews else (None, False)
            assert (record.preview, record.is_previewed, len(record.variants)) == (*expected, len(wish.specs))

    def test_a_replaced_source_forgets_its_preview_and_takes_no_old_one(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg", info=INFO)
        store.enqueue([wish])
        claim = self.claim(store)
        store.publish(claim, built(claim)[:1], preview=Preview("#0a0b0c", "0 0 1 1 AAAA"))
        store.replace(wish.source, INFO)
        assert self.preview(store, wish.source) is None
        store.publish(claim, built(claim), preview=Preview("#0a0b0c"))
        assert self.preview(store, wish.source) is None
        assert self.claim(store).preview is None

    # what pages wait for

    def queue_in_turn(self, store: MetadataStore, priority: Priority, *names: str) -> None:
        for name in names:
            store.enqueue([wanted(name)._replace(priority=priority)])
            time.sleep(0.005)

    def claimed(self, store: MetadataStore, order: ClaimOrder) -> list[str]:
        """Names of sources, in the order in which they are claimed one by one."""
        names: list[str] = []
        while found := store.claim(lease=60, max_attempts=3, order=order):
            names += [claim.source.name for claim in found]
        return names

    def test_what_pages_wait_for_is_claimed_first_and_newest_first(self, store: MetadataStore) -> None:
        self.queue_in_turn(store, Priority.BACKGROUND, "bulk1.jpg", "bulk2.jpg")
        self.queue_in_turn(store, Priority.PAGE, "page1.jpg", "page2.jpg")
        self.queue_in_turn(store, Priority.BACKGROUND, "bulk3.jpg")
        names = self.claimed(store, ClaimOrder.PAGES_FIRST)
        assert names == ["page2.jpg", "page1.jpg", "bulk1.jpg", "bulk2.jpg", "bulk3.jpg"]

    def test_several_are_claimed_at_once_in_that_order(self, store: MetadataStore) -> None:
        self.queue_in_turn(store, Priority.BACKGROUND, "bulk1.jpg", "bulk2.jpg")
        self.queue_in_turn(store, Priority.PAGE, "page1.jpg", "page2.jpg")
        claims = store.claim(lease=60, max_attempts=3, limit=3, order=ClaimOrder.PAGES_FIRST)
        assert [claim.source.name for claim in claims] == ["page2.jpg", "page1.jpg", "bulk1.jpg"]

    def test_oldest_first_asks_nobody_who_waits(self, store: MetadataStore) -> None:
        self.queue_in_turn(store, Priority.PAGE, "page1.jpg")
        self.queue_in_turn(store, Priority.BACKGROUND, "bulk1.jpg")
        self.queue_in_turn(store, Priority.PAGE, "page2.jpg")
        assert self.claimed(store, ClaimOrder.OLDEST_FIRST) == ["page1.jpg", "bulk1.jpg", "page2.jpg"]

    def test_pages_only_leaves_the_background_alone(self, store: MetadataStore) -> None:
        self.queue_in_turn(store, Priority.BACKGROUND, "bulk.jpg")
        self.queue_in_turn(store, Priority.PAGE, "page.jpg")
        assert self.claimed(store, ClaimOrder.PAGES_ONLY) == ["page.jpg"]
        assert self.claimed(store, ClaimOrder.OLDEST_FIRST) == ["bulk.jpg"]

    def test_a_page_raises_what_waits_in_the_background_and_says_nothing_new(self, store: MetadataStore) -> None:
        self.queue_in_turn(store, Priority.BACKGROUND, *(f"{n}.jpg" for n in range(3)))
        wish = wanted("2.jpg")
        asked = {wish.source.id: list(wish.specs)}
        assert all(v.is_background for v in store.fetch(asked)[wish.source.id].variants.values())
        assert store.enqueue([wish]) == []
        assert not any(v.is_background for v in store.fetch(asked)[wish.source.id].variants.values())
        assert self.claimed(store, ClaimOrder.PAGES_FIRST) == ["2.jpg", "0.jpg", "1.jpg"]

    def test_an_order_in_bulk_lowers_nothing(self, store: MetadataStore) -> None:
        self.queue_in_turn(store, Priority.PAGE, "page.jpg")
        self.queue_in_turn(store, Priority.BACKGROUND, "bulk.jpg", "page.jpg")
        assert self.claimed(store, ClaimOrder.PAGES_FIRST) == ["page.jpg", "bulk.jpg"]

    def test_what_is_built_waits_for_nobody(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")._replace(priority=Priority.BACKGROUND)
        store.enqueue([wish])
        claim = self.claim(store)
        store.publish(claim, built(claim))
        variants = store.fetch({wish.source.id: list(wish.specs)})[wish.source.id].variants
        assert len(variants) == len(wish.specs)
        assert not any(v.is_background for v in variants.values())

    # sweeping

    def test_due_tells_overdue_sources_oldest_first(self, store: MetadataStore) -> None:
        names = [f"{i}.jpg" for i in range(5)]
        for name in names:
            store.enqueue([wanted(name)])
            time.sleep(0.005)
        ids = [Source("default", name).id for name in names]
        assert store.due() == ids
        assert store.due(limit=2) == ids[:2]
        assert store.due(overdue=60) == []
        claim = self.claim(store)
        assert store.due() == ids[1:]
        store.publish(claim, built(claim))
        assert store.due() == ids[1:]

    def test_a_role_has_one_holder_until_its_time_is_over(self, store: MetadataStore) -> None:
        assert store.elect("sweeper", "a", 60)
        assert not store.elect("sweeper", "b", 60)
        assert store.elect("other", "b", 60)
        assert store.elect("sweeper", "a", SHORT)
        wait_out()
        assert store.elect("sweeper", "b", 60)
        assert not store.elect("sweeper", "a", 60)
        assert store.elect("sweeper", "b", 0)
        assert store.elect("sweeper", "a", 60)

    # status

    def test_counts_of_an_empty_store_are_zero(self, store: MetadataStore) -> None:
        counts = store.counts(stale_after=0)
        assert (counts.sources, counts.generated, counts.pending, counts.stale, counts.oldest_owed) == (0, 0, 0, 0, 0.0)
        assert (counts.error_counts, counts.error_kinds) == ((), ())

    def test_counts_tell_every_state(self, store: MetadataStore) -> None:
        store.enqueue([wanted("a.jpg")])
        claim = self.claim(store)
        one, two, three = (v.key for v in claim.variants)
        verdicts = [
            Failure(two, VariantStatus.SOURCE_ERROR, "SourceUnreadable", "truncated"),
            Failure(three, VariantStatus.BUILD_ERROR, "BuildError", "no memory"),
        ]
        store.publish(claim, [b for b in built(claim) if b.key == one], verdicts)
        store.enqueue([wanted("b.jpg")])
        self.claim(store, lease=SHORT)
        store.enqueue([wanted("c.jpg", SPECS[:2])])
        wait_out()
        counts = store.counts(stale_after=0)
        assert (counts.sources, counts.generated, counts.queued, counts.building, counts.pending) == (3, 1, 2, 3, 5)
        assert (counts.source_errors, counts.build_errors, counts.stale) == (1, 1, 3)
        assert 0.0 < counts.oldest_owed < 30
        assert counts.error_counts == ((1, 2),)
        assert counts.error_kinds == (("BuildError", 1, "no memory"), ("SourceUnreadable", 1, "truncated"))
        assert store.counts(stale_after=60).stale == 0

    def test_requeue_gives_failed_variants_a_fresh_start(self, store: MetadataStore) -> None:
        wish = wanted("bomb.jpg")
        store.enqueue([wish])
        self.claim(store, lease=SHORT)
        wait_out()
        assert store.claim(lease=60, max_attempts=1) == []
        assert store.requeue() == 3
        assert (detail := store.inspect(wish.source)) is not None
        assert (detail.crashes, detail.error) == (0, "")
        assert {(v.status, v.attempts, v.error_kind, v.error) for v in detail.variants} == {
            (VariantStatus.QUEUED, 0, "", "")
        }
        assert self.claim(store, max_attempts=1).crashes == 0
        assert store.requeue() == 0

    def test_requeue_may_choose(self, store: MetadataStore) -> None:
        for name, kind, attempts in (("a.jpg", "StorageError", 1), ("b.jpg", "BuildError", 2)):
            wish = wanted(name, SPECS[:1])
            store.enqueue([wish])
            for left in reversed(range(attempts)):
                claim = self.claim(store, source_id=wish.source.id)
                store.publish(claim, [], failed(claim, kind=kind, retry_in=0 if left else None))
                time.sleep(0.005)
        assert store.requeue(kinds=["Nothing"]) == 0
        assert store.requeue(source_id="0" * 32) == 0
        assert store.requeue(max_errors=0) == 0
        assert store.requeue(max_errors=1) == 1
        assert store.requeue(kinds=["BuildError"], source_id=Source("default", "b.jpg").id) == 1

    def test_failures_are_counted_across_requeues_until_a_good_build(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg", SPECS[:1])
        store.enqueue([wish])
        for turn in range(3):
            claim = self.claim(store)
            store.publish(claim, [], failed(claim))
            assert (detail := store.inspect(wish.source)) is not None
            assert detail.variants[0].errors == turn + 1
            assert store.counts(stale_after=0).error_counts == ((turn + 1, 1),)
            assert store.requeue(max_errors=turn) == 0
            assert store.requeue(max_errors=turn + 1) == 1
        claim = self.claim(store)
        store.publish(claim, built(claim))
        assert (detail := store.inspect(wish.source)) is not None
        assert detail.variants[0].errors == 0

    def test_requeue_takes_stale_builds_only_when_asked(self, store: MetadataStore) -> None:
        wish = wanted("a.jpg")
        store.enqueue([wish])
        claim = self.claim(store, lease=SHORT)
        wait_out()
        assert store.requeue() == 0
        assert store.requeue(include_stale=True, stale_after=60) == 0
        assert store.requeue(include_stale=True, stale_after=0) == 3
        assert store.publish(claim, built(claim)) == frozenset()

    def test_inspect_tells_nothing_of_an_unknown_source(self, store: MetadataStore) -> None:
        assert store.inspect(Source("default", "none.jpg")) is None

    def test_times_are_utc_and_iso(self, store: MetadataStore) -> None:
        store.enqueue([wanted("a.jpg")])
        assert (detail := store.inspect(Source("default", "a.jpg"))) is not None
        now = time.strftime("%Y-%m-%dT%H", time.gmtime())
        for moment in (detail.created_at, detail.variants[0].created_at, detail.variants[0].due_at):
            assert moment.startswith(now[:10])
            assert moment.endswith("+00:00")

    # several at once

    def test_four_threads_claim_every_variant_once(self, store: MetadataStore) -> None:
        store.enqueue([wanted(f"{i}.jpg", SPECS[:2]) for i in range(60)])
        claimed = in_threads(4, lambda: drain(store), store)
        keys = [key for keys in claimed for key in keys]
        assert (len(keys), len(set(keys))) == (120, 120)
        assert store.counts(stale_after=0).generated == 120

    def test_threads_that_enqueue_the_same_do_not_get_in_each_others_way(self, store: MetadataStore) -> None:
        wishes = [wanted(f"{i}.jpg", info=INFO) for i in range(50)]
        new = in_threads(4, lambda: store.enqueue(wishes), store)
        assert {id_ for ids in new for id_ in ids} == {w.source.id for w in wishes}
        assert store.counts(stale_after=0).queued == 150

    def test_every_one_of_four_rivals_raises_the_generation(self, store: MetadataStore) -> None:
        source = Source("default", "a.jpg")
        generations = in_threads(4, lambda: store.replace(source, INFO), store)
        assert len(set(generations)) == 4

    def test_one_of_four_rivals_is_elected(self, store: MetadataStore) -> None:
        assert sum(in_threads(4, lambda: store.elect("sweeper", threading.current_thread().name, 60), store)) == 1

    def test_the_store_may_be_closed_twice(self, store: MetadataStore) -> None:
        store.enqueue([wanted("a.jpg")])
        store.close()
        store.close()
        assert store.claim(lease=1, max_attempts=1) is not None


def drain(store: MetadataStore) -> list[str]:
    """Claim and publish until nothing is due; return the claimed keys."""
    keys: list[str] = []
    while claims := store.claim(lease=60, max_attempts=3, limit=3):
        for claim in claims:
            assert store.publish(claim, built(claim)) == {v.key for v in claim.variants}
            keys += [v.key for v in claim.variants]
    return keys


def in_threads(number: int, work: Callable[[], Any], store: MetadataStore | None = None) -> list[Any]:
    """Run work in several threads that start together; return what each returned.

    Args:
        store: told by each thread that it ends.
    """
    barrier = threading.Barrier(number)
    results: list[Any] = [None] * number

    def run(index: int) -> None:
        barrier.wait()
        try:
            results[index] = work()
        except Exception as exc:  # noqa: BLE001 - raised again below, in the test's own thread
            results[index] = exc
        finally:
            if store is not None:
                rest(store)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results
