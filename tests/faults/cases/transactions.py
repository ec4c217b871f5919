"""Pages inside the site's own transaction, on the site's own engine: fault 18.

Rows of easyimg are never part of it. They are there when it is rolled back, and harmless: a picture that is there is
built, one that is gone fails once, with its reason.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator

from jinja2 import Environment
from sqlalchemy import Connection, Engine, create_engine, text

from easyimg import EasyImg
from easyimg.jinja import install
from easyimg.metadata.dialects import parse_url
from easyimg.source import Source
from easyimg.variant import VariantStatus
from tests.faults.cases.brokers import killed_before_the_doorbell
from tests.faults.cases.sources import of
from tests.faults.harness import SPECS, Trial, fault
from tests.faults.site import TIMED_SWEEP

USUAL, WAITS = 0.5, 3.0
"""Seconds that half of the pages, and all of them, may take inside their views' transactions. A page waits for a lock
50 ms at most, even for its own view's; if it waited for that, it would do so for seconds."""

Show = Callable[[Source], float]
"""Shows a picture on a page; returns the seconds that took."""


@fault(
    18,
    "pages in transactions rolled back, committed, nested; kill -9 between the commit and the doorbell",
    options={"sweep_seconds": TIMED_SWEEP},
)
def transactions(trial: Trial) -> None:
    killed_before_the_doorbell(trial)  # starts a worker
    seconds = []
    with _shop(trial) as (engine, show):
        for turn in range(trial.runs):
            seconds.append(_rolled_back(trial, engine, show, turn))
            seconds.append(_nested(trial, engine, show, turn))
            seconds.append(_committed(trial, engine, show, turn))
            trial.until_quiet()
            found = _shop_names(engine)
            assert found == {f"{what} {n}" for n in range(turn + 1) for what in ("committed", "outer")}, found
    _did_not_wait(trial, seconds)
    assert "Traceback" not in trial.site.log


@contextlib.contextmanager
def _shop(trial: Trial) -> Iterator[tuple[Engine, Show]]:
    """Set up a site with a table of its own and easyimg on its own engine, which has very few connections."""
    engine = create_engine(parse_url(trial.site.metadata)[1], pool_size=2, max_overflow=0)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS shop (name VARCHAR(100))"))
    app = EasyImg(trial.site.app.settings.replace(metadata=engine))
    env = Environment(autoescape=True)
    install(env, app)
    page = env.from_string("{{ img(name, width=60, alt='') }}")

    def show(source: Source) -> float:
        trial.ordered.update({spec.key(source.address): source.name for spec in SPECS})
        started = time.perf_counter()
        assert page.render(name=source.name).count("<img ") == 1
        return time.perf_counter() - started

    try:
        yield engine, show
    finally:
        app.close()
        engine.dispose()


def _insert(connection: Connection, name: str) -> None:
    connection.execute(text("INSERT INTO shop VALUES (:name)"), {"name": name})


def _shop_names(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return {name for (name,) in connection.execute(text("SELECT name FROM shop"))}


def _rolled_back(trial: Trial, engine: Engine, show: Show, turn: int) -> float:
    """Two uploads are shown, and everything is rolled back; one of the files goes with it. Returns a page's seconds."""
    stays, goes = trial.upload(), trial.upload()
    trial.may_fail.add(goes.name)
    with engine.connect() as connection, connection.begin() as transaction:
        _insert(connection, f"rolled back {turn}")
        seconds = show(stays)
        with trial.site.holding("read"):
            show(goes)
            (trial.site.media / goes.name).unlink()
            transaction.rollback()
    trial.until(lambda: len(of(trial, stays, goes)) == 2 * len(SPECS), "rows of what pages showed")
    trial.until_quiet()
    assert {row.status for row in of(trial, stays)} == {VariantStatus.BUILT}
    assert {row.error_kind for row in of(trial, goes)} == {"SourceNotFound"}
    assert {row.attempts for row in of(trial, goes)} == {1}
    return seconds


def _nested(trial: Trial, engine: Engine, show: Show, turn: int) -> float:
    """A savepoint is rolled back around a page, the transaction is committed."""
    source = trial.upload()
    with engine.begin() as connection:
        _insert(connection, f"outer {turn}")
        with contextlib.suppress(ZeroDivisionError), connection.begin_nested():
            _insert(connection, f"inner {turn}")
            seconds = show(source)
            raise ZeroDivisionError
    _is_built(trial, source)
    return seconds


def _committed(trial: Trial, engine: Engine, show: Show, turn: int) -> float:
    """A view writes, shows a page, and goes on for two seconds before it commits."""
    source = trial.upload()
    with engine.begin() as connection:
        _insert(connection, f"committed {turn}")
        seconds = show(source)
        time.sleep(2.0)
        early = {row.status for row in of(trial, source)}
    trial.notes.append(f"in an open transaction: {seconds * 1000:.0f} ms for the page, rows {early or 'later'}")
    _is_built(trial, source)
    return seconds


def _did_not_wait(trial: Trial, seconds: list[float]) -> None:
    usual, slowest = statistics.median(seconds), max(seconds)
    trial.notes.append(
        f"pages in open transactions: half within {usual * 1000:.0f} ms, all within {slowest * 1000:.0f}"
    )
    assert usual < USUAL, f"half of the pages took {usual:.2f} s in their views' transactions"
    assert slowest < WAITS, f"a page waited {slowest:.2f} s in its view's transaction"


def _is_built(trial: Trial, source: Source) -> None:
    rows = lambda: of(trial, source)  # noqa: E731
    trial.until(lambda: len(rows()) == len(SPECS), "rows of what a page showed")
    trial.until(lambda: all(row.status == VariantStatus.BUILT for row in rows()), "what a page showed")
