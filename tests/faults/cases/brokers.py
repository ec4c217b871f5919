"""Messages that are lost, late, doubled or cannot be sent: faults 3, 4, 5, 9, 11 and 18."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from jinja2 import Environment

from easyimg.jinja import install
from easyimg.queues.dramatiq import VERSION, make_broker, register_actor
from easyimg.variant import VariantStatus
from tests import services
from tests.faults.harness import SPECS, Trial, fault
from tests.queues.sites import kill

WITH_BROKER = ("redis", "rabbitmq")

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


def forget_messages(trial: Trial) -> None:
    """Throw away every message of the broker."""
    url = trial.site.app.settings.queue
    if trial.broker == "redis":
        import redis

        with contextlib.closing(redis.Redis.from_url(url)) as client:
            client.flushall()
        return
    with contextlib.closing(services.rabbitmq_connection(url)) as connection:
        for suffix in ("", ".DQ", ".XQ"):
            with contextlib.suppress(Exception):  # not declared yet; that closes the channel
                connection.channel().queue_purge(trial.site.app.settings.queue_name + suffix)


@fault(3, "broker down while pages ring", brokers=WITH_BROKER)
def broker_down(trial: Trial) -> None:
    trial.site.start(2)
    env = Environment(autoescape=True)
    install(env, trial.site.app)
    page = env.from_string("{% for name in names %}{{ img(name, width=60, alt='') }}{% endfor %}")
    slowest, views = 0.0, 0
    for _ in range(trial.runs):
        page.render(names=[trial.upload().name])  # connected, and busy
        trial.moment(0.3)
        trial.broker_server.kill()
        end = time.monotonic() + trial.random.uniform(1.0, 4.0)
        names: list[str] = []
        while time.monotonic() < end or len(names) < 30:
            names.append(trial.upload().name)
            started = time.perf_counter()
            html = page.render(names=names[-3:])
            slowest, views = max(slowest, time.perf_counter() - started), views + 1
            assert html.count("<img ") == len(names[-3:]), html
        trial.broker_server.again()
        seconds = trial.until_quiet()
        trial.notes.append(f"quiet {seconds:.1f} s after the broker came back, {len(names)} pictures")
        _expect_all(trial, names)
    trial.notes.append(f"{views} pages, the slowest took {slowest * 1000:.0f} ms")
    assert slowest < 1.5, f"a page waited {slowest:.2f} s"


def _expect_all(trial: Trial, names: list[str]) -> None:
    """Note what pages ordered as owed; each picture must have something."""
    from easyimg import Source

    for name in names:
        found = trial.site.app.metadata.inspect(Source("default", name))
        assert found is not None, f"{name} was never queued"
        assert found.variants, f"{name} has no variants"
        trial.ordered |= {variant.key: name for variant in found.variants}


@fault(4, "broker flushed, or restarted without its memory, with 500 owed", brokers=WITH_BROKER)
def broker_flushed(trial: Trial) -> None:
    for turn in range(trial.runs):
        sources = trial.order_new(round(250 * trial.scale), specs=SPECS[:2])
        queue: Any = trial.site.app.queue
        trial.until(lambda queue=queue: not queue._sender._waiting, "the doorbells to go out")
        trial.moment(0.2)
        owed = sum(row.due_at is not None for row in trial.rows())
        if turn % 2:
            trial.broker_server.kill()
            trial.broker_server.again()
        forget_messages(trial)
        if not trial.site.workers:
            trial.site.start(2)
        seconds = trial.until_quiet(90)
        trial.notes.append(f"{owed} owed when the broker forgot; quiet {seconds:.1f} s after ({len(sources)} sources)")


def _crash_some(trial: Trial) -> int:
    """Kill the limited children; return how many rows wait for another try."""
    for worker in trial.site.workers:
        for pid in worker.limited():
            with contextlib.suppress(ProcessLookupError):
                kill(pid)
    return sum(row.status == VariantStatus.QUEUED and row.attempts > 0 for row in trial.rows())


@fault(5, "broker down at the moment of a retry", brokers=WITH_BROKER, options={"isolation": "always"})
def broker_down_at_a_retry(trial: Trial) -> None:
    trial.site.pace(decode=0.1)
    trial.site.start(2)
    for _ in range(trial.runs):
        trial.order_new(4)
        trial.until_building()
        waiting = trial.until(lambda: _crash_some(trial), "a row that waits for its second try", 20)
        trial.broker_server.kill()
        time.sleep(5.0 + trial.random.uniform(0.5, 2.0))  # the second try is due after 5 s
        trial.broker_server.again()
        trial.notes.append(f"{waiting} rows waited for another try; quiet after {trial.until_quiet():.1f} s")


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
        trial.until_quiet(90)
    pids = {line.split()[2] for line in (trial.site.folder / "published").read_text().splitlines()}
    trial.notes.append(f"{len(pids)} processes built")
    _built_once(trial, 400 * trial.runs)


@fault(11, "duplicate, reordered, old and unknown messages", brokers=WITH_BROKER, options={"lease_seconds": 20.0})
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


@fault(18, "kill -9 between the commit and the doorbell; doorbells for rows that were rolled back")
def killed_before_the_doorbell(trial: Trial) -> None:
    trial.site.start(1)
    for _ in range(trial.runs):
        source = trial.upload()
        process = trial.site.script(KILLED, source.name, *(spec.canonical for spec in SPECS))
        assert process.wait(30) == -9, "the script was to be killed"
        trial.ordered |= {spec.key(source.address): source.name for spec in SPECS}
        if trial.broker != "none":
            send(trial, doorbells(ABSENT))
        trial.notes.append(f"built {trial.until_quiet():.1f} s after")
    assert "Traceback" not in trial.site.log
