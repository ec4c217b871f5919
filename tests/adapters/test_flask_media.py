"""Local media served by a Flask application: what is sent, how it may be kept, and what nobody gets."""

from __future__ import annotations

import os
import socket
import threading
import urllib.parse

import hypothesis
import pytest
from flask import Flask, render_template_string, session
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import strategies as st
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server
from werkzeug.test import Client

from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing import images
from easyimg_flask import EasyImg
from tests.adapters.flask_site import build, core_of, make_app
from tests.counting import Statements

SECRET = b"nobody may read this"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'


@pytest.fixture
def app(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(SECRET)
    made = make_app(tmp_path)
    yield made
    core_of(made).close()


def fetch(app: Flask, url: str, **options):
    """Return an answer with its content read."""
    with app.test_client().open(url, **options) as answer:
        answer.get_data()
    return answer


def variant_url(app: Flask) -> str:
    """Build a picture and return the URL of its base file."""
    with app.test_request_context():
        render_template_string('{{ img("shoe.jpg", width=30, alt="") }}')
        build(app)
        return str(render_template_string('{{ img_url("shoe.jpg", width=30) }}'))


def test_a_variant_may_be_kept_for_ever(app, tmp_path):
    url = variant_url(app)
    answer = fetch(app, url)
    assert answer.data == (tmp_path / "media" / url.removeprefix("/media/")).read_bytes()
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["ETag"] == f'"{url.rpartition("/")[2].removesuffix(".jpg")}"'
    assert "Content-Disposition" not in answer.headers
    assert "Expires" not in answer.headers


def test_an_original_may_be_kept_for_minutes(app, tmp_path):
    answer = fetch(app, "/media/shoe.jpg")
    assert answer.data == (tmp_path / "media" / "shoe.jpg").read_bytes()
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    before = answer.headers["ETag"]
    (tmp_path / "media" / "shoe.jpg").write_bytes(images.photo(50, 50))
    assert fetch(app, "/media/shoe.jpg").headers["ETag"] != before


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=99999999-", 416, None),
        ("lines=1-2", 416, None),
    ],
)
@pytest.mark.parametrize("kind", ["local", "memory"])
def test_ranges(tmp_path, kind, asked, status, part):
    app = make_app(tmp_path, **(MEMORY if kind == "memory" else {}))
    data = images.photo(90, 60)
    core_of(app).storage("default").write("a.jpg", data, "image/jpeg")
    answer = fetch(app, "/media/a.jpg", headers={"Range": asked})
    assert answer.status_code == status
    if part is not None:
        assert answer.data == data[part]
    if status == 206:
        start, stop, _ = part.indices(len(data))
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(data)}"
        assert answer.headers["Accept-Ranges"] == "bytes"
    else:
        assert answer.headers["Cache-Control"] == "no-store"


MEMORY = {"EASYIMG_STORAGES": {"default": "memory://flask-media"}, "EASYIMG_SERVE": ["default"]}


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_what_a_browser_has_already_is_not_sent_again(tmp_path, kind):
    app = make_app(tmp_path, **(MEMORY if kind == "memory" else {}))
    core_of(app).storage("default").write("shoe.jpg", images.photo(90, 60), "image/jpeg")
    url = variant_url(app)
    for path in (url, "/media/shoe.jpg"):
        first = fetch(app, path)
        again = fetch(app, path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
        assert fetch(app, path, headers={"If-None-Match": '"other"'}).status_code == 200
    core_of(app).close()


def test_head_tells_all_but_the_content(app):
    got, head = fetch(app, "/media/shoe.jpg"), fetch(app, "/media/shoe.jpg", method="HEAD")
    assert head.data == b""
    assert head.headers["Content-Length"] == str(len(got.data))
    for asked in ("bytes=0-9", "bytes=99999999-"):
        part = fetch(app, "/media/shoe.jpg", method="HEAD", headers={"Range": asked})
        assert (part.status_code, part.headers["Content-Length"]) == (200, str(len(got.data)))
    assert fetch(app, "/media/shoe.jpg", method="POST").status_code == 405


def refuse(*_args, **_kwargs):
    raise ConnectionRefusedError


def test_a_storage_that_does_not_answer_is_no_missing_picture(tmp_path, monkeypatch):
    app = make_app(tmp_path, **MEMORY)
    place = core_of(app).storage("default")
    place.write("shoe.jpg", images.photo(90, 60), "image/jpeg")
    url = variant_url(app)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "_open", refuse)
        patch.setattr(MemoryFileSystem, "cat_file", refuse)
        for name in (url, "/media/shoe.jpg"):
            answer = fetch(app, name)
            assert (answer.status_code, answer.headers["Cache-Control"]) == (503, "no-store")
    assert build(app) == 0, "nothing was reported as lost"
    assert fetch(app, url).status_code == 200
    core_of(app).close()


def test_a_file_that_goes_while_it_is_looked_for_is_not_found(app, monkeypatch):
    monkeypatch.setattr("easyimg_flask.media.send_file", refuse)
    assert fetch(app, "/media/shoe.jpg").status_code == 404


@pytest.mark.parametrize("pending", ["placeholder", "build"])
def test_originals_are_not_sent_where_no_page_shows_them(tmp_path, pending):
    app = make_app(tmp_path, EASYIMG_PENDING=pending)
    assert fetch(app, "/media/shoe.jpg").status_code == 404
    assert fetch(app, variant_url(app)).status_code == 200
    core_of(app).close()


def test_originals_are_sent_where_the_site_says_so_and_only_there(tmp_path):
    asked = make_app(tmp_path, EASYIMG_PENDING="placeholder", EASYIMG_SERVE_ORIGINALS=True)
    assert fetch(asked, "/media/shoe.jpg").status_code == 200
    refused = make_app(tmp_path, EASYIMG_SERVE_ORIGINALS=False)
    assert fetch(refused, "/media/shoe.jpg").status_code == 404


@pytest.mark.parametrize("pending", ["source", "placeholder"])
def test_an_svg_is_shown_in_pages_and_runs_no_script_when_opened(tmp_path, pending):
    app = make_app(tmp_path, EASYIMG_PENDING=pending)
    (tmp_path / "media" / "logo.svg").write_bytes(SVG)
    answer = fetch(app, "/media/logo.svg")
    assert answer.data == SVG
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert answer.headers["Content-Disposition"] == "attachment"
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert "sandbox" in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(
    "name", ["rows.db", "a.html", "a.js", "a.pdf", ".htpasswd", "jpg", ".jpg", "a.", "a.jpg.html", "A.PHP"]
)
def test_nothing_but_pictures_is_sent(app, tmp_path, name):
    (tmp_path / "media" / name).write_bytes(SECRET)
    assert fetch(app, f"/media/{name}").status_code == 404


@pytest.mark.parametrize(
    ("name", "mime"),
    [("A.JPG", "image/jpeg"), ("a b,ü.jpeg", "image/jpeg"), ("x.tiff", "image/tiff"), ("x.avif", "image/avif")],
)
def test_the_media_type_is_that_of_our_table(app, tmp_path, name, mime):
    (tmp_path / "media" / name).write_bytes(b"<script>")
    url = core_of(app).storage("default").url(name)
    assert fetch(app, url).headers["Content-Type"] == mime


def test_folders_pipes_and_files_that_are_not_there_are_not_found(app, tmp_path):
    (tmp_path / "media" / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "media" / "pipe.jpg")
    for name in ("folder.jpg", "folder.jpg/", "pipe.jpg", "none.jpg", "", "shoe.jpg/none.jpg"):
        assert fetch(app, f"/media/{name}").status_code == 404, name


def test_a_variant_that_was_lost_is_built_again_when_it_is_asked_for(app, tmp_path):
    url = variant_url(app)
    file = tmp_path / "media" / url.removeprefix("/media/")
    file.unlink()
    assert fetch(app, url).status_code == 404
    assert build(app) == 1
    assert fetch(app, url).data == file.read_bytes()
    with Statements(core_of(app)) as sent:
        for other in ("/media/none.jpg", "/media/img/none.jpg", "/media/../rows.db"):
            assert fetch(app, other).status_code == 404
    assert sent == [], "names that are no variant's cost no query"


def test_symbolic_links_lead_to_nothing_outside(app, tmp_path):
    inside = tmp_path / "media"
    (inside / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (inside / "up").symlink_to(tmp_path)
    (inside / "within.jpg").symlink_to(inside / "shoe.jpg")
    assert fetch(app, "/media/link.jpg").status_code == 404
    assert fetch(app, "/media/up/secret.jpg").status_code == 404
    assert fetch(app, "/media/within.jpg").status_code == 200


def storages(root):
    for alias in ("default", "public", "private", "cdn"):
        (root / alias).mkdir(parents=True, exist_ok=True)
        (root / alias / "a.jpg").write_bytes(images.photo(20, 20))
    return {
        "EASYIMG_STORAGES": {alias: f"file://{root}/{alias}" for alias in ("default", "public", "private", "cdn")},
        "EASYIMG_BASE_URLS": {"default": "/media/", "public": "/pub/", "cdn": "https://cdn.example.com/"},
    }


def test_only_storages_with_urls_on_this_host_are_served(tmp_path):
    app = make_app(tmp_path, **storages(tmp_path / "all"))
    found = {alias: fetch(app, f"/{path}/a.jpg").status_code for alias, path in PATHS.items()}
    assert found == {"default": 200, "public": 200, "private": 404, "cdn": 404}
    assert fetch(app, "/pub/../private/a.jpg").status_code == 404


PATHS = {"default": "media", "public": "pub", "private": "private", "cdn": "cdn"}


@pytest.mark.parametrize(
    ("serve", "expected"), [(["public"], {"public"}), (False, set()), ([], set()), (True, {"default", "public"})]
)
def test_a_site_names_the_storages_that_are_served(tmp_path, serve, expected):
    app = make_app(tmp_path, **storages(tmp_path / "all"), EASYIMG_SERVE=serve)
    assert {alias for alias, path in PATHS.items() if fetch(app, f"/{path}/a.jpg").status_code == 200} == expected


def test_a_private_storage_inside_a_served_folder_stays_private(tmp_path):
    made = storages(tmp_path / "all")
    outer = tmp_path / "all" / "default"
    for folder in ("private", "private-not"):
        (outer / folder / "deep").mkdir(parents=True)
        (outer / folder / "deep" / "a.jpg").write_bytes(images.photo(20, 20))
    (outer / "link.jpg").symlink_to(outer / "private" / "deep" / "a.jpg")
    made["EASYIMG_STORAGES"] |= {
        "private": f"file://{outer}/private",
        "cdn": f"file://{outer}/cdn",
        "whole": f"file://{outer.parent}",
    }
    app = make_app(tmp_path, **made)
    for name in ("private/deep/a.jpg", "private/deep/../deep/a.jpg", "img/../private/deep/a.jpg", "link.jpg"):
        assert fetch(app, f"/media/{name}").status_code == 404, name
    for name in ("a.jpg", "private-not/deep/a.jpg"):
        assert fetch(app, f"/media/{name}").status_code == 200, name
    core_of(app).close()


def test_a_storage_that_is_not_local_is_served_when_it_is_named_alone(tmp_path):
    app = make_app(tmp_path, **{**MEMORY, "EASYIMG_SERVE": True})
    core_of(app).storage("default").write("a.jpg", images.photo(20, 20), "image/jpeg")
    assert fetch(app, "/media/a.jpg").status_code == 404
    app = make_app(tmp_path, **MEMORY)
    assert fetch(app, "/media/a.jpg").status_code == 200


def test_a_storage_object_is_served_where_its_own_urls_say(tmp_path):
    objects = {"default": FsspecStorage(f"file://{tmp_path}/media", base_url="/files/")}
    app = make_app(tmp_path, EASYIMG_STORAGES=objects)
    assert fetch(app, "/files/shoe.jpg").status_code == 200
    assert fetch(app, "/media/shoe.jpg").status_code == 404


def test_an_application_below_a_path_serves_the_urls_that_its_pages_show(tmp_path):
    app = make_app(tmp_path, APPLICATION_ROOT="/shop", EASYIMG_BASE_URLS="/shop/media/")
    client = Client(DispatcherMiddleware(Flask("whole").wsgi_app, {"/shop": app.wsgi_app}))
    with client.get("/shop/media/shoe.jpg") as answer:
        assert answer.status_code == 200


def test_no_picture_carries_a_visitor_s_session(app):
    app.secret_key = "x"

    @app.get("/login")
    def login():
        session.permanent = True
        session["user"] = 7
        return ""

    @app.before_request
    def look():
        assert session.get("user") in (None, 7)

    client = app.test_client()
    client.get("/login")
    with client.get("/media/shoe.jpg") as answer:
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
        assert "Cookie" not in answer.headers.get("Vary", "")


def test_a_web_server_that_can_sends_the_file_itself(app, tmp_path):
    app.config["USE_X_SENDFILE"] = True
    answer = fetch(app, "/media/shoe.jpg")
    assert answer.headers["X-Sendfile"] == str(tmp_path / "media" / "shoe.jpg")
    assert answer.data == b""
    assert fetch(app, "/media/../secret.jpg").status_code == 404


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """An application behind a real server, with secrets around its storage: its address."""
    root = tmp_path_factory.mktemp("scanned")
    for place in (root / "secret.jpg", root / "shoe.jpg", root.parent / "secret.jpg"):
        place.write_bytes(SECRET)
    app = make_app(root)
    (root / "media" / "up").symlink_to(root)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield "127.0.0.1", server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def ask(address, target: bytes) -> bytes:
    """Return what a server says to one raw request; no client tidies the path up."""
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET " + target + b" HTTP/1.0\r\nHost: shop\r\n\r\n")
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


UP = [
    "..",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "..%00",
    "..;",
    "up",
    "up/media/..",
    "....//",
    "%c0%ae%c0%ae",
    "．．",
]
SLASH = ["/", "%2f", "%2F", "%252f", "\\", "%5c", "%255c", "//", "/./", "%c0%af", "/%2e/"]
FILES = ["secret.jpg", "shoe.jpg", "rows.db", "etc/passwd", "secret.jpg%00.jpg", "secret.jpg?x.jpg", "secret.jpg;.png"]


@pytest.mark.slow
@hypothesis.settings(max_examples=150)
@hypothesis.given(
    steps=st.lists(st.tuples(st.sampled_from(UP), st.sampled_from(SLASH)), min_size=1, max_size=8),
    file=st.sampled_from(FILES),
    start=st.sampled_from(["", "/", "img/", "file://", "C:\\", "//127.0.0.1/", "memory://", "x/"]),
)
def test_a_scanner_gets_nothing_from_outside(scanned, steps, file, start):
    target = f"/media/{start}" + "".join(up + slash for up, slash in steps) + file
    answer = ask(scanned, target.replace(" ", "%20").encode())
    assert SECRET not in answer
    assert b"SQLite format" not in answer
    assert b"root:" not in answer
    assert answer.split(b" ", 2)[1] in (b"404", b"308", b"400"), answer[:200]


@pytest.mark.slow
@hypothesis.settings(max_examples=150)
@hypothesis.given(name=st.text(max_size=60))
def test_any_name_is_refused_or_a_picture_inside(scanned, name):
    answer = ask(scanned, b"/media/" + urllib.parse.quote(name, safe="", errors="surrogatepass").encode())
    assert SECRET not in answer
    assert answer.split(b" ", 2)[1] in (b"404", b"308") or (name == "shoe.jpg" and answer.startswith(b"HTTP/1.1 200"))


def test_a_site_s_own_route_goes_first(tmp_path):
    app = Flask("shop")
    app.get("/media/<path:name>")(lambda name: f"mine: {name}")
    app.config.update(EASYIMG_METADATA=f"sqlite:///{tmp_path}/rows.db", EASYIMG_QUEUE="none")
    EasyImg(app)
    assert fetch(app, "/media/shoe.jpg").text == "mine: shoe.jpg"
