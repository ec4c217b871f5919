"""What every :class:`easyimg.ports.Engine` must do with animations, as tests to inherit. Needs pytest.

    from easyimg.testing.animations import AnimationContract

    class TestMyAnimations(AnimationContract):
        @pytest.fixture
        def engine(self):
            return MyEngine()

Files are looked at frame by frame, each composed with those before it by Pillow's readers of GIF and WebP.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, NamedTuple

import pytest
from PIL import Image

from easyimg.errors import SourceUnreadable
from easyimg.formats import sniff
from easyimg.geometry import Focus, Size, Window
from easyimg.ports import Encoded, Engine
from easyimg.spec import EFFORTS, VariantSpec
from easyimg.testing import hostile, images
from easyimg.testing.engines import UPRIGHT, corner_names, is_close, mean_difference, opened

SQUARE: Final = Fraction(1)
SOURCES: Final = ("gif", "webp", "png")
COLOURS: Final = tuple(images.CORNERS.values())
FILES: Final = (VariantSpec(animated=True), VariantSpec("webp", animated=True))
"""The fallback and the candidate that ``Img(animated=True)`` asks of an engine."""


class Shown(NamedTuple):
    """An animation as it is shown: composed RGBA frames, delays in milliseconds, plays (0 = for ever)."""

    frames: list[Image.Image]
    delays: list[int]
    plays: int


def shown(variant: Encoded) -> Shown:
    """Return what an animated file shows, after asserting that it is what the variant claims."""
    assert sniff(variant.data) == variant.format
    image, frames, delays = Image.open(io.BytesIO(variant.data)), [], []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        image.load()
        assert image.size == (variant.width, variant.height)
        frames.append(image.convert("RGBA"))
        delays.append(image.info.get("duration", 0))
    plays = image.info.get("loop")
    if variant.format == "gif":
        plays = 1 if plays is None else plays and plays + 1
    return Shown(frames, delays, plays or 0)


def is_flat(image: Image.Image, colour: tuple[int, ...], tolerance: int = 24) -> bool:
    """Return whether a picture has that colour in its middle and near its corners, and no transparency there."""
    right, bottom = image.width - 1, image.height - 1
    places = [(0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)]
    pixels = [image.getpixel(place) for place in places]
    return all(isinstance(p, tuple) and p[3] == 255 and is_close(p, colour, tolerance) for p in pixels)


def alpha_at(image: Image.Image, place: tuple[int, int]) -> int:
    """Return how much is there of an RGBA pixel, 0-255."""
    pixel = image.getpixel(place)
    assert isinstance(pixel, tuple)
    return int(pixel[3])


def apng(size: Size, frames: Sequence[tuple[Image.Image, int, int, int, int]], *, default: bool = False) -> bytes:
    """Return an APNG of RGBA frames as its specification describes it, written without any encoder's help.

    Args:
        size: of the canvas.
        frames: picture, left, top, dispose_op (0 none, 1 background, 2 previous), blend_op (0 source, 1 over).
        default: whether a blue picture that is not part of the animation comes first.
    """
    sequence, body = 0, b""
    for number, (picture, left, top, dispose, blend) in enumerate(frames):
        place = struct.pack(">4I", *picture.size, left, top)
        body += _chunk(b"fcTL", struct.pack(">I", sequence) + place + struct.pack(">2H2B", 1, 10, dispose, blend))
        sequence += 1
        if number == 0 and not default:
            body += _chunk(b"IDAT", _rows(picture))
        else:
            body += _chunk(b"fdAT", struct.pack(">I", sequence) + _rows(picture))
            sequence += 1
    still = _chunk(b"IDAT", _rows(Image.new("RGBA", size, (*images.BLUE, 255)))) if default else b""
    head = _chunk(b"IHDR", struct.pack(">II5B", *size, 8, 6, 0, 0, 0)) + _chunk(
        b"acTL", struct.pack(">II", len(frames), 0)
    )
    return b"\x89PNG\r\n\x1a\n" + head + still + body + _chunk(b"IEND", b"")


def _rows(picture: Image.Image) -> bytes:
    data, stride = picture.convert("RGBA").tobytes(), picture.width * 4
    return zlib.compress(b"".join(b"\0" + data[at : at + stride] for at in range(0, len(data), stride)))


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


class AnimationContract:
    """Tests of one engine's animations. Override ``engine``."""

    @pytest.fixture
    def engine(self) -> Engine:
        """Return the engine under test."""
        raise NotImplementedError

    def test_a_gif_shows_nothing_where_no_frame_has_drawn(self, engine: Engine) -> None:
        data = hostile.gif_with_margins(((0, 0, 1), (4, 0, 2), (0, 4, 3), (4, 4, 1)))
        places = ((1, 1), (5, 1), (1, 5), (5, 5))
        for variant in engine.build(data, "gif", FILES):
            alphas = [frame.convert("RGBA").getchannel("A") for frame in shown(variant).frames]
            drawn = [[place for place in places if alpha.getpixel(place) == 255] for alpha in alphas]
            assert drawn == [[(1, 1)], [(1, 1), (5, 1)], [(1, 1), (1, 5)], [(1, 1), (5, 5)]]

    def test_a_frame_of_a_gif_that_says_nothing_stays_whatever_became_of_the_one_before(self, engine: Engine) -> None:
        data = hostile.gif_with_margins(((0, 0, 2), (4, 0, None), (0, 4, None)))
        for variant in engine.build(data, "gif", FILES):
            last = shown(variant).frames[-1]
            assert is_close(last.getpixel((5, 1)), images.GREEN)
            assert [alpha_at(last, place) for place in ((1, 1), (5, 1), (1, 5), (5, 5))] == [0, 255, 255, 0]

    def test_a_gif_shows_nothing_where_a_frame_was_cleared(self, engine: Engine) -> None:
        """Neither file says that any colour is transparent; the first frame covers all."""
        square, whole = hostile.gif_with_margins(((0, 0, 1),)), images.encoded(Image.new("P", (8, 8)), "gif")
        control = struct.pack("<4BHBB", 0x21, 0xF9, 4, 2 << 2, 10, 0, 0)
        frames = [data[data.index(b",\0\0\0\0") : -1] for data in (whole, square)]
        data = whole[: whole.index(b",\0\0\0\0")] + control + frames[0] + control + frames[1] + b";"
        assert not engine.probe(data, "gif").has_alpha
        for variant in engine.build(data, "gif", FILES):
            first, second = shown(variant).frames
            assert (alpha_at(first, (1, 1)), alpha_at(first, (6, 6))) == (255, 255)
            assert (alpha_at(second, (1, 1)), alpha_at(second, (6, 6))) == (255, 0)

    def test_it_writes_both_formats(self, engine: Engine) -> None:
        assert engine.can_write("webp")
        assert engine.can_write("gif")

    # --- what is kept

    @pytest.mark.parametrize("format", SOURCES)
    def test_every_frame_is_there_with_its_colour_and_delay(self, engine: Engine, format: str) -> None:
        data = images.animation(format=format, frames=5, delays=[50, 200, 1000, 70, 120])
        assert engine.probe(data, format).frames == 5
        made = engine.build(data, format, FILES)
        assert [file.format for file in made] == ["gif", "webp"]
        for file in made:
            found = shown(file)
            assert found.frames[0].size == (64, 48)
            assert found.delays == [50, 200, 1000, 70, 120]
            assert [is_flat(frame, COLOURS[i % 4]) for i, frame in enumerate(found.frames)] == [True] * 5

    @pytest.mark.parametrize("format", SOURCES)
    @pytest.mark.parametrize("plays", [0, 1, 2, 7])
    def test_it_plays_as_often_as_its_source(self, engine: Engine, format: str, plays: int) -> None:
        data = images.animation(format=format, plays=plays)
        assert [shown(file).plays for file in engine.build(data, format, FILES)] == [plays, plays]

    def test_a_delay_that_browsers_do_not_believe_is_written_as_they_show_it(self, engine: Engine) -> None:
        data = images.animation(format="webp", frames=4, delays=[0, 10, 14, 100])
        gif, webp = engine.build(data, "webp", FILES)
        assert shown(webp).delays == [100, 100, 14, 100]
        assert shown(gif).delays == [100, 100, 20, 100]  # hundredths, and not the one that is shown as ten
        no_delay = images.animation(frames=2, delays=0)
        assert [shown(file).delays for file in engine.build(no_delay, "gif", FILES)] == [[100, 100], [100, 100]]

    def test_a_gif_rounds_delays_to_hundredths(self, engine: Engine) -> None:
        data = images.animation(format="webp", frames=4, delays=[33, 35, 104, 1996])
        gif, webp = engine.build(data, "webp", FILES)
        assert shown(webp).delays == [33, 35, 104, 1996]
        assert shown(gif).delays == [30, 40, 100, 2000]

    def test_many_frames_stay_in_order(self, engine: Engine) -> None:
        data = images.animation(20, 16, frames=150)
        for file in engine.build(data, "gif", FILES):
            frames = shown(file).frames
            assert len(frames) == 150
            assert all(is_flat(frame, COLOURS[i % 4]) for i, frame in enumerate(frames))

    def test_frames_that_look_alike_may_be_one_but_take_as_long(self, engine: Engine) -> None:
        pictures = [Image.new("RGB", (40, 30), COLOURS[i]) for i in (0, 0, 1, 1, 1, 2)]
        data = images.film(pictures, "png", delays=[100, 200, 300, 400, 500, 600])
        for file in engine.build(data, "png", FILES):
            found = shown(file)
            times = dict.fromkeys(COLOURS[:3], 0)
            for frame, delay in zip(found.frames, found.delays, strict=True):
                times[next(c for c in COLOURS[:3] if is_flat(frame, c))] += delay
            assert list(times.values()) == [300, 1200, 600]

    # --- transparency, and frames smaller than the picture

    @pytest.mark.parametrize("format", SOURCES)
    def test_nothing_is_left_behind_where_a_thing_was(self, engine: Engine, format: str) -> None:
        for file in engine.build(images.moving_square(format), format, FILES):
            for i, frame in enumerate(shown(file).frames):
                alpha = frame.getchannel("A").point(lambda value: 255 * (value >= 128))
                assert alpha.getbbox() == (6 + 12 * i, 12, 18 + 12 * i, 24)
                assert alpha_at(frame, (11 + 12 * i, 17)) < 128
                assert is_close(frame.getpixel((9 + 12 * i, 20)), images.RED, 60)
                assert is_close(frame.getpixel((6 + 12 * i, 12)), (0, 0, 0), 60)

    def test_an_opaque_black_edge_is_not_taken_for_transparency(self, engine: Engine) -> None:
        pictures = []
        for i in range(3):
            image = Image.new("RGBA", (40, 30), (0, 0, 0, 255))
            image.paste((*COLOURS[i], 255), (10, 8, 30, 22))
            image.paste((0, 0, 0, 0), (18 + i, 12, 22 + i, 18))
            pictures.append(image)
        for file in engine.build(images.film(pictures, "png"), "png", FILES):
            for i, frame in enumerate(shown(file).frames):
                assert frame.getpixel((0, 0)) == frame.getpixel((39, 29))
                assert alpha_at(frame, (0, 0)) == 255
                assert alpha_at(frame, (19 + i, 15)) < 64

    def test_transparency_of_later_frames_is_kept(self, engine: Engine) -> None:
        full, hole = Image.new("RGBA", (40, 30), (*images.RED, 255)), Image.new("RGBA", (40, 30), (0, 0, 0, 0))
        hole.paste((*images.BLUE, 255), (0, 0, 20, 30))
        for file in engine.build(images.film([full, hole], "png"), "png", FILES):
            first, second = shown(file).frames
            assert is_flat(first, images.RED)
            assert is_close(second.getpixel((5, 15)), images.BLUE)
            assert alpha_at(second, (35, 15)) == 0

    @pytest.mark.parametrize("format", SOURCES)
    def test_a_background_shows_through_in_every_frame(self, engine: Engine, format: str) -> None:
        specs = [VariantSpec(f, animated=True, background="#1040c0") for f in ("fallback", "webp")]
        for file in engine.build(images.moving_square(format), format, specs):
            for i, frame in enumerate(shown(file).frames):
                assert frame.getchannel("A").getextrema() == (255, 255)
                assert is_close(frame.getpixel((2, 2)), (0x10, 0x40, 0xC0))
                assert is_close(frame.getpixel((9 + 12 * i, 20)), images.RED, 60)

    def test_frames_of_an_apng_are_composed_as_its_specification_says(self, engine: Engine) -> None:
        red = Image.new("RGBA", (40, 30), (255, 0, 0, 255))
        veil, green = Image.new("RGBA", (20, 30), (0, 0, 255, 128)), Image.new("RGBA", (10, 10), (0, 255, 0, 255))
        data = apng(
            Size(40, 30),
            [
                (red, 0, 0, 0, 0),
                (veil, 20, 0, 2, 1),  # over it, and then what was there before
                (green, 0, 0, 1, 0),  # and then its place is empty
                (veil, 20, 0, 0, 0),  # replaces, so that it is half there
            ],
        )
        gif, webp = engine.build(data, "png", [FILES[0], VariantSpec("webp", quality=100, animated=True)])
        for file in (gif, webp):
            frames = shown(file).frames
            assert is_flat(frames[0], (255, 0, 0))
            half = frames[1].getpixel((30, 15))
            assert is_close(half, (127, 0, 128))
            assert alpha_at(frames[1], (30, 15)) == 255
            assert is_close(frames[2].getpixel((5, 5)), (0, 255, 0))
            assert is_close(frames[2].getpixel((30, 15)), (255, 0, 0))
            assert alpha_at(frames[3], (4, 4)) == 0
            assert is_close(frames[3].getpixel((5, 20)), (255, 0, 0))
            assert is_close(frames[3].getpixel((30, 15)), (0, 0, 255))
        assert abs(alpha_at(frames[3], (30, 15)) - 128) <= 2

    def test_an_apng_without_its_default_image_does_not_show_it(self, engine: Engine) -> None:
        pictures = [(Image.new("RGBA", (16, 12), (*colour, 255)), 0, 0, 0, 0) for colour in COLOURS[:2]]
        data = apng(Size(16, 12), pictures, default=True)
        assert engine.probe(data, "png").frames == 2
        for file in engine.build(data, "png", FILES):
            assert [is_flat(f, c) for f, c in zip(shown(file).frames, COLOURS[:2], strict=True)] == [True, True]
        (still,) = engine.build(data, "png", [VariantSpec("png")])
        assert is_flat(opened(still).convert("RGBA"), images.BLUE)

    # --- size and region

    @pytest.mark.parametrize(
        ("spec", "size"),
        [
            (VariantSpec(width=40, animated=True), (40, 30)),
            (VariantSpec(width=500, animated=True), (80, 60)),
            (VariantSpec(width=160, upscale=True, animated=True), (160, 120)),
            (VariantSpec(width=31, ratio=SQUARE, animated=True), (31, 31)),
            (VariantSpec(width=30, ratio=SQUARE, crop=None, animated=True), (30, 23)),
            (VariantSpec(width=30, ratio=SQUARE, crop=None, contain=False, animated=True), (40, 30)),
            (VariantSpec(width=20, ratio=SQUARE, crop="smart", animated=True), (20, 20)),
        ],
        ids=["smaller", "clamped", "enlarged", "cut", "fitted", "covering", "smart"],
    )
    @pytest.mark.parametrize("format", SOURCES)
    def test_all_frames_have_exactly_the_size_of_the_spec(
        self, engine: Engine, format: str, spec: VariantSpec, size: tuple[int, int]
    ) -> None:
        (file,) = engine.build(images.animation(80, 60, format=format), format, [spec])
        frames = shown(file).frames
        assert len(frames) == 3
        assert all(frame.size == size and is_flat(frame, COLOURS[i]) for i, frame in enumerate(frames))

    @pytest.mark.parametrize("format", SOURCES)
    def test_crop_window_and_focus_show_the_same_region_of_every_frame(self, engine: Engine, format: str) -> None:
        upright = Image.open(io.BytesIO(images.corners(80, 60)))
        upside_down = upright.transpose(Image.Transpose.ROTATE_180)
        options = {"lossless": True} if format == "webp" else {}
        data = images.film([upright, upside_down], format, **options)
        specs = [
            VariantSpec(window=Window(0.5, 0, 1, 0.5), animated=True),
            VariantSpec(width=20, ratio=Fraction(1, 2), crop=Focus(0, 0.5), animated=True),
            VariantSpec(width=20, ratio=Fraction(1, 2), animated=True),
        ]
        quarter, fixed, focused = (shown(f).frames for f in engine.build(data, format, specs, Focus(1, 0.5)))
        assert [is_flat(f, c) for f, c in zip(quarter, (images.GREEN, images.BLUE), strict=True)] == [True, True]
        assert [set(corner_names(f).values()) for f in fixed] == [{"tl", "bl"}, {"br", "tr"}]
        assert [set(corner_names(f).values()) for f in focused] == [{"tr", "br"}, {"bl", "tl"}]

    def test_several_regions_and_sizes_in_one_build_look_as_if_built_alone(self, engine: Engine) -> None:
        pictures = [Image.open(io.BytesIO(images.photo(120, 90, seed=i))) for i in range(3)]
        data = images.film(pictures, "png")
        specs = [
            VariantSpec("webp", animated=True),
            VariantSpec("webp", 60, animated=True),
            VariantSpec("webp", 25, animated=True),
            VariantSpec("webp", 50, SQUARE, crop=Focus(0, 0), animated=True),
            VariantSpec("webp", 30),
        ]
        for spec, file in zip(specs, engine.build(data, "png", specs), strict=True):
            (alone,) = engine.build(data, "png", [spec])
            pairs = list(zip(shown(file).frames, shown(alone).frames, strict=True))
            assert len(pairs) == (3 if spec.animated else 1)
            assert all(mean_difference(one, other) < 4 for one, other in pairs)

    def test_photographs_keep_their_looks(self, engine: Engine) -> None:
        pictures = [Image.open(io.BytesIO(images.photo(160, 120, seed=i))) for i in range(3)]
        data = images.film(pictures, "png")
        for effort in EFFORTS:
            specs = [VariantSpec(f, effort=effort, animated=True) for f in ("fallback", "webp")]
            for file, allowed in zip(engine.build(data, "png", specs), (12, 8), strict=True):
                found = shown(file).frames
                assert all(mean_difference(f, p) < allowed for f, p in zip(found, pictures, strict=True))

    def test_orientation_is_applied_to_every_frame_and_gone(self, engine: Engine) -> None:
        stored = Image.open(io.BytesIO(images.corners(80, 60))).transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = 6
        data = images.film([stored, stored.transpose(Image.Transpose.ROTATE_180)], "webp", lossless=True, exif=exif)
        assert engine.probe(data, "webp").size == (80, 60)
        for file in engine.build(data, "webp", FILES):
            first, second = shown(file).frames
            assert corner_names(first) == UPRIGHT
            assert corner_names(second) == {"tl": "br", "tr": "bl", "bl": "tr", "br": "tl"}
            assert b"EXIF" not in file.data

    @pytest.mark.parametrize("format", ["webp", "png"])
    def test_profile_is_applied_to_every_frame_and_dropped(self, engine: Engine, format: str) -> None:
        pictures = [Image.new("RGB", (32, 24), colour) for colour in ((255, 0, 0), (0, 255, 0))]
        options = {"lossless": True} if format == "webp" else {}
        data = images.film(pictures, format, icc_profile=images.swapped_profile(), **options)
        for file in engine.build(data, format, FILES):
            first, second = shown(file).frames
            assert is_flat(first, (0, 255, 0))
            assert is_flat(second, (255, 0, 0))
            assert b"ICCP" not in file.data
            assert b"ICCRGBG1" not in file.data

    def test_comments_are_gone(self, engine: Engine) -> None:
        pictures = [Image.new("RGB", (32, 24), colour) for colour in COLOURS[:2]]
        data = images.film(pictures, "gif", comment=b"easyimg test comment")
        assert b"test comment" in data
        assert not [file for file in engine.build(data, "gif", FILES) if b"test comment" in file.data]

    # --- what is no animation

    @pytest.mark.parametrize("format", ["jpeg", "png", "gif", "webp", "tiff"])
    def test_a_still_source_gives_the_files_it_gives_without(self, engine: Engine, format: str) -> None:
        data = images.photo(80, 60, format=format)
        kept, plain = (
            engine.build(data, format, [VariantSpec(f, 40, animated=animated) for f in ("fallback", "webp")])
            for animated in (True, False)
        )
        assert [(file.format, file.data) for file in kept] == [(file.format, file.data) for file in plain]
        assert [file.format for file in kept] == ["jpeg", "webp"]

    @pytest.mark.parametrize("format", SOURCES)
    def test_one_frame_is_a_still(self, engine: Engine, format: str) -> None:
        data = images.animation(format=format, frames=1)
        assert engine.probe(data, format).frames == 1
        assert [file.format for file in engine.build(data, format, FILES)] == ["jpeg", "webp"]

    def test_pages_of_a_tiff_are_no_animation(self, engine: Engine) -> None:
        pictures = [Image.new("RGB", (32, 24), colour) for colour in COLOURS[:2]]
        data = images.encoded(pictures[0], "tiff", save_all=True, append_images=pictures[1:])
        assert engine.probe(data, "tiff").frames == 2
        assert [file.format for file in engine.build(data, "tiff", FILES)] == ["jpeg", "webp"]

    @pytest.mark.parametrize("format", SOURCES)
    def test_without_the_option_the_first_frame_is_shown(self, engine: Engine, format: str) -> None:
        specs = [VariantSpec("png"), *FILES, VariantSpec("webp"), VariantSpec("jpeg", animated=True)]
        made = engine.build(images.animation(format=format), format, specs)
        assert [(file.format, len(shown(file).frames)) for file in made] == [
            ("png", 1),
            ("gif", 3),
            ("webp", 3),
            ("webp", 1),
            ("jpeg", 1),
        ]
        assert all(is_flat(shown(file).frames[0], images.RED, 30) for file in made)

    def test_equal_animations_share_one_bytes_object(self, engine: Engine) -> None:
        specs = [VariantSpec("webp", animated=True), VariantSpec("webp", 900, animated=True), VariantSpec("webp")]
        first, second, still = engine.build(images.animation(), "gif", specs)
        assert first.data is second.data
        assert still.data != first.data

    # --- bad input

    @pytest.mark.parametrize("format", SOURCES)
    def test_an_animation_that_is_cut_off_is_refused(self, engine: Engine, format: str) -> None:
        pictures = [Image.open(io.BytesIO(images.photo(120, 90, seed=i))) for i in range(4)]
        data = images.film(pictures, format)
        for kept in (0.6, 0.85, 0.97):
            with pytest.raises(SourceUnreadable) as caught:
                engine.build(data[: int(len(data) * kept)], format, FILES)
            assert "\n" not in str(caught.value)

    def test_the_colours_of_an_apng_may_follow_its_first_control(self, engine: Engine) -> None:
        pictures = [Image.new("P", (16, 12), index) for index in (0, 1)]
        for picture in pictures:
            picture.putpalette([*images.RED, *images.BLUE])
        data = images.film(pictures, "png")
        at, control = data.index(b"PLTE") - 4, data.index(b"fcTL") - 4
        assert at < control
        moved = data[:at] + data[control : control + 38] + data[at:control] + data[control + 38 :]
        assert moved.index(b"fcTL") < moved.index(b"PLTE") < moved.index(b"IDAT")
        for file in engine.build(moved, "png", FILES):
            first, second = shown(file).frames
            assert is_flat(first, images.RED)
            assert is_flat(second, images.BLUE)

    def test_an_apng_with_fewer_frames_than_it_promises_is_refused(self, engine: Engine) -> None:
        pictures = [(Image.new("RGBA", (16, 12), (*colour, 255)), 0, 0, 0, 0) for colour in COLOURS[:2]]
        data = apng(Size(16, 12), pictures)
        promises = data.replace(_chunk(b"acTL", struct.pack(">II", 2, 0)), _chunk(b"acTL", struct.pack(">II", 3, 0)))
        assert engine.probe(promises, "png").frames == 3
        with pytest.raises(SourceUnreadable, match="ends after 2 of 3 frames"):
            engine.build(promises, "png", FILES)
        (still,) = engine.build(promises, "png", [VariantSpec("png")])
        assert is_flat(opened(still).convert("RGBA"), images.RED)

    @pytest.mark.parametrize(
        ("place", "size"), [((10, 0), (8, 12)), ((0, 10), (16, 3)), ((4294967290, 0), (8, 12))], ids=str
    )
    def test_an_apng_frame_outside_the_picture_is_refused(
        self, engine: Engine, place: tuple[int, int], size: tuple[int, int]
    ) -> None:
        full = Image.new("RGBA", (16, 12), (*images.RED, 255))
        data = apng(Size(16, 12), [(full, 0, 0, 0, 0), (Image.new("RGBA", size), *place, 0, 0)])
        with pytest.raises(SourceUnreadable, match="outside the picture"):
            engine.build(data, "png", FILES)
