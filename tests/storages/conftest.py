"""A real S3 server (moto) for the session, buckets of each test's own, and what went over the wire."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator
from typing import Any, Self

import pytest

KEY = "AKIAHUNTER22KEYID"
SECRET = "hunter22/secret+access=key"


class Requests(list[str]):
    """The requests of a block, ``METHOD /path?query``, as the server's log has them."""

    _LINE = re.compile(r'"(?:\x1b\[[0-9;]*m)*([A-Z]+ \S.*) HTTP/1\.1(?:\x1b\[0m)?" ')

    def __enter__(self) -> Self:
        self._handler = logging.Handler()
        self._handler.emit = self._note  # type: ignore[method-assign]
        logging.getLogger("werkzeug").addHandler(self._handler)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("werkzeug").removeHandler(self._handler)

    def _note(self, record: logging.LogRecord) -> None:
        if found := self._LINE.search(record.getMessage()):
            self.append(found[1])


class S3:
    """A server of S3's protocol in this process."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.options = {"key": KEY, "secret": SECRET, "endpoint_url": endpoint}

    def client(self, service: str = "s3") -> Any:
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def bucket(self) -> str:
        """Return a new, private bucket."""
        name = f"easyimg-{uuid.uuid4().hex[:16]}"
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        """Return what is stored, by a client that is not ours."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield S3(f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> S3:
    """The server, and none of the developer's own credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return s3_server
