"""The galleries of ``docs/examples``, each by its one command: from an upload to a file that may be kept for ever."""

from __future__ import annotations

import io
import re
import signal
import urllib.request

import pytest
from werkzeug.test import EnvironBuilder

from easyimg.testing import images
from tests.adapters.gallery_site import FRAMEWORKS, Gallery
from tests.queues.sites import until


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("queue", ["threads", "redis_url", "rabbitmq_url"])
def test_one_command_runs_all_of_it(tmp_path, request, queue_name, framework, queue):
    broker = {"BROKER_URL": request.getfixturevalue(queue), "QUEUE_NAME": queue_name} if queue != "threads" else {}
    gallery = Gallery(framework, tmp_path, **broker)
    with gallery.running(str(gallery.example)) as process:
        gallery.await_answer(process)
        form = EnvironBuilder(
            method="POST", data={"title": "A", "picture": (io.BytesIO(images.photo(400, 300)), "a.jpg")}
        ).get_request()
        request = urllib.request.Request(
            f"{gallery.url}/photos", data=form.get_data(), headers={"Content-Type": form.content_type}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert "data:image/svg+xml" in answer.read().decode()

        def built():
            with urllib.request.urlopen(gallery.url, timeout=60) as answer:
                return re.findall(r'src="(/media/img/[^"]+)"', answer.read().decode())

        (url,) = until(built, 60)
        with urllib.request.urlopen(gallery.url + url, timeout=60) as answer:
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, gallery.log
    assert "Traceback" not in gallery.log
