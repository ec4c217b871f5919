"""Recipes and messages of another version of easyimg: fault 20."""

from __future__ import annotations

import json

from easyimg.source import Source
from easyimg.variant import VariantStatus, Wanted
from tests.faults.cases.brokers import send
from tests.faults.cases.sources import of
from tests.faults.harness import SPECS, Trial, fault

NEWER = ({"sparkle": 7}, {"width": "golden"}, {"format": "webp3"})
"""What recipes of a newer version might hold: an option, a value, a format that this one does not know."""


def order_newer(trial: Trial, source: Source, number: int) -> None:
    """Queue a recipe as a newer web process would, for these workers of an older version."""
    key, spec = f"{number:032x}", json.loads(SPECS[0].canonical) | NEWER[number % len(NEWER)]
    trial.site.app.metadata.enqueue([Wanted(source, {key: json.dumps(spec)})])
    trial.ordered[key] = source.name


@fault(20, "recipes and messages of another version", options={"lease_seconds": 15.0})
def another_version(trial: Trial) -> None:
    trial.site.start(1)
    bad = []
    for number in range(trial.runs):
        source = trial.upload()
        bad.append(source)
        order_newer(trial, source, number)
        if trial.broker != "none":
            newer = {"v": 2, "source": source.id, "new": True}
            send(trial, [newer, {"v": "1", "source": source.id}, {"source": source.id}, [1, source.id]])
        trial.order_new(2)
    trial.may_fail |= {source.name for source in bad}
    trial.until_quiet()
    rows = of(trial, *bad)
    assert {row.status for row in rows} == {VariantStatus.BUILD_ERROR}, rows
    assert {row.attempts for row in rows} == {1}, "tried again and again"
    assert all(row.error for row in rows), rows
    trial.notes += [f"reason: {row.error}" for row in rows]
    if trial.broker != "none":
        number = 4 * trial.runs
        trial.until(lambda: trial.site.log.count("this version cannot read") >= number, "unknown messages to be named")
    trial.order(*bad)  # a recipe that is known, of the same sources
    trial.until_quiet()
    assert " died " not in trial.site.log
    assert "Traceback" not in trial.site.log
    good = [row for row in of(trial, *bad) if row.status == VariantStatus.BUILT]
    assert len(good) == 3 * len(bad), f"{len(good)} built beside an unknown recipe"
