"""Messages that come twice, late, out of order or never: faults 9 and 11, and a part of 18."""

from __future__ import annotations

import statistics
import time
from typing import Any

from easyimg.queues.dramatiq import VERSION, make_broker, register_actor
from tests.faults.harness import PATIENCE, SPECS, Trial, fault
from tests.faults.site import TIMED_SWEEP
from tests.faults.timing import TYPICAL

WITH_BROKER = ("redis", "rabbitmq")
NO_BROKER = "without a broker there are no messages"

ABSENT = "0" * 32


def send(trial: Trial, messages: list[Any]) -> None:
    """Send messages as they are, past the memory of what was rung for already."""
    settings = trial.site.app.settings
    broker = make_broker(settings.queue, settings.namespace)
    actor = register_actor(broker, None, settings.queue_name)
    for message in messages:
        broker.enqueue(actor.message(message))
    broker.close()


def doorbells(*ids: str) -> list[Any]:
    return [{"v": VERSION, "source": id_} for id_ in ids]


def _built_once(trial: Trial, number: int) -> None:
    written = len(trial.site.folder.joinpath("written").read_text().splitlines())
    assert written == number, f"{written} files were written for {number} rows"


@fault(9, "8 processes claim 400 rows, messages ten times", options={"lease_seconds": 20.0})
def eight_processes(trial: Trial) -> None:
    for _ in range(trial.runs):
        sources = trial.order_new(200, specs=SPECS[:2], ring=False)
        if trial.broker != "none":
            messages = doorbells(*(source.id for source in sources)) * 10
            trial.random.shuffle(messages)
            send(trial, messages)
        if not trial.site.workers:
            trial.site.start(1, "--processes", "8")
        trial.until_quiet()
    # How many of the eight came to build something depends on their start; more than one must have.
    pids = {line.split()[2] for line in (trial.site.folder / "published").read_text().splitlines()}
    trial.notes.append(f"{len(pids)} processes built")
    assert len(pids) > 1, "there was no race"
    _built_once(trial, 400 * trial.runs)


@fault(
    11,
    "duplicate, reordered, old and unknown messages",
    brokers=WITH_BROKER,
    absent=NO_BROKER,
    options={"lease_seconds": 20.0},
)
def odd_messages(trial: Trial) -> None:
    trial.site.start(2)
    old: list[Any] = []
    for _ in range(trial.runs):
        sources = trial.order_new(20, specs=SPECS[:2], ring=False)
        fresh = doorbells(*(source.id for source in sources))
        odd: list[Any] = [{"v": 99, "source": sources[0].id}, {"v": 1}, "?", None, *doorbells(ABSENT, "x" * 500)]
        messages = fresh * 10 + old + odd
        trial.random.shuffle(messages)
        send(trial, messages)
        trial.until_quiet()
        old += fresh
    send(trial, old)
    time.sleep(1.0)
    _built_once(trial, 40 * trial.runs)
    assert "Traceback" not in trial.site.log, "a message raised"
    assert " died " not in trial.site.log, "a message ended a process"


# The signal comes after the rows' commit and before the doorbell.
KILLED = """
import os, signal, sys
from easyimg.signals import queued_img
from easyimg.source import Source
from easyimg.variant import Wanted
from easyimg.spec import VariantSpec
from site_app import app
queued_img.connect(lambda **kwargs: os.kill(os.getpid(), signal.SIGKILL), weak=False)
specs = [VariantSpec.from_canonical(text) for text in sys.argv[2:]]
source = Source("default", sys.argv[1])
app.outbox.order([Wanted(source, {spec.key(source.address): spec.canonical for spec in specs})], wait=None)
"""


def killed_before_the_doorbell(trial: Trial) -> None:
    """Kill a process between the commit and the doorbell; ring for rows that are not there. Part of fault 18."""
    trial.site.start(1)
    alone: list[float] = []
    for turn in range(trial.runs):
        source = trial.upload()
        process = trial.site.script(KILLED, source.name, *(spec.canonical for spec in SPECS))
        assert process.wait(PATIENCE) == -9, "the script was to be killed"
        trial.ordered |= {spec.key(source.address): source.name for spec in SPECS}
        trial.observer.restart_timing()
        rings = trial.broker != "none" and turn % 3 == 2
        if rings:  # for nothing; that stands for what waits longest
            send(trial, doorbells(ABSENT))
        trial.until_quiet()
        trial.expect_no_idling(TIMED_SWEEP, "without a doorbell")
        alone += [] if rings else [trial.observer.timing.idle]
    assert statistics.median(alone) < TIMED_SWEEP + TYPICAL, f"half of what had no doorbell waited: {alone}"
    assert "Traceback" not in trial.site.log
