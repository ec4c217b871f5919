"""Databases that restart, or that refuse what collides: faults 6 and 21."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests import services
from tests.faults.harness import SPECS, Trial, fault


@fault(
    6, "database restarted while pictures are built", databases=("postgres", "mariadb"), options={"lease_seconds": 15.0}
)
def database_restarted(trial: Trial) -> None:
    trial.site.pace(read=0.1, written=0.05)
    trial.site.start(2)
    for _ in range(trial.runs):
        trial.order_new(10)
        trial.until_building()
        trial.moment(0.4)
        trial.database_server.kill()
        trial.order_new(3)  # kept in the outbox
        trial.moment(1.5)
        trial.database_server.again()
        trial.until(lambda: trial.ordered.keys() <= {row.key for row in trial.rows()}, "all that was kept is queued")
        trial.notes.append(f"quiet {trial.until_quiet():.1f} s after the database came back")
    written = len(trial.site.folder.joinpath("written").read_text().splitlines())
    trial.notes.append(
        f"{written} files written for {len(trial.ordered)} rows; blind {trial.observer.seen.blind} looks"
    )
    assert " died " not in trial.site.log, "a worker process ended"
    assert written == len(trial.ordered), "finished builds were thrown away"


# Pages that want the same pictures in other orders, and editors who move focus points, all at once.
CROWD = """
import random, sys
from easyimg.geometry import Focus
from easyimg.source import Source
from easyimg.variant import Wanted
from easyimg.spec import VariantSpec
from site_app import app
chance = random.Random(int(sys.argv[1]))
specs = [VariantSpec.from_canonical(text) for text in sys.argv[4:]]
sources = [Source("default", f"crowd/{n}.jpg") for n in range(int(sys.argv[3]))]
for _ in range(int(sys.argv[2])):
    some = chance.sample(sources, 12)
    app.metadata.enqueue([Wanted(s, {p.key(s.address): p.canonical for p in specs}) for s in some])
    with open("wanted", "a") as log:
        print(*(s.name for s in some), file=log)
    app.metadata.set_focus(chance.choice(sources), Focus(chance.random(), chance.random()))
    app.queue.ring(s.id for s in some)
app.close()
"""


@fault(21, "8 processes write the same rows; SERIALIZABLE where the server offers it", options={"lease_seconds": 20.0})
def crowd(trial: Trial) -> None:
    with _serializable(trial):
        sources = [trial.upload(f"crowd/{n}.jpg") for n in range(30)]
        trial.site.start(1, "--processes", "4")
        texts = [spec.canonical for spec in SPECS]
        for turn in range(trial.runs):
            scripts = [trial.site.script(CROWD, str(turn * 10 + n), "15", str(len(sources)), *texts) for n in range(4)]
            codes = [script.wait(90) for script in scripts]
            assert codes == [0] * 4, f"a page or an editor failed: {codes}; {trial.site.log[-600:]}"
            trial.until_quiet()
        wanted = (trial.site.folder / "wanted").read_text().split()
        trial.ordered |= {spec.key(s.address): s.name for s in sources if s.name in wanted for spec in SPECS}
        trial.notes.append(f"{len(wanted) // 12} pages ordered")
        trial.until_quiet()
    assert "Traceback" not in trial.site.log
    rows = trial.rows()
    assert not any(row.crashes for row in rows), "a claim ended without a verdict"
    retried = trial.site.log.count("stay queued") + trial.site.log.count("building pauses")
    trial.notes.append(f"{len(trial.published())} files published; {retried} times the store gave up waiting")


@contextlib.contextmanager
def _serializable(trial: Trial) -> Iterator[None]:
    """Let every connection to come be SERIALIZABLE by default, as far as we do not choose ourselves."""
    url = trial.site.metadata
    if trial.database == "postgres":
        import psycopg

        with psycopg.connect(services.plain(url), autocommit=True) as connection:
            connection.execute(
                f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_isolation = 'serializable'"
            )
        trial.site.app.metadata.close()
    if trial.database == "mariadb":
        _set_isolation(url, "SERIALIZABLE")
    try:
        yield
    finally:
        if trial.database == "mariadb":
            _set_isolation(url, "REPEATABLE-READ")


def _set_isolation(url: str, level: str) -> None:
    with contextlib.closing(services.mysql_connection(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL tx_isolation = %s", (level,))
