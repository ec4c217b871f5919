"""Brokers that are down, silent, or forget everything: faults 3, 4 and 5."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import Any

from jinja2 import Environment, Template

from easyimg import EasyImg, Source
from easyimg.build import retry_delay
from easyimg.jinja import install
from easyimg.variant import VariantStatus
from tests import services
from tests.faults.cases.brokers import NO_BROKER, WITH_BROKER
from tests.faults.harness import SPECS, Trial, fault
from tests.faults.observer import is_owed
from tests.faults.site import SWEEP, TIMED_SWEEP
from tests.queues.sites import kill

RECOVERY = 8.0
"""Seconds after a broker came back in which Dramatiq may not consume: it waits 3 to consume and 5 to acknowledge."""

VIEWS = 0.4
"""Seconds between two pages while a broker is down."""

WAITS = 3.0
"""Seconds that no page may take: less than it takes to give up a broker that does not answer."""

OWED = 501


class Pages:
    """Pages of a site, each with a picture nobody has asked for; remembers how long each took.

    Every other one is shown by an EasyImg that rings nobody, and tells how long a page takes on this machine now.
    """

    def __init__(self, trial: Trial, quiet: EasyImg) -> None:
        self._pages = [self._page(trial.site.app), self._page(quiet)]
        self._trial = trial
        self.names: list[str] = []
        self.seconds: list[float] = []
        self.usual: list[float] = []

    def _page(self, app: EasyImg) -> Template:
        env = Environment(autoescape=True)
        install(env, app)
        return env.from_string("{% for name in names %}{{ img(name, width=60, alt='') }}{% endfor %}")

    def view(self, seconds: float) -> None:
        """View pages for so long, two at least."""
        end = time.monotonic() + seconds
        turn = 0
        while time.monotonic() < end or turn < 2:
            self.names.append(self._trial.upload().name)
            started = time.perf_counter()
            html = self._pages[turn % 2].render(names=self.names[-3:])
            (self.seconds, self.usual)[turn % 2].append(time.perf_counter() - started)
            assert html.count("<img ") == len(self.names[-3:]), html
            turn += 1
            time.sleep(VIEWS)

    def expect_ordered(self) -> None:
        """Note what the pages ordered as owed; each picture must have its three variants."""
        for name in self.names:
            found = self._trial.site.app.metadata.inspect(Source("default", name))
            assert found is not None, f"{name} was never queued"
            assert len(found.variants) == len(SPECS), f"{name} has {len(found.variants)} variants"
            self._trial.ordered |= {variant.key: name for variant in found.variants}


@fault(3, "broker down for 60 s, or silent, while pages ring", brokers=WITH_BROKER, absent=NO_BROKER)
def broker_down(trial: Trial) -> None:
    """Down for a minute, then silent for seconds, then down for seconds: no page fails or waits, nothing is lost."""
    trial.site.start(2)
    quiet = EasyImg(trial.site.app.settings.replace(queue="none"))
    trial.stack.callback(quiet.close)
    before = Pages(trial, quiet)
    before.view(3.0)
    trial.until_quiet()
    before.expect_ordered()
    waited: list[float] = []
    for turn in range(trial.runs):
        pages = Pages(trial, quiet)
        seconds = 60.0 * trial.scale if turn == 0 else trial.random.uniform(2.0, 6.0)
        _outage(trial, pages, seconds, silent=turn % 2 == 1)
        waited.append(_did_not_wait(trial, pages, f"{'silent' if turn % 2 else 'down'} for {seconds:.0f} s"))
    assert max(waited) < WAITS, f"a page waited {max(waited):.2f} s"


def _did_not_wait(trial: Trial, pages: Pages, what: str) -> float:
    """Expect that pages took as long as those beside that ring nobody; return the longest."""
    median, usual, slowest = statistics.median(pages.seconds), statistics.median(pages.usual), max(pages.seconds)
    trial.notes.append(
        f"{what}: {len(pages.seconds)} pages, median {median * 1000:.0f} ms, slowest {slowest * 1000:.0f} ms; "
        f"of pages that ring nobody {usual * 1000:.0f} and {max(pages.usual) * 1000:.0f} ms"
    )
    assert median < usual * 3 + 0.1, f"pages took {median:.3f} s, and {usual:.3f} s without a broker"
    return slowest


def _outage(trial: Trial, pages: Pages, seconds: float, *, silent: bool) -> None:
    server = trial.broker_server
    pages.view(0.2)  # connected, and busy
    trial.moment(0.3)
    if silent:
        server.freeze()
    else:
        server.kill()
    try:
        pages.view(seconds)
    finally:
        if silent:
            server.thaw()
        else:
            server.again()
    trial.observer.restart_timing()
    trial.until_quiet()
    trial.expect_no_idling(SWEEP + RECOVERY, "after the broker came back")
    pages.expect_ordered()


@fault(
    4,
    "broker flushed, or restarted without its memory, with 500 owed",
    brokers=WITH_BROKER,
    absent=NO_BROKER,
    options={"sweep_seconds": TIMED_SWEEP},
)
def broker_flushed(trial: Trial) -> None:
    """All are built within one sweep and the time that they take when nothing is forgotten."""
    number = round(OWED / len(SPECS) * trial.scale)
    _order_without_workers(trial, number)
    trial.observer.restart_timing()
    trial.site.start(2)
    work = trial.until_quiet()
    idle = trial.observer.timing.idle
    trial.notes.append(f"{number} sources take {work:.1f} s when no doorbell is lost, {idle:.1f} s of it nobody builds")
    for turn in range(trial.runs):
        if turn % 3 == 2:  # with workers that are at it
            trial.order_new(number)
            _until_sent(trial)
        else:
            _order_without_workers(trial, number)
        if turn % 3 == 1:
            trial.broker_server.kill()
            trial.broker_server.again()
        forget_messages(trial)
        trial.observer.restart_timing()
        owed = sum(row.due_at is not None for row in trial.rows())
        assert turn % 3 == 2 or owed == len(SPECS) * number, f"{owed} rows are owed"
        if not trial.site.workers:
            trial.site.start(2)
        trial.notes.append(f"{owed} owed when the broker forgot")
        seconds = trial.until_quiet()
        trial.expect_no_idling(TIMED_SWEEP + idle, f"quiet after {seconds:.1f} s")


def _order_without_workers(trial: Trial, number: int) -> None:
    """Stop the workers, order pictures, and wait until their doorbells are with the broker."""
    trial.site.stop()
    trial.order_new(number)
    _until_sent(trial)


def _until_sent(trial: Trial) -> None:
    queue: Any = trial.site.app.queue
    trial.until(lambda: not queue._sender._waiting, "the doorbells to go out")


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


@fault(5, "broker down when a retry is due", brokers=WITH_BROKER, absent=NO_BROKER, options={"isolation": "always"})
def broker_down_at_a_retry(trial: Trial) -> None:
    """Builds fail, the broker goes down for 30 s (then for shorter times), the second try becomes due meanwhile."""
    trial.site.pace(decode=0.1)
    trial.site.start(2)
    shown = 0
    for turn in range(4 * max(trial.runs, 3)):  # with RabbitMQ more than every second one shows nothing
        if turn >= trial.runs and shown:
            return
        trial.order_new(4)
        trial.until_building()
        attempts = trial.until(lambda: _crash_some(trial), "a row that waits for its second try")
        trial.broker_server.kill()
        outage = 30.0 * trial.scale if turn == 0 else 0.0
        time.sleep(max(outage, retry_delay(1) + trial.random.uniform(0.5, 2.0)))
        owed = sum(row.due_at is not None for row in trial.rows())
        trial.broker_server.again()
        trial.notes.append(f"{len(attempts)} rows waited for another try, {owed} were owed after the outage")
        trial.observer.restart_timing()
        trial.until_quiet()
        if owed:  # else it came to a doorbell that a worker had fetched before
            trial.expect_no_idling(SWEEP + RECOVERY, "after the broker came back")
            shown += 1
    assert shown, "in no outage anything was owed"


def _crash_some(trial: Trial) -> list[int]:
    """Kill the limited children; return the attempts of each row that waits for another try.

    Builds are short: when all were over before their child died, there are new ones.
    """
    if not is_owed(trial.site.app):
        trial.order_new(4)
    for worker in trial.site.workers:
        for pid in worker.limited():
            with contextlib.suppress(ProcessLookupError):
                kill(pid)
    return [row.attempts for row in trial.rows() if row.status == VariantStatus.QUEUED and row.attempts > 0]
