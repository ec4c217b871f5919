"""The words of the Django app in German: complete, compiled, and shown where Django shows them."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

import easyimg_django
from tests.adapters import django_site

django_site.start()

from django.apps import apps  # noqa: E402 - needs a Django that is set up
from django.core import checks  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.utils import translation  # noqa: E402
from django.utils.translation.template import templatize  # noqa: E402

from easyimg_django.models import Source, Variant  # noqa: E402

PACKAGE = Path(str(easyimg_django.__file__)).parent
GERMAN = PACKAGE / "locale" / "de" / "LC_MESSAGES"

FUNCTIONS: dict[str, Any] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
}


def words() -> Iterator[tuple[str, str]]:
    """Yield a file's name, and each word in it that is to be translated."""
    for path in (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")):
        data = path.read_bytes()
        if path.suffix == ".html":
            data = templatize(data.decode()).encode()
        for _line, message, _comments, _context in extract("python", BytesIO(data), FUNCTIONS):
            yield path.name, message if isinstance(message, str) else message[0]


def first(message: Any) -> str:
    """Return a message's word, or its singular."""
    return str(message.id if isinstance(message.id, str) else message.id[0])


def several(text: Any) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


@pytest.fixture
def german() -> Iterator[None]:
    with translation.override("de"):
        yield


def test_every_word_has_a_german_one(german: None) -> None:
    catalog = read_po(BytesIO((GERMAN / "django.po").read_bytes()))
    said = {first(message): message.string for message in catalog if message.id}
    # What Django's own apps say already (Home, Save) needs no second translation.
    ours = {word for _, word in words()}
    missing = {word for word in ours if not said.get(word) and translation.gettext(word) == word}
    assert not missing, f"add to {GERMAN}/django.po (django-admin makemessages -l de), then compilemessages"
    assert said.keys() - ours == set(), "said nowhere any more"
    assert len(ours) > 60


def test_the_compiled_words_are_those_of_the_text() -> None:
    text, compiled = (
        {
            first(message): several(message.string)
            for message in read(BytesIO((GERMAN / name).read_bytes()))
            if message.id
        }
        for read, name in ((read_po, "django.po"), (read_mo, "django.mo"))
    )
    assert compiled == text, "run django-admin compilemessages"


def test_the_words_of_models_are_german_where_the_site_is(german: None) -> None:
    assert str(apps.get_app_config("easyimg_django").verbose_name) == "Responsive Bilder"
    assert str(Source._meta.verbose_name_plural) == "Originalbilder"
    assert str(Variant._meta.get_field("due_at").verbose_name) == "fällig"
    assert Variant(status=2).get_status_display() == "erzeugt"
    with translation.override("en"):
        assert Variant(status=2).get_status_display() == "built"


def test_the_words_of_checks_are_german_where_the_site_is(german: None) -> None:
    found: dict[str, str] = {}
    for easyimg in ({"PRESETS": {"card": {"widht": 3}}}, {"QUEUE": "immediate"}):
        with override_settings(EASYIMG=easyimg, MEDIA_ROOT="/srv"):
            messages = checks.run_checks(tags=["easyimg"], include_deployment_checks=True)
        found |= {message.id: message.msg for message in messages}
    assert found["easyimg.E002"].startswith("Eine Vorgabe in EASYIMG ist nicht brauchbar: presets: 'card': unknown")
    assert found["easyimg.W010"] == "QUEUE ist 'immediate': Seiten warten, bis Bilder erzeugt sind."
