"""What follows when files of Django models are saved, replaced and deleted: rows, variants, queries."""

from __future__ import annotations

import copy
import logging
import pickle
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg, ImageBatch, Img, current_app, process_queue
from easyimg.errors import SpecError
from easyimg.source import Source
from easyimg.testing import images
from easyimg.variant import VariantStatus
from tests.adapters import django_site

django_site.start()

import django  # noqa: E402 - all of this needs a Django that is set up
from django import forms  # noqa: E402
from django.apps import apps  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core import serializers  # noqa: E402
from django.core.files.base import ContentFile  # noqa: E402
from django.core.files.storage import FileSystemStorage, InMemoryStorage, default_storage  # noqa: E402
from django.core.files.uploadedfile import SimpleUploadedFile  # noqa: E402
from django.db import connections, models, transaction  # noqa: E402
from django.test import TestCase, override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from easyimg_django.hooks import delete_originals, listeners  # noqa: E402
from easyimg_django.models import Source as SourceRow  # noqa: E402
from easyimg_django.models import Variant  # noqa: E402
from easyimg_django.references import _defaults  # noqa: E402
from easyimg_django.signals import queued_img  # noqa: E402
from tests.adapters.shop.models import Kit, Note, Offer, Product  # noqa: E402

ALIASES = ["sqlite_alias", "postgres_alias", "mysql_alias"]
on_all = pytest.mark.parametrize("alias", ALIASES, indirect=True)


# Models that are made after Django was set up.


class Picture(models.Model):
    image = models.ImageField(upload_to="pictures/", blank=True)

    class Meta:
        abstract = True


class Poster(Picture):
    class Meta:
        app_label = "shop"


class Stamp(Picture):
    class Meta:
        app_label = "shop"


class Overwriting(FileSystemStorage):
    """Keeps names, as object stores do."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        self.delete(name)
        return name


class Sign(models.Model):
    face = models.ImageField(storage=Overwriting(), default="signs/plain.jpg")
    name = models.CharField(max_length=10, default="")

    class Meta:
        app_label = "shop"


class Frame(models.Model):
    """A model whose file is looked at whenever an instance is made."""

    image = models.ImageField(upload_to="frames/", width_field="width", height_field="height")
    width = models.IntegerField(null=True)
    height = models.IntegerField(null=True)

    class Meta:
        app_label = "shop"


class Bag(models.Model):
    """A model without files."""

    class Meta:
        app_label = "shop"


SHOP = (Product, Kit, Note, Poster, Stamp, Sign, Frame, Bag)
_made: set[str] = set()


class Everywhere:
    """Sends all models to one database."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return self.alias

    db_for_write = db_for_read


@pytest.fixture(scope="module", autouse=True)
def _forget_tables() -> Iterator[None]:
    yield
    _made.clear()


@pytest.fixture
def alias(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(getattr(request, "param", "sqlite_alias"))
    if name not in _made:
        django_site.make_tables(name, *SHOP)
        _made.add(name)
    django_site.empty(name)
    with connections[name].cursor() as cursor:
        for model in (Kit, *(model for model in SHOP if model is not Kit)):
            cursor.execute(f"DELETE FROM {model._meta.db_table}")
    return name


Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def site(alias: str, tmp_path: Path) -> Iterator[None]:
    """A site whose models and rows are in one database, and whose media are in ``tmp_path``."""
    easyimg = {"QUEUE": "none", "ISOLATION": "never", "CACHE_SECONDS": 0, "STRICT": False}
    with (
        override_settings(DATABASE_ROUTERS=[Everywhere(alias)], MEDIA_ROOT=str(tmp_path), EASYIMG=easyimg),
    ):
        yield
    listeners.clear()


@pytest.fixture
def announced() -> Iterator[list[str]]:
    """The names of sources that were announced, in order."""
    names: list[str] = []

    def hear(source: Source, **_: Any) -> None:
        names.append(source.name)

    queued_img.connect(hear)
    yield names
    queued_img.disconnect(hear)


def picture(width: int = 300, height: int = 200, **options: Any) -> bytes:
    return images.photo(width, height, **options)


def upload(name: str = "shoe.jpg", data: bytes | None = None) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture() if data is None else data)


def lay(tmp_path: Path, name: str, data: bytes | None = None) -> str:
    """Put a file into the media folder without Django."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture() if data is None else data)
    return name


def ordered(name: str | None = None) -> int:
    rows = Variant.objects.all() if name is None else Variant.objects.filter(source__name=name)
    return int(rows.count())


def sources() -> list[str]:
    return sorted(SourceRow.objects.values_list("name", flat=True))


def built(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "img").glob("*"))


class Undone(Exception):
    pass


@contextmanager
def undone(alias: str) -> Iterator[None]:
    """A transaction, or a savepoint, that is rolled back at its end."""
    with suppress(Undone), transaction.atomic(using=alias):
        yield
        raise Undone


# Saving.


@on_all
def test_a_saved_file_is_queued_and_its_size_is_known_at_once(alias: str, announced: list[str]) -> None:
    thumb = Img(width=30)
    thumb.queue(Product, fields=["photo"])
    product = Product.objects.create(photo=upload())
    assert (ordered(product.photo.name), announced) == (3, [product.photo.name])
    assert 'width="30" height="20"' in thumb(product.photo, alt="").as_html()
    assert process_queue() == 3
    assert thumb(product.photo, alt="").is_built


def _assign(product: Product) -> None:
    product.photo = upload()
    product.save()


def _field_file(product: Product) -> None:
    product.photo.save("shoe.jpg", ContentFile(picture()))


def _field_file_first(product: Product) -> None:
    product.photo.save("shoe.jpg", ContentFile(picture()), save=False)
    assert product.photo.url
    product.save()


def _path(product: Product) -> None:
    product.photo = default_storage.save("elsewhere/shoe.jpg", ContentFile(picture()))
    product.save()


def _only_that_field(product: Product) -> None:
    product.photo = upload()
    product.save(update_fields=["photo"])


def _form(product: Product) -> None:
    form = _ProductForm({"name": "x"}, {"photo": upload()}, instance=product)
    assert form.is_valid(), form.errors
    form.save()


def _update_or_create(product: Product) -> None:
    Product.objects.update_or_create(pk=product.pk, defaults={"photo": upload()})


def _deferred(product: Product) -> None:
    found = Product.objects.defer("photo").get(pk=product.pk)
    found.photo = upload()
    found.save()


def _known_key(product: Product) -> None:
    Product(pk=product.pk, photo=default_storage.save("shoe.jpg", ContentFile(picture()))).save()


def _pickled(product: Product) -> None:
    product.photo = "x.jpg"
    found = pickle.loads(pickle.dumps(Product.objects.get(pk=product.pk)))
    found.photo = upload()
    found.save()


class _ProductForm(forms.ModelForm):
    class Meta:
        model = Product
        fields = ("name", "photo")


WAYS = [
    _assign, _field_file, _field_file_first, _path, _only_that_field, _form, _update_or_create, _deferred, _known_key,
    _pickled,
]  # fmt: skip


@pytest.mark.parametrize("change", WAYS)
def test_every_way_to_save_a_file_is_noticed(change: Callable[[Product], None], announced: list[str]) -> None:
    Img(width=30).queue(Product)
    product = Product.objects.create(name="x")
    assert ordered() == 0
    change(product)
    name = Product.objects.get(pk=product.pk).photo.name
    assert name
    assert (ordered(name), announced) == (3, [name])


def _nothing(product: Product) -> None:
    pass


def _refreshed(product: Product) -> None:
    product.refresh_from_db()


def _refreshed_and_shown(product: Product) -> None:
    product.refresh_from_db()
    assert product.photo.url


def _same_object(product: Product) -> None:
    product.photo = product.photo


def _from_another_instance(product: Product) -> None:
    product.photo = Product.objects.get(pk=product.pk).photo


def _form_without_a_file(product: Product) -> None:
    form = _ProductForm({"name": "y"}, instance=product)
    assert form.is_valid()
    form.save(commit=False)


@pytest.mark.parametrize("same_name", [False, True], ids=["as made", "as loaded"])
@pytest.mark.parametrize(
    "change", [_nothing, _refreshed, _refreshed_and_shown, _same_object, _from_another_instance, _form_without_a_file]
)
def test_saving_without_a_new_file_costs_nothing(
    alias: str, change: Callable[[Product], None], same_name: bool
) -> None:
    Img(width=30).queue(Product)
    product = Product.objects.create(photo=upload())
    if same_name:
        product = Product.objects.get(pk=product.pk)
    change(product)
    with CaptureQueriesContext(connections[alias]) as queries:
        product.save()
    assert [q["sql"].split()[0] for q in queries.captured_queries] == ["UPDATE"]


def test_a_field_that_keeps_its_dimensions_is_followed_as_any(alias: str, announced: list[str]) -> None:
    Img(width=30).queue(Frame)
    frame = Frame.objects.create(image=upload())
    for found in (frame, Frame.objects.get()):
        with CaptureQueriesContext(connections[alias]) as queries:
            found.save()
        assert [q["sql"].split()[0] for q in queries.captured_queries] == ["UPDATE"]
    frame = Frame.objects.get()
    frame.image = upload("new.jpg", picture(300, 300))
    frame.save()
    assert (frame.height, announced[1:], sources()) == (300, [frame.image.name], [frame.image.name])


@pytest.mark.parametrize("of", [("name",), ("photo",)])
def test_deferred_fields_are_neither_loaded_nor_taken_for_new(alias: str, of: tuple[str, ...]) -> None:
    Img(width=30).queue(Product)
    Product.objects.create(photo=upload(), leaflet=upload("a.pdf", b"%PDF"))
    with CaptureQueriesContext(connections[alias]) as queries:
        [product] = Product.objects.only(*of)
        product.name = "y"
        product.save()
    assert [q["sql"].split()[0] for q in queries.captured_queries] == ["SELECT", "UPDATE"]
    with CaptureQueriesContext(connections[alias]) as queries:
        [product] = Product.objects.defer("photo")
        assert product.photo.name
        product.save()
    assert [q["sql"].split()[0] for q in queries.captured_queries] == ["SELECT", "SELECT", "UPDATE"]


def test_a_new_file_costs_this_many_queries_however_many_imgs_listen(alias: str) -> None:
    for width in (30, 100, 140):
        Img(width=width).queue(Product)
    product = Product.objects.create()
    product.photo = upload()
    with CaptureQueriesContext(connections[alias]) as queries:
        product.save()
    easyimg = [q["sql"] for q in queries.captured_queries if "easyimg_" in q["sql"] and "meta" not in q["sql"]]
    assert len(easyimg) == 8, easyimg
    assert ordered() == 9


def test_a_file_that_was_left_out_of_a_save_is_queued_by_the_next() -> None:
    Img(width=30).queue(Product)
    product = Product.objects.create()
    product.photo = upload()
    product.save(update_fields=["name"])
    assert ordered() == 0
    product.save()
    assert ordered(product.photo.name) == 3


def test_fixtures_are_loaded_without_a_look_at_their_files(tmp_path: Path) -> None:
    Img(width=30).queue(Product)
    product = Product.objects.create(photo=lay(tmp_path, "a.jpg"))
    dumped = serializers.serialize("json", [product])
    django_site.empty(current_alias())
    for found in serializers.deserialize("json", dumped):
        found.save()
    assert ordered() == 0


def current_alias() -> str:
    return str(Product.objects.db)


def test_what_sends_no_signal_is_queued_on_request(tmp_path: Path) -> None:
    thumb = Img(width=30)
    thumb.queue(Product)
    Product.objects.bulk_create([Product(photo=upload(f"{n}.jpg")) for n in range(3)])
    Product.objects.filter(pk=Product.objects.latest("pk").pk).update(photo=lay(tmp_path, "updated.jpg"))
    assert ordered() == 0
    assert thumb.queue_existing(Product) == 3
    assert ordered() == 9
    assert thumb.queue_existing(Product) == 0


# Transactions.


@on_all
def test_nothing_of_ours_happens_before_the_commit(alias: str, announced: list[str], tmp_path: Path) -> None:
    Img(width=30).queue(Product, build="src")
    with transaction.atomic(using=alias):
        product = Product.objects.create(photo=upload())
        assert (ordered(), announced, built(tmp_path)) == (0, [], [])
    assert (ordered(), announced, len(built(tmp_path))) == (3, [product.photo.name], 1)


@on_all
def test_a_rollback_leaves_no_row_no_message_and_no_variant(alias: str, announced: list[str], tmp_path: Path) -> None:
    Img(width=30).queue(Product, build="all")
    with undone(alias):
        Product.objects.create(photo=upload())
    with transaction.atomic(using=alias):
        with undone(alias):
            Product.objects.create(photo=upload())
        kept = Product.objects.create(photo=upload("kept.jpg"))
    assert (sources(), announced, len(built(tmp_path))) == ([kept.photo.name], [kept.photo.name], 3)


def test_a_file_whose_first_save_was_undone_is_new_to_the_second(alias: str) -> None:
    Img(width=30).queue(Product)
    product = Product.objects.create()
    product.photo = upload()
    with undone(alias):
        product.save()
    assert ordered() == 0
    product.save()
    assert ordered(product.photo.name) == 3


def test_a_file_is_announced_once_however_often_it_is_saved(alias: str, announced: list[str]) -> None:
    Img(width=30).queue(Product)
    with transaction.atomic(using=alias):
        product = Product(photo=upload())
        for _ in range(3):
            product.save()
        with transaction.atomic(using=alias):
            product.save()
    product.save()
    assert announced == [product.photo.name]


def test_a_file_that_was_replaced_before_the_commit_is_not_built(alias: str, tmp_path: Path) -> None:
    Img(width=30).queue(Product, build="src")
    with transaction.atomic(using=alias):
        product = Product.objects.create(photo=upload("one.jpg"))
        product.photo = upload("two.jpg", picture(seed=2))
        product.save()
    assert (sources(), len(built(tmp_path))) == ([product.photo.name], 1)


def run_cases(case: type[TestCase]) -> None:
    """Run a site's tests of one class; they all pass."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    result = suite.run(unittest.TestResult())
    assert result is not None
    assert [text for _, text in result.errors + result.failures] == []
    assert result.testsRun == suite.countTestCases() > 0


@on_all
def test_what_a_test_case_captures_is_followed_whatever_was_saved_before(alias: str, tmp_path: Path) -> None:
    Img(width=30).queue(Product)

    class Uploads(TestCase):
        databases = {alias}  # noqa: RUF012 - as Django has it

        @classmethod
        def setUpTestData(cls) -> None:
            Product.objects.create(photo=upload("class.jpg"))

        def setUp(self) -> None:
            self.first = Product.objects.create(photo=upload("first.jpg"))

        def test_one_block_after_another(self) -> None:
            for names in (["a.jpg"], ["b.jpg", "c.jpg"], ["d.jpg"]):
                before = ordered()
                with self.captureOnCommitCallbacks(using=alias, execute=True):
                    made = [Product.objects.create(photo=upload(name)) for name in names]
                assert ordered() - before == 3 * len(names)
                assert all(ordered(product.photo.name) == 3 for product in made)

        def test_what_was_saved_before_the_block_is_not_followed(self) -> None:
            with self.captureOnCommitCallbacks(using=alias, execute=True):
                product = Product.objects.create(photo=upload("a.jpg"))
            assert sources() == [product.photo.name]

        def test_what_was_captured_waits_until_it_is_run(self) -> None:
            with self.captureOnCommitCallbacks(using=alias) as callbacks:
                product = Product.objects.create(photo=upload("a.jpg"))
            with self.captureOnCommitCallbacks(using=alias, execute=True):
                other = Product.objects.create(photo=upload("b.jpg"))
            assert sources() == [other.photo.name]
            for callback in callbacks:
                callback()
            assert ordered(product.photo.name) == 3

        def test_a_replacement_of_what_was_saved_before(self) -> None:
            with self.captureOnCommitCallbacks(using=alias, execute=True):
                self.first.photo = upload("second.jpg")
                self.first.save()
            assert sources() == [self.first.photo.name]

        def test_a_savepoint_that_is_undone_in_a_block(self) -> None:
            with self.captureOnCommitCallbacks(using=alias, execute=True):
                with undone(alias):
                    Product.objects.create(photo=upload("undone.jpg"))
                with transaction.atomic(using=alias):
                    product = Product.objects.create(photo=upload("kept.jpg"))
            assert sources() == [product.photo.name]

    run_cases(Uploads)
    assert (ordered(), Product.objects.count()) == (0, 0)


def test_without_autocommit_all_happens_at_once(alias: str) -> None:
    Img(width=30).queue(Product)
    transaction.set_autocommit(False, using=alias)
    try:
        Product.objects.create(photo=upload())
        assert ordered() == 3
    finally:
        transaction.rollback(using=alias)
        transaction.set_autocommit(True, using=alias)


def test_instances_of_two_databases_are_followed_after_their_own_commits(alias: str, tmp_path: Path) -> None:
    Img(width=30).queue(Product)
    with django_site.database("second", f"sqlite:///{tmp_path / 'second.db'}") as other:
        django_site.make_tables(other, *SHOP)
        with transaction.atomic(using=other):
            product = Product(photo=upload())
            with transaction.atomic(using=alias):
                product.save(using=other)
            assert ordered() == 0
        assert ordered(product.photo.name) == 3
        twin = Product.objects.using(alias).create(photo=product.photo.name)
        product.delete()
        assert ordered(twin.photo.name) == 3
        twin.delete(using=alias)
        assert ordered() == 0


# Building at once.


def test_the_base_is_built_before_save_returns(tmp_path: Path, announced: list[str]) -> None:
    thumb, card = Img(width=30), Img(width=60, format="jpeg")
    thumb.queue(Product, build="src")
    card.queue(Product, build="all")
    product = Product.objects.create(photo=upload())
    assert thumb(product.photo, alt="", build="src").is_built
    assert card(product.photo, alt="").is_built
    assert not thumb(product.photo, alt="").is_built
    assert announced == [product.photo.name]


# Who listens.


def test_an_img_hears_the_images_of_a_model_or_else_its_files(tmp_path: Path) -> None:
    Img(width=30).queue(Product)
    Img(width=30).queue(Note)
    product = Product.objects.create(photo=upload(), leaflet=upload("l.jpg"), boxed=upload("b.jpg"))
    note = Note.objects.create(paper=upload("p.jpg"))
    assert sources() == sorted([product.photo.name, product.boxed.name, note.paper.name])
    assert SourceRow.objects.get(name=product.boxed.name).storage == "shop.Product.boxed"


def test_an_img_hears_only_the_fields_it_was_told_of() -> None:
    Img(width=30).queue(Product, fields="leaflet")
    Img(width=60, densities=[]).queue(Product, fields=models.ImageField)
    product = Product.objects.create(photo=upload(), leaflet=upload("l.jpg"))
    assert (ordered(product.photo.name), ordered(product.leaflet.name)) == (2, 3)


@pytest.mark.parametrize(
    ("told", "saved", "heard"),
    [
        (Product, Kit, True),
        (Product, Offer, True),
        (Kit, Kit, True),
        (Kit, Product, False),
        (Offer, Offer, True),
        (Offer, Product, False),
        ("shop.Product", Kit, True),
        ("shop.Product", Product, True),
    ],
)
def test_subclasses_and_proxies_are_heard_as_what_they_are(told: Any, saved: Any, heard: bool) -> None:
    Img(width=30).queue(told, fields=["photo"])
    saved.objects.create(photo=upload())
    assert ordered() == (3 if heard else 0)


def test_an_abstract_model_stands_for_all_that_are_made_from_it(tmp_path: Path) -> None:
    thumb = Img(width=30)
    Poster.objects.bulk_create([Poster(image=lay(tmp_path, "early.jpg"))])
    assert thumb.queue_existing(Picture) == 1
    thumb.queue(Picture)
    poster, stamp = Poster.objects.create(image=upload("p.jpg")), Stamp.objects.create(image=upload("s.jpg"))
    assert (ordered(poster.image.name), ordered(stamp.image.name), ordered("early.jpg")) == (3, 3, 3)


def test_the_same_wish_twice_is_one_and_a_dispatch_uid_replaces() -> None:
    for _ in range(2):
        Img(width=30).queue(Product)
    assert len(listeners.wishes(Product, "photo")) == 1
    Img(width=40).queue(Product, dispatch_uid="card")
    Img(width=50).queue(Product, dispatch_uid="card")
    Img(width=50).queue(Note, dispatch_uid="card")
    product = Product.objects.create(photo=upload())
    widths = {wish.img.options.width for wish in listeners.wishes(Product, "photo")}
    assert (widths, ordered(product.photo.name)) == ({30, 50}, 6)


def test_an_img_of_another_easyimg_is_queued_there(tmp_path: Path) -> None:
    rows = f"sqlite:///{tmp_path / 'own.db'}"
    with EasyImg(storages={"default": f"file://{tmp_path}"}, metadata=rows, queue="none") as own:
        Img(width=30, app=own).queue(Product)
        product = Product.objects.create(photo=upload())
        assert ordered() == 0
        assert own.metadata.counts(stale_after=0).queued == 3
        assert sources() == [product.photo.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Product, {"fields": ["phto"]}), "fields: shop.Product has no field 'phto' .*; did you mean 'photo'?"),
        ((Product, {"fields": ["name"]}), "fields: shop.Product has no field 'name' that holds files"),
        ((Product, {"fields": models.FilePathField}), "fields: shop.Product has no such field: .*FilePathField"),
        ((Product, {"fields": [1]}), "fields: 1 is not the name of a field"),
        ((Product, {"build": "base"}), "build: 'base' is not one of"),
        ((Bag, {}), "fields: shop.Bag has no field that holds files"),
        (("shop.Produkt", {}), "model: no model 'shop.Produkt'; did you mean 'shop.Product'?"),
        (("Product", {}), "model: 'Product' is no model"),
        ((object, {}), "model: .* is no model"),
    ],
)
def test_a_wish_that_cannot_come_true_is_refused_at_once(arguments: Any, message: str) -> None:
    model, options = arguments
    with pytest.raises(SpecError, match=message):
        Img(width=30).queue(model, **options)


def test_a_model_that_is_named_before_it_is_there_is_looked_up_when_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "models_ready", False)
    Img(width=30).queue("shop.Product")
    Img(width=30).queue("shop.Produkt")
    monkeypatch.undo()
    assert listeners.wishes(Product, "photo") == []
    with pytest.raises(SpecError, match=r"no model 'shop\.Produkt'; did you mean"):
        listeners.ready()
    assert len(listeners.wishes(Product, "photo")) == 1


def test_an_img_with_a_batch_cannot_listen() -> None:
    with pytest.raises(SpecError, match="carries a batch"):
        Img(width=30, batch=ImageBatch()).queue(Product)


# Replaced files.


@on_all
def test_a_replaced_file_takes_its_variants_along_and_leaves_its_original(alias: str, tmp_path: Path) -> None:
    Img(width=30).queue(Product)
    product = Product.objects.create(photo=upload("one.jpg"))
    one = product.photo.name
    assert process_queue() == 3
    product.photo = upload("two.jpg")
    product.save()
    assert (sources(), built(tmp_path)) == ([product.photo.name], [])
    assert (tmp_path / one).is_file()


@pytest.mark.parametrize("way", ["assigned", "FieldFile.save", "FieldFile.save(save=False)"])
def test_a_file_replaced_under_its_name_is_built_anew(way: str, tmp_path: Path, announced: list[str]) -> None:
    thumb = Img(width=30)
    thumb.queue(Sign)
    sign = Sign.objects.create(face=upload("a.png", images.ramp(300, 200)))
    process_queue()
    before = (built(tmp_path), thumb(sign.face, alt="").as_dict()["src"])
    sign = Sign.objects.get()
    new = images.ramp(300, 300)
    if way == "assigned":
        sign.face = upload("a.png", new)
    else:
        sign.face.save("a.png", ContentFile(new), save=way == "FieldFile.save")
    sign.save()
    assert announced == [sign.face.name] * 2
    assert 'height="30"' in thumb(sign.face, alt="").as_html()
    assert process_queue() == 3
    assert thumb(sign.face, alt="").as_dict()["src"] != before[1]
    assert len(set(built(tmp_path)) - set(before[0])) == 3


def test_the_same_picture_under_its_name_is_not_built_again(announced: list[str]) -> None:
    Img(width=30).queue(Sign)
    sign = Sign.objects.create(face=upload("a.png"))
    process_queue()
    sign.face = upload("a.png")
    sign.save()
    assert (ordered(), announced, process_queue()) == (3, [sign.face.name], 0)
    assert SourceRow.objects.get().generation == 1


def test_a_picture_that_nobody_listens_to_is_started_over_too(tmp_path: Path) -> None:
    thumb = Img(width=30)
    sign = Sign.objects.create(face=upload("a.png", images.ramp(300, 200)))
    str(thumb(sign.face, alt=""))
    process_queue()
    sign.face = upload("a.png", images.ramp(300, 300))
    sign.save()
    assert Variant.objects.filter(status=VariantStatus.QUEUED).count() == 3


def test_a_cleared_field_takes_its_variants_along(tmp_path: Path) -> None:
    Img(width=30).queue(Product, build="all")
    product = Product.objects.create(photo=upload())
    product.photo = ""
    product.save()
    assert (sources(), built(tmp_path)) == ([], [])
    product = Product.objects.create(photo=upload())
    product.photo.delete()
    assert (sources(), built(tmp_path)) == ([], [])


# Deleted instances.


@on_all
def test_a_deleted_instance_takes_its_variants_along_after_the_commit(alias: str, tmp_path: Path) -> None:
    Img(width=30).queue(Product, build="all")
    product = Product.objects.create(photo=upload())
    with undone(alias):
        product.delete()
    assert (ordered(), len(built(tmp_path))) == (3, 3)
    with transaction.atomic(using=alias):
        Product.objects.all().delete()
        assert (ordered(), len(built(tmp_path))) == (3, 3)
    assert (sources(), built(tmp_path)) == ([], [])
    assert len(list((tmp_path / "photos").iterdir())) == 1


def test_a_file_that_another_row_names_keeps_its_variants(tmp_path: Path) -> None:
    Img(width=30).queue(Product, build="all")
    product = Product.objects.create(photo=upload())
    for other in (Product(photo=product.photo.name), Note(paper=product.photo.name), Kit(photo=product.photo.name)):
        other.save()
        product.delete()
        assert (ordered(), len(built(tmp_path))) == (3, 3)
        product = other
    product.delete()
    assert (ordered(), built(tmp_path)) == (0, [])


def test_the_default_of_a_field_keeps_its_variants(tmp_path: Path) -> None:
    lay(tmp_path, "signs/plain.jpg")
    Img(width=30).queue(Sign, build="all")
    Sign.objects.create().delete()
    assert len(built(tmp_path)) == 3


def test_a_child_takes_the_variants_of_its_parents_fields_along(tmp_path: Path) -> None:
    Img(width=30).queue(Product, build="all")
    Kit.objects.create(photo=upload()).delete()
    assert (ordered(), built(tmp_path)) == (0, [])


def test_many_deletions_ask_each_field_of_the_storage_once(alias: str) -> None:
    for n in range(5):
        Product.objects.create(photo=upload(f"{n}.jpg"), leaflet=upload(f"{n}.pdf", b"%PDF"))
    with CaptureQueriesContext(connections[alias]) as queries:
        Product.objects.all().delete()
    looks = [q["sql"] for q in queries.captured_queries if q["sql"].startswith("SELECT") and "IN (" in q["sql"]]
    assert len([sql for sql in looks if "shop_" in sql and "photos/0.jpg" in sql]) == len(_columns_of("default"))
    assert ordered() == 0


def _columns_of(storage: str) -> list[str]:
    from easyimg_django.storage import alias_of, own_file_fields

    return [str(field) for field in own_file_fields() if alias_of(field) == storage]


def test_originals_are_deleted_only_where_that_was_asked_for(tmp_path: Path) -> None:
    delete_originals(Product, fields=["photo"])
    product = Product.objects.create(photo=upload("a.jpg"), leaflet=upload("l.pdf", b"%PDF"))
    photo, leaflet = tmp_path / product.photo.name, tmp_path / product.leaflet.name
    twin = Product.objects.create(photo=product.photo.name)
    product.delete()
    assert photo.is_file()
    twin.photo = upload("b.jpg")
    twin.save()
    assert not photo.exists()
    assert leaflet.is_file()
    with pytest.raises(SpecError, match="no field 'name'"):
        delete_originals(Product, fields=["name"])


@pytest.mark.parametrize(
    ("where", "name"),
    [(".", "pictures/a.jpg"), ("pictures", "a.jpg"), ("link", "pictures/a.jpg")],
    ids=["the same folder", "a folder inside", "a link to the folder"],
)
def test_an_original_stays_while_a_field_with_another_storage_object_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str, name: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setattr(Note._meta.get_field("paper"), "storage", FileSystemStorage(tmp_path / where))
    delete_originals(Poster)
    lay(tmp_path, "pictures/a.jpg")
    for other in (True, False):
        note = Note.objects.create(paper=name)
        Poster.objects.create(image="pictures/a.jpg")
        note.delete() if not other else None
        Poster.objects.all().delete()
        assert ((tmp_path / "pictures/a.jpg").exists(), ordered()) == (other, 0)
        Note.objects.all().delete()


def test_an_original_outside_of_folders_stays_while_any_other_such_storage_may_have_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, other = InMemoryStorage(), InMemoryStorage()
    monkeypatch.setattr(Poster._meta.get_field("image"), "storage", one)
    monkeypatch.setattr(Note._meta.get_field("paper"), "storage", other)
    delete_originals(Poster)
    for name, kept in (("a.jpg", True), ("b.jpg", False)):
        one.save(name, ContentFile(picture()))
        Note.objects.create(paper="a.jpg")
        Product.objects.create(photo=name)  # in a folder
        Poster.objects.create(image=name).delete()
        assert one.exists(name) is kept


def test_an_undone_deletion_leaves_the_original(alias: str, tmp_path: Path) -> None:
    delete_originals(Product)
    product = Product.objects.create(photo=upload("a.jpg"))
    with undone(alias):
        product.delete()
    assert (tmp_path / product.photo.name).is_file()


def test_a_name_that_is_free_again_means_the_new_picture(tmp_path: Path) -> None:
    thumb = Img(width=30)
    name = Product.objects.create(photo=upload()).photo.name
    Product.objects.all()._raw_delete(current_alias())  # no signal: the rows stay
    default_storage.delete(name)
    str(thumb(Source("default", name), alt=""))
    process_queue()
    product = Product.objects.create(photo=upload(data=picture(300, 300)))
    assert product.photo.name == name
    assert 'height="30"' in thumb(product.photo, alt="").as_html()


# Files that are no good, and sites that are not ready.


def test_a_document_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Img(width=30).queue(Note)
    Note.objects.create(paper=upload("a.pdf", b"%PDF-1.7"))
    Note.objects.create(paper=upload("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"))
    assert (sources(), ordered(), caplog.records) == ([], 0, [])


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.jpg", picture()[:300], "SourceUnreadable"),
        ("a.jpg", b"", "SourceUnreadable"),
        ("con.jpg", picture(), "UnsafeName"),
        ("gone.jpg", None, "SourceNotFound"),
    ],
)
def test_a_picture_that_cannot_be_built_says_why_in_its_rows(
    tmp_path: Path, name: str, data: bytes | None, kind: str
) -> None:
    thumb = Img(width=30)
    thumb.queue(Product)
    if data is not None:
        lay(tmp_path, name, data)
    product = Product.objects.create(photo=name)
    assert "<img" in thumb(product.photo, alt="").as_html()
    process_queue()
    assert set(Variant.objects.values_list("error_kind", flat=True)) == {kind}
    assert "<img" in thumb(product.photo, alt="").as_html()


def test_a_storage_that_cannot_be_reached_breaks_no_save(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Img(width=30).queue(Product, build="src")
    with override_settings(STORAGES={"default": {"BACKEND": "tests.adapters.test_django_storages.Failing"}}):
        product = Product.objects.create(photo="a.jpg")
        assert "<img" in Img(width=30)(product.photo, alt="").as_html()
    assert ordered("a.jpg") == 3
    assert "the disk is away" in caplog.text


def test_rows_that_cannot_be_written_break_no_save(alias: str, caplog: pytest.LogCaptureFixture) -> None:
    Img(width=30).queue(Product)
    with override_settings(DATABASE_ROUTERS=[Everywhere(alias)], EASYIMG={"METADATA": "django:default"}):
        product = Product.objects.create(photo=upload())
        product.delete()
    assert "python manage.py migrate easyimg_django" in caplog.text


def test_a_wrong_setting_breaks_no_save(caplog: pytest.LogCaptureFixture) -> None:
    Img(width=30).queue(Product)
    with override_settings(EASYIMG={"QUEU": "none"}):
        Product.objects.create(photo=upload()).delete()
    assert "unknown setting 'queu'" in caplog.text
    assert Product.objects.count() == 0


@pytest.mark.parametrize("in_transaction", [False, True])
def test_what_nobody_foresaw_breaks_no_save(
    alias: str, in_transaction: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listeners, "wishes", lambda *_: 1 / 0)
    with transaction.atomic(using=alias) if in_transaction else nullcontext():
        product = Product.objects.create(photo=upload())
    assert Product.objects.get().photo.name == product.photo.name
    assert "ZeroDivisionError" in caplog.text


def test_a_site_without_the_setting_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:

    with caplog.at_level(logging.DEBUG, "easyimg"), override_settings():
        del settings.EASYIMG
        Product.objects.create(photo=upload()).delete()
    assert caplog.records == []


# What models have now.


@on_all
def test_existing_files_are_read_by_ranges_and_one_column_only(alias: str) -> None:
    Product.objects.bulk_create([Product(photo=f"{n}.jpg" if n % 2 else "", name="x" * 90) for n in range(1201)])
    steps: list[int] = []
    with CaptureQueriesContext(connections[alias]) as queries:
        assert Img(width=30).queue_existing(Product, fields=["photo"], progress=steps.append) == 600
    looks = [q["sql"] for q in queries.captured_queries if "shop_product" in q["sql"]]
    assert (sum(steps), len(looks)) == (600, 4)  # the count, and 500 + 100 + none
    assert not any("name" in sql or "leaflet" in sql for sql in looks)
    assert ordered() == 1800


def test_a_copy_of_an_instance_names_the_same_file(announced: list[str], tmp_path: Path) -> None:
    Img(width=30).queue(Product, build="all")
    product = Product.objects.create(photo=upload())
    twin = copy.copy(product)
    twin.pk, twin._state.adding = None, True
    twin.save()
    assert (announced, ordered()) == ([product.photo.name], 3)
    product.delete()
    assert len(built(tmp_path)) == 3
    assert current_app().metadata.inspect(Source("default", twin.photo.name)) is not None


def test_a_session_of_sqlalchemy_is_refused_for_a_model_of_django():
    with pytest.raises(SpecError, match="session: Django's models know their database"):
        Img(width=100).queue_existing(Product, session=object())


def test_an_original_stays_where_a_rollback_by_hand_may_follow(alias: str, tmp_path: Path) -> None:
    delete_originals(Product)
    product = Product.objects.create(photo=upload("a.jpg"))
    first = tmp_path / product.photo.name
    transaction.set_autocommit(False, using=alias)
    try:
        product.photo = upload("b.jpg")
        product.save()
        transaction.rollback(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)
    assert first.is_file()
    assert Product.objects.get().photo.name == str(first.relative_to(tmp_path))


class Legacy:
    """A router of a table that migrations must not touch."""

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **_: Any) -> bool | None:
        return False if model_name == "poster" else None


def test_rows_that_migrations_must_not_touch_keep_their_originals(tmp_path: Path) -> None:
    delete_originals(Poster)
    lay(tmp_path, "pictures/a.jpg")
    with override_settings(DATABASE_ROUTERS=[Legacy(), *settings.DATABASE_ROUTERS]):
        one, other = [Poster.objects.create(image="pictures/a.jpg") for _ in range(2)]
        one.delete()
        assert (tmp_path / "pictures/a.jpg").is_file()
        other.delete()
        assert not (tmp_path / "pictures/a.jpg").exists()


def test_the_file_of_a_fields_default_counts_as_named() -> None:
    name = "photos/none.jpg"
    kinds: list[dict[str, Any]] = [{"default": name}, {"default": lambda: name}]
    if django.VERSION >= (5, 0):
        kinds += [{"db_default": name}, {"db_default": models.Value(name)}]
    assert all(name in _defaults(models.FileField(**kind)) for kind in kinds)
    assert name not in _defaults(models.FileField())
