"""Claims are renewed while they are in hand, and by no thread that nobody needs."""

import threading
import time

import pytest

from easyimg import Img, Source
from easyimg.lease import Leases
from easyimg.variant import Wanted


@pytest.fixture
def claim(site):
    source = Source("default", site.put())
    spec = Img(width=30).plan.base
    site.app.metadata.enqueue([Wanted(source, {spec.key(source.address): spec.canonical})])
    [claim] = site.app.metadata.claim(lease=0.3, max_attempts=3)
    return claim


@pytest.fixture
def leases(site):
    leases = Leases(lambda: site.app.metadata)
    yield leases
    leases.close()
    assert not [t for t in threading.enumerate() if t.name == "easyimg-leases"]


@pytest.mark.slow
def test_a_claim_in_hand_outlives_its_lease(site, claim, leases):
    with leases.keep(claim, seconds=0.3, limit=60):
        time.sleep(1)
        assert site.app.metadata.claim(lease=60, max_attempts=3) == []
    time.sleep(0.5)
    assert len(site.app.metadata.claim(lease=60, max_attempts=3)) == 1


def test_a_build_beyond_its_time_limit_is_kept_no_longer(site, claim, leases):
    with leases.keep(claim, seconds=0.3, limit=0.2):
        time.sleep(0.8)
        [other] = site.app.metadata.claim(lease=60, max_attempts=3)
        assert other.crashes == 1


def test_a_short_lease_behind_a_long_one_is_renewed_in_time(site, claim, leases):
    with leases.keep(claim, seconds=60, limit=60), leases.keep(claim, seconds=0.3, limit=60):
        time.sleep(1)
        assert site.app.metadata.claim(lease=60, max_attempts=3) == []


def test_many_claims_share_one_thread(claim, leases):
    for _ in range(50):
        with leases.keep(claim, seconds=60, limit=60):
            pass
    assert len([t for t in threading.enumerate() if t.name == "easyimg-leases"]) == 1
