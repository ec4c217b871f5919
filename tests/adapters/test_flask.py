"""What the Flask extension covers so far: config, the app's own EasyImg, img() in its templates."""

import pytest
from flask import Flask, render_template_string

from easyimg import Img
from easyimg.build import drain
from easyimg.errors import ConfigError
from easyimg.testing import images
from easyimg_flask import EasyImg

PAGE = '{{ img("shoe.jpg", width=30, alt="Red shoe") }}'


def make_app(root, **config):
    root.mkdir(exist_ok=True)
    (root / "shoe.jpg").write_bytes(images.photo(300, 200))
    app = Flask("shop")
    app.config.update(
        EASYIMG_STORAGES={"default": f"file://{root}"},
        EASYIMG_METADATA=f"sqlite:///{root}/rows.db",
        EASYIMG_QUEUE="none",
        EASYIMG_ISOLATION="never",
        **config,
    )
    return app


def test_a_page_shows_the_source_and_then_its_variants(tmp_path):
    app = make_app(tmp_path / "media")
    extension = EasyImg(app)
    with app.app_context():
        assert '<img src="/media/shoe.jpg"' in render_template_string(PAGE)
        assert drain(extension.core).built == 3
        assert render_template_string(PAGE).count("/media/img/") == 3
        assert str(Img(width=30)("shoe.jpg")).count("/media/img/") == 3
        extension.core.close()


def test_two_applications_in_one_process_do_not_cross(tmp_path):
    extension, apps = EasyImg(), []
    for name in ("one", "two"):
        app = make_app(tmp_path / name, EASYIMG_BASE_URLS={"default": f"/{name}/"})
        extension.init_app(app)
        apps.append(app)
    for app, name in zip(apps, ("one", "two"), strict=True):
        with app.app_context():
            assert f'<img src="/{name}/shoe.jpg"' in render_template_string(PAGE)
            extension.core.close()


def test_a_wrong_config_name_is_refused_at_start(tmp_path):
    app = make_app(tmp_path / "media", EASYIMG_STORAGE="x")
    with pytest.raises(ConfigError, match="unknown setting 'EASYIMG_STORAGE'; did you mean 'EASYIMG_STORAGES'"):
        EasyImg(app)


def test_a_forgotten_init_app_is_named():
    with pytest.raises(ConfigError, match="no Flask application context"):
        EasyImg().core  # noqa: B018
    with Flask("shop").app_context(), pytest.raises(ConfigError, match=r"init_app\(app\) was not called for 'shop'"):
        EasyImg().core  # noqa: B018
