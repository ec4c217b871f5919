"""One fault on one site: set up, break, wait for quiet, count."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from easyimg.source import Source
from easyimg.spec import VariantSpec
from easyimg.testing.images import photo
from easyimg.variant import VariantStatus, Wanted
from tests.faults.observer import Observer, Row, is_owed, read_rows
from tests.faults.servers import Server, Servers
from tests.faults.site import Site
from tests.faults.timing import ALLOWANCE

DATABASES = ("sqlite", "postgres", "mariadb")
BROKERS = ("none", "redis", "rabbitmq")
SPECS = (VariantSpec(width=60, format="webp"), VariantSpec(width=120, format="webp"), VariantSpec(width=60))
"""What a page orders for a slot of 60 pixels, see ``visitor.py``."""

PATIENCE = 120.0
"""Seconds until what is still owed counts as lost, and what a case waits for fails it: no promise, an outer limit."""

CASE_SECONDS = 1200.0
"""A case that takes longer has failed."""


@dataclass(frozen=True)
class Fault:
    """One row of the fault matrix and the function that does it."""

    number: int
    title: str
    case: Callable[[Trial], None]
    runs: int
    databases: tuple[str, ...] = DATABASES
    brokers: tuple[str, ...] = BROKERS
    absent: str = ""
    """Why it is left out on some databases or brokers."""
    options: dict[str, Any] = field(default_factory=dict)


FAULTS: dict[int, Fault] = {}


def fault(number: int, title: str, *, runs: int = 3, **options: Any) -> Callable[[Callable[[Trial], None]], Any]:
    """Register a case. Further options: ``databases``, ``brokers``, ``absent``, settings of the site in ``options``."""

    def register(case: Callable[[Trial], None]) -> Callable[[Trial], None]:
        FAULTS[number] = Fault(number, title, case, runs, **options)
        return case

    return register


@dataclass
class Result:
    """What became of one fault on one database and broker."""

    fault: int
    title: str
    database: str
    broker: str
    runs: int
    seed: int
    rows: int = 0
    built: int = 0
    failed: int = 0
    lost: int = 0
    duplicated: int = 0
    partial: int = 0
    missing: int = 0
    seconds: float = 0.0
    looks: int = 0
    pages: int = 0
    """Pages that a visitor saw meanwhile, each URL on them read; ``failed_pages`` of them could not be shown."""
    failed_pages: int = 0
    slowest_page: float = 0.0
    urls: int = 0
    notes: list[str] = field(default_factory=list)
    not_done: str = ""
    """What this account or machine does not allow; the rest was done."""
    error: str = ""

    @property
    def is_bad(self) -> bool:
        return bool(self.lost or self.duplicated or self.partial or self.missing or self.failed_pages or self.error)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Trial:
    """What a case works with.

    Args:
        chosen: the fault.
        site: fresh.
        servers: running ones.
        seed: of every random moment.
    """

    def __init__(self, chosen: Fault, site: Site, servers: Servers, result: Result) -> None:
        self.fault = chosen
        self.site = site
        self.random = random.Random(result.seed)
        self.runs = result.runs
        self.database, self.broker = result.database, result.broker
        self.notes = result.notes
        self.result = result
        self.scale = 1.0
        self.ordered: dict[str, str] = {}
        """Variant key -> name of its source, of everything this trial asked for."""
        self.may_fail: set[str] = set()
        """Names of sources that may end in an error; every other one must be BUILT. Added to, never replaced."""
        self.observer = Observer(site.app, site.media, self.ordered, self.may_fail, site.ready)
        self.stack = contextlib.ExitStack()
        """Left when everything has been counted."""
        self._servers = servers
        self._numbers = iter(range(1_000_000))
        self._pictures = [photo(640, 480, seed=seed) for seed in range(3)]

    # Load.

    def upload(self, name: str = "", data: bytes | None = None) -> Source:
        """Store a picture, a fresh name for each."""
        number = next(self._numbers)
        source = Source("default", name or f"photos/{number}.jpg")
        self.site.app.storage("default").write(
            source.name, self._pictures[number % 3] if data is None else data, "image/jpeg"
        )
        return source

    def order(self, *sources: Source, ring: bool = True, specs: Sequence[VariantSpec] = SPECS) -> list[str]:
        """Queue variants of sources as a page does, and return the keys."""
        wanted = [Wanted(source, {spec.key(source.address): spec.canonical for spec in specs}) for source in sources]
        for item in wanted:
            self.ordered |= dict.fromkeys(item.specs, item.source.name)
        if ring:
            self.site.app.outbox.order(wanted, wait=None)
        else:
            self.site.app.metadata.enqueue(wanted)
        return [key for item in wanted for key in item.specs]

    def order_new(self, number: int, *, ring: bool = True, specs: Sequence[VariantSpec] = SPECS) -> list[Source]:
        """Store and order so many new pictures."""
        sources = [self.upload() for _ in range(number)]
        self.order(*sources, ring=ring, specs=specs)
        return sources

    # Looking.

    def rows(self) -> list[Row]:
        return read_rows(self.site.app)

    def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait for something to become true, or fail."""
        end = time.monotonic() + seconds
        while True:
            try:
                if found := condition():
                    return found
            except AssertionError:
                raise
            except Exception as exc:  # a server that is just coming back
                if time.monotonic() > end:
                    raise AssertionError(f"{what}: {exc}") from exc
            assert time.monotonic() < end, f"waited {seconds:g} s in vain for {what}"
            time.sleep(0.01)

    def until_building(self) -> None:
        self.until(lambda: any(row.status == VariantStatus.BUILDING for row in self.rows()), "a build under way")

    def until_quiet(self, seconds: float = PATIENCE) -> float:
        """Wait until nothing is owed, and return how long that took; what stays owed is counted as lost later."""
        started = time.monotonic()
        try:
            self.until(lambda: not is_owed(self.site.app), "quiet", seconds)
        except AssertionError as exc:
            self.notes.append(str(exc))
        return time.monotonic() - started

    def expect_no_idling(self, promised: float, what: str) -> None:
        """Expect that somebody built, as long as something was due, but for so many seconds in all."""
        timing = self.observer.timing
        # Between two looks a worker may have become ready and built all there was.
        assert timing.looks or not is_owed(self.site.app), "no worker was seen to be ready"
        self.notes.append(f"{what}: nobody built for {timing.idle:.1f} s; promised are {promised:.1f} s")
        assert timing.idle < promised + ALLOWANCE, f"{what}: nobody built for {timing.idle:.1f} s"

    def published(self) -> Counter[str]:
        """Return how often each file was published, by key and file name."""
        lines = (self.site.folder / "published").read_text().splitlines()
        return Counter(" ".join(line.split()[:2]) for line in lines)

    # Breaking.

    @property
    def broker_server(self) -> Server:
        return self._servers.get(self.broker)

    @property
    def database_server(self) -> Server:
        return self._servers.get(self.database)

    def moment(self, seconds: float) -> None:
        """Wait for a random moment."""
        time.sleep(self.random.uniform(0, seconds))


def run(
    chosen: Fault, database: str, broker: str, *, runs: int, seed: int, servers: Servers, scale: float = 1.0
) -> Result:
    """Do one fault on one database and broker; ``scale`` = how much load, where a case can do with less."""
    result = Result(chosen.number, chosen.title, database, broker, runs, seed)
    folder = Path(tempfile.mkdtemp(prefix="easyimg-fault-"))
    started = time.monotonic()
    stack = contextlib.ExitStack()
    try:
        servers.revive()
        queue = "none" if broker == "none" else servers.get(broker).url
        site = Site(folder, servers.new_database(database, folder), queue, **chosen.options)
        trial = Trial(chosen, site, servers, result)
        trial.scale = scale
        stack = trial.stack
        try:
            with trial.observer:
                chosen.case(trial)
                trial.until_quiet()
                time.sleep(0.1)  # for whoever would still publish something
                trial.observer.look()
            _count(trial, result)
        except Exception:
            raise
        except BaseException:  # asked to stop
            site.kill()
            raise
        finally:
            site.close()
        _count_files(trial, result)
    except Exception as exc:  # noqa: BLE001  # a case that fails is a result like others
        result.error = f"{type(exc).__name__}: {exc}"
        result.notes.append(traceback.format_exc())
    finally:
        stack.close()
    result.seconds = round(time.monotonic() - started, 1)
    if result.is_bad:
        result.notes.append(f"left in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _count(trial: Trial, result: Result) -> None:
    rows = {row.key: row for row in trial.rows()}
    seen, visits = trial.observer.seen, trial.observer.visitor.seen
    result.rows, result.looks = len(trial.ordered), seen.looks
    result.pages, result.urls, result.slowest_page = visits.pages, visits.urls, round(visits.slowest, 3)
    result.failed_pages = len(visits.failed)
    result.notes += [f"a page failed: {text}" for text in visits.failed[:5]]
    for key, name in trial.ordered.items():
        row = rows.get(key)
        if row is not None and row.status == VariantStatus.BUILT:
            result.built += 1
        elif row is not None and row.due_at is None and row.error_kind and row.error and name in trial.may_fail:
            result.failed += 1
        else:
            result.lost += 1
            result.notes.append(f"lost {name}: {row}")
    twice = {
        name for name, count in trial.published().items() if count > 1 and name.split()[1] not in trial.observer.removed
    }
    result.duplicated = len(twice | seen.duplicated.keys())
    result.partial = len(seen.partial) + len(visits.broken)
    result.missing = len(seen.missing) + len(visits.absent)
    for found in (seen.duplicated, seen.partial, seen.missing, seen.wrong, visits.broken, visits.absent):
        result.notes += [f"{key}: {text}" for key, text in list(found.items())[:5]]
    result.notes += [f"published more than once: {name}" for name in sorted(twice)[:5]]
    assert not seen.wrong, f"{len(seen.wrong)} files do not show what they should"


def _count_files(trial: Trial, result: Result) -> None:
    """Once nothing runs: no file under a final name that is not a whole picture."""
    for path in trial.site.media.joinpath("img").rglob("[!.]*"):
        try:
            with Image.open(path) as image:
                image.load()
        except Exception as exc:  # noqa: BLE001  # decoders raise what they like
            result.partial += 1
            result.notes.append(f"{path.name} is no whole picture: {exc}")
