"""Log lines: what they say about builds, as text and as fields, and what they never say."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg, Source, process_queue
from easyimg.errors import SourceNotFound, StorageError
from easyimg.lease import Leases
from easyimg.logs import FORMATS, event, formatter, without_secrets
from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing.queues import detail, order, upload, wait_until_settled
from tests.queues.sites import Site, free_port, until


@pytest.fixture
def log() -> Iterator[Any]:
    """Return a function: the records logged so far."""
    records: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeper()
    logger = logging.getLogger("easyimg")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield lambda: records
    logger.removeHandler(handler)
    logger.setLevel(level)


def lines_of(records: list[logging.LogRecord], form: str) -> list[str]:
    return [formatter(form).format(record) for record in records]


class Partly(FsspecStorage):
    """Refuses to write the first of the files, with a message as a cloud's client gives it; ``away`` cannot be read."""

    refused = ""

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        if name == "away.jpg":
            raise StorageError("redis://me:hunter2@cache/0 and s3 https://b/away.jpg?X-Amz-Signature=hunter2 are away")
        return super().read(name, max_bytes)

    def write(self, name: str, data: bytes, content_type: str) -> None:
        if name.startswith("img/") and not self.refused:
            self.refused = Path(name).name.partition(".")[0]
            raise StorageError("no room")
        super().write(name, data, content_type)


@pytest.fixture
def storage(tmp_path: Path) -> Partly:
    return Partly(f"file://{tmp_path}/media")


@pytest.fixture
def app(tmp_path: Path, storage: Partly) -> Iterator[EasyImg]:
    made = EasyImg(storages={"default": storage}, metadata=f"sqlite:///{tmp_path}/rows.db", queue="none")
    yield made
    made.close()


def test_a_variant_that_failed_alone_is_named_by_its_key(app: EasyImg, storage: Partly, log: Any) -> None:
    order(app, upload(app, "a.jpg"))
    process_queue(app)
    built, record = log()
    assert (built.levelname, built.getMessage().split()[:2]) == ("DEBUG", ["built", "source=a.jpg"])
    assert storage.refused in {variant.key for variant in detail(app, Source("default", "a.jpg")).variants}
    fields = {name: getattr(record, name) for name in ("source", "key", "variants", "kind", "error", "retry_in")}
    assert fields == {
        "source": "a.jpg",
        "key": storage.refused,
        "variants": 1,
        "kind": "StorageError",
        "error": "no room",
        "retry_in": 5.0,
    }
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f'not built source=a.jpg key={storage.refused} variants=1 kind=StorageError error="no room" retry_in=5'
    )


def test_one_line_tells_of_all_variants_that_failed_for_one_reason(app: EasyImg, log: Any) -> None:
    order(app, Source("default", "absent one.jpg"))
    process_queue(app)
    (record,) = log()
    assert (record.source, record.variants, record.kind) == ("absent one.jpg", 2, SourceNotFound.__name__)
    assert not hasattr(record, "key")
    keys = {variant.key for variant in detail(app, Source("default", "absent one.jpg")).variants}
    assert set(record.keys.split()) == keys
    assert record.getMessage() == (
        f'not built source="absent one.jpg" keys="{record.keys}" variants=2 kind=SourceNotFound error="{record.error}"'
    )


def test_a_finished_source_is_one_record_with_its_seconds(tmp_path: Path, log: Any) -> None:
    app = Site(tmp_path, "none").make("thread")
    order(app, upload(app, "a.jpg"))
    wait_until_settled(app)
    record = until(lambda: next((r for r in log() if r.getMessage().startswith("settled ")), None))
    assert (record.source, record.built, record.failed) == ("a.jpg", 2, 0)
    assert 0 < record.seconds < 60
    assert f"source=a.jpg built=2 failed=0 seconds={round(record.seconds, 3):g}" in record.getMessage()
    app.close()


def test_an_unforeseen_error_carries_its_source_and_its_traceback(app: EasyImg, storage: Partly, log: Any) -> None:
    order(app, upload(app, "a.jpg"))
    storage.read = None  # type: ignore[method-assign,assignment]
    process_queue(app)
    record = log()[0]
    assert (record.levelname, record.source) == ("ERROR", "a.jpg")
    (line, *_) = lines_of([record], "json")
    assert "TypeError" in json.loads(line)["exception"]
    assert lines_of([record], "plain")[0].splitlines()[1] == "Traceback (most recent call last):"


def test_a_lease_that_cannot_be_renewed_names_its_source(app: EasyImg, log: Any) -> None:
    order(app, upload(app, "a.jpg"))
    (claim,) = app.metadata.claim(lease=60, max_attempts=3)
    away = EasyImg(metadata="sqlite:////nowhere/at/all.db", queue="none")
    leases = Leases(lambda: away.metadata)
    with leases.keep(claim, seconds=0.1, limit=10):
        record = until(lambda: log() and log()[0])
    leases.close()
    assert (record.source, record.kind) == ("a.jpg", "MetadataError")
    assert record.getMessage().startswith("a lease was not renewed source=a.jpg kind=MetadataError error=")
    away.close()


@pytest.mark.parametrize("form", FORMATS)
def test_neither_lines_nor_rows_hold_passwords_or_signatures(app: EasyImg, log: Any, form: str) -> None:
    away = upload(app, "away.jpg")
    order(app, away)
    process_queue(app)
    (line,) = lines_of(log(), form)
    assert "hunter2" not in line
    assert "redis://***@cache/0 and s3 https://b/away.jpg?*** are away" in line
    assert {v.error for v in detail(app, away).variants} == {
        "redis://***@cache/0 and s3 https://b/away.jpg?*** are away"
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://me:p%40ss@db/site", "postgresql+psycopg://***@db/site"),
        ("amqp://guest:guest@[::1]:5672/%2f?heartbeat=5", "amqp://***@[::1]:5672/%2f?***"),
        (
            "redis://:p@ss@cache/0 and amqp://a:b@one//;amqp://c:d@two//",
            "redis://***@cache/0 and amqp://***@one//;amqp://***@two//",
        ),
        ('"https://b/a.jpg?sig=x", then', '"https://b/a.jpg?***", then'),
        ("(see https://b/a.jpg?sig=x)", "(see https://b/a.jpg?***)"),
        ("is it a@b?c=d", "is it a@b?c=d"),
        ("https://b/a.jpg", "https://b/a.jpg"),
    ],
)
def test_secrets_are_taken_out_of_urls(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize("logger", ["easyimg", "somebody.else"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_worker_s_lines_are_clean_whoever_logs_them(form: str, logger: str) -> None:
    text = "no answer from %s"
    record = logging.LogRecord(logger, logging.ERROR, "x.py", 1, text, ("redis://:hunter2@cache/0",), None)
    (line,) = lines_of([record], form)
    assert "hunter2" not in line
    assert "no answer from redis://***@cache/0" in line


def test_a_name_cannot_forge_a_line_or_a_field(log: Any) -> None:
    event(logging.INFO, "settled", source='a\n2026 INFO forged kind="x', key="ab\x1b[31m", error="é ok", empty="")
    (line,) = lines_of(log(), "plain")
    assert line.count("\n") == 0
    assert r'settled source="a\n2026 INFO forged kind=\"x" key="ab\u001b[31m" error="é ok" empty=""' in line
    assert log()[0].source == 'a\n2026 INFO forged kind="x'
    (line,) = lines_of(log(), "json")
    assert "\n" not in line
    assert json.loads(line)["source"] == 'a\n2026 INFO forged kind="x'


def test_json_lines_hold_the_fields_of_other_libraries_and_name_no_field_twice(log: Any) -> None:
    logging.getLogger("easyimg").warning("odd %d", 1, extra={"level": "mine", "path": Path("/a")})
    (line,) = lines_of(log(), "json")
    pairs = json.loads(line, object_pairs_hook=list)
    assert [name for name, _ in pairs] == ["time", "level", "logger", "message", "path"]
    assert dict(pairs)["level"] == "WARNING"
    assert dict(pairs)["path"] == "/a"


def test_what_is_not_logged_costs_no_text(log: Any) -> None:
    class Never:
        def __str__(self) -> str:
            raise AssertionError("was written")

    logging.getLogger("easyimg").setLevel(logging.WARNING)
    event(logging.INFO, "settled", source=Never())
    assert log() == []


def test_a_record_points_to_the_code_that_logged(log: Any) -> None:
    event(logging.INFO, "here")
    assert log()[0].funcName == "test_a_record_points_to_the_code_that_logged"


def read_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in io.StringIO(text)]


@pytest.mark.slow
def test_a_worker_logs_one_json_object_a_line(tmp_path: Path) -> None:
    site = Site(tmp_path, "none")
    order(site.app, upload(site.app, "a.jpg"), Source("default", "absent.jpg"))
    with site.worker("--processes", "1", "--log-format", "json"):
        wait_until_settled(site.app)
        until(lambda: site.log.count("settled source=") == 2)
    lines = read_lines(site.log)
    assert all(list(line)[:4] == ["time", "level", "logger", "message"] for line in lines)
    by_source = {line["source"]: line for line in lines if line["message"].startswith("settled ")}
    assert (by_source["a.jpg"]["built"], by_source["absent.jpg"]["failed"]) == (2, 2)
    assert by_source["a.jpg"]["seconds"] > 0
    (failed,) = [line for line in lines if line["level"] == "WARNING"]
    assert (failed["source"], failed["kind"], failed["variants"]) == ("absent.jpg", "SourceNotFound", 2)
    assert {"crew", "threads", "worker"} <= next(set(line) for line in lines if "crew" in line)
    site.app.close()


def test_a_broker_s_password_is_in_no_line(tmp_path: Path, log: Any) -> None:
    app = Site(tmp_path, "none").make(f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    order(app, upload(app, "a.jpg"))
    record = until(lambda: next((r for r in log() if r.levelno == logging.WARNING), None))
    assert (record.doorbells, record.kind) == (1, "ConnectionError")
    app.close()
    assert not [line for line in lines_of(log(), "json") if "hunter2" in line]
