"""Filesystems like object stores: what is written is collected and uploaded in parts, and an upload can break off.

Their files do what S3's and other buffered files of fsspec do: leaving ``with fs.open(name, "wb")`` closes the file,
also after an error, and closing publishes what was uploaded until then. Used that way, an object is cut short.
"""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile

from easyimg import EasyImg
from easyimg.storages.fsspec import FsspecStorage
from tests.faults.site import make_app

APP = "from pathlib import Path\nfrom tests.faults.bucket import make\n\napp = make(Path(__file__).parent)\n"

PART = 4096


class Upload(AbstractBufferedFile):
    """An object being uploaded; closing publishes the parts that arrived."""

    fs: Bucket
    buffer: io.BytesIO

    def _initiate_upload(self) -> None:
        self.arrived = bytearray()

    def _upload_chunk(self, final: bool = False) -> bool:
        data: bytes = self.buffer.getvalue()
        self.buffer = io.BytesIO()  # what was handed over is not sent again
        for start in range(0, len(data), PART):
            self.fs.send(self.path, self.arrived, data[start : start + PART])
        if final:
            self.fs.publish(self.path, bytes(self.arrived))
        return True


class Bucket(AbstractFileSystem):
    """Objects in a local folder that appear at once when their upload ends. This one is told to move what it has.

    Args:
        site: folder with ``outage.json`` while uploads break, ``after`` so many bytes; and ``broken``, where each that
            did is noted: after how many bytes, and when.
    """

    protocol: ClassVar[Any] = "movebucket"
    cachable = False

    def __init__(self, site: str, **options: Any) -> None:
        super().__init__(**options)
        self._site = Path(site)

    def send(self, path: str, arrived: bytearray, data: bytes) -> None:
        """Send a part of an object, of which some has arrived."""
        try:
            after = int(json.loads((self._site / "outage.json").read_text())["after"])
        except FileNotFoundError:
            arrived += data
            return
        arrived += data[: max(0, after - len(arrived))]
        if len(arrived) == after:
            with (self._site / "broken").open("a") as log:
                log.write(f"{after} {time.time()}\n")
            raise ConnectionResetError(f"the connection broke after {after} bytes")

    def publish(self, path: str, data: bytes) -> None:
        """Let an object appear, whole."""
        hidden = Path(path).with_name(f".upload-{time.monotonic_ns()}")
        hidden.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_bytes(data)
        hidden.replace(path)

    def _open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        return Path(path).open("rb") if mode == "rb" else Upload(self, path, mode, block_size=PART)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what is known of an object."""
        return {
            "name": path,
            "size": Path(path).stat().st_size,
            "type": "file" if Path(path).is_file() else "directory",
        }

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder."""
        Path(path).mkdir(parents=True, exist_ok=exist_ok)

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        """Rename an object, at once, as SFTP does."""
        Path(path1).replace(path2)

    def rm_file(self, path: str) -> None:
        """Remove an object."""
        Path(path).unlink()


class PutBucket(Bucket):
    """One that can also put a whole object in one request, as S3's, which publishes all or nothing."""

    protocol: ClassVar[Any] = "putbucket"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Put an object."""
        arrived = bytearray()
        for start in range(0, len(value), PART):
            self.send(path, arrived, value[start : start + PART])
        self.publish(path, bytes(arrived))


KINDS = {"put": PutBucket, "move": Bucket}


def filesystem(folder: Path, kind: str) -> Bucket:
    """Return a filesystem that keeps its objects in a local folder."""
    return KINDS[kind](site=str(folder))


def storage(folder: Path, kind: str) -> FsspecStorage:
    """Return a storage that keeps its objects among the site's files."""
    bucket = KINDS[kind]
    fsspec.register_implementation(bucket.protocol, bucket, clobber=True)
    return FsspecStorage(f"{bucket.protocol}://{folder}/media", base_url="/media/", site=str(folder))


def make(folder: Path) -> EasyImg:
    """Return the site's EasyImg; its setting ``variants`` says which of the storages is used."""
    return make_app(folder, **{kind: storage(folder, kind) for kind in KINDS})
