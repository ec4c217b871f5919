"""What ``--app`` and the environment may name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from easyimg import EasyImg
from easyimg.errors import ConfigError
from easyimg.loading import load_app

MODULE = """
from easyimg import EasyImg
app = EasyImg(storages={"default": "memory://a"}, queue="none")
class config:
    images = app
def create():
    return EasyImg(storages={"default": "memory://b"}, queue="none")
text = "no app"
def wrong():
    return 3
"""


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "loading_site.py").write_text(MODULE)
    (tmp_path / "loading_broken.py").write_text("import no_such_library\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield
    sys.modules.pop("loading_site", None)


def test_an_attribute_a_nested_one_or_a_factory_is_found() -> None:
    app = load_app("loading_site:app")
    assert isinstance(app, EasyImg)
    assert load_app("loading_site:config.images") is app
    assert load_app("loading_site:create").settings.storages == {"default": "memory://b"}


def test_the_environment_names_the_app_or_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASYIMG_QUEUE", "none")
    monkeypatch.setenv("EASYIMG_STORAGES", "memory://c")
    assert load_app().settings.storages == {"default": "memory://c"}
    monkeypatch.setenv("EASYIMG_APP", "loading_site:app")
    assert load_app() is load_app("loading_site:app")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("loading_site", "is not of the form 'package.module:attribute'"),
        (":app", "is not of the form"),
        ("loading_sit:app", "there is no module 'loading_sit'"),
        ("loading_site.sub:app", "there is no module 'loading_site.sub'"),
        ("loading_site:ap", r"no 'ap' in loading_site \(.*loading_site.py\); did you mean 'app'"),
        ("loading_site:text", "is 'no app', not an EasyImg"),
        ("loading_site:wrong", "is 3, not an EasyImg"),
    ],
)
def test_what_cannot_be_found_is_a_readable_error(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_app(spec)


def test_an_import_that_fails_inside_the_module_is_not_hidden() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_app("loading_broken:app")
