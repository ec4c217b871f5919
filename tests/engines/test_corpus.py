"""Both engines on a hundred real and hostile pictures, as a build sees them: limits, probe, limits again, build."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Final

import pytest
from PIL import Image, ImageSequence

from easyimg.engines import load_engine
from easyimg.errors import EasyImgError
from easyimg.ports import Encoded, Engine
from easyimg.source import Limits, SourceInfo
from easyimg.spec import VariantSpec
from easyimg.testing.animations import shown
from easyimg.testing.engines import mean_difference, opened
from tests.conftest import ROOT

FOLDER: Final = Path(os.environ.get("TEST_CORPUS", ROOT.parent / "shared" / "corpus"))
VIDEO: Final = Fraction(16, 9)
SPECS: Final = (
    VariantSpec(width=448, ratio=VIDEO),
    VariantSpec("webp", 448, VIDEO),
    VariantSpec("webp", 896, VIDEO),
    VariantSpec(effort="fast"),
)

ENGINES_DISAGREE: Final = {
    "colour/cmyk.jpg": "no profile: libvips uses a built-in press profile, Pillow the plain formula",
    "anim/red_blue.gif": "libvips looks for transparency in all frames, Pillow in the first: PNG here, JPEG there",
    "wrong_ext/gif_named.png": "the same file under another name",
    "bad/crash-74d2a78403a5a59db1fb0a2b8735ac068a75f6e3.tif": "a bad fax row: libvips refuses, Pillow shows it",
}
"""Every file of the corpus where one engine's answer differs visibly from the other's, and why."""

APNG_FRAMES: Final = {"anim/red_blue.apng": 4}
"""Frames where the manifest counts what libvips' PNG loader sees."""


pytestmark = pytest.mark.corpus  # the parametrised ones do not use the fixture


def rows() -> list[dict[str, str]]:
    """Return the manifest's rows; none where there is no corpus, of which one test tells."""
    manifest = FOLDER / "manifest.csv"
    if not manifest.is_file():
        return []
    with manifest.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


ROWS: Final = rows()


def named(found: list[dict[str, str]]) -> list[object]:
    return [pytest.param(row, id=row["file"]) for row in found]


def test_the_corpus_is_here(corpus: Path) -> None:
    assert corpus.samefile(FOLDER), "the parametrised tests read the usual place"
    assert len(ROWS) >= 90
    assert {row["file"] for row in ROWS} >= set(ENGINES_DISAGREE)


@pytest.fixture(params=["vips", "pillow"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return load_engine(request.param)


def built(engine: Engine, path: str, specs: tuple[VariantSpec, ...] = SPECS) -> tuple[SourceInfo, list[Encoded]]:
    """Return what the default limits and an engine make of a file."""
    data = (FOLDER / path).read_bytes()
    limits = Limits()
    found = limits.check_content(data)
    info = engine.probe(data, found)
    limits.check_info(info)
    return info, engine.build(data, found, specs)


@pytest.mark.parametrize("row", named([r for r in ROWS if r["expected"].startswith(("ok", "first frame ok"))]))
def test_good_file_is_built(engine: Engine, row: dict[str, str]) -> None:
    if "or a clear refusal" in row["expected"] or "or refuse" in row["expected"]:
        try:
            info, variants = built(engine, row["file"])
        except EasyImgError:
            return
    else:
        info, variants = built(engine, row["file"])
    if row["displayed_wxh"]:
        assert f"{info.width}x{info.height}" == row["displayed_wxh"]
    if row["pages"]:
        assert info.frames == APNG_FRAMES.get(row["file"], int(row["pages"]))
    for spec, variant in zip(SPECS, variants, strict=True):
        assert opened(variant).size == spec.frame(info.size).size


@pytest.mark.parametrize("row", named([r for r in ROWS if r["file"].startswith("anim/")]))
def test_animation_is_kept_frame_by_frame(engine: Engine, row: dict[str, str]) -> None:
    """The APNG is compared with the GIF of the same scene: Pillow's own reading of its last frame is wrong."""
    name = {"anim/red_blue.apng": "anim/red_blue.gif"}.get(row["file"], row["file"])
    with Image.open(FOLDER / name) as source:
        expected = [frame.convert("RGBA") for frame in ImageSequence.Iterator(source)]
    _, variants = built(engine, row["file"], (VariantSpec(animated=True), VariantSpec("webp", animated=True)))
    for variant, allowed in zip(variants, (2.5, 8), strict=True):
        found = shown(variant).frames
        assert len(found) == len(expected) == APNG_FRAMES.get(row["file"], int(row["pages"]))
        assert max(map(mean_difference, found, expected)) < allowed


@pytest.mark.parametrize("row", named([r for r in ROWS if r["file"].endswith((".gif", "gif_named.png"))]))
def test_hostile_animation_is_built_or_refused_and_never_more(engine: Engine, row: dict[str, str]) -> None:
    try:
        info, variants = built(engine, row["file"], (VariantSpec(animated=True), VariantSpec("webp", animated=True)))
    except EasyImgError:
        assert not row["expected"].startswith("ok")
        return
    for variant in variants:
        assert {frame.size for frame in shown(variant).frames} == {info.size}


@pytest.mark.parametrize("row", named([r for r in ROWS if r["expected"].startswith(("refuse", "error:"))]))
def test_bad_file_is_refused_in_one_line(engine: Engine, row: dict[str, str]) -> None:
    with pytest.raises(EasyImgError) as caught:
        built(engine, row["file"])
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize("row", named([r for r in ROWS if r["expected"].startswith("error or ok")]))
def test_odd_file_is_built_or_refused_and_never_more(engine: Engine, row: dict[str, str]) -> None:
    try:
        info, variants = built(engine, row["file"])
    except EasyImgError:
        return
    for spec, variant in zip(SPECS, variants, strict=True):
        assert opened(variant).size == spec.frame(info.size).size


@pytest.mark.slow
@pytest.mark.parametrize("row", named([r for r in ROWS if r["expected"].startswith("ok")]))
def test_the_engines_agree(row: dict[str, str]) -> None:
    specs = (VariantSpec("png", effort="fast"), VariantSpec("png", 200))
    (info, ours), (fallback_info, fallback) = (
        built(load_engine(name), row["file"], specs) for name in ("vips", "pillow")
    )
    differences = [mean_difference(opened(one), opened(two)) for one, two in zip(ours, fallback, strict=True)]
    agree = info == fallback_info and differences[0] < 1 and differences[1] < 1.5
    assert agree != (row["file"] in ENGINES_DISAGREE), differences


def test_wide_gamut_chart_looks_like_the_srgb_chart(engine: Engine, corpus: Path) -> None:
    """Without conversion the two differ more than twice as much."""
    charts, names = [], ("colour/eci_rgb.jpg", "colour/srgb.jpg")
    for name in names:
        (variant,) = built(engine, name, (VariantSpec("png", 60),))[1]
        charts.append(opened(variant))
    assert mean_difference(*charts) < 4
    raw = [Image.open(io.BytesIO((corpus / name).read_bytes())) for name in names]
    raw = [image.convert("RGB").resize(charts[0].size) for image in raw]
    assert mean_difference(*raw) > 2 * mean_difference(*charts)


def test_exif_examples_all_show_the_same_scene(engine: Engine, corpus: Path) -> None:
    scenes = []
    for orientation in range(1, 9):
        (variant,) = built(engine, f"exif/landscape_{orientation}.jpg", (VariantSpec("png", 30),))[1]
        scenes.append(opened(variant))
    # The files carry their number as a large digit, hence the tolerance; a turned sky differs by 40 and more.
    for scene in scenes[1:]:
        assert mean_difference(scenes[0], scene) < 12


PEAK = """
import json, resource, sys
from pathlib import Path
from easyimg.engines import load_engine
from easyimg.errors import EasyImgError
from easyimg.source import Limits
from easyimg.spec import VariantSpec

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

engine, limits = load_engine(sys.argv[1]), Limits()
warm = Path(sys.argv[2]).read_bytes()
engine.build(warm, limits.check_content(warm), [VariantSpec("webp", 100)])
before, answer, data = peak(), "built", Path(sys.argv[3]).read_bytes()
try:
    found = limits.check_content(data)
    limits.check_info(engine.probe(data, found))
    engine.build(data, found, [VariantSpec(), VariantSpec("webp", 448)])
except EasyImgError as exc:
    answer = exc.kind
else:
    try:
        engine.build(data, found, [VariantSpec(animated=True), VariantSpec("webp", 448, animated=True)])
    except EasyImgError:  # a frame that is not shown without the option may be the bomb
        pass
print(json.dumps([answer, peak() - before]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("row", named([r for r in ROWS if r["file"].startswith("bomb/")]))
@pytest.mark.parametrize("name", ["vips", "pillow"])
def test_bomb_costs_no_memory(name: str, row: dict[str, str]) -> None:
    """Peak memory above that of building an ordinary picture, in a process of its own, in MiB."""
    command = [sys.executable, "-c", PEAK, name, FOLDER / "plain/hopper.jpg", FOLDER / row["file"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    answer, grown = json.loads(done.stdout)
    assert answer in ("built", "SourceTooLarge", "SourceUnreadable")
    assert (answer == "built") <= ("ok" in row["expected"])
    assert grown < 50
