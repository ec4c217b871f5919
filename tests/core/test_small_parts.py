"""The cache of built rows, the signals, and finding the current EasyImg."""

from contextlib import ExitStack

import pytest

from easyimg import EasyImg, configure, current_app
from easyimg.cache import RowCache
from easyimg.current import _lookups, add_lookup
from easyimg.errors import ConfigError
from easyimg.signals import Signal
from easyimg.variant import SourceRecord, Variant, VariantStatus


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def record(source_id, *keys, generation=1):
    rows = {key: Variant(key, VariantStatus.BUILT) for key in keys}
    return SourceRecord(source_id, generation, None, None, "", rows)


def test_a_row_is_remembered_for_its_seconds_only():
    clock = Clock()
    cache = RowCache(10, 5, clock)
    cache.put(["a"], record("s", "a"))
    assert cache.get("s", ["a"]) == record("s", "a")
    assert cache.get("s", ["a", "b"]) is None
    clock.now += 10.1
    assert cache.get("s", ["a"]) is None


def test_what_is_added_later_does_not_prolong_what_was_known():
    clock = Clock()
    cache = RowCache(10, 5, clock)
    cache.put(["a"], record("s", "a"))
    clock.now += 6
    cache.put(["b"], record("s", "b"))
    assert set(cache.get("s", ["a", "b"]).variants) == {"a", "b"}
    clock.now += 6
    assert cache.get("s", ["a"]) is None


def test_what_is_asked_anew_as_a_whole_is_remembered_anew():
    clock = Clock()
    cache = RowCache(10, 5, clock)
    cache.put(["a"], record("s", "a"))
    clock.now += 9
    cache.put(["a", "b"], record("s", "a", "b"))
    clock.now += 9
    assert set(cache.get("s", ["a", "b"]).variants) == {"a", "b"}


def test_what_was_read_before_a_change_is_not_remembered_after_it():
    cache = RowCache(10, 5, Clock())
    before = cache.moment()
    cache.discard("s")
    cache.put(["a"], record("s", "a"), before)
    assert cache.get("s", ["a"]) is None
    cache.put(["a"], record("t", "a"), before)
    assert cache.get("t", ["a"]) is not None
    cache.put(["a"], record("s", "a"), cache.moment())
    assert cache.get("s", ["a"]) is not None


def test_a_change_is_known_however_many_came_after_it():
    cache = RowCache(10, 5, Clock())
    before = cache.moment()
    for number in range(3000):
        cache.discard(f"s{number}")
    after = cache.moment()
    for number in (0, 1500, 2999):
        cache.put(["a"], record(f"s{number}", "a"), before)
        assert cache.get(f"s{number}", ["a"]) is None
        cache.put(["a"], record(f"s{number}", "a"), after)
        assert cache.get(f"s{number}", ["a"]) is not None
    cache.clear()
    cache.put(["a"], record("s0", "a"), after)
    assert cache.get("s0", ["a"]) is None


def test_a_new_generation_replaces_the_old_rows():
    cache = RowCache(10, 5, Clock())
    cache.put(["a"], record("s", "a"))
    cache.put(["b"], record("s", "b", generation=2))
    assert cache.get("s", ["a"]) is None


def test_what_was_made_of_a_record_stays_when_it_answers_for_more_keys():
    cache, same = RowCache(10, 5, Clock()), record("s", "a", "b")
    cache.put(["a"], same)
    cache.memo(same)["made"] = 1
    cache.put(["b"], same)
    assert cache.get("s", ["a", "b"]) is same
    assert cache.memo(same) == {"made": 1}
    cache.put(["a", "b"], record("s", "a", "b"))
    assert cache.memo(same) is None


def test_the_cache_is_bounded_and_can_be_turned_off():
    cache = RowCache(10, 2, Clock())
    for name in "xyz":
        cache.put(["a"], record(name, "a"))
    assert [cache.get(name, ["a"]) is not None for name in "xyz"] == [False, True, True]
    cache.discard("z")
    assert cache.get("z", ["a"]) is None
    off = RowCache(0, 2, Clock())
    off.put(["a"], record("s", "a"))
    assert off.get("s", ["a"]) is None


def test_receivers_may_take_only_keywords_or_the_sender_by_position():
    signal, got = Signal("test"), []
    receivers = [
        lambda **kwargs: got.append(("keywords", kwargs["sender"], kwargs["value"])),
        lambda sender, **kwargs: got.append(("named", sender, kwargs["value"])),
        lambda app, value: got.append(("position", app, value)),
        lambda value, **kwargs: got.append(("one", kwargs["sender"], value)),
    ]
    for receiver in receivers:
        signal.connect(receiver)
    signal.send_robust("me", value=1)
    assert sorted(got) == [(kind, "me", 1) for kind in ("keywords", "named", "one", "position")]


def test_a_receiver_that_fails_stops_nobody(caplog):
    signal, got = Signal("test"), []

    def broken(**kwargs):
        raise RuntimeError("broker down")

    signal.connect(broken)
    signal.connect(good := lambda **kwargs: got.append(1))
    signal.send_robust(None)
    assert got == [1]
    assert "broker down" in caplog.text
    assert good


def test_without_any_easyimg_the_error_says_what_to_write():
    previous = configure(None)
    try:
        with pytest.raises(ConfigError, match=r"call easyimg.configure\(EasyImg\(storages=\{...\}\)\) once at start"):
            current_app()
    finally:
        configure(previous)


def test_a_with_block_makes_an_easyimg_current_and_gives_the_old_one_back():
    outer, inner = EasyImg(queue="none"), EasyImg(queue="none")
    with outer:
        with inner:
            assert current_app() is inner
        assert current_app() is outer


def test_blocks_that_are_left_out_of_order_take_nothing_from_each_other():
    first, second = EasyImg(queue="none"), EasyImg(queue="none")
    with ExitStack() as one, ExitStack() as other:
        one.enter_context(first)
        other.enter_context(second)
        one.close()
        assert current_app() is second
        other.close()
        with pytest.raises(ConfigError, match="no EasyImg is configured"):
            current_app()


def test_a_framework_is_asked_before_the_process_default():
    mine = EasyImg(queue="none")
    lookup = lambda: mine  # noqa: E731
    add_lookup(lookup)
    try:
        with EasyImg(queue="none"):
            assert current_app() is mine
    finally:
        del _lookups[lookup]
