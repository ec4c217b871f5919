"""The Celery recipe of the documentation, with a real worker on Redis."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters import origin

APP = """
import os

from celery import Celery

app = Celery("site", broker=os.environ["BROKER"])
app.conf.task_default_queue = "builds"
app.conf.broker_connection_retry_on_startup = True
app.config_from_object({"worker_hijack_root_logger": False})

import django

django.setup()
"""

UPLOAD = """
import celery_site
import time

from django.db import transaction

from easyimg import Img
from easyimg_django.models import Variant

thumbnail = Img(width=300)
with transaction.atomic():
    product = Product.objects.create(name="Shoe", main_image=upload("shoe.jpg"))
assert not thumbnail(product.main_image, alt="").is_built
end = time.monotonic() + 90
while time.monotonic() < end and not thumbnail(product.main_image, alt="").is_built:
    time.sleep(0.1)
print(thumbnail(product.main_image, alt="Shoe"))
print(*Variant.objects.values_list("status", "attempts", "error_kind", "error"))
"""


@pytest.fixture
def site(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BROKER", redis_url)
    origin.write(tmp_path, **{"celery_site.py": APP + origin.CELERY})
    origin.run(tmp_path, "")  # makes the tables
    return tmp_path


@pytest.fixture
def worker(site: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "celery", "-A", "celery_site", "worker", "--pool", "solo", "--loglevel", "INFO"]
    with (site / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=site, env=origin.environment(site), stdout=log, stderr=log)
    try:
        end = time.monotonic() + 90
        while b" ready." not in (site / "worker.log").read_bytes():
            assert process.poll() is None, (site / "worker.log").read_text()
            assert time.monotonic() < end, (site / "worker.log").read_text()
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_celery_worker_builds_what_a_save_has_queued(site: Path, worker: subprocess.Popen[bytes]) -> None:
    html = origin.run(site, UPLOAD)
    assert html.count("/media/img/") == 3, (html, (site / "worker.log").read_text())
    assert len(list((site / "media" / "img").iterdir())) == 3
    assert "build_img_queue" in (site / "worker.log").read_text()
