"""What a builder has in hand: given back when the rows can be written again, and nothing new is taken at the end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from easyimg.errors import MetadataError
from easyimg.queues.builder import Builder
from easyimg.testing.queues import assert_built, detail, order, statuses, upload
from easyimg.variant import VariantStatus
from easyimg.worker_process import _is_stuck
from tests.queues.sites import Site


def test_claims_are_given_back_however_long_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Site(tmp_path, "none").app
    source = upload(app, "a.jpg")
    order(app, source)
    builder = Builder(app)

    def away(*_: object, **__: object) -> None:
        raise MetadataError("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr(app.metadata, "publish", away)
        patch.setattr(app.metadata, "release", away)
        patch.setattr("easyimg.build._AGAIN", 100.0)
        for _ in range(3):
            with pytest.raises(MetadataError):
                builder.run()
    assert set(statuses(app, source)) == {VariantStatus.BUILDING}
    builder.run()
    assert_built(app, source)
    assert detail(app, source).crashes == 0
    app.close()


def test_a_process_with_a_stuck_build_claims_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Site(tmp_path, "none").app
    source = upload(app, "a.jpg")
    order(app, source)
    [claim] = app.metadata.claim(lease=60, max_attempts=3)
    builder = Builder(app)
    builder._take(claim)
    assert not _is_stuck(builder, 90)
    assert not builder.stopping.is_set()
    start = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: start + 100)
    assert _is_stuck(builder, 90)
    assert builder.stopping.is_set()
    app.close()
