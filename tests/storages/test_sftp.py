from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg, Img, process_queue
from easyimg.errors import ConfigError, StorageError
from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing import images
from easyimg.testing.storage import StorageContract
from easyimg.variant import VariantStatus
from tests import services
from tests.conftest import absent
from tests.storages.sshd import Sshd

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # commands are processes of their own

EASYIMG = [sys.executable, "-c", "from easyimg.cli import main; main()"]
THUMB = Img(width=300, densities=[1, 2])
LARGE = bytes(range(256)) * 20_000


@pytest.fixture(scope="session")
def sshd_session() -> Iterator[Sshd]:
    if services.find_sshd() is None:
        absent("no sshd is installed; on Debian: apt install openssh-server")
    with Sshd() as server:
        yield server


@pytest.fixture
def sshd(sshd_session: Sshd) -> Sshd:
    if sshd_session._server is None:
        sshd_session.start()  # a test before stopped it
    sshd_session.drop_all()
    return sshd_session


@pytest.fixture
def make(sshd: Sshd, unique_name: str) -> Iterator[Callable[..., FsspecStorage]]:
    made = []

    def make_storage(base_url: str | None = None, **options: Any) -> FsspecStorage:
        storage = FsspecStorage(sshd.url(unique_name), base_url, **{**sshd.options, **options})
        made.append(storage)
        return storage

    yield make_storage
    for storage in made:
        storage.close()


@pytest.fixture
def storage(make: Callable[..., FsspecStorage]) -> FsspecStorage:
    return make()


@pytest.fixture
def folder(sshd: Sshd, unique_name: str) -> Path:
    return sshd.media(unique_name)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


class TestSftp(StorageContract):
    @pytest.fixture
    def storage(self, make: Callable[..., FsspecStorage]) -> FsspecStorage:
        return make("/media")


# One storage


def test_nothing_connects_before_files_are_wanted(sshd: Sshd, storage: FsspecStorage) -> None:
    assert storage.url("a.jpg") is None
    assert repr(storage).startswith(f"FsspecStorage('sftp://127.0.0.1:{sshd.port}/")
    assert sshd.sessions() == []


def test_files_are_written_whole_or_not_at_all(storage: FsspecStorage, folder: Path) -> None:
    storage.write("img/new/a.webp", LARGE, "image/webp")
    assert files(folder) == ["img/new/a.webp"]
    assert (folder / "img/new/a.webp").read_bytes() == LARGE
    assert storage.read("img/new/a.webp") == LARGE
    (folder / "img/new").chmod(0o500)
    with pytest.raises(StorageError, match=r"cannot write 'img/new/a\.webp': PermissionError"):
        storage.write("img/new/a.webp", b"x", "image/webp")
    (folder / "img/new").chmod(0o700)
    assert (folder / "img/new/a.webp").read_bytes() == LARGE


def test_folders_are_never_deleted(storage: FsspecStorage, folder: Path) -> None:
    storage.write("img/a", b"x", "image/png")
    storage.delete("img/a")
    with pytest.raises(StorageError):
        storage.delete("img")
    assert (folder / "img").is_dir()


def test_listings_fail_where_a_folder_cannot_be_listed(storage: FsspecStorage, folder: Path) -> None:
    storage.write("img/1/a.webp", b"x", "image/webp")
    (folder / "img/1").chmod(0)
    with pytest.raises(StorageError, match="cannot list ''"):
        list(storage.list())
    (folder / "img/1").chmod(0o700)
    assert [file.name for file in storage.list()] == ["img/1/a.webp"]


# Who is at the other end


def test_a_host_with_another_key_is_refused(make: Callable[..., FsspecStorage], sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    kind, key, *_ = (sshd.folder / "user.pub").read_text().split()
    known.write_text(f"[127.0.0.1]:{sshd.port} {kind} {key}\n")
    with pytest.raises(StorageError, match="BadHostKeyException"):
        make(known_hosts=known).check()
    known.write_text("")
    with pytest.raises(StorageError, match=rf"SSHException: 'the host \[127\.0\.0\.1\]:{sshd.port} is not in /"):
        make(known_hosts=str(known)).check()
    with pytest.raises(ConfigError, match=r"^known_hosts: '/none' cannot be read: "):
        make(known_hosts="/none")


def test_any_host_is_taken_where_none_are_known(make: Callable[..., FsspecStorage]) -> None:
    make(known_hosts=None).check()


def test_wrong_credentials_are_one_line_without_secrets(sshd: Sshd, unique_name: str, tmp_path: Path) -> None:
    url = sshd.url(unique_name).replace("sftp://", "sftp://me:hunter22@")
    options = {"known_hosts": str(sshd.known_hosts), "look_for_keys": False, "allow_agent": False}
    app = EasyImg(storages=url, storage_options={"default": options}, metadata=f"sqlite:///{tmp_path}/rows.db")
    with pytest.raises(ConfigError) as caught:
        app.check()
    assert str(caught.value).startswith(f"storages: 'default': sftp://127.0.0.1:{sshd.port}/")
    assert str(caught.value).endswith("; check the user and the password")
    assert "hunter22" not in f"{caught.value}{app!r}{app.settings!r}{app.storage('default')!r}"


# Connections


def test_a_connection_that_was_dropped_while_idle_is_replaced(storage: FsspecStorage, sshd: Sshd) -> None:
    storage.write("a", b"1", "image/png")
    for use in (lambda: storage.read("a"), lambda: storage.size("a"), lambda: list(storage.list())):
        sshd.drop_all()
        assert use()
        assert len(sshd.sessions()) == 1


@pytest.mark.parametrize("doing", ["read", "write"])
def test_what_a_dropped_connection_interrupts_is_done_again(
    storage: FsspecStorage, sshd: Sshd, folder: Path, doing: str
) -> None:
    storage.write("a.webp", LARGE, "image/webp")
    sshd.signal_sessions(signal.SIGSTOP)
    found: list[Any] = []
    uses = {"read": lambda: storage.read("a.webp"), "write": lambda: storage.write("a.webp", LARGE[::-1], "image/webp")}
    thread = threading.Thread(target=lambda: found.append(uses[doing]()))
    thread.start()
    time.sleep(0.5)  # it waits for the answer of a server that says nothing
    assert thread.is_alive()
    sshd.signal_sessions(signal.SIGKILL)
    thread.join(60)
    assert found == [LARGE if doing == "read" else None]
    assert (folder / "a.webp").read_bytes() == (LARGE if doing == "read" else LARGE[::-1])
    assert files(folder) == ["a.webp"]


def test_a_listing_that_is_interrupted_fails(storage: FsspecStorage, sshd: Sshd) -> None:
    for name in ("1/a", "2/a", "3/a"):
        storage.write(name, b"x", "image/png")
    listing = storage.list()
    next(listing)
    sshd.signal_sessions(signal.SIGKILL)
    with pytest.raises(StorageError, match="cannot list"):
        list(listing)
    assert len(list(storage.list())) == 3


def test_a_server_that_says_nothing_is_given_up(
    storage: FsspecStorage, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("easyimg.storages.sftp.ANSWER_SECONDS", 4.0)
    storage.write("a", b"1", "image/png")
    sshd.signal_sessions(signal.SIGSTOP)
    assert storage.read("a") == b"1"  # by another connection
    sshd.signal_sessions(signal.SIGKILL)


def test_threads_do_not_disturb_each_other(storage: FsspecStorage, sshd: Sshd) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        try:
            for turn in range(15):
                data = bytes([number]) * (turn * 5_000 + 1)
                name = f"{turn}/{number}"  # all make the same folders at once
                storage.write(name, data, "image/png")
                if storage.read(name, 200_000) != data or storage.size(name) != len(data):
                    wrong.append(name)
        except Exception as exc:  # noqa: BLE001
            wrong.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert wrong == []
    assert len(list(storage.list())) == 90
    assert 1 <= len(sshd.sessions()) <= 6
    storage.close()
    assert storage.size("1/1") == 5_001


def test_a_forked_process_has_a_connection_of_its_own(sshd: Sshd, unique_name: str) -> None:
    script = f"""
import os, sys
from easyimg.storages.fsspec import FsspecStorage
storage = FsspecStorage({sshd.url(unique_name)!r}, **{sshd.options!r})
storage.write("a", b"parent", "image/png")
parent = os.getpid()
pids = [pid for pid in (os.fork() for _ in range(1))]
if os.getpid() != parent:
    assert storage.read("a") == b"parent"
    storage.write("b", b"child", "image/png")
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 0
[connection] = storage._filesystems._idle
assert storage.read("b") == b"child"
assert storage._filesystems._idle == [connection], "the parent's connection was spoiled"
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=200)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


# A site


@pytest.fixture
def environment(sshd: Sshd, unique_name: str, tmp_path: Path) -> dict[str, str]:
    return {
        "EASYIMG_STORAGES": sshd.url(unique_name),
        "EASYIMG_STORAGE_OPTIONS": json.dumps({"default": sshd.options}),
        "EASYIMG_BASE_URLS": "https://static.example.com/",
        "EASYIMG_METADATA": f"sqlite:///{tmp_path}/rows.db",
        "EASYIMG_QUEUE": "none",
        "EASYIMG_ISOLATION": "never",
    }


def easyimg(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([*EASYIMG, *words], env=env, capture_output=True, text=True, check=False, timeout=200)


def test_a_site_lives_on_an_sftp_server(sshd: Sshd, folder: Path, environment: dict[str, str]) -> None:
    with EasyImg.from_env(environment) as app:
        app.check()
        source = app.save_upload(images.photo(900, 600), name="shoe.jpg")
        pending = str(THUMB(source, alt="Shoe"))
        done = easyimg(environment, "build")
        assert done.returncode == 0, done.stderr
        built = str(THUMB(source, alt="Shoe"))
        assert THUMB(source).is_built
    variants = [name for name in files(folder) if name.startswith("img/")]
    assert len(variants) == 3
    assert f'src="https://static.example.com/{source.name}"' in pending
    assert all(f"https://static.example.com/{name}" in built for name in variants)
    (folder / variants[0]).unlink()
    checked = easyimg(environment, "-v", "check", "--fix")
    assert checked.returncode == 0, checked.stderr
    assert Path(variants[0]).name in checked.stdout
    assert easyimg(environment, "build").returncode == 0
    (folder / f"img/{'0' * 32}.{'0' * 12}.jpg").write_bytes(b"nobody's")
    cleaned = easyimg(environment, "clean", "--older-than", "0")
    assert cleaned.returncode == 0, cleaned.stderr
    assert files(folder) == sorted([*variants, source.name])


def test_pages_and_rows_outlive_the_server(sshd: Sshd, environment: dict[str, str]) -> None:
    with EasyImg.from_env(environment) as app:
        source = app.save_upload(images.photo(900, 600), name="shoe.jpg")
    sshd.stop()
    with EasyImg.from_env(environment) as app:
        assert f'src="https://static.example.com/{source.name}"' in str(THUMB(source, alt="Shoe"))
        assert process_queue(app) == 0
        rows = app.metadata.inspect(source).variants
        assert {(row.status, row.error_kind) for row in rows} == {(VariantStatus.QUEUED, "StorageError")}
        assert all("Unable to connect" in row.error and "\n" not in row.error for row in rows)
        with pytest.raises(ConfigError, match=r"^storages: 'default': sftp://127\.0\.0\.1:\d+/\S+: cannot use "):
            app.check()
        sshd.start()
        app.check()
        app.metadata.requeue()
        assert easyimg(environment, "requeue").returncode == 0
