"""Databases that refuse what runs at the same time: fault 21."""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import threading
from collections.abc import Iterator

from easyimg.source import Source
from tests import services
from tests.faults.harness import SPECS, Trial, fault

HOLD = 3.0
"""Seconds for which the site writes to its SQLite file."""

USUAL, WAITS = 0.8, 15.0
"""Seconds that half of the pages, and all of them, may take. One that waited for the site's writer would take 1.5 in
the mean; how long a single one takes among eight busy processes is the machine's matter."""

# Pages that show the same pictures in other orders, and editors who move focus points, all at once.
CROWD = """
import random, sys, time
from jinja2 import Environment
from easyimg.geometry import Focus
from easyimg.jinja import install
from easyimg.source import Source
from site_app import app
chance = random.Random(int(sys.argv[1]))
names = [f"crowd/{n}.jpg" for n in range(int(sys.argv[3]))]
env = Environment(autoescape=True)
install(env, app)
page = env.from_string("{% for name in names %}{{ img(name, width=60, alt='') }}{% endfor %}")
mine, seconds = [], []
for turn in range(int(sys.argv[2])):
    fresh = [f"fresh/{sys.argv[1]}-{turn}.jpg"] if turn % 2 else []
    some = chance.sample(names, 12 - len(fresh)) + fresh
    mine += fresh
    with open("wanted", "a") as log:
        print(*some, file=log)
    app.cache.clear()
    started = time.perf_counter()
    html = page.render(names=some)
    if fresh:  # ordered by this page, which must not wait for who else writes
        seconds.append(time.perf_counter() - started)
    assert html.count("<img ") == 12, html
    app.metadata.set_focus(Source("default", chance.choice(names)), Focus(chance.random(), chance.random()))
for name in mine:  # nobody else shows what this process alone ordered: it may not end before that is queued
    while app.metadata.inspect(Source("default", name)) is None:
        app.outbox.flush()
        time.sleep(0.1)
with open("seconds", "a") as log:  # not the log, whose lines other processes may cut in two
    print(*seconds, file=log)
app.close()
"""


@fault(
    21,
    "8 processes write the same rows; SERIALIZABLE or REPEATABLE READ by default, or the site writes for seconds",
    options={"lease_seconds": 20.0},
)
def crowd(trial: Trial) -> None:
    trial.site.start(1, "--processes", "4")
    for number in range(30):
        trial.upload(f"crowd/{number}.jpg")
    for turn in range(trial.runs):
        with _strict(trial, turn):
            pages = 6 if trial.database == "sqlite" else 15  # between two, an editor waits for the site's writer
            for name in (f"fresh/{turn * 10 + n}-{page}.jpg" for n in range(4) for page in range(1, pages, 2)):
                trial.upload(name)
            scripts = [trial.site.script(CROWD, str(turn * 10 + n), str(pages), "30") for n in range(4)]
            codes = [script.wait(240) for script in scripts]
            assert codes == [0] * 4, f"a page or an editor failed: {codes}; {trial.site.log[-600:]}"
        trial.until_quiet()
    wanted = (trial.site.folder / "wanted").read_text().split()
    shown = {Source("default", name) for name in wanted}
    trial.ordered |= {spec.key(source.address): source.name for source in shown for spec in SPECS}
    trial.until(lambda: trial.ordered.keys() <= {row.key for row in trial.rows()}, "rows of all that pages showed")
    trial.until_quiet()
    _count(trial, len(wanted) // 12)


def _count(trial: Trial, pages: int) -> None:
    assert "Traceback" not in trial.site.log
    assert not any(row.crashes for row in trial.rows()), "a claim ended without a verdict"
    seconds = [float(number) for number in (trial.site.folder / "seconds").read_text().split()]
    usual, slowest = statistics.median(seconds), max(seconds)
    trial.notes.append(
        f"{pages} pages; of {len(seconds)} that ordered, half took {usual * 1000:.0f} ms, all {slowest * 1000:.0f}"
    )
    assert usual < USUAL, f"pages wait for writers: half of them {usual:.2f} s and more"
    assert slowest < WAITS, f"a page waited {slowest:.1f} s"
    later = trial.site.log.count("are queued a little later")
    retried = trial.site.log.count("stay queued") + trial.site.log.count("building pauses")
    trial.notes.append(
        f"{len(trial.published())} files published; orders kept {later} times, a worker gave up waiting {retried} times"
    )


@contextlib.contextmanager
def _strict(trial: Trial, turn: int) -> Iterator[None]:
    """Let the database be difficult inside the block, as far as we do not choose ourselves."""
    url = trial.site.metadata
    if trial.database == "sqlite":
        with _writing(url.removeprefix("sqlite:///")):
            yield
    elif trial.database == "postgres":
        _set_postgres(url, ("serializable", "repeatable read")[turn % 2])
        yield
    else:
        level = _set_mariadb(url, ("REPEATABLE-READ", "SERIALIZABLE")[turn % 2])
        try:
            yield
        finally:
            _set_mariadb(url, level)


@contextlib.contextmanager
def _writing(file: str) -> Iterator[None]:
    """Hold SQLite's one write lock for seconds, as a slow view or an import of the site's does, again and again."""
    stop = threading.Event()

    def write() -> None:
        connection = sqlite3.connect(file, timeout=30, isolation_level=None)
        connection.execute("CREATE TABLE IF NOT EXISTS shop (name TEXT)")
        while not stop.is_set():
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO shop VALUES ('shoe')")
            stop.wait(HOLD)
            connection.execute("COMMIT")
            stop.wait(0.5)
        connection.close()

    thread = threading.Thread(target=write, name="shop", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def _set_postgres(url: str, level: str) -> None:
    import psycopg

    with psycopg.connect(services.plain(url), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_isolation = '{level}'")


def _set_mariadb(url: str, level: str) -> str:
    """Set what new connections have; return what it was."""
    with contextlib.closing(services.mysql_connection(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.tx_isolation")
        (before,) = cursor.fetchone()
        cursor.execute("SET GLOBAL tx_isolation = %s", (level,))
    return str(before)
