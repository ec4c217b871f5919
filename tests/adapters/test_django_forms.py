"""The form field and its widget: what is refused with which words, what is shown, what is stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg
from easyimg.drain import drain
from easyimg.testing import images
from tests.adapters import django_site
from tests.counting import Bell

django_site.start()

from django import forms  # noqa: E402 - needs a Django that is set up
from django.core.files.base import ContentFile  # noqa: E402
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile  # noqa: E402
from django.db import connections  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from easyimg_django.forms import ImageField, ImageInput  # noqa: E402
from tests.adapters.shop.models import Note, Product  # noqa: E402


class PhotoForm(forms.Form):
    photo = ImageField()


class ProductForm(forms.ModelForm):
    class Meta:
        model = Product
        fields = ("name", "photo", "boxed")
        field_classes = {"photo": ImageField, "boxed": ImageField}  # noqa: RUF012 - Django's own form


@pytest.fixture
def make_site(sqlite_alias: str, tmp_path: Path, use_settings: Callable[..., EasyImg]) -> Callable[..., EasyImg]:
    """Return a function that makes the site's settings, with Django's own storages."""
    django_site.empty(sqlite_alias)

    def make(**settings: Any) -> EasyImg:
        given = {"METADATA": f"django:{sqlite_alias}", "QUEUE": Bell(), "ISOLATION": "never", **settings}
        return use_settings(EASYIMG=given, MEDIA_ROOT=str(tmp_path / "media"))

    return make


@pytest.fixture
def site(make_site: Callable[..., EasyImg]) -> EasyImg:
    return make_site()


def upload(data: bytes, name: str = "photo.jpg") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data, "image/jpeg")


def errors_of(data: bytes, name: str = "photo.jpg") -> list[str]:
    return PhotoForm({}, {"photo": upload(data, name)}).errors.get("photo", [])


# The field.


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "gif", "avif", "tiff"])
def test_allowed_pictures_are_taken_as_they_are(site: EasyImg, format: str) -> None:
    data = images.photo(60, 40, format=format)
    form = PhotoForm({}, {"photo": upload(data, f"photo.{format}")})
    assert form.errors == {}
    assert form.cleaned_data["photo"].read() == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>", "This picture cannot be used: the content is not a known image format; allowed: jpeg, png"),
        (b"%PDF-1.7", "This picture cannot be used: found pdf; allowed: jpeg, png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "This picture cannot be used: found svg; allowed: jpeg"),
        (b"\xff\xd8\xff nothing", "This picture cannot be used: "),
        (images.photo(60, 40)[:80], "This picture cannot be used: "),
        (b"", "The submitted file is empty."),
    ],
)
def test_what_is_no_allowed_picture_is_refused_in_a_line(site: EasyImg, data: bytes, message: str) -> None:
    (told,) = errors_of(data)
    assert told.startswith(message)
    assert "\n" not in told


def test_the_limits_of_the_settings_hold(make_site: Callable[..., EasyImg]) -> None:
    make_site(MAX_SIDE=100, MAX_BYTES=30_000)
    assert errors_of(images.photo(101, 20)) == [
        "This picture cannot be used: 101 x 20 pixels; no side may be longer than 100."
    ]
    assert errors_of(bytes(30_001)) == [
        "This picture cannot be used: more than 30,000 bytes, which is what is allowed at most."
    ]
    assert errors_of(images.photo(100, 20)) == []


def test_a_picture_is_checked_in_a_child_process_where_builds_are(make_site: Callable[..., EasyImg]) -> None:
    make_site(ISOLATION="always")
    assert errors_of(images.photo(60, 40)) == []
    assert len(errors_of(b"\xff\xd8\xff nothing")) == 1


@pytest.mark.parametrize("name", ["page.html", "logo.svg", "photo", "photo.jpg.exe"])
def test_a_picture_that_is_called_something_else_is_refused(site: EasyImg, name: str) -> None:
    (told,) = errors_of(images.photo(60, 40), name)
    assert told.startswith(f"This picture cannot be used: the name '{name}' does not end like that of jpeg, png")


def test_an_upload_on_disk_is_read_once_and_left_at_its_beginning(site: EasyImg) -> None:
    data = images.photo(60, 40)
    with TemporaryUploadedFile("photo.jpg", "image/jpeg", len(data), None) as file:
        file.write(data)
        file.seek(7)
        form = PhotoForm({}, {"photo": file})
        assert form.errors == {}
        assert form.cleaned_data["photo"].read() == data


def test_an_upload_that_is_missing_or_not_needed_is_django_s_own_affair(site: EasyImg) -> None:
    assert PhotoForm({}, {}).errors["photo"] == ["This field is required."]
    assert ImageField(required=False).clean(None) is None


# In forms of models.


@pytest.fixture
def product(site: EasyImg) -> Iterator[Product]:
    with connections["default"].schema_editor() as editor:
        editor.create_model(Product)
    saved = Product(name="Shoe")
    saved.photo.save("shoe.jpg", ContentFile(images.photo(300, 200)))
    yield saved
    with connections["default"].schema_editor() as editor:
        editor.delete_model(Product)


def test_a_form_stores_what_passed_and_nothing_else(site: EasyImg, product: Product, tmp_path: Path) -> None:
    stored = tmp_path / "media" / "photos"
    refused = ProductForm({"name": "Boot"}, {"photo": upload(b"no", "boot.jpg")})
    assert not refused.is_valid()
    assert [p.name for p in stored.iterdir()] == ["shoe.jpg"]
    taken = ProductForm({"name": "Boot"}, {"photo": upload(images.photo(60, 40), "boot.jpg")})
    assert taken.save().photo.name == "photos/boot.jpg"
    assert sorted(p.name for p in stored.iterdir()) == ["boot.jpg", "shoe.jpg"]


def test_a_stored_picture_can_be_kept_replaced_and_cleared(site: EasyImg, product: Product) -> None:
    kept = ProductForm({"name": "Shoe"}, {}, instance=product)
    assert kept.save().photo.name == "photos/shoe.jpg"
    replaced = ProductForm({"name": "Shoe"}, {"photo": upload(images.photo(60, 40), "new.jpg")}, instance=product)
    assert replaced.save().photo.name == "photos/new.jpg"
    cleared = ProductForm({"name": "Shoe", "photo-clear": "on"}, {}, instance=product)
    assert cleared.is_valid(), cleared.errors
    assert cleared.save().photo.name == ""


# The widget.


def html_of(form: Any, field: str = "photo") -> str:
    return str(form[field])


def test_the_stored_picture_is_shown_and_the_original_until_its_thumbnail_is_built(
    site: EasyImg, product: Product
) -> None:
    first = html_of(ProductForm(instance=product))
    assert '<img src="/media/photos/shoe.jpg"' in first
    drain(site)
    second = html_of(ProductForm(instance=product))
    assert re.search(r'<img src="/media/img/\w+\.\w+\.webp" alt="" width="120" height="80"', second)
    assert 'Currently: <a href="/media/photos/shoe.jpg">photos/shoe.jpg</a>' in second
    assert 'name="photo-clear"' in second


def test_a_picture_costs_one_query_and_none_while_it_is_remembered(
    site: EasyImg, product: Product, sqlite_alias: str
) -> None:
    html_of(ProductForm(instance=product))
    drain(site)
    site.cache.clear()
    numbers = []
    for _ in range(2):
        with CaptureQueriesContext(connections[sqlite_alias]) as captured:
            html_of(ProductForm(instance=product))
        numbers.append(len(captured))
    assert numbers == [1, 0]


def test_the_dialogue_offers_the_formats_of_the_settings(make_site: Callable[..., EasyImg]) -> None:
    make_site(FORMATS=["png", "webp"])
    assert 'accept="image/png,image/webp"' in html_of(PhotoForm())
    widget = ImageInput(attrs={"accept": "image/*"})
    assert 'accept="image/*"' in widget.render("photo", None)


def test_names_are_escaped(site: EasyImg) -> None:
    product = Product(photo="photos/<b>&.jpg")
    rendered = html_of(ProductForm(instance=product))
    assert "<b>" not in rendered
    assert "photos/&lt;b&gt;&amp;.jpg" in rendered


def test_a_chosen_file_that_was_refused_leaves_the_stored_picture_alone(site: EasyImg, product: Product) -> None:
    form = ProductForm({"name": "x"}, {"photo": upload(b"no")}, instance=product)
    assert not form.is_valid()
    rendered = html_of(form)
    assert "photo.jpg" not in rendered, "a browser does not send it again"


def test_a_file_in_a_storage_without_urls_is_named_without_a_link(
    site: EasyImg, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product.photo.storage._wrapped, "base_url", None)
    rendered = html_of(ProductForm(instance=product))
    assert "Currently: photos/shoe.jpg" in rendered
    assert "<a " not in rendered


def test_a_picture_of_a_storage_that_only_its_field_has_is_shown(site: EasyImg, product: Product) -> None:
    product.boxed.save("box.jpg", ContentFile(images.photo(80, 60)))
    assert re.search(r'<img src="/shelf/boxed/box\w*\.jpg"', html_of(ProductForm(instance=product), "boxed"))


def test_what_easyimg_cannot_know_is_shown_without_a_picture(site: EasyImg, caplog: Any) -> None:
    class Remote:
        url = "https://example.com/a.jpg"

        def __str__(self) -> str:
            return "a.jpg"

    rendered = ImageInput().render("photo", Remote())
    assert '<a href="https://example.com/a.jpg">a.jpg</a>' in rendered
    assert "<img" not in rendered
    assert "is not a source" in caplog.text


def test_a_file_that_is_no_picture_is_shown_without_one_once_that_is_known(site: EasyImg, product: Product) -> None:
    Path(product.photo.path).write_bytes(b"no")
    html_of(ProductForm(instance=product))
    drain(site)
    rendered = html_of(ProductForm(instance=product))
    assert "<img" not in rendered
    assert "photos/shoe.jpg" in rendered


def test_the_field_works_for_plain_file_fields_too(site: EasyImg) -> None:
    class NoteForm(forms.ModelForm):
        class Meta:
            model = Note
            fields = ("paper",)
            field_classes = {"paper": ImageField}  # noqa: RUF012 - Django's own form

    assert NoteForm({}, {"paper": upload(b"no")}).errors["paper"]
    assert NoteForm({}, {"paper": upload(images.photo(60, 40))}).errors == {}


def test_nothing_of_it_is_inline_and_its_files_are_there(site: EasyImg) -> None:
    media = str(PhotoForm().media)
    found = re.findall(r'(?:src|href)="/static/(easyimg_django/[^"]+)"', media)
    folder = Path(__file__).parents[2] / "easyimg_django" / "static"
    assert len(found) == 2
    assert all((folder / name).is_file() for name in found)
    rendered = unescape(html_of(PhotoForm()))
    assert " style=" not in rendered
    assert "<script" not in rendered
