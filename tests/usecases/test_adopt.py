"""Taking over what django-easy-images has built: rows, files, and what pages make of them."""

from __future__ import annotations

import io
import json
import sqlite3

import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms

from easyimg import Img, Source, easy_images
from easyimg.adopt import adopt
from easyimg.cli import main
from easyimg.drain import drain
from easyimg.errors import ConfigError, StorageError
from easyimg.ports import Encoded
from easyimg.testing import images
from easyimg.testing.engine_files import parts
from easyimg.variant import VariantStatus
from easyimg.verify import verify
from tests.easy_images_table import Table, make_table, thumbnail

THUMB = Img(width=320, ratio="video")
PHOTO = images.photo(960, 720)


class Old:
    """A site with that package's table in a database of its own."""

    def __init__(self, site, root):
        self.site, self.app, self.path = site, site.app, root / "old.db"
        make_table(self._run, "sqlite")
        self.table = Table(self._run, site.media)

    def _run(self, statement, values):
        with sqlite3.connect(self.path) as connection:
            return connection.execute(statement.replace("%s", "?"), values).fetchall()

    def picture(self, name="shoe.jpg", data=PHOTO, file=None):
        """Place an original whose src and two candidates were built at 16:9, 320 pixels wide."""
        self.site.put(name, data)
        for width, height, mime in ((320, 180, "image/jpeg"), (320, 180, "image/webp"), (640, 360, "image/webp")):
            small = file(data, width, height, mime) if file else thumbnail(data, width, height, mime[6:])
            self.table.add(name, small, width=width, mimetype=mime)
        return Source("default", name)

    def adopt(self, **options):
        return adopt(self.app, easy_images.read(self._run).groups, storage="default", **options)

    def rows(self, source):
        detail = self.app.metadata.inspect(source)
        return {} if detail is None else {variant.key: variant for variant in detail.variants}


@pytest.fixture
def old(site, tmp_path):
    return Old(site, tmp_path)


def test_files_that_are_the_same_are_shown_by_pages_without_a_build(old):
    source = old.picture()
    report = old.adopt()
    assert (report.rows, report.adopted, report.queued, report.reasons) == (3, 3, 0, {})
    html = str(THUMB(source, alt="Shoe"))
    assert html.count("/media/img/") == 3
    assert 'width="320" height="180"' in html
    assert not old.site.bell.rung, "nothing was ordered"
    assert drain(old.app).built == 0
    assert verify(old.app, content=True).found == 0


def test_the_copy_holds_the_same_pixels_and_nothing_beside_them(old):
    source = old.picture(data=images.photo(960, 720, gps=True))
    assert old.adopt().adopted == 3
    built = {row.file_name: row for row in old.rows(source).values()}
    theirs = {path.read_bytes() for path in (old.site.media / "img/thumbs").iterdir()}
    assert all(b"Exif" in data or b"EXIF" in data for data in theirs)
    pixels = {Image.open(io.BytesIO(data)).convert("RGB").tobytes() for data in theirs}
    for name, row in built.items():
        data = (old.site.media / name).read_bytes()
        assert len(data) == row.bytes
        assert parts(Encoded(data, row.format, row.width, row.height)) <= {
            "SOI", "APP0", "DQT", "SOF0", "SOF2", "DHT", "SOS", "VP8X", "VP8 ", "DRI",
        }  # fmt: skip
        assert Image.open(io.BytesIO(data)).convert("RGB").tobytes() in pixels


def test_the_other_librarys_rows_and_files_stay_as_they_are(old):
    old.picture()
    before = {path: path.read_bytes() for path in (old.site.media / "img/thumbs").iterdir()}
    rows = old._run("SELECT * FROM easy_images_easyimage", [])
    old.adopt()
    assert {path: path.read_bytes() for path in (old.site.media / "img/thumbs").iterdir()} == before
    assert old._run("SELECT * FROM easy_images_easyimage", []) == rows


def black(data, width, height, mime):
    return thumbnail(images.photo(960, 720, seed=9), width, height, mime[6:])


def tall(data, width, height, mime):
    return thumbnail(data, width, height - 1, mime[6:])


def other_format(data, width, height, mime):
    return thumbnail(data, width, height, "png")


def profiled(data, width, height, mime):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return thumbnail(data, width, height, mime[6:], icc_profile=profile)


def text(data, width, height, mime):
    return b"no picture at all"


def cut_short(data, width, height, mime):
    return thumbnail(data, width, height, mime[6:])[:-400]


@pytest.mark.parametrize(
    ("data", "file", "reason"),
    [
        (PHOTO, black, "picture"),
        (PHOTO, tall, "size"),
        (PHOTO, other_format, "format"),
        (PHOTO, profiled, "colours"),
        (PHOTO, text, "format"),
        (images.photo(960, 720, orientation=3), None, "picture"),
        (images.photo(960, 720, orientation=6), None, "size"),
        (images.transparent(960, 720), None, "transparency"),
    ],
)
def test_what_easyimg_would_build_otherwise_is_queued_instead(old, data, file, reason):
    source = old.picture(data=data, file=file)
    report = old.adopt()
    assert (report.adopted, report.queued, report.reasons) == (0, 3, {reason: 3})
    assert {row.status for row in old.rows(source).values()} == {VariantStatus.QUEUED}
    assert old.site.bell.rung == [[source.id]]
    assert drain(old.app).built == 3
    assert str(THUMB(source, alt="")).count("/media/img/") == 3


def test_damaged_files_are_not_taken_over(old):
    old.picture(file=cut_short)
    report = old.adopt()
    assert (report.adopted, report.queued) == (0, 3)
    assert report.reasons == {"picture": 1, "unreadable": 2}, "libvips notices it of WebP by the header"


def test_an_original_smaller_than_its_box_was_enlarged_and_is_built_anew(old):
    source = old.picture(data=images.photo(200, 150))
    assert old.adopt().reasons == {"size": 3}
    drain(old.app)
    assert {row.width for row in old.rows(source).values()} == {200}


def test_avif_is_built_anew_because_its_numbers_for_quality_mean_something_else(old):
    source = Source("default", old.site.put("a.jpg", PHOTO))
    old.table.add("a.jpg", b"never looked at", mimetype="image/avif")
    assert old.adopt().reasons == {"quality": 1}
    (key,) = old.rows(source)
    assert key in THUMB.extend(format="avif").plan.keys(source.address)


@pytest.mark.parametrize(
    ("args", "img"),
    [
        ({"crop": None, "contain": True, "ratio": 4 / 3}, Img(width=320, ratio="4/3", crop=False)),
        ({"crop": None, "contain": False, "ratio": 4 / 3}, Img(width=320, ratio="4/3", crop=False, contain=False)),
        ({"crop": None, "ratio": 4 / 3}, Img(width=320, ratio="4/3", crop=False)),
        ({"crop": [0, 1.0], "ratio": 1}, Img(width=320, ratio="square", crop="bl")),
        ({"ratio": 1.618033988749895}, Img(width=320, ratio="golden")),
        ({"ratio": 1 / 1.618033988749895}, Img(width=320, ratio="golden_vertical")),
        ({"ratio": 9 / 16, "quality": 60}, Img(width=320, ratio="video_vertical", quality=60)),
        ({"ratio": None}, Img(width=320)),
        ({"window": [0.1, 0.2, 0.9, 0.8]}, Img(width=320, ratio="video", window=(0.1, 0.2, 0.9, 0.8))),
        ({"width": None}, Img(ratio="video")),
    ],
)
def test_options_are_those_of_the_img_that_says_the_same(old, args, img):
    source = Source("default", old.site.put("a.jpg", PHOTO))
    old.table.add("a.jpg", **args)
    assert old.adopt().reasons == {"not_built": 1}
    (key,) = old.rows(source)
    assert key in img.plan.keys(source.address)


def test_a_jpeg_is_the_src_where_other_candidates_are_webp_and_may_be_either_where_there_are_none(old):
    source = Source("default", old.site.put("a.jpg", PHOTO))
    old.table.add("a.jpg", thumbnail(PHOTO, 320, 180, "jpeg"), mimetype="image/jpeg")
    assert old.adopt().adopted == 2
    assert set(THUMB.extend(format="jpeg", densities=[]).plan.keys(source.address)) == set(old.rows(source))


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"width": -5}, "options"),
        ({"mimetype": "image/gif"}, "options"),
        ({"crop": [2, 3]}, "options"),
        ({"window": [10, 10, 90, 90]}, "options"),
        ({"name": ""}, "no_name"),
        ({"name": "absent.jpg"}, "no_original"),
        ({"name": "text.jpg", "file": b"x"}, "original_refused"),
        ({"storage": "elsewhere"}, "unknown_storage"),
    ],
)
def test_what_cannot_be_built_is_skipped_and_counted(old, args, reason):
    old.site.put("a.jpg", PHOTO)
    old.site.put("text.jpg", b"no picture")
    file, storage = args.pop("file", None), args.pop("storage", "default")
    old.table.add(args.pop("name", "a.jpg"), file, **args)
    old._run("UPDATE easy_images_easyimage SET storage = %s", [storage])
    report = old.adopt()
    assert (report.rows, report.skipped, report.queued, report.reasons) == (1, 1, 0, {reason: 1})
    assert old.app.metadata.file_page() == []


def test_a_second_run_leaves_everything_alone_and_goes_on_where_the_first_stopped(old):
    first = old.picture("a.jpg")
    assert old.adopt().adopted == 3
    before = old.rows(first)
    second = old.picture("b.jpg", images.photo(960, 720, seed=2))
    report = old.adopt()
    assert (report.rows, report.adopted, report.known) == (6, 3, 3)
    assert old.rows(first) == before
    assert len(old.rows(second)) == 3


def test_rows_of_one_source_that_come_in_turns_with_anothers_are_taken_over_once(old):
    old.picture("a.jpg")
    old.picture("A.jpg", images.photo(960, 720, seed=2))
    first, second = (list(group) for group in easy_images.read(old._run).groups)

    def in_turns():
        groups = [[foreign] for pair in zip(first, second, strict=True) for foreign in pair]
        return adopt(old.app, groups, storage="default")

    assert (in_turns().adopted, in_turns().known) == (6, 6)


def test_an_interrupted_run_leaves_whole_pictures_and_is_finished_by_the_next(old):
    for number in range(3):
        old.picture(f"{number}.jpg", images.photo(960, 720, seed=number))
    calls = []

    class Interrupted:
        def __init__(self, storage):
            self._storage = storage

        def __getattr__(self, name):
            return getattr(self._storage, name)

        def write(self, *args):
            calls.append(args)
            if len(calls) == 5:
                raise KeyboardInterrupt
            self._storage.write(*args)

    kept = old.app.storage("default")
    old.app._parts["storage:default"] = Interrupted(kept)
    with pytest.raises(KeyboardInterrupt):
        old.adopt()
    old.app._parts["storage:default"] = kept
    assert old.adopt().adopted == 3, "the third picture"
    assert drain(old.app).built == 3, "the second, given back when interrupted"
    assert verify(old.app, content=True).found == 0


def test_a_copy_that_cannot_be_written_ends_the_run_and_gives_the_rows_back(old, tmp_path):
    source = old.picture()
    (old.site.media / "img").chmod(0o555)

    class Full:
        def __getattr__(self, name):
            return getattr(kept, name)

        def write(self, *args):
            raise StorageError("no space left")

    kept = old.app.storage("default")
    old.app._parts["storage:default"] = Full()
    with pytest.raises(StorageError, match="no space left"):
        old.adopt()
    (old.site.media / "img").chmod(0o755)
    assert {row.status for row in old.rows(source).values()} == {VariantStatus.QUEUED}


def test_an_original_replaced_meanwhile_is_built_from_the_new_one(old):
    source = old.picture()
    kept = old.app.storage("default")

    class Replacing:
        def __getattr__(self, name):
            return getattr(kept, name)

        def read(self, name, max_bytes=None):
            data = kept.read(name, max_bytes)
            if name == source.name:
                old.site.put(name, images.photo(960, 720, seed=8))
                old.app.metadata.replace(source)
            return data

    old.app._parts["storage:default"] = Replacing()
    report = old.adopt()
    old.app._parts["storage:default"] = kept
    assert (report.adopted, report.queued, report.reasons) == (0, 3, {"replaced": 3})
    assert drain(old.app).built == 3
    assert verify(old.app, content=True).found == 0


def test_a_dry_run_says_the_same_and_changes_nothing(old):
    old.picture()
    old.picture("b.jpg", images.photo(960, 720, seed=1), file=tall)
    files = old.site.variants()
    would = old.adopt(dry_run=True)
    assert old.app.metadata.source_page() == []
    assert old.site.variants() == files
    assert would == old.adopt()


def test_rows_are_read_in_pages(old, monkeypatch):
    monkeypatch.setattr(easy_images, "_PAGE", 2)
    monkeypatch.setattr(easy_images, "_PAGES", easy_images._PAGES.replace("1000", "2"))
    for name in ("b.jpg", "a.jpg", "c.jpg"):
        old.picture(name)
    steps: list[int] = []
    assert old.adopt(progress=steps.append).adopted == 9
    assert steps == [9]


def run(old, *args):
    env = {
        "EASYIMG_STORAGES": f"file://{old.site.media}",
        "EASYIMG_METADATA": f"sqlite:///{old.path.parent}/rows.db",
        "EASYIMG_QUEUE": "none",
    }
    return CliRunner().invoke(main, ["adopt", "django-easy-images", *args], env=env)


def test_the_command_takes_the_database_by_url_and_reports(old):
    old.picture()
    old.picture("b.jpg", file=tall)
    url = f"sqlite:///{old.path}"
    dry = run(old, "--database", url, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "Would be queued: 3 variants\n" in dry.stdout
    done = run(old, "--database", url)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Looked at: 6 rows"
    assert lines[1].startswith("Adopted: 3 variants, ")
    assert lines[2:4] == ["Queued: 3 variants", "Known already: 0 variants"]
    assert lines[4:] == ["Not adopted: 3 (another size)", "Try: easyimg build"]
    report = json.loads(run(old, "--database", url, "--format", "json").stdout)
    assert report == {
        "rows": 6, "adopted": 0, "bytes": 0, "queued": 0, "known": 6, "skipped": 0, "failed": 0, "reasons": {},
        "dry_run": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--storage", "defualt"], ["--storage: no storage 'defualt'", "did you mean 'default'?"]),
        (["--database", "sqlite:////nowhere/at/all.db"], ["easy_images_easyimage", "cannot be read"]),
        ([], ["easy_images_easyimage", "no such table"]),
    ],
)
def test_the_command_refuses_in_one_line_what_cannot_work(old, args, words):
    done = run(old, *args)
    assert done.exit_code == 2
    assert [word for word in words if word not in done.output] == []
    assert "Traceback" not in done.output


def test_a_missing_table_is_a_matter_of_configuration(old):
    with pytest.raises(ConfigError, match="easy_images_easyimage of django-easy-images cannot be read"):
        easy_images.read(lambda statement, values: old._run("SELECT * FROM nothing", []))
