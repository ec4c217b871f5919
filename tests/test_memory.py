"""What a source costs in memory: whoever reads it holds it once."""

from __future__ import annotations

import io
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg
from easyimg.engines.limited import LimitedEngine
from easyimg.gather import Gathered
from easyimg.spec import VariantSpec
from easyimg.testing import images

SIZE = 19_000_000
MUCH = 1.1 * SIZE


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of 19 MB: what follows its end counts as well."""
    data = images.photo(90, 60)
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    path.write_bytes(data + bytes(SIZE - len(data)))
    return path


@pytest.fixture
def app(tmp_path: Path) -> Iterator[EasyImg]:
    folders = {"default": f"file://{tmp_path}/media"}
    with EasyImg(storages=folders, metadata=f"sqlite:///{tmp_path}/rows.db", queue="none", isolation="never") as app:
        yield app


class Peak:
    bytes = 0


@contextmanager
def peak() -> Iterator[Peak]:
    """Measure the most that Python's own memory grows by."""
    found = Peak()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield found
        found.bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_the_measure_sees_what_is_held_twice() -> None:
    with peak() as found:
        b"".join([bytes(1 << 20) for _ in range(19)])
    assert found.bytes > 1.9 * 19 * (1 << 20)


@pytest.mark.parametrize("max_bytes", [None, 20_000_000])
def test_a_storage_reads_a_file_once(app: EasyImg, large: Path, max_bytes: int | None) -> None:
    place = app.storage("default")
    place.write("a.jpg", large.read_bytes(), "image/jpeg")
    with peak() as found:
        data = place.read("a.jpg", max_bytes)
    assert len(data) == SIZE
    assert found.bytes < MUCH


class Pipe(io.RawIOBase):
    """A stream that cannot say how long it is, as the body of a request."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()
        super().close()


@pytest.mark.parametrize(
    ("opened", "most"),
    [(lambda path: path.open("rb"), MUCH), (Pipe, 1.2 * SIZE)],
    ids=["a file", "a stream of unknown length"],
)
def test_an_upload_is_held_once(app: EasyImg, large: Path, opened: Callable[[Path], Any], most: float) -> None:
    app.save_upload(images.photo(90, 60))  # what is loaded at the first upload counts for itself
    with opened(large) as file, peak() as found:
        source = app.save_upload(file)
    assert app.storage("default").size(source.name) == SIZE
    assert found.bytes < most


def highest(engine: LimitedEngine) -> int:
    """Return the most that an engine's only child has held, bytes."""
    (pid,) = engine._started
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_isolated_build_costs_its_parent_nothing_more_and_its_child_one_copy(large: Path) -> None:
    data, small = large.read_bytes(), images.photo(90, 60)
    specs = [VariantSpec(width=30, format="webp")]
    engine = LimitedEngine()
    try:
        engine.probe(small, "jpeg")
        engine.build(small, "jpeg", specs)
        before = highest(engine)
        with peak() as found:
            engine.probe(data, "jpeg")
            (file,) = engine.build(data, "jpeg", specs)
        assert file.width == 30
        assert found.bytes < 0.1 * SIZE
        assert highest(engine) - before < 1.25 * SIZE
    finally:
        engine.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs child processes")
def test_what_was_only_looked_at_is_not_kept() -> None:
    """A web process checks uploads in a child, and never builds them."""
    engine = LimitedEngine()
    try:
        engine.probe(images.photo(90, 60), "jpeg")
        with peak():
            before, _ = tracemalloc.get_traced_memory()
            engine.probe(images.photo(90, 60) + bytes(SIZE), "jpeg")
            after, _ = tracemalloc.get_traced_memory()
        assert after - before < 0.1 * SIZE
    finally:
        engine.close()


@pytest.mark.parametrize("expected", [0, 1, 7, 10, 12, 1000])
@pytest.mark.parametrize("parts", [[], [b"abc"], [b"abc", b"", b"defg", b"hij"]])
def test_parts_become_a_whole_whatever_was_announced(expected: int, parts: list[bytes]) -> None:
    gathered = Gathered(expected)
    for part in parts:
        gathered.add(part)
    assert gathered.size == sum(map(len, parts))
    assert gathered.whole() == b"".join(parts)
