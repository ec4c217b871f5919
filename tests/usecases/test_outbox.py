"""Orders that could not be written at once: kept, sent later, and not called sent before they are."""

from __future__ import annotations

import sqlite3
import threading

from easyimg import Img, Source
from easyimg.variant import Wanted


def test_a_flush_waits_for_what_another_thread_is_sending(site, tmp_path):
    source = Source("default", site.put())
    plan = Img(width=300).plan
    keys = dict(zip(plan.keys(source.address), (spec.canonical for spec in plan.specs), strict=True))
    site.app.metadata.counts(stale_after=60)  # makes the tables
    writer = sqlite3.connect(tmp_path / "rows.db", isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    assert site.app.outbox.order([Wanted(source, keys)]) == []
    flushes = [threading.Thread(target=site.app.outbox.flush) for _ in range(2)]
    flushes[0].start()
    while len(site.app.outbox):  # until it has taken them, and waits for the lock
        pass
    threading.Timer(0.3, writer.rollback).start()
    flushes[1].start()
    flushes[1].join(10)
    assert site.app.metadata.inspect(source).variants != ()
    flushes[0].join(10)
    writer.close()
