from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import traceback
import uuid
from pathlib import Path
from typing import Any, Self

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry, register_implementation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from easyimg.errors import ConfigError, MissingDependency, SourceNotFound, StorageError, UnsafeName
from easyimg.storages import local
from easyimg.storages.fsspec import FsspecStorage
from easyimg.storages.names import check_name, is_plain
from easyimg.testing.storage import SAFE_NAMES, UNSAFE_NAMES
from tests.storages.test_contract import PlainFileSystem

DATA = b"0123456789" * 10_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "media"


@pytest.fixture
def storage(root: Path) -> FsspecStorage:
    return FsspecStorage(root)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# Writes


class FailingFileSystem(PlainFileSystem):
    """Fails half-way through a write, or at the move."""

    protocol = "failingfs"
    fail_at = "write"

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        if "w" in mode and self.fail_at == "write":
            return _HalfFile(file)
        return file

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if self.fail_at == "move":
            raise OSError("connection reset; secret=hunter22")
        super().mv(path1, path2, **options)


class _HalfFile:
    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        self.file.write(data[: len(data) // 2])
        raise OSError("disk full; secret=hunter22")


@pytest.mark.parametrize("fail_at", ["write", "move"])
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_write_that_fails_half_way_leaves_what_was_there(
    root: Path, monkeypatch: pytest.MonkeyPatch, fail_at: str, before: bytes | None
) -> None:
    register_implementation("failingfs", FailingFileSystem, clobber=True)
    root.mkdir()
    if before is not None:
        (root / "a.webp").write_bytes(before)
    monkeypatch.setattr(FailingFileSystem, "fail_at", fail_at)
    storage = FsspecStorage(f"failingfs://{root}", token="hunter22")
    with pytest.raises(StorageError, match=r"cannot write 'a\.webp'") as caught:
        storage.write("a.webp", DATA, "image/webp")
    assert "hunter22" not in str(caught.value)
    assert files(root) == ([] if before is None else ["a.webp"])
    assert before is None or (root / "a.webp").read_bytes() == before


def test_a_full_disk_leaves_what_was_there(root: Path, tmp_path: Path) -> None:
    FsspecStorage(root).write("a.webp", b"old", "image/webp")
    script = f"""
import resource, signal
from easyimg.errors import StorageError
from easyimg.storages.fsspec import FsspecStorage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    FsspecStorage({str(root)!r}).write("a.webp", b"x" * 100_000, "image/webp")
except StorageError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert files(root) == ["a.webp"]
    assert (root / "a.webp").read_bytes() == b"old"


def test_a_killed_write_shows_no_partial_file_under_the_name(root: Path) -> None:
    script = f"""
import os
from easyimg.storages.fsspec import FsspecStorage
os.fsync = lambda _: os.kill(os.getpid(), 9)
FsspecStorage({str(root)!r}).write("img/a.webp", b"x" * 100_000, "image/webp")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -9
    storage = FsspecStorage(root)
    assert storage.size("img/a.webp") is None
    [left] = storage.list("img")
    assert Path(left.name).name.startswith(local.TEMPORARY_PREFIX)
    storage.delete(left.name)
    assert files(root) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_files_have_the_permissions_that_the_umask_leaves(
    storage: FsspecStorage, root: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        storage.write("a.webp", DATA, "image/webp")
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "a.webp").stat().st_mode) == mode


class PuttingFileSystem(MemoryFileSystem):
    """Notes what an object store is told about content types."""

    protocol = "s3"
    store: dict[str, Any] = {}  # noqa: RUF012 - as in its parent
    told: list[dict[str, Any]] = []  # noqa: RUF012 - read by the test

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self.told.append(options)
        super().pipe_file(path, value, mode)


def test_object_stores_are_told_the_content_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_registry, "s3", PuttingFileSystem)
    storage = FsspecStorage("s3://bucket/folder")
    storage.write("a.webp", b"x", "image/webp")
    assert PuttingFileSystem.told == [{"ContentType": "image/webp"}]
    assert storage.read("a.webp") == b"x"


# Roots


def test_local_folders_may_be_given_in_many_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    absolute = tmp_path / "media"
    storages = [FsspecStorage(u) for u in ("media", "file://media", "./media/", str(absolute), f"file://{absolute}")]
    storages.append(FsspecStorage(absolute))
    monkeypatch.chdir("/")
    storages[0].write("a/b", b"x", "image/png")
    assert [s.read("a/b") for s in storages] == [b"x"] * 6
    assert files(tmp_path) == ["media/a/b"]


def test_memory_is_shared_by_path_and_apart_between_paths() -> None:
    name = uuid.uuid4().hex
    FsspecStorage(f"memory://{name}/one").write("a", b"1", "image/png")
    assert FsspecStorage(f"memory://{name}/one").read("a") == b"1"
    for other in (f"memory://{name}/on", f"memory://{name}/one2", f"memory://{name}"):
        with pytest.raises(SourceNotFound):
            FsspecStorage(other).read("a")


def test_without_a_base_url_there_are_no_urls(storage: FsspecStorage) -> None:
    assert storage.url("a.jpg") is None
    with pytest.raises(UnsafeName):
        storage.url("../a.jpg")


def test_unknown_and_absent_filesystems_are_configuration_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as where it is not installed
    monkeypatch.delitem(_registry, "s3", raising=False)
    with pytest.raises(ConfigError, match="foo://"):
        FsspecStorage("foo://bucket")
    for mistyped in ("sftp:/me:hunter22@host/x", "s3:bucket"):
        with pytest.raises(ConfigError, match=r"is no URL; write (sftp|s3)://...") as caught:
            FsspecStorage(mistyped)
        assert "hunter22" not in str(caught.value)
    with pytest.raises(MissingDependency, match=r"easyimg\[s3\]"):
        FsspecStorage("s3://bucket", key="AKIA", secret="hunter22")


def test_secrets_stay_out_of_messages() -> None:
    with pytest.raises(ConfigError) as caught:
        FsspecStorage("foo://user:hunter22@host/x", secret="hunter23")
    assert "hunter2" not in str(caught.value)


def everything_said(error: BaseException | None) -> str:
    """Return an error, and those it came from, as a traceback shows them."""
    return "" if error is None else "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hunter22@bucket/x",
        "s3://key:hun/ter22@bucket/x",
        "s3://key:22/hunter@bucket/x",
        "simplecache::s3://key:hunter22@bucket/x",
        "s3a://hunter22@bucket",
    ],
)
def test_credentials_before_a_bucket_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="into the storage's options") as caught:
        FsspecStorage(url, endpoint_url="http://127.0.0.1:1")
    assert "hun" not in everything_said(caught.value)


@pytest.mark.parametrize("options", [{}, {"client_kwargs": {}}])
def test_an_endpoint_with_credentials_is_refused_and_not_repeated(options: dict[str, Any]) -> None:
    options.get("client_kwargs", options)["endpoint_url"] = "http://user:hunter22@minio:9000"
    with pytest.raises(ConfigError, match="endpoint_url: a user or password") as caught:
        FsspecStorage("s3://bucket", **options)
    assert "hunter22" not in everything_said(caught.value)


@pytest.mark.parametrize("password", ["hunt#er22", "hun/ter22", "hunt?er22", "hun[ter22", "hunter@22:x/@", "22#hunter"])
def test_a_password_that_a_url_cannot_hold_is_not_repeated(password: str) -> None:
    with pytest.raises(ConfigError, match="storage sftp://: host and port cannot be read") as caught:
        FsspecStorage(f"sftp://u:{password}@127.0.0.1/x", key_filename="id")
    assert "hun" not in everything_said(caught.value)


class TelltaleFileSystem(PlainFileSystem):
    """Repeats its options in its errors."""

    protocol = "telltalefs"

    def cat_file(self, path: str, start: Any = None, end: Any = None, **_: Any) -> bytes:
        raise OSError(f"refused: {self.storage_options}")


@pytest.mark.parametrize("options", [{"secrets": ["hunter22"]}, {"token": b"hunter22"}, {"token": "pw1"}])
def test_secrets_in_lists_bytes_and_short_texts_stay_out_of_messages(root: Path, options: dict[str, Any]) -> None:
    register_implementation("telltalefs", TelltaleFileSystem, clobber=True)
    storage = FsspecStorage(f"telltalefs://{root}", **options)
    with pytest.raises(StorageError, match=r"cannot read 'a': OSError: .*\*\*\*") as caught:
        storage.read("a")
    assert not {"hunter22", "pw1"} & {*re.findall(r"\w+", str(caught.value))}


def test_a_user_and_a_folder_of_one_name_are_told_apart() -> None:
    storage = FsspecStorage("sftp://files.example.com/srv/photos", username="photos", password="hunter22")
    assert repr(storage) == "FsspecStorage('sftp://files.example.com/srv/photos')"


def test_a_folder_that_cannot_be_written_is_a_storage_error(root: Path) -> None:
    root.write_bytes(b"a file")
    with pytest.raises(StorageError, match=r"cannot write 'a\.webp'") as caught:
        FsspecStorage(root).write("a.webp", b"x", "image/webp")
    assert caught.value.retryable


# Symbolic links


@pytest.fixture
def linked(root: Path, tmp_path: Path) -> FsspecStorage:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    root.mkdir()
    (root / "inside.jpg").write_bytes(b"inside")
    (root / "link.jpg").symlink_to(outside / "secret.jpg")
    (root / "folder").symlink_to(outside)
    (root / "alias.jpg").symlink_to("inside.jpg")
    return FsspecStorage(root)


@pytest.mark.parametrize("name", ["link.jpg", "folder/secret.jpg", "folder/new.jpg"])
def test_links_that_lead_out_are_not_followed(linked: FsspecStorage, tmp_path: Path, name: str) -> None:
    for use in (linked.read, linked.size, linked.delete):
        with pytest.raises(UnsafeName, match="symbolic link"):
            use(name)
    with pytest.raises(UnsafeName, match="symbolic link"):
        linked.write(name, b"x", "image/jpeg")
    assert files(tmp_path / "outside") == ["secret.jpg"]
    assert (tmp_path / "outside/secret.jpg").read_bytes() == b"secret"
    assert [f.name for f in linked.list()] == ["inside.jpg"]


def test_links_inside_the_folder_are_followed(linked: FsspecStorage) -> None:
    assert linked.read("alias.jpg") == b"inside"


def test_links_that_lead_out_are_followed_when_allowed(linked: FsspecStorage, root: Path) -> None:
    allowed = FsspecStorage(root, follow_symlinks=True)
    assert allowed.read("folder/secret.jpg") == b"secret"
    assert {f.name for f in allowed.list("folder")} == {"folder/secret.jpg"}


def test_a_root_that_is_itself_a_link_works(root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (tmp_path / "current").symlink_to(root)
    storage = FsspecStorage(tmp_path / "current")
    storage.write("a", b"x", "image/png")
    assert (storage.read("a"), files(root)) == (b"x", ["a"])


# Names


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_unsafe_names_say_why(name: str) -> None:
    with pytest.raises(UnsafeName) as caught:
        check_name(name)
    assert len(str(caught.value)) < 260


@pytest.mark.parametrize("name", SAFE_NAMES)
def test_safe_names_are_returned_unchanged(name: str) -> None:
    assert check_name(name) is name


@pytest.mark.parametrize("name", [None, 5, b"a.jpg", Path("a.jpg")])
def test_only_text_is_a_name(name: Any) -> None:
    with pytest.raises(UnsafeName, match="not a string"):
        check_name(name)


parts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["..", ".", "", "/", "\\", "%2e", "%2F", "..%5c", "~", "$HOME"]),
    st.sampled_from(["C:", "con", "nul.", "::", "://", "\0"]),
)
names = st.one_of(st.text(max_size=40), st.lists(parts, max_size=6).map("/".join), st.lists(parts).map("".join))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(name=names)
def test_any_text_is_refused_or_stays_below_the_root(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    storage = FsspecStorage(root, base_url="/media/")
    try:
        storage.write(name, b"x", "image/png")
    except UnsafeName:
        assert files(tmp_path) == []
        return
    [path] = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert path.relative_to(root).as_posix() == name
    url = storage.url(name)
    assert url is not None
    assert url.startswith("/media/")
    assert not set(url) & set(" ,\"'()<>\\\n\t?#&")
    storage.delete(name)
    assert files(tmp_path) == []
    shutil.rmtree(root)  # a folder left by one name may be the file of the next


@given(name=st.text(alphabet="aN1._-/ ,conulxCOM", max_size=20))
def test_the_quick_look_only_finds_names_that_are_safe(name: str) -> None:
    if is_plain(name):
        assert check_name(name) == name
        assert all(part.upper() not in ("CON", "NUL", "COM1") for part in name.split("/"))
        assert not any(part in ("", ".", "..") or part.endswith(".") for part in name.split("/"))
