"""A short run over broken pictures of every kind, and whether the tool notices what must never happen."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from easyimg.engines import load_engine
from easyimg.errors import BuildCrashed, BuildError, SourceUnreadable
from easyimg.ports import Encoded
from easyimg.source import Limits, SourceInfo
from easyimg.testing import hostile, images
from tests.fuzz.__main__ import main
from tests.fuzz.campaign import Campaign, Picture, pictures, read_files
from tests.fuzz.mutate import _write_field, mutated
from tests.fuzz.trial import STREAMED, judged

MADE = {
    "turned.jpg": images.photo(90, 60, orientation=6, gps=True, icc_profile=images.swapped_profile()),
    "progressive.jpg": images.photo(90, 60, progressive=True),
    "cmyk.jpg": images.cmyk(),
    "grey.jpg": images.grey(90, 60),
    "alpha.png": images.transparent(60, 40),
    "palette.png": images.palette_with_transparency(),
    "deep.png": images.deep_grey(),
    "turned.webp": images.photo(60, 40, format="webp", orientation=3),
    "lossless.webp": images.transparent(60, 40, format="webp"),
    "photo.avif": images.photo(60, 40, format="avif"),
    "moving.gif": images.animation(),
    "moving.webp": images.animation(format="webp"),
    "moving.png": images.animation(format="png"),
    "square.gif": images.moving_square(),
    "square.webp": images.moving_square("webp"),
    "square.png": images.moving_square("png"),
    "photo.tiff": images.photo(60, 40, format="tiff"),
    "lzw.tiff": images.corners(60, 40, format="tiff", compression="tiff_lzw"),
    "tiled.tiff": hostile.tiff(64, 64, samples=3, tile=(64, 64)),
    "pages.tiff": hostile.tiff(40, 30, bits=16, pages=3, order=">"),
    "inside.avif": hostile.avif_inside((64, 64), (64, 64)),
    "margins.gif": hostile.gif_with_margins(((0, 0, 1), (4, 0, 2), (0, 4, 3), (4, 4, 1))),
}
"""Small, so that most damage falls on something that matters."""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    for name, data in MADE.items():
        (folder / name).write_bytes(data)
    return folder


def fuzzed(folder: Path, tmp_path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the counts of a run."""
    report = tmp_path / "report.json"
    code = main([str(folder), "--json", str(report), "--keep", str(tmp_path / "kept"), *options])
    return code, json.loads(report.read_text())


REFUSALS = {"SourceUnreadable", "SourceTooLarge", "UnsupportedFormat"}
"""Of the picture itself. A dead child, or one killed at its limit, would be a worker of a site."""


@pytest.mark.parametrize("engine", ["vips", "pillow"])
def test_broken_pictures_are_built_or_refused_and_nothing_else(made: Path, tmp_path: Path, engine: str) -> None:
    # A damaged header may promise anything; two megapixels keep this quick.
    code, counts = fuzzed(
        made, tmp_path, "--engine", engine, "--mutate", "30", "--seed", "1", "--max-pixels", "2000000"
    )
    assert counts["else"] == {}
    assert code == 0
    assert counts["tried"] == len(MADE) * 33
    assert counts["ok"] > 3 * len(MADE)
    assert set(counts["refused"]) <= REFUSALS
    assert counts["refused"]["SourceUnreadable"] > 5 * len(MADE)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["vips", "pillow"])
def test_the_corpus_is_built_or_refused_whole_and_broken(corpus: Path, tmp_path: Path, engine: str) -> None:
    code, counts = fuzzed(corpus, tmp_path, "--engine", engine, "--mutate", "1", "--seed", "2")
    assert counts["else"] == {}
    assert code == 0
    assert counts["tried"] == 4 * sum(path.is_file() for path in corpus.rglob("*"))
    assert set(counts["refused"]) <= REFUSALS
    assert counts["ok"] > 210


def test_the_same_seed_breaks_the_same_file_in_the_same_way() -> None:
    files = {"a/b.jpg": MADE["turned.jpg"], "c.png": MADE["alpha.png"]}
    first, again, other = (list(pictures(files, 30, seed)) for seed in (1, 1, 2))
    assert first == again
    kinds = ("streamed", "held", "moving")
    assert [one.name for one in first[:6]] == [f"{name} {kind}" for name in files for kind in kinds]
    assert {one.name.split()[1] for one in first[6:]} == set(kinds)
    assert len({one.data for one in (*first, *other)}) > 110


def test_damage_of_every_kind_is_done_to_files_of_every_size() -> None:
    for size in (1, 2, 7, 600, 5000):
        data = bytes(range(256)) * 20
        broken = [mutated(data[:size], [b"", data], seed) for seed in range(300)]
        assert any(len(one) < size for one in broken) or size == 1
        assert any(len(one) > size for one in broken)
        assert any(len(one) == size and one != data[:size] for one in broken)
    assert mutated(b"", [], 1) == b""


class Odd:
    """An engine that does one wrong thing."""

    name = "odd"
    problems: ClassVar = {
        "raises": ZeroDivisionError("division by zero"),
        "foreign": BuildError("TypeError: from the child"),
        "lines": SourceUnreadable("one\ntwo"),
        "wordless": SourceUnreadable("(2.100)"),
        "endless": SourceUnreadable("x" * 301),
        "crashes": BuildCrashed("the building process died: SIGSEGV"),
        "spec": BuildError("libvips cannot write avif", spec_index=1),
    }

    def __init__(self, what: str) -> None:
        self.what = what

    def can_write(self, format: str) -> bool:
        return True

    def probe(self, data: bytes, format: str) -> SourceInfo:
        return load_engine("pillow").probe(data, format)

    def build(self, data: bytes, format: str, specs: Any, focus: Any = None) -> list[Encoded]:
        if self.what in self.problems:
            raise self.problems[self.what]
        if self.what == "hangs":
            time.sleep(0.2)
        files = load_engine("pillow").build(data, format, specs, focus)
        if self.what == "small":
            small = images.corners(10, 10)
            return [Encoded(small, "png", 10, 10) for _ in files]
        return [Encoded(file.data, "gif", file.width, file.height) for file in files] if self.what == "lies" else files


@pytest.mark.parametrize("name", ["tiled.tiff", "pages.tiff", "photo.avif"])
def test_numbers_of_a_layout_are_changed_where_they_stand(name: str) -> None:
    """Most changes of single bytes fall on pixels; here every copy differs in one number of 2 or 4 bytes at most."""
    data, seen = MADE[name], set()
    for seed in range(200):
        broken = bytearray(data)
        _write_field(random.Random(seed), broken, b"")
        changed = [at for at, (was, now) in enumerate(zip(data, broken, strict=True)) if was != now]
        seen.update(changed)
        assert not changed or changed[-1] - changed[0] < 4
    assert len(seen) > 60


@pytest.mark.parametrize(
    ("what", "outcome", "words"),
    [
        ("raises", "else", "division by zero"),
        ("foreign", "else", "TypeError: from the child"),
        ("lines", "else", "one\ntwo"),
        ("wordless", "else", "(2.100)"),
        ("endless", "else", "xxx"),
        ("small", "else", "promised were"),
        ("lies", "else", "gif of"),
        ("hangs", "else", "the limit being -2.5 s a call"),
        ("crashes", "refused", "SIGSEGV"),
        ("spec", "refused", "cannot write avif"),
        ("nothing", "ok", ""),
    ],
)
def test_what_must_never_happen_is_noticed(what: str, outcome: str, words: str) -> None:
    seconds = -2.5 if what == "hangs" else 60.0  # twice that and the grace is no time at all
    counts = Campaign(Odd(what), Limits(), seconds).run([Picture("turned.jpg", MADE["turned.jpg"], STREAMED)])
    assert (counts.ok, counts.refused.total(), len(counts.strange)) == tuple(
        outcome == name for name in ("ok", "refused", "else")
    )
    verdict = judged(Odd(what), Limits(), MADE["turned.jpg"], (), seconds)
    assert words in verdict.message or what in ("small", "lies")
    if counts.strange:
        assert words in counts.strange["turned.jpg"]


def test_what_was_strange_is_kept_and_a_folder_of_it_is_a_run(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    some = pictures({"in/turned.jpg": MADE["turned.jpg"]}, 1, 7)
    counts = Campaign(Odd("raises"), Limits(), 60.0, kept).run(some)
    assert set(read_files(kept, 10**6).values()) >= {MADE["turned.jpg"]}
    assert "in/turned.jpg held" in counts.strange
    assert fuzzed(kept, tmp_path)[0] == 0, "nothing is wrong with the real engine"


def test_a_run_ends_at_its_time(made: Path, tmp_path: Path) -> None:
    code, counts = fuzzed(made, tmp_path, "--mutate", "1000000", "--seconds", "0")
    assert (code, counts["tried"]) in ((0, 0), (0, 1))


def test_a_folder_without_files_is_no_success(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 2
