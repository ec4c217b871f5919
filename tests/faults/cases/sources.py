"""Sources that vanish, change, crash or hang their builder, and recipes nobody knows: faults 13, 14, 15, 16 and 20."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from easyimg.build import content_version
from easyimg.source import Source
from easyimg.variant import VariantStatus, Wanted
from tests.faults.cases.brokers import send
from tests.faults.harness import SPECS, Trial, fault
from tests.faults.observer import Row

ERRORS = (VariantStatus.SOURCE_ERROR, VariantStatus.BUILD_ERROR)


def _of(trial: Trial, *sources: Source) -> list[Row]:
    ids = {source.id for source in sources}
    return [row for row in trial.rows() if row.source_id in ids]


@fault(13, "source deleted while it is built", runs=10)
def source_deleted(trial: Trial) -> None:
    trial.site.pace(read=0.15, decode=0.1, written=0.03)
    trial.site.start(2)
    gone = []
    for _ in range(trial.runs):
        sources = trial.order_new(3)
        trial.may_fail |= {source.name for source in sources}
        trial.until_building()
        trial.moment(0.25)
        for source in sources:
            (trial.site.media / source.name).unlink()
        gone += sources
    trial.until_quiet()
    rows = _of(trial, *gone)
    failed = [row for row in rows if row.status in ERRORS]
    trial.notes.append(f"{len(failed)} rows failed, {len(rows) - len(failed)} had been read in time")
    assert {row.error_kind for row in failed} <= {"SourceNotFound"}, {row.error for row in failed}
    assert max(row.attempts for row in rows) <= 3, "tried again and again"
    left = {path.name.partition(".")[0] for path in trial.site.media.glob("img/*")} & {row.key for row in failed}
    assert not left, f"{len(left)} files of failed rows"


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


@fault(14, "source replaced while it is built", runs=10)
def source_replaced(trial: Trial) -> None:
    trial.site.pace(read=0.1, decode=0.15, written=0.05)
    colours = Colours(trial)
    trial.site.start(2)
    sources = []
    for number in range(4):
        source = Source("default", f"flat/{number}.jpg")
        sources.append(trial.upload(source.name, colours.new(source)))
    trial.order(*sources)
    for _ in range(trial.runs):
        trial.until_building()
        trial.moment(0.3)
        for source in trial.random.sample(sources, 2):
            trial.upload(source.name, colours.new(source))
            trial.site.app.metadata.replace(source)
            trial.site.app.queue.ring([source.id])
    trial.until_quiet()
    for row in trial.rows():
        assert row.file_name.split(".")[1] == colours.versions[row.source_id][-1], f"{row.file_name} is not the last"


def png(width: int, height: int) -> bytes:
    """Return a black RGB PNG of any size: a thousandth of its pixels' bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = b"\0" * (1 + width * 3)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def progressive(side: int) -> bytes:
    """Return a progressive JPEG, which must be held in memory whole."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), (90, 90, 90)).save(out, "JPEG", progressive=True, quality=50)
    return out.getvalue()


NO_LIMITS = {"max_pixels": 400_000_000, "max_progressive_pixels": 400_000_000, "max_attempts": 3}


@fault(15, "pictures that kill their process or exhaust its memory", options={**NO_LIMITS, "build_memory": 400 << 20})
def poison(trial: Trial) -> None:
    bomb = progressive(12000)
    bad = [trial.upload(f"poison/{n}.jpg") for n in range(trial.runs)]
    bad += [trial.upload(f"bombs/{n}.jpg", bomb) for n in range(trial.runs)]
    _beside_good_ones(trial, bad)
    reasons = {row.error for row in _of(trial, *bad)}
    assert "crashed 3 times" in reasons, reasons
    assert any("memory" in reason for reason in reasons), reasons


@fault(16, "pictures that hang or take minutes", options={**NO_LIMITS, "build_seconds": 0.5})
def hang(trial: Trial) -> None:
    slow = png(16000, 16000)
    bad = [trial.upload(f"hang/{n}.jpg") for n in range(trial.runs)]
    bad += [trial.upload(f"huge/{n}.png", slow) for n in range(trial.runs)]
    _beside_good_ones(trial, bad)
    reasons = {row.error for row in _of(trial, *bad)}
    assert "crashed 3 times" in reasons, reasons
    assert any("time limit of 0.5 s" in reason for reason in reasons), reasons


def _beside_good_ones(trial: Trial, bad: list[Source]) -> None:
    """Build bad pictures and 100 good ones beside; the bad end as errors, the worker command goes on."""
    trial.may_fail |= {source.name for source in bad}
    trial.site.start(2)
    good = []
    for number in range(0, 100, 20):
        trial.order(*bad[number // 20 :: 5])
        good += trial.order_new(20)
    seconds = trial.until_quiet(120)
    trial.notes.append(f"{len(bad)} bad and {len(good)} good pictures: quiet after {seconds:.1f} s")
    wrong = [row for row in _of(trial, *bad) if row.status not in ERRORS]
    assert not wrong, f"not an error: {wrong[:3]}"
    assert {row.status for row in _of(trial, *good)} == {VariantStatus.BUILT}
    assert all(worker.process.poll() is None for worker in trial.site.workers), "a worker command ended"
    late = trial.order_new(1)
    trial.until_quiet()
    assert {row.status for row in _of(trial, *late)} == {VariantStatus.BUILT}


@fault(20, "recipes and messages of another version")
def another_version(trial: Trial) -> None:
    trial.site.start(1)
    bad = []
    for number in range(trial.runs):
        source = trial.upload()
        bad.append(source)
        key = f"{number:032x}"
        trial.site.app.metadata.enqueue([Wanted(source, {key: SPECS[0].canonical.replace("}", ',"sparkle":7}')})])
        trial.ordered[key] = source.name
        if trial.broker != "none":
            send(trial, [{"v": 2, "source": source.id, "new": True}])
        trial.order_new(2)
    trial.may_fail |= {source.name for source in bad}
    trial.until_quiet()
    assert {row.status for row in _of(trial, *bad)} == {VariantStatus.BUILD_ERROR}
    trial.notes.append(f"reason: {_of(trial, *bad)[0].error}")
    trial.order(*bad)  # a recipe that is known, of the same sources
    trial.until_quiet()
    assert " died " not in trial.site.log
    good = [row for row in _of(trial, *bad) if row.status == VariantStatus.BUILT]
    assert len(good) == 3 * len(bad), f"{len(good)} built beside an unknown recipe"
