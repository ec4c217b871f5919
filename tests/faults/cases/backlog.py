"""Ten thousand pictures that wait: fault 17."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from sqlalchemy import delete, func, select

from easyimg import Img, Source
from easyimg.jinja import install
from easyimg.testing.images import photo
from easyimg.variant import ClaimOrder, VariantStatus
from tests import services
from tests.faults.cases.outages import forget_messages
from tests.faults.harness import Trial, fault
from tests.faults.observer import TABLES
from tests.faults.processes import descendants

SOURCES = {"in bulk": 10_000, "by pages": 3_400, "both": 3_400}
"""How they are ordered -> how many. A third of ten thousand have as many rows; with all of them three times, this one
case would take a fifth of the whole suite's time.
"""

PART = 400
"""Sources drained at the full backlog, and again when no more are left: the rates are compared."""

FEW = 10
"""Sources that wait while a claim is timed for comparison."""

LOOKS = 10
"""How often claims are timed, at most."""

SWEEP = 5.0
PAGE = "{% for name in names %}{{ img(name, width=24, alt='') }}{% endfor %}"
VARIANTS = 3
"""Of each picture: WebP for two densities, and what all browsers know."""

ROW = TABLES.variant.c


@fault(
    17,
    "10,000 sources wait, ordered in bulk, or 10,000 variants, by pages and both; fresh uploads; a page 1,000 times",
    options={"sweep_seconds": SWEEP, "lease_seconds": 20.0},
)
def backlog(trial: Trial) -> None:
    trial.site.media.joinpath("many").mkdir()
    page = _page(trial)
    for turn in range(trial.runs):
        how = list(SOURCES)[turn % len(SOURCES)]
        names = _pictures(trial, turn, round(SOURCES[how] * trial.scale))
        trial.order_new(FEW, ring=False)
        alone = _claim_times(trial)
        started = time.monotonic()
        _order(trial, names, how, page)
        trial.notes.append(f"{len(names)} sources ordered {how} in {time.monotonic() - started:.1f} s")
        _claims_stay_short(trial, alone)
        _rings_once(trial, page)
        _drain(trial, names, how, page)
        for worker in trial.site.workers:
            assert worker.stop() == 0
        trial.site.workers.clear()


def _page(trial: Trial) -> Callable[[Sequence[str]], None]:
    """Return what shows pictures on a page of the site."""
    env = Environment(autoescape=True)
    install(env, trial.site.app)
    template = env.from_string(PAGE)

    def show(names: Sequence[str]) -> None:
        assert template.render(names=names).count("<img ") == len(names)

    return show


def _pictures(trial: Trial, turn: int, number: int) -> list[str]:
    """Return the names of so many new pictures, all alike: links to one small file."""
    first = trial.site.media / f"tiny-{turn}.jpg"
    first.write_bytes(photo(96, 72, seed=turn))
    folder = trial.site.media / "many" / str(turn)
    folder.mkdir()
    names = [f"many/{turn}/{n:05}.jpg" for n in range(number)]
    for name in names:
        (trial.site.media / name).hardlink_to(first)
    return names


def _order(trial: Trial, names: list[str], how: str, page: Callable[[Sequence[str]], None]) -> None:
    if how != "by pages":
        said = trial.site.command("queue", str(Path(names[0]).parent) + "/", "width=24", seconds=300)
        assert said.returncode == 0, said
    if how != "in bulk":
        shown = names if how == "by pages" else names[::2]
        for start in range(0, len(shown), 100):
            page(shown[start : start + 100])
        assert trial.site.app.outbox.flush(), "orders are left in the outbox"
    waiting = _count(trial, ROW.due_at.is_not(None), distinct=True)
    assert waiting == len(names) + FEW, f"{waiting} sources wait, not {len(names) + FEW}"


def _count(trial: Trial, *where: Any, distinct: bool = False) -> int:
    what = func.count(ROW.source_id.distinct()) if distinct else func.count()
    engine: Any = trial.site.app.metadata.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        return int(connection.execute(select(what).where(*where)).scalar_one())


def _claim_times(trial: Trial) -> dict[str, list[float]]:
    """Return order -> deciles of a claim's time, ms."""
    found = {}
    for order in (ClaimOrder.PAGES_FIRST, ClaimOrder.OLDEST_FIRST):
        took = []
        for _ in range(51):
            started = time.perf_counter()
            (claim,) = trial.site.app.metadata.claim(lease=60, max_attempts=12, order=order)
            took.append((time.perf_counter() - started) * 1000)
            trial.site.app.metadata.release(claim)
        found[order.name.lower()] = statistics.quantiles(took, n=10)
    return found


def _claims_stay_short(trial: Trial, alone: dict[str, list[float]]) -> None:
    """Compare a claim's time with that beside a few sources: a backlog makes all of them longer.

    A busy machine makes some of them longer; those are measured again, a few times.
    """
    for _ in range(LOOKS):
        found = _claim_times(trial)
        for order, (quick, *_, slow) in found.items():
            few = alone[order][4]
            trial.notes.append(
                f"claim {order}: p10 {quick:.1f}, p50 {found[order][4]:.1f}, p90 {slow:.1f} ms; p50 {few:.1f} ms of few"
            )
        long = [order for order, times in found.items() if times[0] >= max(5.0, 4 * alone[order][0])]
        if not long:
            return
        time.sleep(1)
    raise AssertionError(f"claims {' and '.join(long)} take that long in each of {LOOKS} looks")


def _rings_once(trial: Trial, page: Callable[[Sequence[str]], None]) -> None:
    """Show the same owed picture a thousand times, before anybody builds, and count the doorbells at the broker."""
    name = trial.upload().name
    if trial.broker == "none":
        return
    queue: Any = trial.site.app.queue
    trial.until(lambda: not queue._sender._waiting, "the doorbells to go out", 300)
    before = messages(trial)
    started = time.monotonic()
    for _ in range(1000):
        page([name])
    seconds = time.monotonic() - started
    trial.until(lambda: messages(trial) > before, "a doorbell")
    rung = messages(trial) - before
    trial.notes.append(f"1,000 views of an owed picture in {seconds:.1f} s: {rung} doorbells")
    assert rung <= 1 + seconds // SWEEP, f"{rung} doorbells in {seconds:.1f} s"


def messages(trial: Trial) -> int:
    """Return how many messages wait at the broker."""
    settings = trial.site.app.settings
    if trial.broker == "redis":
        import redis

        with contextlib.closing(redis.Redis.from_url(settings.queue)) as client:
            return int(client.llen(f"{settings.namespace}:{settings.queue_name}"))
    with contextlib.closing(services.rabbitmq_connection(settings.queue)) as connection:
        return int(connection.channel().queue_declare(settings.queue_name, passive=True).method.message_count)


def _drain(trial: Trial, names: list[str], how: str, page: Callable[[Sequence[str]], None]) -> None:
    """Build some at the full backlog, with fresh uploads between; then let a tenth be left, and build that."""
    started = time.monotonic()
    trial.site.start(2)
    page_waits = [_wait_for(trial, trial.upload().name, page, len(names)) for _ in range(3)]
    trial.notes.append("fresh uploads built after " + ", ".join(f"{seconds:.2f} s" for seconds in page_waits))
    if how != "by pages":  # the last of the bulk order that no page has shown
        seconds = _wait_for(trial, names[-1], page, len(names))
        trial.notes.append(f"a picture of the bulk order that a page shows: {seconds:.2f} s")
    _old_ones_move(trial, names, how, page)
    (first, dear), memory = _rate(trial), _memory(trial)
    _leave(trial, names)
    last, cheap = _rate(trial)
    trial.until_quiet(300)
    trial.notes.append(
        f"{first:.0f} variants/s of a full backlog, {last:.0f} of the last; {time.monotonic() - started:.0f} s"
    )
    trial.notes.append(
        f"{dear * 1000:.0f} ms of processors a variant at a full backlog, {cheap * 1000:.0f} ms at the end"
    )
    assert dear < 2.5 * cheap, "a variant of a large backlog costs more"
    assert first > last / 10, "the rate falls with the backlog"
    grown = _memory(trial) - memory
    trial.notes.append(f"workers' memory {memory / 2**20:.0f} MiB, and {grown / 2**20:+.1f} MiB")
    assert grown < 30 << 20, "the workers grow"


def _wait_for(trial: Trial, name: str, page: Callable[[Sequence[str]], None], backlog: int) -> float:
    """Show a picture on a page; return the seconds until it is built, before 5 % of the backlog."""
    id_, built = Source("default", name).id, _count(trial, ROW.status == VariantStatus.BUILT, distinct=True)
    started = time.monotonic()
    page([name])
    _expect(trial, [name])
    mine = (ROW.source_id == id_, ROW.status == VariantStatus.BUILT)
    trial.until(lambda: _count(trial, *mine) == VARIANTS, f"{name}, which a page waits for")
    seconds = time.monotonic() - started
    others = _count(trial, ROW.status == VariantStatus.BUILT, distinct=True) - built - 1
    assert others < 0.05 * backlog, f"{others} others were built before {name}"
    return seconds


def _old_ones_move(trial: Trial, names: list[str], how: str, page: Callable[[Sequence[str]], None]) -> None:
    """Upload for some seconds as fast as is built; what was ordered first must be built beside."""
    first = names[: len(names) // 10] if how == "by pages" else names  # of a folder, in no order of names
    oldest = {Source("default", name).id for name in first}
    before = _built_of(trial, oldest)
    fresh = []
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        new = [trial.upload().name for _ in range(5)]
        page(new)
        fresh += new
        time.sleep(0.02)
    _expect(trial, fresh)
    moved = _built_of(trial, oldest) - before
    built = _built_of(trial, {Source("default", name).id for name in fresh})
    trial.notes.append(f"while {len(fresh)} were uploaded and {built} of these built, {moved} old ones were, too")
    assert moved >= built // 8, "the oldest starve"


def _built_of(trial: Trial, ids: set[str]) -> int:
    return len({row.source_id for row in trial.rows() if row.status == VariantStatus.BUILT} & ids)


def _rate(trial: Trial) -> tuple[float, float]:
    """Return how many variants were built a second while so many were, and the processors' time for each, seconds.

    The rate is the machine's matter as well; the time that workers and database need is nearly the same on a busy one.
    """
    begun, started, worked = _count(trial, ROW.status == VariantStatus.BUILT), time.monotonic(), _worked(trial)
    enough = begun + PART * VARIANTS // 2
    trial.until(lambda: _count(trial, ROW.status == VariantStatus.BUILT) >= enough, "so many more sources", 300)
    built = _count(trial, ROW.status == VariantStatus.BUILT) - begun
    return built / (time.monotonic() - started), (_worked(trial) - worked) / built


def _worked(trial: Trial) -> float:
    """Return the processors' time of the workers and the database so far, seconds, with that of children that ended."""
    roots = [worker.pid for worker in trial.site.workers]
    if trial.database != "sqlite":
        roots.append(trial.database_server.pid)
    ticks = 0
    for pid in [pid for root in roots for pid in (root, *descendants(root))]:
        with contextlib.suppress(OSError):  # ended just now
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _leave(trial: Trial, names: list[str]) -> None:
    """Delete rows that wait but for so many sources; doorbells for the others are still under way, and do no harm."""
    owed = {row.source_id for row in trial.rows() if row.status == VariantStatus.QUEUED}
    sources = [Source("default", name) for name in names]
    waiting = [source for source in sources if source.id in owed]
    kept, gone = waiting[:PART], {source.id for source in waiting[PART:]}
    engine: Any = trial.site.app.metadata.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        for start in range(0, len(gone), 500):
            connection.execute(delete(TABLES.variant).where(ROW.source_id.in_(sorted(gone)[start : start + 500])))
    if trial.broker != "none":
        forget_messages(trial)
        trial.site.app.queue.ring([source.id for source in kept])
    _expect(trial, [source.name for source in kept])


def _expect(trial: Trial, names: Sequence[str]) -> None:
    """Count these pictures' variants among those that must be built."""
    for name in names:
        trial.ordered |= dict.fromkeys(Img(width=24)(name, alt="").keys, name)


def _memory(trial: Trial) -> int:
    """Return the memory of the builders and their children, bytes."""
    pids = [pid for worker in trial.site.workers for pid in (*worker.builders(), *worker.limited())]
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")
