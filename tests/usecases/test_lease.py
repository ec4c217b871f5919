"""Claims are renewed while they are in hand, and by no thread that nobody needs."""

import threading
import time

import pytest

from easyimg import Img, Source
from easyimg.lease import Leases
from easyimg.variant import Wanted

LEASE = 2.0
"""Seconds: three renewals in each, so that a machine that stands still for a second loses none."""


@pytest.fixture
def claim(site):
    source = Source("default", site.put())
    spec = Img(width=30).plan.base
    site.app.metadata.enqueue([Wanted(source, {spec.key(source.address): spec.canonical})])
    [claim] = site.app.metadata.claim(lease=LEASE, max_attempts=3)
    return claim


@pytest.fixture
def leases(site):
    leases = Leases(lambda: site.app.metadata)
    yield leases
    leases.close()
    assert not [t for t in threading.enumerate() if t.name == "easyimg-leases"]


def taken(site, seconds):
    """Try to claim until it is given, ``seconds`` at most."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if claims := site.app.metadata.claim(lease=60, max_attempts=3):
            return claims
        time.sleep(0.05)
    return []


@pytest.mark.slow
def test_a_claim_in_hand_outlives_its_lease(site, claim, leases):
    with leases.keep(claim, seconds=LEASE, limit=60):
        assert taken(site, 2 * LEASE) == []
    assert len(taken(site, 20)) == 1


@pytest.mark.slow
def test_a_build_beyond_its_time_limit_is_kept_no_longer(site, claim, leases):
    with leases.keep(claim, seconds=LEASE, limit=0.2):
        [other] = taken(site, 20)
        assert other.crashes == 1


@pytest.mark.slow
def test_a_short_lease_behind_a_long_one_is_renewed_in_time(site, claim, leases):
    with leases.keep(claim, seconds=60, limit=60):
        time.sleep(0.2)
        with leases.keep(claim, seconds=LEASE, limit=60):
            assert taken(site, 2 * LEASE) == []


def test_a_claim_that_comes_during_a_renewal_is_renewed_in_time(site, claim, leases, monkeypatch):
    """Nobody waits to be notified then: it was seen when the thread had slept its ten seconds."""
    begun, go, again = threading.Event(), threading.Event(), threading.Event()

    def renew(claim, seconds):
        if begun.is_set():
            again.set()
        begun.set()
        assert go.wait(20)

    monkeypatch.setattr(site.app.metadata, "renew", renew)
    with leases.keep(claim, seconds=6, limit=4):  # renewed once, after two seconds, with two to spare
        assert begun.wait(20)
        with leases.keep(claim, seconds=0.3, limit=60):
            go.set()
            assert again.wait(5)


def test_a_lease_is_renewed_although_no_thread_could_be_started_before(site, claim, leases, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with leases.keep(claim, seconds=LEASE, limit=60):
            pass
    renewed = threading.Event()
    monkeypatch.setattr(site.app.metadata, "renew", lambda claim, seconds: renewed.set())
    with leases.keep(claim, seconds=0.3, limit=60):
        assert renewed.wait(20)


def test_whatever_a_store_raises_leases_are_renewed_again(site, claim, leases, monkeypatch, caplog):
    calls, again = [], threading.Event()

    def renew(claim, seconds):
        calls.append(seconds)
        if len(calls) == 1:
            raise OSError("the store's own")
        again.set()

    monkeypatch.setattr(site.app.metadata, "renew", renew)
    with leases.keep(claim, seconds=0.3, limit=60):
        assert again.wait(20)
    assert "a lease was not renewed" in caplog.text


def test_closing_during_a_renewal_ends_the_thread(site, claim, monkeypatch):
    begun, go = threading.Event(), threading.Event()
    leases = Leases(lambda: site.app.metadata)

    def renew(claim, seconds):
        begun.set()
        assert go.wait(20)

    monkeypatch.setattr(site.app.metadata, "renew", renew)
    with leases.keep(claim, seconds=6, limit=4):
        assert begun.wait(20)
        thread = leases._thread
        threading.Timer(0.3, go.set).start()
        leases.close()
    assert not thread.is_alive()


def test_many_claims_share_one_thread(claim, leases):
    for _ in range(50):
        with leases.keep(claim, seconds=60, limit=60):
            pass
    assert len([t for t in threading.enumerate() if t.name == "easyimg-leases"]) == 1
