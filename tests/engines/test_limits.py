"""What is refused before a pixel is decoded, on every way in, and which decoders are never asked."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import pytest
import pyvips
from PIL import Image, ImageFile

from easyimg import EasyImg, Img, Settings, Source
from easyimg.bare import bare
from easyimg.drain import drain
from easyimg.engines import load_engine
from easyimg.engines._av1 import check_coded_size
from easyimg.engines._plan import UNTOLD, last_line
from easyimg.errors import EasyImgError, SourceTooLarge, SourceUnreadable, UnsupportedFormat
from easyimg.geometry import Size
from easyimg.likeness import shows
from easyimg.ports import Encoded, Engine
from easyimg.source import Limits
from easyimg.spec import VariantSpec
from easyimg.testing import images
from easyimg.testing.pixels import opened
from easyimg.variant import VariantStatus, Wanted

IMG = Img(width=100)
SPECS = [VariantSpec("webp", 100), VariantSpec("png")]
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='400' height='300'><rect width='9' height='9'/></svg>"

PICTURES = {
    "jpeg": images.photo(400, 300),
    "progressive": images.photo(400, 300, progressive=True),
    "png": images.photo(400, 300, format="png"),
    "gif": images.photo(400, 300, format="gif"),
    "webp": images.photo(400, 300, format="webp", lossless=True),
    "avif": images.photo(400, 300, format="avif"),
    "tiff": images.photo(400, 300, format="tiff"),
}
"""400 x 300 = 120,000 pixels each."""


@pytest.fixture(params=["vips", "pillow"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return load_engine(request.param)


def spoiled(name: str) -> bytes:
    """Return a picture whose header is whole and whose pixels are not: half of its bytes are zero.

    Of a TIFF they are absent, since its pixels are not compressed; Pillow writes its directory first.
    """
    data = PICTURES[name]
    return data[: len(data) // 2] + bytes(len(data) // 2 if name != "tiff" else 0)


def build(engine: Engine, data: bytes, limits: Limits) -> list[Encoded]:
    """Build as the use cases do: content, header, pixels."""
    found = limits.check_content(data)
    limits.check_info(engine.probe(data, found))
    return engine.build(data, found, SPECS)


def refused(engine: Engine, data: bytes, limits: Limits) -> str:
    """Return the message of the error that a build by these limits ends with."""
    with pytest.raises(SourceTooLarge) as caught:
        build(engine, data, limits)
    return str(caught.value)


def test_the_limits_are_those_of_the_documentation() -> None:
    settings, limits = Settings(), Limits()
    assert settings.limits == limits
    assert (limits.max_pixels, limits.max_progressive_pixels) == (50_000_000, 25_000_000)
    assert (limits.max_side, limits.max_bytes) == (16_383, 20_000_000)
    assert set(limits.formats) == {"jpeg", "png", "gif", "webp", "avif", "tiff"}


@pytest.mark.parametrize("name", sorted(set(PICTURES) - {"gif"}))  # a GIF has its frames counted, by reading them
def test_the_header_alone_decides_whether_a_picture_is_too_large(engine: Engine, name: str) -> None:
    data = spoiled(name)
    with pytest.raises(SourceUnreadable):
        build(engine, data, Limits())
    pixels = "max_progressive_pixels" if name == "progressive" else "max_pixels"
    message = refused(engine, data, Limits(**{pixels: 119_999}))
    assert "400 x 300 = 0.1 megapixels" in message
    assert ("in a progressive JPEG" in message) == (name == "progressive")
    assert refused(engine, data, Limits(max_side=399)) == "400 x 300 pixels; no side may be longer than 399"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_exactly_at_the_limits_is_built(engine: Engine, name: str) -> None:
    data = PICTURES[name]
    limits = Limits(
        max_bytes=len(data),
        max_pixels=120_000,
        max_progressive_pixels=120_000,
        max_side=400,
        formats=(name.replace("progressive", "jpeg"),),
    )
    assert [file.width for file in build(engine, data, limits)] == [100, 400]


@pytest.mark.parametrize("table", [b"stsz", b"stco"])
def test_an_avif_whose_track_has_no_tables_is_damaged(table: bytes) -> None:
    """Decoders notice it first, but for tracks that they do not look at."""
    pictures = [Image.new("RGB", (64, 48), colour) for colour in images.CORNERS.values()]
    data = images.film(pictures, "avif")
    check_coded_size(data, Size(64, 48))
    with pytest.raises(SourceUnreadable, match="boxes or picture headers are damaged"):
        check_coded_size(data.replace(table, b"free"), Size(64, 48))


DOORS = [
    ("photo.jpg", PICTURES["jpeg"], {"max_pixels": 119_999}, "SourceTooLarge", "at most 0.119999 are allowed"),
    ("photo.jpg", PICTURES["jpeg"], {"max_side": 399}, "SourceTooLarge", "no side may be longer than 399"),
    ("photo.jpg", PICTURES["jpeg"], {"max_bytes": 999}, "SourceTooLarge", "999"),
    ("photo.jpg", PICTURES["jpeg"], {"formats": ["png"]}, "UnsupportedFormat", "found jpeg; allowed: png"),
    ("photo.png", PICTURES["jpeg"], {"formats": ["png"]}, "UnsupportedFormat", "found jpeg; allowed: png"),
    (
        "photo.jpg",
        PICTURES["progressive"],
        {"max_progressive_pixels": 119_999},
        "SourceTooLarge",
        "at most 0.119999 are allowed in a progressive JPEG",
    ),
    ("drawing.svg", SVG, {}, "UnsupportedFormat", "found svg; allowed: jpeg, png"),
    ("photo.png", SVG, {}, "UnsupportedFormat", "found svg; allowed: jpeg, png"),
    ("photo.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n", {}, "UnsupportedFormat", "found eps; allowed: jpeg, png"),
    ("photo.jpg", images.corners(format="bmp"), {}, "UnsupportedFormat", "found bmp; allowed: jpeg, png"),
]
"""Name, content, settings, the error's class, what its message says."""


@pytest.fixture
def app(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    with EasyImg(
        storages={"default": f"file://{tmp_path}/media"},
        metadata=f"sqlite:///{tmp_path}/rows.db",
        queue="none",
        isolation="never",
        **request.param,
    ) as app:
        yield app


@pytest.mark.parametrize(
    ("name", "data", "app", "kind", "words"), DOORS, indirect=["app"], ids=[f"{d[0]}-{d[2]}" for d in DOORS]
)
def test_every_limit_is_a_setting_that_uploads_and_builds_obey(
    app: EasyImg, name: str, data: bytes, kind: str, words: str
) -> None:
    with pytest.raises(EasyImgError) as caught:
        app.save_upload(data, name=name)
    assert caught.value.kind == kind
    assert words in str(caught.value)
    source = Source("default", name)
    app.storage("default").write(name, data, "image/jpeg")
    specs = dict(zip(IMG.plan.keys(source.address), (spec.canonical for spec in IMG.plan.specs), strict=True))
    app.metadata.enqueue([Wanted(source, specs)])
    assert drain(app).built == 0
    for row in app.metadata.inspect(source).variants:
        assert (row.status, row.error_kind) == (VariantStatus.SOURCE_ERROR, kind)
        assert words in row.error


def test_probe_reads_a_jpeg_up_to_its_scan_and_no_further(engine: Engine) -> None:
    for name in ("jpeg", "progressive"):
        data = images.photo(400, 300, progressive=name == "progressive", orientation=6)
        scan = data.index(b"\xff\xda")
        head = data[: scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")]
        assert len(head) < len(data) / 4
        assert engine.probe(head, "jpeg") == engine.probe(data, "jpeg")


# --- which decoders are asked


def test_no_reader_that_a_site_has_added_to_pillow_is_ever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Nosy(ImageFile.ImageFile):
        def _open(self) -> None:
            asked.append(self.format)
            raise SyntaxError

    Image.preinit()
    monkeypatch.setattr(Image, "ID", ["NOSY", *Image.ID])
    monkeypatch.setitem(Image.OPEN, "NOSY", (Nosy, None))
    engine = load_engine("pillow")
    for name, data in PICTURES.items():
        engine.build(data, name.replace("progressive", "jpeg"), SPECS)
        with pytest.raises(SourceUnreadable):
            engine.probe(b"GIF89a" + SVG, "gif")
    (copy,) = engine.build(PICTURES["jpeg"], "jpeg", [VariantSpec("png", 64)])
    assert bare(PICTURES["jpeg"], "jpeg") == PICTURES["jpeg"], "a file that another library left"
    assert shows(engine, PICTURES["webp"], "webp", copy)
    assert asked == []
    Image.open(io.BytesIO(PICTURES["png"])).close()
    assert asked, "Pillow's own way of opening asks it"


@pytest.mark.parametrize("data", [SVG, images.corners(format="ppm"), b"%PDF-1.4\n%%EOF"], ids=["svg", "ppm", "pdf"])
def test_loaders_that_libvips_does_not_trust_are_blocked_for_the_whole_process(data: bytes) -> None:
    load_engine("vips").can_write("webp")
    with pytest.raises(pyvips.Error):
        pyvips.Image.new_from_buffer(data, "")


@pytest.mark.parametrize("format", ["jpeg", "png", "gif", "webp", "avif", "tiff"])
def test_svg_is_drawn_under_no_name_whatever(engine: Engine, format: str) -> None:
    with pytest.raises((SourceUnreadable, UnsupportedFormat)):
        engine.build(SVG, format, SPECS)


# --- damage


@pytest.mark.parametrize("name", PICTURES)
def test_a_file_that_ends_anywhere_in_its_pixels_is_never_built(engine: Engine, name: str) -> None:
    """A file that simply ends shows nobody half a picture; what docs/engines.md says of damage is tested below."""
    data, format = PICTURES[name], name.replace("progressive", "jpeg")
    one_region = [VariantSpec("webp", 200, Fraction(16, 9))]
    for kept in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99):
        for specs in (SPECS, one_region):
            with pytest.raises(SourceUnreadable):
                engine.build(data[: int(len(data) * kept)], format, specs)


def test_damage_that_no_decoder_reports_is_shown_as_the_documentation_says(engine: Engine) -> None:
    data = PICTURES["jpeg"]
    (variant,) = engine.build(data[: len(data) // 2] + b"\xff\xd9", "jpeg", [VariantSpec("png")])
    image = opened(variant).convert("RGB")
    assert image.getpixel((200, 290)) == (128, 128, 128)
    (whole,) = engine.build(data, "jpeg", [VariantSpec("png")])
    top = (0, 0, 400, 100)
    assert image.crop(top).tobytes() == opened(whole).convert("RGB").crop(top).tobytes()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("", UNTOLD),
        ("\n \n(2.100)\n", UNTOLD),
        ("VipsJpeg: premature end\n (2.100)\n", "VipsJpeg: premature end"),
        ("first\n  second \n", "second"),
        ("chunk \x00\x1b[31m\u202e", "chunk ??[31m?"),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_decoders_message_becomes_one_printable_line(said: str, shown: str) -> None:
    assert last_line(said) == shown


def no_pixels(width: int) -> bytes:
    """Return a PNG that ends where its pixels should begin."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, 32, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + b"\0\0\0\x91IDAT"


def test_threads_are_not_told_each_others_failures() -> None:
    """libvips has one buffer of messages for all threads; what does not tell a reason is not shown as one."""
    engine = load_engine("vips")

    def reason(width: int) -> str:
        with pytest.raises(SourceUnreadable) as caught:
            engine.build(no_pixels(width), "png", SPECS)
        return str(caught.value)

    with ThreadPoolExecutor(4) as pool:
        reasons = set(pool.map(reason, range(300, 700)))
    # The buffer may be emptied by another thread while it is read: then the end of the line is left.
    assert [told for told in reasons - {UNTOLD} if not "vipspng: libpng read error".endswith(told)] == []
