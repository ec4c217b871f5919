"""How long pages may be kept that still wait for files."""

from __future__ import annotations

import pytest
from flask import Flask, get_template_attribute, make_response, render_template_string, stream_template_string
from jinja2 import DictLoader

from easyimg import ImageBatch, Img
from easyimg_flask import EasyImg
from tests.adapters.flask_site import build, core_of, make_app, media

PAGE = '{{ img("shoe.jpg", width=30, alt="") }}'


def with_page(app: Flask, template: str = PAGE, **headers: str) -> Flask:
    @app.get("/")
    def page():
        answer = make_response(render_template_string(template))
        answer.headers.update(headers)
        return answer

    return app


def asked(app: Flask, path: str = "/"):
    return app.test_client().get(path).headers


def test_a_page_that_waits_is_kept_briefly_and_then_as_the_site_says(tmp_path):
    said = {"Cache-Control": "public, max-age=3600", "ETag": '"by-date"'}
    app = with_page(make_app(tmp_path), **said)
    waiting = asked(app)
    assert waiting["Cache-Control"] == "public, max-age=10"
    assert "ETag" not in waiting
    build(app)
    ready = asked(app)
    assert {name: ready[name] for name in said} == said
    core_of(app).close()


def test_a_page_without_images_is_left_alone(tmp_path):
    app = with_page(make_app(tmp_path), "<p>No picture</p>", **{"Cache-Control": "public, max-age=3600"})
    assert asked(app)["Cache-Control"] == "public, max-age=3600"


def test_a_picture_that_was_given_up_is_not_waited_for(tmp_path):
    app = with_page(make_app(tmp_path), **{"Cache-Control": "public, max-age=3600"})
    (tmp_path / "media" / "shoe.jpg").write_bytes(b"no picture")
    asked(app)
    build(app)
    assert asked(app)["Cache-Control"] == "public, max-age=3600"


@pytest.mark.parametrize(("age", "expected"), [(0, "public, max-age=0"), (60, "public, max-age=60")])
def test_a_site_says_how_long(tmp_path, age, expected):
    app = make_app(tmp_path, EASYIMG_PENDING_MAX_AGE=age)
    assert asked(with_page(app, **{"Cache-Control": "public, max-age=3600"}))["Cache-Control"] == expected


def test_a_site_can_opt_out(tmp_path):
    app = make_app(tmp_path, EASYIMG_PENDING_MAX_AGE=None)
    assert asked(with_page(app, **{"Cache-Control": "public, max-age=3600"}))["Cache-Control"] == "public, max-age=3600"
    assert "Cache-Control" not in asked(with_page(make_app(tmp_path / "2", EASYIMG_PENDING_MAX_AGE=None)))


def test_what_the_site_s_own_handlers_say_last_is_shortened_too(tmp_path):
    before, after = Flask("shop"), []

    @before.after_request
    def early(answer):
        answer.headers["Cache-Control"] = "public, max-age=3600"
        return answer

    before.config.update(EASYIMG_METADATA=f"sqlite:///{tmp_path}/rows.db", EASYIMG_QUEUE="none")
    before.config.update(EASYIMG_STORAGES=f"file://{tmp_path}")
    EasyImg(before)

    @before.after_request
    def late(answer):
        after.append(True)
        answer.headers["CDN-Cache-Control"] = "max-age=3600"
        return answer

    found = asked(with_page(before))
    assert (found["Cache-Control"], found["CDN-Cache-Control"], after) == (
        "public, max-age=10",
        "max-age=10",
        [True],
    )


def test_images_of_a_view_count_as_well(tmp_path):
    app = make_app(tmp_path)

    @app.get("/api")
    def api():
        shown = media.img("shoe.jpg", width=30, alt="").as_dict()
        return {**shown, "waits": media.is_waiting}, {"Cache-Control": "max-age=3600"}

    answer = app.test_client().get("/api")
    assert answer.json["waits"] is True
    assert answer.headers["Cache-Control"] == "max-age=10"
    build(app)
    answer = app.test_client().get("/api")
    assert answer.json["waits"] is False
    assert answer.headers["Cache-Control"] == "max-age=3600"
    core_of(app).close()


IMG = "img('shoe.jpg', width=30, alt='')"
SAID = {"Cache-Control": "public, max-age=3600"}


def own_batch():
    batch = ImageBatch()
    return {"shown": [Img(batch=batch, width=30)("shoe.jpg", alt="").as_dict()]}


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda: str(Img(width=30)("shoe.jpg", alt="")), id="text"),
        pytest.param(lambda: {"url": Img(width=30)("shoe.jpg", alt="").base_url()}, id="url"),
        pytest.param(own_batch, id="own batch"),
        pytest.param(lambda: render_template_string("{{ x ~ '' }}", x=Img(width=30)("shoe.jpg", alt="")), id="handed"),
        pytest.param(lambda: str(get_template_attribute("macros.html", "m")()), id="macro"),
    ],
)
def test_whatever_shows_an_image_that_waits_is_kept_briefly(tmp_path, view):
    app = make_app(tmp_path)
    app.jinja_loader = DictLoader({"macros.html": f"{{% macro m() %}}{{{{ {IMG} }}}}{{% endmacro %}}"})
    app.get("/")(lambda: (view(), SAID))
    assert asked(app)["Cache-Control"] == "public, max-age=10"
    build(app)
    assert asked(app)["Cache-Control"] == "public, max-age=3600"
    core_of(app).close()


def test_what_a_page_builds_itself_is_not_waited_for(tmp_path):
    app = make_app(tmp_path, EASYIMG_PENDING="build")
    page = "{{ img('shoe.jpg', width=30, alt='', densities=[], format='jpeg', build='all') }}"
    assert asked(with_page(app, page, **SAID))["Cache-Control"] == "public, max-age=3600"
    core_of(app).close()


def test_requests_inside_one_application_context_do_not_share_what_they_show(tmp_path):
    """As many test suites have it: ``with app.app_context():`` around the client."""
    app = make_app(tmp_path)
    app.add_url_rule("/none", "none", lambda: ("no picture", SAID))
    app.add_url_rule("/waits", "waits", lambda: (render_template_string(PAGE), SAID))

    @app.get("/batch")
    def batch():
        media.img("shoe.jpg", width=30, alt="")
        return str(len(media.batch))

    client = app.test_client()
    with app.app_context():
        assert client.get("/waits").headers["Cache-Control"] == "public, max-age=10"
        assert client.get("/none").headers["Cache-Control"] == "public, max-age=3600"
        assert [client.get("/batch").text for _ in range(2)] == ["1", "1"]
        assert not media.is_waiting
    core_of(app).close()


def test_the_flag_tells_a_page_cache_of_the_site_s_own(tmp_path):
    app = make_app(tmp_path)
    kept: dict[str, str] = {}

    @app.get("/")
    def page():
        html = kept.get("/") or render_template_string(PAGE)
        if not media.is_waiting:
            kept["/"] = html
        return html

    asked(app)
    assert kept == {}
    build(app)
    asked(app)
    assert kept["/"].count("/media/img/") == 3
    core_of(app).close()


def test_a_streamed_page_has_sent_its_headers_already(tmp_path):
    app = make_app(tmp_path)

    @app.get("/")
    def page():
        return app.response_class(stream_template_string(PAGE), headers={"Cache-Control": "max-age=3600"})

    answer = app.test_client().get("/")
    assert answer.headers["Cache-Control"] == "max-age=3600"
    assert "/media/shoe.jpg" in answer.text
    core_of(app).close()


def test_pages_of_another_application_do_not_count(tmp_path):
    """A page of one that is rendered while another one answers, as tools for both do."""
    one, two = make_app(tmp_path / "1"), make_app(tmp_path / "2")

    @one.get("/")
    def page():
        html = two.jinja_env.from_string(PAGE).render()
        return html, {"Cache-Control": "max-age=3600"}

    assert asked(one)["Cache-Control"] == "max-age=3600"
