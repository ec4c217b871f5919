"""Sources that vanish or change while they are built: faults 13 and 14."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import PurePath

from PIL import Image

from easyimg.build import content_version
from easyimg.source import Source
from easyimg.variant import ERROR_STATUSES, VariantStatus
from tests.faults.harness import Trial, fault
from tests.faults.observer import Row

LEASE = 15.0
"""Seconds: nothing here is about leases, and no machine is too busy to renew one of these."""

POINTS = ("read", "decode", "written")
"""Where a build is stopped: before reading, between reading and decoding, between a written file and its row."""


def of(trial: Trial, *sources: Source) -> list[Row]:
    """Return the rows of these sources."""
    ids = {source.id for source in sources}
    return [row for row in trial.rows() if row.source_id in ids]


def at_each_point(
    trial: Trial, order: Callable[[], list[Source]], change: Callable[[Source], None]
) -> list[tuple[Source, str]]:
    """Change ordered sources while builds are stopped at each point in turn, and at random moments.

    Returns what was stopped, and where.
    """
    stopped = []
    for run in range(trial.runs):
        if run % (len(POINTS) + 1) == len(POINTS):
            sources = order()
            trial.until_building()
            trial.moment(0.3)
            for source in sources:
                change(source)
            trial.until_quiet()  # or the next stop would hold what is left of this
            continue
        point = POINTS[run % (len(POINTS) + 1)]
        with trial.site.holding(point):
            sources = order()
            found = trial.until(lambda s=sources: held(trial, s), f"a build that has come to {point!r}")
            for source in sources:
                change(source)
        stopped += [(source, point) for source in found]
        trial.until_quiet()
    return stopped


def held(trial: Trial, sources: list[Source]) -> list[Source]:
    """Return those whose build is stopped."""
    names = trial.site.held
    keys = {PurePath(name).name.partition(".")[0] for name in names}
    ids = {row.source_id for row in trial.rows() if row.key in keys}
    return [source for source in sources if source.name in names or source.id in ids]


@fault(13, "source deleted while it is built", runs=12, options={"lease_seconds": LEASE})
def source_deleted(trial: Trial) -> None:
    trial.site.pace(read=0.15, decode=0.1, written=0.03)
    trial.site.start(2)
    gone: list[Source] = []

    def order() -> list[Source]:
        sources = trial.order_new(3)
        trial.may_fail.update(source.name for source in sources)
        gone.extend(sources)
        return sources

    stopped = at_each_point(trial, order, lambda source: (trial.site.media / source.name).unlink())
    trial.until_quiet()
    rows = of(trial, *gone)
    failed = [row for row in rows if row.status in ERROR_STATUSES]
    trial.notes.append(f"{len(failed)} rows failed, {len(rows) - len(failed)} had been read in time")
    assert failed, "no source was missed"
    assert {row.error_kind for row in failed} == {"SourceNotFound"}, {row.error for row in failed}
    assert max(row.attempts for row in failed) == 1, "tried again, though no retry can help"
    left = {path.name.partition(".")[0] for path in trial.site.media.glob("img/*")} & {row.key for row in failed}
    assert not left, f"{len(left)} files of failed rows"
    for source, point in stopped:  # what was deleted before it was read failed; later, it is built
        wanted = VariantStatus.SOURCE_ERROR if point == "read" else VariantStatus.BUILT
        found = {row.status for row in of(trial, source)}
        assert found == {wanted}, f"deleted at {point!r}: {found}"


class Colours:
    """Flat pictures by content version; what a variant file shows must be what its name says."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._colours: dict[str, tuple[int, ...]] = {}
        self.versions: dict[str, list[str]] = {}
        """Source id -> its content versions, oldest first."""
        trial.observer.pixels = self.check

    def new(self, source: Source) -> bytes:
        """Return another picture for a source."""
        colour = tuple(self._trial.random.randrange(0, 256) for _ in range(3))
        out = io.BytesIO()
        Image.new("RGB", (640, 480), colour).save(out, "JPEG", quality=95)
        version = content_version(out.getvalue(), None)
        self._colours[version] = colour
        self.versions.setdefault(source.id, []).append(version)
        return out.getvalue()

    def check(self, row: Row, image: Image.Image) -> str:
        version = row.file_name.split(".")[1]
        middle = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
        wanted = self._colours[version]
        assert isinstance(middle, tuple)
        if max(abs(a - b) for a, b in zip(middle, wanted, strict=True)) > 12:
            return f"{row.file_name} shows {middle}, not {wanted}"
        # The file is there before the rows hear of it: content may be newer than the generation, never older.
        place = self.versions[row.source_id].index(version)
        return "" if place >= row.generation - 1 else f"generation {row.generation} shows content number {place}"


@fault(14, "source replaced while it is built", runs=12, options={"lease_seconds": LEASE})
def source_replaced(trial: Trial) -> None:
    trial.site.pace(read=0.1, decode=0.15, written=0.05)
    colours = Colours(trial)
    trial.site.start(2)
    sources = []
    for number in range(4):
        source = Source("default", f"flat/{number}.jpg")
        sources.append(trial.upload(source.name, colours.new(source)))

    def order() -> list[Source]:
        """Replace two: that queues them, and the next replacement comes while they are built."""
        chosen = trial.random.sample(sources, 2)
        for source in chosen:
            replace(source)
        return chosen

    def replace(source: Source) -> None:
        trial.upload(source.name, colours.new(source))
        trial.site.app.metadata.replace(source)
        trial.site.app.queue.ring([source.id])

    trial.order(*sources)
    trial.until_quiet()
    stopped = at_each_point(trial, order, replace)
    trial.until_quiet()
    for row in trial.rows():
        assert row.file_name.split(".")[1] == colours.versions[row.source_id][-1], f"{row.file_name} is not the last"
    lost = trial.site.log.count("taken over or replaced")
    trial.notes.append(f"{lost} builds were replaced under way, {sum(map(len, colours.versions.values()))} pictures")
    assert lost >= len(stopped), f"{len(stopped)} builds were stopped and their sources replaced"
