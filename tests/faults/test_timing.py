"""The timing of the fault suite: what it counts, and what it leaves to a busy machine."""

from __future__ import annotations

import pytest

from easyimg.variant import VariantStatus
from tests.faults import timing
from tests.faults.observer import Row
from tests.faults.timing import BLIND, Timing

QUEUED, BUILDING, BUILT = VariantStatus.QUEUED, VariantStatus.BUILDING, VariantStatus.BUILT


def row(key: str, status: VariantStatus, late: float | None, token: str = "") -> Row:
    return Row(key, f"source {key}", status, "", 0, None, "", "", None, 1, token, 1, 0, late)


class Clock:
    """Looks at rows, seconds apart."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ready = 2
        self.timing = Timing(lambda: self.ready)

    def look(self, after: float, *rows: Row) -> None:
        self.now += after
        self.timing.look(rows)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(timing, "monotonic", lambda: made.now)
    return made


def test_a_lapsed_lease_waits_while_another_worker_is_free(clock: Clock) -> None:
    for late in range(10):
        clock.look(0.1, row("a", BUILDING, late / 10, "dead"), row("b", BUILDING, -1.0, "alive"))
    clock.look(0.1, row("a", BUILDING, -1.5, "other"), row("b", BUILDING, -1.0, "alive"))
    assert clock.timing.worst(lapsed=True) == pytest.approx(0.9)
    assert clock.timing.typical() == pytest.approx(0.9)
    assert clock.timing.idle == 0.0, "b was built meanwhile"


def test_it_does_not_wait_while_all_workers_build(clock: Clock) -> None:
    others = (row("b", BUILDING, -1.0, "one"), row("c", BUILDING, -1.0, "two"))
    for late in range(50):
        clock.look(0.1, row("a", BUILDING, late / 10, "dead"), *others)
    assert clock.timing.worst() == 0.0


def test_a_stretch_ends_when_all_workers_build(clock: Clock) -> None:
    others = (row("b", BUILDING, -1.0, "one"), row("c", BUILDING, -1.0, "two"))
    late = 0.0
    for some in ((), others, ()):
        for _ in range(6):
            clock.look(0.1, row("a", QUEUED, late := late + 0.1), *some)
    assert clock.timing.worst() == pytest.approx(0.5)


def test_nothing_waits_for_a_worker_that_is_not_there(clock: Clock) -> None:
    clock.ready = 0
    for late in range(50):
        clock.look(0.1, row("a", BUILDING, late / 10, "dead"))
    assert (clock.timing.worst(), clock.timing.idle, clock.timing.looks) == (0.0, 0.0, 0)


def test_what_is_not_due_yet_waits_for_nobody(clock: Clock) -> None:
    for early in range(20, 0, -1):
        clock.look(0.1, row("a", QUEUED, -early / 10))
    clock.look(0.1, row("a", QUEUED, 0.05))
    assert clock.timing.worst() == pytest.approx(0.05), "counted since it was due, not since the last look"
    assert clock.timing.idle == 0.0


def test_what_is_never_taken_shows_before_it_ends(clock: Clock) -> None:
    for late in range(100):
        clock.look(0.1, row("a", QUEUED, late / 10))
    assert clock.timing.worst() == pytest.approx(9.9)
    assert clock.timing.worst(lapsed=True) == 0.0, "it was queued, no lease of it lapsed"
    assert clock.timing.idle == pytest.approx(9.9)


def test_a_pause_between_two_looks_counts_only_a_little(clock: Clock) -> None:
    clock.look(1.0, row("a", QUEUED, 1.0))
    clock.look(60.0, row("a", QUEUED, 61.0))
    assert clock.timing.idle == BLIND
    assert clock.timing.worst() == pytest.approx(BLIND)


def test_leases_and_claims_are_measured(clock: Clock) -> None:
    for _ in range(5):
        clock.look(1.0, row("a", BUILDING, -1.4, "one"), row("b", BUILT, None))
    for _ in range(3):
        clock.look(1.0, row("a", BUILDING, -1.2, "two"), row("b", BUILT, None))
    assert clock.timing.longest_lease == pytest.approx(1.4)
    assert clock.timing.longest_claim == pytest.approx(4.0), "the second claim is another one"
