"""The example ``docs/examples/flask_gallery``: what its visitors get, on its databases."""

from __future__ import annotations

import io

import pytest

from easyimg.testing import images
from tests.adapters.flask_site import build, core_of
from tests.adapters.gallery_site import load
from tests.counting import Statements


@pytest.fixture
def make_gallery(tmp_path, monkeypatch):
    """Return a function that makes the example's application in this process."""
    made = []

    def make(**variables):
        monkeypatch.setenv("GALLERY_DATA", str(tmp_path))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        app = load("flask").create_app(EASYIMG_QUEUE="none", EASYIMG_ISOLATION="never", EASYIMG_CACHE_SECONDS=0)
        assert app.test_cli_runner().invoke(args=["init-db"]).exit_code == 0
        assert app.test_cli_runner().invoke(args=["init-db"]).exit_code == 0, "it may be repeated"
        made.append(app)
        return app

    yield make
    for app in made:
        core_of(app).close()
        app.extensions["gallery"].dispose()


def upload(app, data=None, *, title="A shoe", name="IMG_0001.JPG"):
    data = images.photo(450, 600, orientation=6, gps=True) if data is None else data
    return app.test_client().post("/photos", data={"title": title, "picture": (io.BytesIO(data), name)})


@pytest.mark.parametrize("database", ["sqlite", "postgres_url"])
def test_a_visitor_uploads_lists_and_looks_closely(make_gallery, database, request):
    variables = {} if database == "sqlite" else {"DATABASE_URL": request.getfixturevalue(database)}
    app = make_gallery(**variables)
    client = app.test_client()
    assert "No picture yet" in client.get("/").text
    for number in range(3):
        answer = upload(app, title=f"Shoe <{number}>")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")

    page = client.get("/")
    assert page.text.count('src="data:image/svg+xml,') == 3
    assert page.text.count('width="300" height="225"') == 3
    assert page.headers["Cache-Control"] == "public, max-age=0, s-maxage=10"
    assert page.headers["Refresh"] == "2"
    assert build(app) == 9
    with Statements(core_of(app)) as sent:
        page = client.get("/")
    assert len(sent) == 1
    assert page.text.count("/media/img/") == 9
    assert 'alt="Shoe &lt;2&gt;"' in page.text
    assert page.headers["Cache-Control"] == "public, max-age=0, s-maxage=60"
    assert "Refresh" not in page.headers

    assert 'fetchpriority="high"' in client.get("/photos/2").text
    assert build(app) > 2
    assert "450w" in client.get("/photos/2").text
    for wrong in ("9", "0", "-1", "2147483648", "99999999999999999999", "9" * 5000):
        assert client.get(f"/photos/{wrong}").status_code == 404, wrong


@pytest.mark.parametrize("data", [b"", b"<html>", images.photo(60, 40)[:20]])
def test_what_is_no_picture_is_refused_with_a_reason(make_gallery, data):
    app = make_gallery()
    answer = upload(app, data)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "No picture yet" in answer.text


def files(folder):
    return [path for path in (folder / "media").rglob("*") if path.is_file()]


def test_an_upload_whose_row_is_not_kept_leaves_no_file_and_no_row(make_gallery, tmp_path):
    app = make_gallery()
    with app.extensions["gallery"].begin() as connection:
        connection.exec_driver_sql("CREATE TRIGGER full BEFORE INSERT ON photo BEGIN SELECT RAISE(FAIL, 'full'); END")
    assert upload(app).status_code == 500
    assert files(tmp_path) == []
    assert core_of(app).metadata.counts(stale_after=60).sources == 0


def test_a_fault_of_the_server_is_no_fault_of_the_picture(make_gallery, tmp_path):
    app = make_gallery()
    (tmp_path / "media").write_bytes(b"in the way of the folder")
    answer = upload(app)
    assert answer.status_code == 500
    assert str(tmp_path) not in answer.text


def test_a_form_without_a_file_or_with_one_too_large_is_refused(make_gallery):
    app = make_gallery()
    assert app.test_client().post("/photos", data={"title": "x"}).status_code == 400
    app.config["MAX_CONTENT_LENGTH"] = 1000
    answer = upload(app)
    assert answer.status_code == 413
    assert "more than 25 MB" in answer.text


def test_originals_are_never_sent(make_gallery, tmp_path):
    app = make_gallery()
    upload(app)
    (original,) = (tmp_path / "media" / "photos").iterdir()
    assert app.test_client().get(f"/media/photos/{original.name}").status_code == 404


def test_the_status_is_there_where_a_token_is_set(make_gallery):
    app = make_gallery(STATUS_TOKEN="secret")
    assert app.test_client().get("/health").status_code == 401
    assert app.test_client().get("/health", auth=("", "secret")).json["status"] == "ok"
