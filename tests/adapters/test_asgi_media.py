"""Local media sent by the ASGI middleware: what is sent, how it may be kept, what nobody gets, what it holds up."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import urllib.parse
from typing import Any

import hypothesis
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import strategies as st

from easyimg import Img
from easyimg.asgi import CHUNK, EasyImgMiddleware
from easyimg.errors import ConfigError, StorageError
from easyimg.serving import MediaFile
from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing import images
from tests.adapters.asgi_site import build, fetch, make_images, on_uvicorn
from tests.counting import Statements
from tests.queues.sites import free_port, until

SECRET = b"nobody may read this"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
FOR_EVER = "public, max-age=31536000, immutable"


async def beneath(scope, receive, send):
    """An application that has nothing, and says which path it was asked for."""
    assert scope["type"] in ("http", "websocket")
    body = f"mine: {scope['path']}".encode()
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def made(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(SECRET)
    made = make_images(tmp_path)
    yield made
    made.close()


@pytest.fixture
def app(made):
    return EasyImgMiddleware(beneath, made)


def variant_url(made) -> str:
    """Build a picture and return the URL of its base file."""
    url = Img(width=30, app=made)("shoe.jpg", alt="", build="src").base_url()
    assert "/img/" in url
    return url


def test_a_variant_may_be_kept_for_ever(app, made, tmp_path):
    url = variant_url(made)
    answer = fetch(app, url)
    assert answer.content == (tmp_path / "media" / url.removeprefix("/media/")).read_bytes()
    assert answer.headers["Cache-Control"] == FOR_EVER
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["ETag"] == f'"{url.rpartition("/")[2].removesuffix(".jpg")}"'


def test_an_original_may_be_kept_for_minutes(app, tmp_path):
    answer = fetch(app, "/media/shoe.jpg")
    assert answer.content == (tmp_path / "media" / "shoe.jpg").read_bytes()
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    (tmp_path / "media" / "shoe.jpg").write_bytes(images.photo(50, 50))
    assert fetch(app, "/media/shoe.jpg").headers["ETag"] != answer.headers["ETag"]


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_parts_conditions_and_head(tmp_path, kind):
    place = {"file": f"file://{tmp_path}/media", "memory": "memory://asgi-media"}[kind]
    made = make_images(tmp_path, storages={"default": place})
    app = EasyImgMiddleware(beneath, made, serve=["default"])
    data = os.urandom(2 * CHUNK + 77)  # three pieces
    made.storage("default").write("a.jpg", data, "image/jpeg")
    whole = fetch(app, "/media/a.jpg")
    assert (whole.status_code, whole.content) == (200, data)
    part = fetch(app, "/media/a.jpg", headers={"Range": f"bytes=100-{CHUNK + 500}"})
    assert (part.status_code, part.content) == (206, data[100 : CHUNK + 501])
    assert part.headers["Content-Range"] == f"bytes 100-{CHUNK + 500}/{len(data)}"
    beyond = fetch(app, "/media/a.jpg", headers={"Range": "bytes=99999999-"})
    assert (beyond.status_code, beyond.headers["Cache-Control"]) == (416, "no-store")
    again = fetch(app, "/media/a.jpg", headers={"If-None-Match": whole.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["Cache-Control"] == whole.headers["Cache-Control"]
    for asked in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=99999999-"}):
        head = fetch(app, "/media/a.jpg", method="HEAD", headers=asked)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == str(len(data))
    made.close()


def test_a_storage_that_does_not_answer_is_no_missing_picture(tmp_path, monkeypatch):
    made = make_images(tmp_path, storages={"default": "memory://asgi-outage"})
    made.storage("default").write("shoe.jpg", images.photo(300, 200), "image/jpeg")
    app = EasyImgMiddleware(beneath, made, serve=["default"])
    url = variant_url(made)
    build(made)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "_open", refuse)
        patch.setattr(MemoryFileSystem, "cat_file", refuse)
        for name in (url, "/media/shoe.jpg"):
            answer = fetch(app, name)
            assert (answer.status_code, answer.content) == (503, b"")
            assert answer.headers["Cache-Control"] == "no-store"
        assert fetch(app, "/media/../secret.jpg").status_code == 404
    assert build(made) == 0, "nothing was reported as lost"
    assert fetch(app, url).status_code == 200
    made.close()


@pytest.mark.slow
def test_a_server_of_objects_that_is_gone_is_no_missing_picture(tmp_path):
    options = {"key": "k", "secret": "s", "endpoint_url": f"http://127.0.0.1:{free_port()}"}
    made = make_images(
        tmp_path,
        storages={"default": "s3://shop"},
        storage_options={"default": options},
        base_urls={"default": "/media/"},
    )
    app = EasyImgMiddleware(beneath, made, serve=["default"])
    answer = fetch(app, "/media/shoe.jpg")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (503, "no-store")
    made.close()


def refuse(*_args, **_kwargs):
    raise ConnectionRefusedError


def test_a_file_that_goes_while_it_is_looked_for_is_not_found(app, monkeypatch):
    monkeypatch.setattr(MediaFile, "read", refuse)
    assert fetch(app, "/media/shoe.jpg").text == "mine: /media/shoe.jpg"


@pytest.mark.parametrize(("method", "path"), [("POST", "/media/shoe.jpg"), ("GET", "/"), ("GET", "/media/none.jpg")])
def test_all_else_is_the_application_s(app, method, path):
    answer = fetch(app, path, method=method)
    assert (answer.status_code, answer.text) == (404, f"mine: {path}")


def test_other_kinds_of_requests_are_the_application_s(made):
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope)

    for kind in ("lifespan", "websocket"):
        scope = {"type": kind, "path": "/media/shoe.jpg"}
        asyncio.run(EasyImgMiddleware(inner, made)(scope, None, None))
        assert seen.pop() is scope


@pytest.mark.parametrize("pending", ["placeholder", "build"])
def test_originals_are_not_sent_where_no_page_shows_them(tmp_path, pending):
    made = make_images(tmp_path, pending=pending)
    assert fetch(EasyImgMiddleware(beneath, made), "/media/shoe.jpg").status_code == 404
    assert fetch(EasyImgMiddleware(beneath, made), variant_url(made)).status_code == 200
    assert fetch(EasyImgMiddleware(beneath, made, serve_originals=True), "/media/shoe.jpg").status_code == 200
    made.close()


def test_an_svg_runs_no_script_when_opened(app, tmp_path):
    (tmp_path / "media" / "logo.svg").write_bytes(SVG)
    answer = fetch(app, "/media/logo.svg")
    assert answer.content == SVG
    assert answer.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in answer.headers["Content-Security-Policy"].split("; ")


def test_a_variant_that_was_lost_is_built_again_when_it_is_asked_for(app, made, tmp_path):
    url = variant_url(made)
    build(made)
    file = tmp_path / "media" / url.removeprefix("/media/")
    file.unlink()
    assert fetch(app, url).status_code == 404
    assert build(made) == 1
    assert fetch(app, url).content == file.read_bytes()
    with Statements(made) as sent:
        assert fetch(app, "/media/img/none.jpg").status_code == 404
    assert sent == [], "names that are no variant's cost no query"


def test_folders_pipes_links_and_what_is_no_picture_are_not_found(app, tmp_path):
    inside = tmp_path / "media"
    (inside / "folder.jpg").mkdir()
    os.mkfifo(inside / "pipe.jpg")
    (inside / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (inside / "up").symlink_to(tmp_path)
    for name in ("rows.db", "a.html", ".jpg"):
        (inside / name).write_bytes(SECRET)
    for name in ("folder.jpg", "folder.jpg/", "pipe.jpg", "link.jpg", "up/secret.jpg", "rows.db", "a.html", ".jpg", ""):
        answer = fetch(app, f"/media/{name}")
        assert (answer.status_code, answer.text) == (404, f"mine: /media/{name}")


# Which storages.

PATHS = {"default": "media", "public": "pub", "private": "private", "cdn": "cdn"}


@pytest.mark.parametrize(
    ("serve", "expected"), [(["public"], {"public"}), (False, set()), ([], set()), (True, {"default", "public"})]
)
def test_only_storages_with_urls_on_this_host_are_served_and_a_site_may_name_them(tmp_path, serve, expected):
    for alias in PATHS:
        (tmp_path / alias).mkdir()
        (tmp_path / alias / "a.jpg").write_bytes(images.photo(20, 20))
    made = make_images(
        tmp_path,
        storages={alias: f"file://{tmp_path}/{alias}" for alias in PATHS},
        base_urls={"default": "/media/", "public": "/pub/", "cdn": "https://cdn.example.com/"},
    )
    app = EasyImgMiddleware(beneath, made, serve=serve)
    assert {alias for alias, path in PATHS.items() if fetch(app, f"/{path}/a.jpg").status_code == 200} == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"serve": ["defualt"]}, "serve: no storage 'defualt'; did you mean 'default'"),
        ({"serve": ["cdn"]}, "serve: 'cdn' has no base URL on this host"),
        ({"serve": "default"}, "serve: 'default' is not True, False or a list of storages"),
        ({"pending_max_age": True}, "pending_max_age: True is not in 0..86400 seconds"),
        ({"pending_max_age": -1}, "pending_max_age: -1 is not in 0..86400 seconds"),
    ],
)
def test_what_cannot_work_is_refused_at_once(tmp_path, options, message):
    storages = {"default": f"file://{tmp_path}/media", "cdn": f"file://{tmp_path}/cdn"}
    made = make_images(tmp_path, storages=storages, base_urls={"cdn": "https://cdn.example.com/"})
    with pytest.raises(ConfigError, match=message):
        EasyImgMiddleware(beneath, made, **options)


def test_the_path_of_one_storage_may_lie_below_that_of_another(tmp_path):
    for alias in ("default", "inner"):
        (tmp_path / alias).mkdir()
        (tmp_path / alias / "a.jpg").write_bytes(alias.encode())
    storages = {alias: f"file://{tmp_path}/{alias}" for alias in ("default", "inner")}
    made = make_images(tmp_path, storages=storages, base_urls={"default": "/media/", "inner": "/media/inner/"})
    app = EasyImgMiddleware(beneath, made)
    assert fetch(app, "/media/a.jpg").content == b"default"
    assert fetch(app, "/media/inner/a.jpg").content == b"inner"


def test_a_private_storage_inside_a_served_folder_stays_private(tmp_path):
    (tmp_path / "default" / "private").mkdir(parents=True)
    for folder in ("default", "default/private"):
        (tmp_path / folder / "a.jpg").write_bytes(images.photo(20, 20))
    storages = {"default": f"file://{tmp_path}/default", "private": f"file://{tmp_path}/default/private"}
    app = EasyImgMiddleware(beneath, make_images(tmp_path, storages=storages, base_urls={"default": "/media/"}))
    assert fetch(app, "/media/a.jpg").status_code == 200
    assert fetch(app, "/media/private/a.jpg").status_code == 404


def test_a_storage_object_is_served_where_its_own_urls_say(tmp_path):
    made = make_images(
        tmp_path, storages={"default": FsspecStorage(f"file://{tmp_path}/media", base_url="/files/")}, base_urls={}
    )
    app = EasyImgMiddleware(beneath, made)
    assert fetch(app, "/files/shoe.jpg").status_code == 200
    assert fetch(app, "/media/shoe.jpg").status_code == 404


@pytest.mark.parametrize("path", ["/shop/media/shoe.jpg", "/media/shoe.jpg"])
def test_a_site_below_a_path_serves_the_urls_that_its_pages_show(tmp_path, path):
    """Of servers some have the root path in the path, and some do not."""
    app = EasyImgMiddleware(beneath, make_images(tmp_path, base_urls={"default": "/shop/media/"}))
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "/shop", "headers": []}
    sent = asyncio.run(collect(app, scope))
    assert sent[0]["status"] == 200


async def collect(app, scope, receive=None):
    sent: list[dict[str, Any]] = []

    async def send(message):
        sent.append(message)

    await app(scope, receive or asyncio.Event().wait, send)
    return sent


# Files that are larger than one piece.

SCOPE = {"type": "http", "method": "GET", "path": "/media/large.jpg", "headers": []}


@pytest.fixture
def large(tmp_path):
    """A file of ten pieces."""
    path = tmp_path / "media" / "large.jpg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(os.urandom(10 * CHUNK))
    return path


def test_reading_stops_when_the_visitor_goes_away(app, large):
    sent: list[dict[str, Any]] = []

    async def main():
        gone = asyncio.Event()

        async def receive():
            if not sent:
                return {"type": "http.request", "body": b"", "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)
            if len(sent) == 4:
                gone.set()
                await asyncio.sleep(0.05)  # the server is told

        await app(SCOPE, receive, send)

    asyncio.run(main())
    assert len(sent) == 4, "the beginning and three pieces of ten"
    assert sent[-1]["more_body"]


@pytest.mark.parametrize("change", ["replaced", "cut", "deleted"])
def test_a_file_that_changes_on_its_way_is_not_mixed_with_another(app, large, change):
    def do():
        if change == "replaced":
            other = large.with_name("other")
            other.write_bytes(os.urandom(10 * CHUNK))
            other.replace(large)
        elif change == "cut":
            os.truncate(large, CHUNK)
        else:
            large.unlink()

    sent: list[dict[str, Any]] = []

    async def send(message):
        sent.append(message)
        if len(sent) == 3:
            do()

    with pytest.raises((StorageError, FileNotFoundError)):
        asyncio.run(app(SCOPE, asyncio.Event().wait, send))
    assert len(sent) == 3


def test_nothing_of_it_is_done_on_the_event_loop(app, made, large, monkeypatch):
    """Looking and each reading wait for the loop to go on: on it, they would wait in vain."""
    beat = threading.Event()
    find, read = made.storage("default").local_path, MediaFile.read

    def waits(function):
        def wait(*args):
            beat.clear()
            assert beat.wait(30), "the event loop stands still"
            return function(*args)

        return wait

    monkeypatch.setattr(made.storage("default"), "local_path", waits(find))
    monkeypatch.setattr(MediaFile, "read", waits(read))

    async def main():
        heart = asyncio.ensure_future(tick(beat))
        try:
            return await collect(app, SCOPE)
        finally:
            heart.cancel()

    sent = asyncio.run(main())
    assert b"".join(message["body"] for message in sent[1:]) == large.read_bytes()


@pytest.mark.parametrize("name", ["shoe.jpg", "large.jpg"])
def test_a_loop_that_is_not_asyncio_s_gets_the_whole_file(app, large, name):
    sent: list[dict[str, Any]] = []

    async def send(message):
        sent.append(message)

    call = app({**SCOPE, "path": f"/media/{name}"}, None, send)
    with pytest.raises(StopIteration):
        call.send(None)  # as every loop does; none is running
    assert sent[0]["status"] == 200
    assert b"".join(message["body"] for message in sent[1:]) == large.with_name(name).read_bytes()


async def tick(beat):
    while True:
        beat.set()
        await asyncio.sleep(0.001)


def test_a_visitor_who_hangs_up_on_a_real_server_stops_the_reading(app, large, monkeypatch):
    os.truncate(large, 0)
    os.truncate(large, 400 * CHUNK)  # a hole of 100 MB: more than all buffers between
    reads, read = [], MediaFile.read
    monkeypatch.setattr(MediaFile, "read", lambda *args: reads.append(args) or read(*args))
    finished = threading.Event()

    async def noted(scope, receive, send):
        await app(scope, receive, send)
        finished.set()

    with on_uvicorn(noted, lifespan="off") as address:
        with socket.create_connection(address, 10) as connection:
            connection.sendall(b"GET /media/large.jpg HTTP/1.1\r\nHost: site\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        until(finished.is_set, 30)
    assert 0 < len(reads) < 300


# Through a real server, with paths that no client tidies up.


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """A site on uvicorn, with secrets around its storage: its address."""
    root = tmp_path_factory.mktemp("scanned")
    for place in (root / "secret.jpg", root / "shoe.jpg", root.parent / "secret.jpg"):
        place.write_bytes(SECRET)
    made = make_images(root)
    (root / "media" / "up").symlink_to(root)
    with on_uvicorn(EasyImgMiddleware(beneath, made), lifespan="off") as address:
        yield address
    made.close()


def ask(address, target: bytes) -> bytes:
    """Return what a server says to one raw request."""
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET " + target + b" HTTP/1.0\r\nHost: shop\r\n\r\n")
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


UP = ["..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "..%00", "..;", "up", "up/media/..", "....//", "%c0%ae%c0%ae"]
SLASH = ["/", "%2f", "%2F", "%252f", "\\", "%5c", "%255c", "//", "/./", "%c0%af", "/%2e/"]
FILES = ["secret.jpg", "shoe.jpg", "rows.db", "etc/passwd", "secret.jpg%00.jpg", "secret.jpg?x.jpg", "secret.jpg;.png"]


def test_a_server_sends_what_it_may(scanned):
    assert ask(scanned, b"/media/shoe.jpg").startswith(b"HTTP/1.1 200")


@pytest.mark.slow
@hypothesis.settings(max_examples=150)
@hypothesis.given(
    steps=st.lists(st.tuples(st.sampled_from(UP), st.sampled_from(SLASH)), min_size=1, max_size=8),
    file=st.sampled_from(FILES),
    start=st.sampled_from(["", "/", "img/", "file://", "C:\\", "//127.0.0.1/", "memory://", "x/"]),
)
def test_a_scanner_gets_nothing_from_outside(scanned, steps, file, start):
    target = f"/media/{start}" + "".join(up + slash for up, slash in steps) + file
    answer = ask(scanned, target.encode())
    assert SECRET not in answer
    assert b"SQLite format" not in answer
    assert b"root:" not in answer
    assert answer.split(b" ", 2)[1] in (b"404", b"400"), answer[:200]


@pytest.mark.slow
@hypothesis.settings(max_examples=150)
@hypothesis.given(name=st.text(max_size=60))
def test_any_name_is_refused_or_a_picture_inside(scanned, name):
    answer = ask(scanned, b"/media/" + urllib.parse.quote(name, safe="", errors="surrogatepass").encode())
    assert SECRET not in answer
    assert answer.split(b" ", 2)[1] == b"404" or (name == "shoe.jpg" and answer.startswith(b"HTTP/1.1 200"))
