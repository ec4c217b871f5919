"""The status page and the health report: off by default, guarded, honest."""

from __future__ import annotations

import html
import re

import html5lib
import pytest
from flask import abort, render_template_string, request

from easyimg.testing import images
from tests.adapters.flask_site import build, core_of, make_app

TOKEN = "s3cret-token"
URLS = {"EASYIMG_STATUS_URL": "/admin/images", "EASYIMG_HEALTH_URL": "/health/images"}
ALLOWED = {"Authorization": f"Bearer {TOKEN}"}


def show(app, *names, width=30):
    with app.test_request_context():
        for name in names:
            render_template_string("{{ img(name, width=width, alt='') }}", name=name, width=width)


@pytest.fixture
def app(tmp_path):
    made = make_app(tmp_path, EASYIMG_STATUS_TOKEN=TOKEN, **URLS)
    (tmp_path / "media" / "<b>broken.jpg").write_bytes(images.photo(60, 40)[:400])
    show(made, "shoe.jpg", "<b>broken.jpg", "none.jpg")
    build(made)
    show(made, "shoe.jpg", width=40)
    yield made
    core_of(made).close()


def test_both_are_off_until_they_have_a_url(tmp_path):
    app = make_app(tmp_path)
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == {"static", "easyimg.media"}


@pytest.mark.parametrize("path", ["/admin/images", "/health/images"])
def test_nobody_gets_in_without_the_token(app, path):
    client = app.test_client()
    for sent in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"Authorization": "nonsense"}):
        answer = client.get(path, headers=sent)
        assert answer.status_code == 401, sent
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert "broken" not in answer.text
    assert client.get(path, auth=("anybody", "wörng")).status_code == 401
    assert client.get(path, headers=ALLOWED).status_code == 200
    assert client.get(path, auth=("anybody", TOKEN)).status_code == 200


def test_a_guard_lets_in_turns_away_or_sends_elsewhere(tmp_path):
    def guard():
        if request.args.get("user") == "nobody":
            return "log in first", 302, {"Location": "/login"}
        return None if request.args.get("user") == "admin" else abort(403)

    app = make_app(tmp_path, guard=guard, **URLS)
    codes = [app.test_client().get(f"/admin/images?user={user}").status_code for user in ("admin", "nobody", "eve")]
    assert codes == [200, 302, 403]
    assert app.test_client().get("/health/images").status_code == 403
    core_of(app).close()


def test_the_page_shows_numbers_errors_and_what_helps(app):
    answer = app.test_client().get("/admin/images", headers=ALLOWED)
    text = html.unescape(re.sub(r"<[^>]*>", " ", answer.text))
    assert re.search(r"built variants\s+3\s", text)
    assert re.search(r"queued\s+3\s", text)
    assert re.search(r"source errors\s+6\s", text)
    assert "SourceNotFound" in text
    assert "SourceUnreadable" in text
    assert "flask easyimg" in text
    html5lib.HTMLParser(strict=True).parse(answer.text)
    assert "<b>broken" not in answer.text, "names are escaped"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_report_is_that_of_the_command_with_a_verdict(app):
    report = app.test_client().get("/health/images", headers=ALLOWED).json
    assert report["status"] == "ok"
    assert report["counts"]["generated"] == 3
    assert report["counts"]["source_errors"] == 6
    assert {error["kind"] for error in report["errors"]} == {"SourceNotFound", "SourceUnreadable"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("fail_on_errors=6", 200),
        ("fail_on_errors=5", 503),
        ("fail_on_stale=1", 200),
        ("stale_after=60&fail_on_stale=0", 200),
        ("fail_on_errors=-1", 400),
        ("fail_on_errors=many", 400),
        ("fail_on_stale=yes", 400),
        ("stale_after=1e3", 400),
        ("fail_on_eros=1", 400),
    ],
)
def test_a_monitor_names_its_gates(app, query, code):
    answer = app.test_client().get(f"/health/images?{query}", headers=ALLOWED)
    assert answer.status_code == code
    if code == 503:
        assert answer.json["status"] == "failing"


def test_an_open_health_report_names_nothing(tmp_path):
    app = make_app(tmp_path, EASYIMG_HEALTH_URL="/health")
    show(app, "none.jpg")
    build(app)
    answer = app.test_client().get("/health")
    assert answer.json["counts"]["source_errors"] == 3
    assert "none.jpg" not in answer.text
    assert "errors" not in answer.json
    assert answer.headers["Cache-Control"] == "no-store"
    core_of(app).close()


def test_a_database_that_does_not_answer_is_reported_and_pages_go_on(tmp_path):
    nowhere = f"sqlite:///{tmp_path}/absent/rows.db"
    app = make_app(tmp_path, EASYIMG_METADATA=nowhere, EASYIMG_STATUS_TOKEN=TOKEN, **URLS)
    app.get("/")(lambda: render_template_string('{{ img("shoe.jpg", width=30, alt="") }}'))
    client = app.test_client()
    answer = client.get("/health/images", headers=ALLOWED)
    assert (answer.status_code, answer.json) == (503, {"status": "unavailable"})
    page = client.get("/admin/images", headers=ALLOWED)
    assert page.status_code == 503
    assert "does not answer" in page.text
    shown = client.get("/")
    assert "/media/shoe.jpg" in shown.text
    assert shown.headers["Cache-Control"] == "no-cache"
    core_of(app).close()
