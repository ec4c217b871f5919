"""The demo, run as people run it: the page it writes, the files behind it, the server with its uploads."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element

import html5lib
import pytest
from PIL import Image

from easyimg.demo.gallery import Facts, Slot, weight
from easyimg.demo.pictures import SCENES, make_pictures
from easyimg.demo.report import good_ones_failed, summary, weigh
from easyimg.demo.server import parse_form
from easyimg.errors import SourceUnreadable
from easyimg.testing import images
from easyimg.variant import VariantDetail, VariantStatus

COMMAND = [sys.executable, "-c", "from easyimg.cli import main; main()", "demo"]


def run_once(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--once", "--out", str(out), *words], capture_output=True, text=True, timeout=110, check=False
    )


def images_of(page: str) -> list[dict[str, str]]:
    tree: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
    return [dict(tag.attrib) for tag in tree.iter("img")]


def candidates(tag: dict[str, str]) -> list[tuple[str, str]]:
    parts = [part.split(" ") for part in tag.get("srcset", "").split(", ") if part]
    return [(part[0], part[1] if len(part) > 1 else "1x") for part in parts]


def size_of(folder: Path, url: str) -> tuple[int, int]:
    assert url.startswith("./media/")
    with Image.open(folder / unquote(url)) as picture:
        assert picture.getexif().get(0x0112, 1) == 1
        return picture.size


def check_files(folder: Path, tag: dict[str, str]) -> None:
    """Every file is there and has the size that its descriptor promises."""
    width, height = int(tag["width"]), int(tag["height"])
    assert size_of(folder, tag["src"]) == (width, height)
    assert candidates(tag)
    for url, descriptor in candidates(tag):
        found = size_of(folder, url)
        expected = int(descriptor[:-1]) if descriptor.endswith("w") else width * float(descriptor[:-1])
        assert abs(found[0] - expected) <= 1
        assert abs(found[1] - found[0] * height / width) <= 1


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("painted") / "demo with space"
    return out, run_once(out)


@pytest.mark.slow
def test_the_demo_succeeds_and_shows_what_it_built_and_saved(painted: Any) -> None:
    _, done = painted
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for scene in SCENES:
        assert scene.name in done.stdout
    assert "4000x3000 jpeg" in done.stdout
    assert "1500x2000 jpeg" in done.stdout  # upright, though stored on its side
    assert re.search(r"cut-off\.jpg.*SourceUnreadable", done.stdout)
    saved = [float(s) for s in re.findall(r"([\d.]+) % saved", done.stdout)]
    assert len(saved) == 2
    assert 90 < saved[1] < saved[0] < 100


@pytest.mark.slow
def test_the_written_page_works_as_a_file(painted: Any) -> None:
    out, _ = painted
    page = (out / "index.html").read_text("utf-8")
    tags = images_of(page)
    assert len(tags) == len(SCENES) + 2  # and the transparent one, and the large one above
    assert "<form" not in page
    assert '="http' not in page
    assert "url(" not in page
    for tag in tags:
        assert int(tag["width"]) > 0
        assert int(tag["height"]) > 0
        if tag["alt"] != "cut-off.jpg":
            check_files(out, tag)
    hero = tags[0]
    assert hero["alt"] == "valley-12-megapixels.jpg"
    assert (hero["width"], hero["height"]) == ("1200", "600")
    assert hero["sizes"].endswith("1200px")
    assert {d for _, d in candidates(hero)} == {"480w", "800w", "960w", "1200w", "1600w", "2400w"}


@pytest.mark.slow
def test_the_picture_stored_on_its_side_is_shown_upright(painted: Any) -> None:
    out, _ = painted
    tag = next(t for t in images_of((out / "index.html").read_text("utf-8")) if t["alt"] == "on-its-side.jpg")
    with Image.open(out / candidates(tag)[1][0]) as picture:
        column = picture.convert("L").resize((1, 10))
        assert column.getpixel((0, 0)) > column.getpixel((0, 9)) + 20  # sky above, dark ridges below


@pytest.mark.slow
def test_transparency_is_kept(painted: Any) -> None:
    out, _ = painted
    tag = next(t for t in images_of((out / "index.html").read_text("utf-8")) if t["alt"] == "transparent.png")
    for url in (tag["src"], candidates(tag)[0][0]):
        with Image.open(out / url) as picture:
            assert picture.convert("RGBA").getpixel((2, 2))[3] == 0
            assert picture.convert("RGBA").getpixel((150, 100))[3] == 255


@pytest.mark.slow
def test_the_broken_picture_stays_on_the_page_with_its_reason(painted: Any) -> None:
    out, _ = painted
    page = (out / "index.html").read_text("utf-8")
    tag = next(t for t in images_of(page) if t["alt"] == "cut-off.jpg")
    assert tag["src"].startswith("data:image/svg+xml,"), "a damaged file would lose its box"
    assert "srcset" not in tag
    assert "SourceUnreadable" in page


@pytest.mark.slow
def test_a_second_run_starts_afresh_and_other_folders_are_left_alone(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.jpg").write_bytes(images.photo(640, 480))
    out = tmp_path / "out"
    for _ in range(2):
        assert run_once(out, "--photos", str(photos)).returncode == 0
        assert len(list((out / "media" / "photos").iterdir())) == 1
    done = run_once(photos)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert "is not empty" in done.stderr
    assert (photos / "one.jpg").exists()


@pytest.mark.slow
def test_a_folder_of_real_pictures_is_shown_upright(corpus: Path, tmp_path: Path) -> None:
    done = run_once(tmp_path / "out", "--photos", str(corpus / "exif"))
    assert done.returncode == 0, done.stdout + done.stderr
    tags = images_of((tmp_path / "out" / "index.html").read_text("utf-8"))
    assert len(tags) >= 25
    for tag in tags:
        check_files(tmp_path / "out", tag)
    same = [t for t in tags if re.fullmatch(r"landscape_\d\.jpg", t["alt"]) and t["width"] == "300"]
    assert len(same) == 8
    pixels = []
    for tag in same:  # one scene, stored in the eight ways of EXIF
        with Image.open(tmp_path / "out" / candidates(tag)[1][0]) as picture:
            pixels.append(picture.convert("L").resize((12, 9)).tobytes())
    # The digit painted on each differs, the scene around it does not.
    for other in pixels[1:]:
        differences = sorted(abs(a - b) for a, b in zip(pixels[0], other, strict=True))
        assert differences[len(differences) * 3 // 4] <= 12


@pytest.mark.slow
def test_refused_pictures_are_listed_with_their_reason_and_do_not_fail_the_demo(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "good.png").write_bytes(images.corners(400, 300))
    (photos / "paper.jpg").write_bytes(b"%PDF-1.7 not a picture")
    (photos / "empty.jpg").touch()
    done = run_once(tmp_path / "out", "--photos", str(photos))
    assert done.returncode == 0
    assert "refused: paper.jpg: found pdf; allowed: jpeg" in done.stdout
    assert "refused: empty.jpg: the file is empty" in done.stdout
    assert len(images_of((tmp_path / "out" / "index.html").read_text("utf-8"))) == 2


# The server.


class Server:
    """A demo that serves, in a process of its own."""

    def __init__(self, tmp_path: Path) -> None:
        photos = tmp_path / "photos"
        photos.mkdir()
        (photos / "first.jpg").write_bytes(images.photo(640, 480))
        self.out = tmp_path / "out"
        words = ["--photos", str(photos), "--out", str(self.out), "--port", "0"]
        self.process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"http://([\d.]+):(\d+)/", line):
                self.host, self.port = found[1], int(found[2])
                return
        raise AssertionError(self.process.stderr.read() if self.process.stderr else "")

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Ask for exactly that path: urllib would tidy it up."""
        connection = HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def upload(self, name: str, data: bytes, **headers: str) -> tuple[int, str]:
        """Send a picture as a browser does, and follow to the page."""
        edge = "----form-7d82"
        head = f'--{edge}\r\nContent-Disposition: form-data; name="picture"; filename="{name}"\r\n'
        body = f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + data + f"\r\n--{edge}--\r\n".encode()
        request = urllib.request.Request(
            f"http://{self.host}:{self.port}/upload",
            body,
            {"Content-Type": f"multipart/form-data; boundary={edge}", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    def stop(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("served"))
    yield running
    running.stop(signal.SIGTERM)


@pytest.mark.slow
def test_an_upload_first_shows_its_fallback_and_then_its_variants(server: Server) -> None:
    data = images.photo(1600, 1000, orientation=6)
    status, page = server.upload("My shoe.JPG", data, Origin=f"http://{server.host}:{server.port}")
    assert status == 200
    tag = next(t for t in images_of(page) if t["alt"] == "My shoe.JPG")
    assert (tag["width"], tag["height"]) == ("300", "225")
    if "srcset" not in tag:  # as good as always: the page is faster than the queue
        assert tag["src"].startswith("/media/photos/my-shoe-")
        assert server.get(tag["src"])[2] == data
        assert "object-fit: cover" in tag["style"]

    deadline = time.monotonic() + 30
    while "srcset" not in tag:
        assert time.monotonic() < deadline
        _, headers, body = server.get("/")
        tag = next(t for t in images_of(body.decode()) if t["alt"] == "My shoe.JPG")
        assert "srcset" in tag or headers["Refresh"] == "1"

    for url, width in ((tag["src"], 300), (candidates(tag)[0][0], 300), (candidates(tag)[1][0], 600)):
        status, headers, body = server.get(url)
        assert status == 200
        assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert headers["Content-Type"] == f"image/{'jpeg' if url == tag['src'] else 'webp'}"
        with Image.open(io.BytesIO(body)) as picture:
            assert picture.size == (width, width * 3 // 4)
    assert "Refresh" not in server.get("/")[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("paper.jpg", b"%PDF-1.7", "found pdf"),
        ("<b>x</b>.jpg", b"", "the file is empty"),
        ("large.jpg", b"\xff\xd8\xff" + b"\0" * 21_000_000, "at most 20,000,000 are allowed"),
        ("", b"data", "no file was sent"),
    ],
)
def test_a_refused_upload_says_why_on_the_page(server: Server, name: str, data: bytes, message: str) -> None:
    before = len(images_of(server.get("/")[2].decode()))
    status, page = server.upload(name, data)
    assert status == 422
    assert re.search(rf'role="alert">[^<]*{message}', page)
    assert len(images_of(page)) == before


@pytest.mark.slow
def test_only_the_sites_own_form_may_upload(server: Server) -> None:
    assert server.upload("stranger.jpg", images.photo(100, 80), Origin="https://evil.example")[0] == 403
    assert not list((server.out / "media" / "photos").glob("stranger*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "/media/../easyimg.db",
        "/media/%2e%2e/easyimg.db",
        "/media/..%2feasyimg.db",
        "/media//etc/passwd",
        "/media/photos",
        "/media/",
        "/easyimg.db",
        "/media/%00",
    ],
)
def test_nothing_outside_the_media_folder_is_served(server: Server, path: str) -> None:
    assert server.get(path)[0] == 404


@pytest.mark.slow
def test_head_gives_the_headers_only(server: Server) -> None:
    status, headers, body = server.get("/", "HEAD")
    assert status == 200
    assert int(headers["Content-Length"]) > 1000
    assert body == b""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_cleanly(tmp_path: Path, number: int) -> None:
    assert Server(tmp_path).stop(number) == (0, "")


# The parts.


@pytest.mark.slow
def test_the_painted_pictures_are_the_same_each_time(tmp_path: Path) -> None:
    first, second = ({p.name: p.read_bytes() for p in make_pictures(tmp_path / folder)} for folder in ("a", "b"))
    assert first == second
    assert len(first) == len(SCENES) + 1
    with Image.open(io.BytesIO(first["on-its-side.jpg"])) as picture:
        assert picture.size == (2000, 1500)
        assert picture.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    "data",
    [b"", b"\r\n", bytes(range(256)) * 40, b"\r\r\n\n\x85\x1c\x0b--form--\r\n", b"--", b"\n" * 9, b"\xff" * 9999],
)
def test_a_form_gives_the_bytes_that_were_sent(data: bytes) -> None:
    head = b'--edge\r\nContent-Disposition: form-data; name="picture"; filename="a.jpg"\r\n\r\n'
    other = b'--edge\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    found = parse_form("multipart/form-data; boundary=edge", other + head + data + b"\r\n--edge--\r\n", "picture")
    assert found == ("a.jpg", data)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", b""),
        ("text/plain", b"hello"),
        ("multipart/form-data", b"--edge\r\n\r\n--edge--"),
        ("multipart/form-data; boundary=edge\r\nX: y", b"--edge--"),
        (
            "multipart/form-data; boundary=edge",
            b'--edge\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--edge--',
        ),
    ],
)
def test_a_body_that_is_no_such_form_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(SourceUnreadable, match="no file was sent"):
        parse_form(kind, body, "picture")


def variant(width: int, size: int, status: VariantStatus = VariantStatus.BUILT) -> VariantDetail:
    texts = ("", "", "", "default", "name", "webp")
    return VariantDetail("key", "spec", status, 0, 0, *texts, width, width, size, "", "")


def test_a_slot_weighs_what_a_browser_would_load() -> None:
    small, large, base = variant(300, 10), variant(500, 20), variant(300, 90)
    assert [Slot(300, base, (small, large)).bytes_at(d) for d in (1, 1.5, 2)] == [10, 20, 20]
    assert Slot(300, base, ()).bytes_at(2) == 90
    assert Slot(0, None, ()).bytes_at(1) == 0


def test_failed_pictures_count_nowhere_and_only_unexpected_ones_fail_the_demo() -> None:
    good = Facts("good", 1000, None, (variant(300, 10),), (Slot(300, None, (variant(300, 10),)),))
    bad = Facts("bad", 5000, None, (variant(0, 0, VariantStatus.SOURCE_ERROR),), (Slot(0, None, ()),))
    worse = Facts("worse", 5000, None, (variant(0, 0, VariantStatus.BUILD_ERROR),), ())
    assert weigh([good, bad]) == (1000, 10, 10)
    assert summary(weigh([good, bad]))[1] == "with easyimg, 1x screen: 10 B (99.0 % saved)"
    assert summary(weigh([]))[0] == "without easyimg: 0 B"
    assert not good_ones_failed([good, bad], expected=["bad"])
    assert good_ones_failed([good, bad], expected=[])
    assert not good_ones_failed([good, bad], expected=None)
    assert good_ones_failed([good, worse], expected=None)


def test_weights_are_written_as_people_read_them() -> None:
    assert [weight(n) for n in (0, 999, 1000, 412_345, 8_200_000)] == ["0 B", "999 B", "1 kB", "412 kB", "8.2 MB"]
