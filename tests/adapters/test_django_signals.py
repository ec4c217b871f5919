"""Django's signals of easyimg: who sends them, when, and with what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from easyimg import Img, current_app, process_queue
from easyimg.testing import images
from easyimg.variant import VariantStatus
from tests.adapters import django_site

django_site.start()

from django.core.files.uploadedfile import SimpleUploadedFile  # noqa: E402 - all of this needs a Django that is set up
from django.db import transaction  # noqa: E402
from django.dispatch import Signal  # noqa: E402
from django.test import override_settings  # noqa: E402

from easyimg_django import signals  # noqa: E402
from easyimg_django.hooks import listeners  # noqa: E402
from easyimg_django.models import Source as SourceRow  # noqa: E402
from easyimg_django.models import Variant  # noqa: E402
from tests.adapters.shop.models import Kit, Note, Product  # noqa: E402


@pytest.fixture(scope="module")
def alias(sqlite_alias: str) -> str:
    django_site.make_tables(sqlite_alias, Product, Kit, Note)
    return sqlite_alias


@pytest.fixture(autouse=True)
def site(alias: str, tmp_path: Path) -> Iterator[None]:
    django_site.empty(alias)
    easyimg = {"METADATA": f"django:{alias}", "QUEUE": "none", "ISOLATION": "never", "CACHE_SECONDS": 0}
    with override_settings(MEDIA_ROOT=str(tmp_path), EASYIMG=easyimg):
        yield
    listeners.clear()


class Heard(list[dict[str, Any]]):
    """What one signal told."""

    def __init__(self, signal: Signal, sender: Any = None) -> None:
        super().__init__()
        signal.connect(self.hear, sender=sender)

    def hear(self, **told: Any) -> None:
        self.append(told)


def upload(data: bytes | None = None) -> SimpleUploadedFile:
    return SimpleUploadedFile("shoe.jpg", images.photo(300, 200) if data is None else data)


def test_file_post_save_tells_of_each_file_after_the_commit(alias: str) -> None:
    Img(width=30).queue(Product)
    heard, others = Heard(signals.file_post_save, sender=Product), Heard(signals.file_post_save, sender=Note)
    with transaction.atomic(using=alias):
        product = Product(photo=upload(), leaflet=upload(b"%PDF-1.7"))
        product.save(using=alias)
        assert heard == []
    product.save(using=alias)
    assert others == []
    leaflet, photo = heard
    assert photo["sender"] is Product
    assert photo["instance"] is product
    assert (photo["field"].name, photo["fieldfile"].name, photo["fieldfile"].url) == (
        "photo",
        product.photo.name,
        product.photo.url,
    )
    assert (photo["source"].name, photo["info"].size) == (product.photo.name, (300, 200))
    assert (leaflet["field"].name, leaflet["info"]) == ("leaflet", None)


def test_file_post_save_is_enough_to_queue_by_hand(alias: str) -> None:
    def hear(fieldfile: Any, **_: Any) -> None:
        Img(width=30)(fieldfile, alt="", build="src", immediate=True)

    signals.file_post_save.connect(hear, sender=Product)
    try:
        Product(photo=upload()).save(using=alias)
    finally:
        signals.file_post_save.disconnect(hear, sender=Product)
    assert Variant.objects.using(alias).filter(status=VariantStatus.BUILT).count() == 1


def test_queued_img_tells_once_a_source_when_its_rows_are_there(alias: str) -> None:
    Img(width=30).queue(Product)
    Img(width=90).queue(Product)
    there: list[int] = []

    def count(source_id: str, **_: Any) -> None:
        there.append(Variant.objects.using(alias).filter(source_id=source_id).count())

    heard = Heard(signals.queued_img)
    signals.queued_img.connect(count)
    with transaction.atomic(using=alias):
        product = Product(photo=upload())
        product.save(using=alias)
        assert heard == []
    assert there == [6]
    [told] = heard
    assert told["sender"] is current_app()
    assert told["source"].name == product.photo.name
    assert told["source_id"] == SourceRow.objects.using(alias).get().id
    str(Img(width=60)("other.jpg", alt=""))
    assert [told["source"].name for told in heard] == [product.photo.name, "other.jpg"]


def test_builds_are_told_of_one_by_one(alias: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(images.photo(300, 200))
    done, failed = Heard(signals.img_built), Heard(signals.img_failed)
    str(Img(width=30)("a.jpg", alt=""))
    str(Img(width=30)("gone.jpg", alt=""))
    process_queue()
    assert sorted(told["built"].format for told in done) == ["jpeg", "webp", "webp"]
    assert {told["failure"].kind for told in failed} == {"SourceNotFound"}
    assert (len(failed), {told["source"].name for told in failed}) == (3, {"gone.jpg"})


def test_what_a_claim_gives_up_is_told_after_the_commit(alias: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(images.photo(300, 200))
    app = current_app()
    str(Img(width=30)("a.jpg", alt=""))
    for _ in range(app.settings.max_attempts):
        assert app.metadata.claim(lease=0.01, max_attempts=3)
        time.sleep(0.05)
    failed = Heard(signals.img_failed)
    with transaction.atomic(using=alias):
        process_queue()
        assert failed == []
    assert {(told["source"].name, told["failure"].kind) for told in failed} == {("a.jpg", "GaveUp")}
    assert len(failed) == Variant.objects.using(alias).filter(status=VariantStatus.BUILD_ERROR).count() == 3


@pytest.mark.parametrize("signal", [signals.file_post_save, signals.queued_img])
def test_a_receiver_that_fails_is_logged_and_breaks_nothing(
    alias: str, signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("not today")

    Img(width=30).queue(Product, build="src")
    signal.connect(fail)
    try:
        Product(photo=upload()).save(using=alias)
    finally:
        signal.disconnect(fail)
    assert Variant.objects.using(alias).filter(status=VariantStatus.BUILT).count() == 1
    assert "not today" in caplog.text
