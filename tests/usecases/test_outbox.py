"""Orders that could not be written at once: kept, sent later, and not called sent before they are."""

from __future__ import annotations

import sqlite3
import threading

from easyimg import Img, Source
from easyimg.errors import MetadataError
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


def test_closing_waits_for_what_the_thread_has_in_hand(site, monkeypatch):
    source = Source("default", site.put())
    plan = Img(width=300).plan
    keys = dict(zip(plan.keys(source.address), (spec.canonical for spec in plan.specs), strict=True))
    enqueue, calls, begun, go = site.app.metadata.enqueue, [], threading.Event(), threading.Event()

    def slow(wanted, *, wait=None):
        calls.append(wait)
        if len(calls) == 1:
            raise MetadataError("locked")
        begun.set()
        assert go.wait(20)
        return enqueue(wanted, wait=wait)

    monkeypatch.setattr(site.app.metadata, "enqueue", slow)
    assert site.app.outbox.order([Wanted(source, keys)]) == []
    assert begun.wait(20)
    thread = site.app.outbox._thread
    threading.Timer(0.3, go.set).start()
    site.app.close()
    assert not thread.is_alive()
    assert site.bell.rung == [[source.id]]
    assert len(site.app.metadata.inspect(source).variants) == 3
