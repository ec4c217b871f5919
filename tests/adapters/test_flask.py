"""The Flask extension in applications: config, templates, views, several applications at once."""

from __future__ import annotations

import asyncio
import io
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask, jsonify, render_template_string, request, stream_template_string

import easyimg
from easyimg import Img
from easyimg.current import current_app
from easyimg.errors import ConfigError, EasyImgError, SpecError
from easyimg.signals import file_post_save, img_built, page_rendered
from easyimg.testing import images
from easyimg_flask import EasyImg
from tests.adapters.flask_site import build, core_of, make_app, media
from tests.counting import Statements

PAGE = '{{ img("shoe.jpg", width=30, alt="Red shoe") }}'


@pytest.fixture
def app(tmp_path):
    made = make_app(tmp_path)
    yield made
    core_of(made).close()


def get(app: Flask, path: str = "/") -> str:
    answer = app.test_client().get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_a_page_shows_the_source_and_then_its_variants(app):
    app.get("/")(lambda: render_template_string(PAGE))
    assert '<img src="/media/shoe.jpg"' in get(app)
    assert build(app) == 3
    html = get(app)
    assert html.count("/media/img/") == 3
    for url in html.replace('"', " ").replace(",", " ").split():
        if url.startswith("/media/"):
            with app.test_client().get(url) as answer:
                assert answer.status_code == 200


def test_all_globals_are_in_the_templates(app):
    app.get("/")(
        lambda: render_template_string(
            '{{ img_preload("shoe.jpg", width=30, loading="eager") }} {{ img_url("shoe.jpg", width=30) }}'
        )
    )
    assert 'rel="preload"' in get(app)
    assert get(app).endswith("/media/shoe.jpg")


@pytest.mark.parametrize("stream", [False, True])
def test_a_page_of_many_images_asks_the_rows_once(app, tmp_path, stream):
    names = [f"{n}.jpg" for n in range(40)]
    for name in names:
        (tmp_path / "media" / name).write_bytes(images.photo(60, 40))
    template = '{% for name in names %}{{ img(name, width=30, alt="") }}{% endfor %}'

    @app.get("/")
    def page():
        if stream:
            return app.response_class(stream_template_string(template, names=names))
        return render_template_string(template, names=names)

    get(app)
    assert build(app) == 120
    with Statements(core_of(app)) as sent:
        assert get(app).count("/media/img/") == 120
    assert len(sent) == 1


def test_views_and_their_templates_share_one_query(app, tmp_path):
    for n in range(5):
        (tmp_path / "media" / f"{n}.jpg").write_bytes(images.photo(60, 40))

    @app.get("/api")
    def api():
        shown = [media.img(f"{n}.jpg", width=30, alt=f"Shoe {n}") for n in range(5)]
        return jsonify([image.as_dict() for image in shown])

    @app.get("/page")
    def page():
        shown = [media.img(f"{n}.jpg", width=30, alt="") for n in range(4)]
        own = Img(batch=media.batch, width=30)("4.jpg", alt="")
        return render_template_string("{{ own }}{% for i in shown %}{{ i }}{% endfor %}", shown=shown, own=own)

    get(app, "/api")
    assert build(app) == 15
    with Statements(core_of(app)) as sent:
        shown = app.test_client().get("/api").json
    assert len(sent) == 1
    assert [item["alt"] for item in shown] == [f"Shoe {n}" for n in range(5)]
    assert all(item["src"].startswith("/media/img/") for item in shown)
    with Statements(core_of(app)) as sent:
        assert get(app, "/page").count("/media/img/") == 15
    assert len(sent) == 1


def test_no_image_of_one_request_is_in_the_batch_of_the_next(app):
    sizes = []

    @app.get("/")
    def page():
        media.img("shoe.jpg", width=30, alt="")
        sizes.append(len(media.batch))
        return ""

    get(app)
    get(app)
    assert sizes == [1, 1]


def test_images_in_views_take_presets_and_say_when_alt_is_missing(tmp_path):
    app = make_app(tmp_path, EASYIMG_PRESETS={"card": {"width": 30, "ratio": "square"}})
    with app.test_request_context():
        assert media.img("shoe.jpg", "card", alt="", img_class="round").as_dict()["width"] == 30
        with pytest.raises(EasyImgError, match="alt is missing"):
            media.img("shoe.jpg", "card")


def test_an_upload_of_a_form_is_taken_in_as_it_comes(app):
    @app.post("/")
    def upload():
        return media.core.save_upload(request.files["photo"], prefix="photos/").name

    with io.BytesIO(images.photo(60, 40)) as file:
        answer = app.test_client().post("/", data={"photo": (file, "../My shoe!.PHP")})
    assert answer.text.startswith("photos/my-shoe-")
    assert answer.text.endswith(".jpg")


def test_a_path_that_is_posted_as_text_is_not_read(app, tmp_path):
    @app.post("/")
    def upload():
        return media.core.save_upload(request.values["photo"], prefix="photos/").name

    app.register_error_handler(SpecError, lambda exc: (str(exc), 422))
    (tmp_path / "scan.jpg").write_bytes(images.photo(30, 20))
    answer = app.test_client().post("/", data={"photo": f"{tmp_path}/scan.jpg"})
    assert answer.status_code == 422
    assert "is text, which a visitor may have typed" in answer.text
    assert not (tmp_path / "media" / "photos").exists()


def test_a_wrong_config_name_is_refused_at_start(tmp_path):
    with pytest.raises(ConfigError, match="unknown setting 'EASYIMG_STORAGE'; did you mean 'EASYIMG_STORAGES'"):
        make_app(tmp_path, EASYIMG_STORAGE="x")
    with pytest.raises(ConfigError, match="unknown setting 'EASYIMG_STATUS_ULR'; did you mean 'EASYIMG_STATUS_URL'"):
        make_app(tmp_path, EASYIMG_STATUS_ULR="/x")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SERVE", "default", "EASYIMG_SERVE: 'default' is not True, False or a list of storages"),
        ("SERVE", ["defualt"], "EASYIMG_SERVE: no storage 'defualt'; did you mean 'default'"),
        ("SERVE_ORIGINALS", "no", "EASYIMG_SERVE_ORIGINALS: 'no' is not True, False or None"),
        ("PENDING_MAX_AGE", -1, "EASYIMG_PENDING_MAX_AGE: -1 is not in 0..86400"),
        ("PENDING_MAX_AGE", True, "EASYIMG_PENDING_MAX_AGE: True is not in 0..86400"),
        ("STATUS_URL", "admin", "EASYIMG_STATUS_URL: 'admin' is not a path"),
        ("STATUS_URL", "/images", "say who may see it with EASYIMG_STATUS_TOKEN or init_app"),
        ("STATUS_TOKEN", "", "EASYIMG_STATUS_TOKEN: is empty"),
        ("STATUS_TOKEN", 7, "EASYIMG_STATUS_TOKEN: 7 is not a text"),
        ("QUEUE", "threads", "queue: 'threads' is not known; did you mean 'thread'"),
    ],
)
def test_a_wrong_value_is_refused_at_start_in_one_line(tmp_path, name, value, message):
    with pytest.raises(ConfigError) as error:
        make_app(tmp_path, **{f"EASYIMG_{name}": value})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_status_page_and_the_health_report_need_different_urls(tmp_path):
    with pytest.raises(ConfigError, match="EASYIMG_HEALTH_URL: is the same as EASYIMG_STATUS_URL"):
        make_app(tmp_path, EASYIMG_STATUS_URL="/a", EASYIMG_HEALTH_URL="/a", EASYIMG_STATUS_TOKEN="x")


def test_a_storage_without_urls_on_this_host_cannot_be_served(tmp_path):
    with pytest.raises(ConfigError, match="EASYIMG_SERVE: 'default' has no base URL on this host"):
        make_app(tmp_path, EASYIMG_SERVE=["default"], EASYIMG_BASE_URLS="https://cdn.example.com/")


def test_config_comes_from_flask_s_own_environment_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASK_EASYIMG_STORAGES__default", f"file://{tmp_path}")
    monkeypatch.setenv("FLASK_EASYIMG_MAX_BYTES", "1000")
    monkeypatch.setenv("FLASK_EASYIMG_PENDING_MAX_AGE", "null")
    monkeypatch.setenv("FLASK_EASYIMG_QUEUE", "none")
    app = Flask("shop")
    app.config["EASYIMG_STORAGES"] = {}
    app.config.from_prefixed_env()
    EasyImg(app)
    settings = core_of(app).settings
    assert settings.storages == {"default": f"file://{tmp_path}"}
    assert (settings.max_bytes, settings.queue) == (1000, "none")


@pytest.mark.parametrize(("config", "expected"), [({}, False), ({"TESTING": True}, True), ({"DEBUG": True}, True)])
def test_pages_are_strict_in_debug_and_tests_alone(tmp_path, config, expected):
    assert core_of(make_app(tmp_path, **config)).settings.strict is expected
    quiet = make_app(tmp_path, EASYIMG_STRICT=not expected, **config)
    assert core_of(quiet).settings.strict is not expected


def test_a_forgotten_init_app_is_named():
    with pytest.raises(ConfigError, match="no Flask application context"):
        EasyImg().core  # noqa: B018
    with Flask("shop").app_context():
        for use in (lambda: EasyImg().core, lambda: EasyImg().img("shoe.jpg", alt=""), lambda: EasyImg().is_waiting):
            with pytest.raises(ConfigError, match=r"init_app\(app\) was not called for 'shop'"):
                use()


def test_a_forgotten_init_app_is_named_where_no_extension_is_used():
    EasyImg()
    with Flask("shop").app_context(), pytest.raises(ConfigError, match=r"easyimg_flask.EasyImg\(\).init_app\(app\)"):
        str(Img(width=30)("shoe.jpg", alt=""))


def test_an_application_without_the_extension_uses_the_process_default(tmp_path):
    default = easyimg.EasyImg(metadata=f"sqlite:///{tmp_path}/rows.db", queue="none")
    with default, Flask("shop").app_context():
        assert current_app() is default


def test_a_second_init_app_is_refused(app):
    with pytest.raises(ConfigError, match="was called for 'shop' already"):
        media.init_app(app)


def test_nothing_is_opened_or_started_by_init_app(tmp_path):
    before = threading.active_count()
    make_app(tmp_path, EASYIMG_QUEUE="thread")
    assert not (tmp_path / "rows.db").exists()
    assert threading.active_count() <= before


def test_signals_name_the_application_s_easyimg(app):
    told = []

    def note(sender, **found):
        told.append((sender, sorted(found)))

    signals = (file_post_save, img_built, page_rendered)
    app.get("/")(lambda: render_template_string(PAGE))
    for signal in signals:
        signal.connect(note, sender=core_of(app))
    try:
        core_of(app).save_upload(images.photo(60, 40))
        get(app)
        build(app)
    finally:
        for signal in signals:
            signal.disconnect(note, sender=core_of(app))
    assert {sender for sender, _ in told} == {core_of(app)}
    assert [names for _, names in told] == [["info", "source"], ["batch"], *[["built", "source"]] * 3]


def two_apps(tmp_path):
    """Two applications of one factory: other storages, rows, presets and URLs; a page that waits between its images."""
    made = []
    for name, colour in (("one", "red"), ("two", "blue")):
        app = make_app(
            tmp_path / name,
            name=name,
            EASYIMG_BASE_URLS={"default": f"/{name}/"},
            EASYIMG_PRESETS={"card": {"width": 30, "img_attrs": {"class": colour}}},
            EASYIMG_CACHE_SECONDS=10,
        )

        @app.get("/page")
        def page():
            html = render_template_string('{{ img("shoe.jpg", "card", alt="") }}|{{ img_url("shoe.jpg", "card") }}')
            return f"{html}{Img(width=40)('shoe.jpg', alt='')}{media.img('shoe.jpg', 'card', alt='').base_url()}"

        @app.get("/async")
        async def asynchronous():
            bound = media.img("shoe.jpg", "card", alt="")
            await asyncio.sleep(0.01)
            await media.batch.aload()
            return render_template_string("{{ bound }}|{{ img('shoe.jpg', 'card', alt='') }}", bound=bound)

        made.append((app, name, colour))
    return made


def test_two_applications_in_one_process_do_not_cross_in_threads_and_async_views(tmp_path):
    apps = two_apps(tmp_path)
    for app, _, _ in apps:
        get(app, "/page")
        assert build(app) == 6
    started = threading.Barrier(4)

    def visit(number):
        started.wait()
        for turn in range(10):
            app, name, colour = apps[(number + turn) % 2]
            other_name, other_colour = apps[(number + turn + 1) % 2][1:]
            for path in ("/page", "/async"):
                html = get(app, path)
                assert f"/{name}/img/" in html
                assert f'class="{colour}"' in html
                assert f"/{other_name}/" not in html
                assert other_colour not in html
                assert f"/{name}/shoe.jpg" not in html, "all is built"

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(visit, number) for number in range(4)]:
            future.result()
    for app, name, _ in apps:
        other = next(n for _, n, _ in apps if n != name)
        assert app.test_client().get(f"/{other}/shoe.jpg").status_code == 404
        core_of(app).close()


def test_an_async_environment_resolves_its_page_with_one_query(tmp_path):
    app = Flask("shop")
    app.jinja_options = {**app.jinja_options, "enable_async": True}
    (tmp_path / "shoe.jpg").write_bytes(images.photo(60, 40))
    app.config.update(EASYIMG_STORAGES=f"file://{tmp_path}", EASYIMG_METADATA=f"sqlite:///{tmp_path}/rows.db")
    app.config.update(EASYIMG_QUEUE="none", EASYIMG_ISOLATION="never", EASYIMG_CACHE_SECONDS=0)
    EasyImg(app)
    template = app.jinja_env.from_string(PAGE * 3)

    @app.get("/")
    async def page():
        return await template.render_async()

    get(app)
    assert build(app) == 3
    with Statements(core_of(app)) as sent:
        assert get(app).count("/media/img/") == 9
    assert len(sent) == 1
    core_of(app).close()
