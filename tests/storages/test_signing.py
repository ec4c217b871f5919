from __future__ import annotations

import os
import threading
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation

from easyimg import EasyImg, Img
from easyimg.errors import ConfigError, StorageError, UnsafeName
from easyimg.storages.fsspec import FsspecStorage
from easyimg.storages.signing import SignedUrls
from easyimg.testing import images
from easyimg.testing.storage import UNSAFE_NAMES
from tests.html.parsing import parse


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class SigningFileSystem(MemoryFileSystem):
    """Signs as Azure does: with what HTML must escape, and a comma."""

    protocol = "signingfs"
    store: dict[str, Any] = {}  # noqa: RUF012 - as in its parent
    pseudo_dirs: list[str] = [""]  # noqa: RUF012 - as in its parent
    signed: list[tuple[str, int]] = []  # noqa: RUF012 - read by tests
    fails = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("signingfs://")))

    def sign(self, path: str, expiration: int = 100, **_: Any) -> str:
        if self.fails:
            raise OSError("no credentials, only hunter22")
        self.signed.append((path, expiration))
        return f"https://bucket.example{quote(path)}?se={expiration}&sp=r,w&sig={len(self.signed)}%2F%3D"


@pytest.fixture(autouse=True)
def _signing_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    register_implementation("signingfs", SigningFileSystem, clobber=True)
    monkeypatch.setattr(SigningFileSystem, "signed", [])


@pytest.fixture
def url() -> str:
    return f"signingfs://{uuid.uuid4().hex}"


def signed_urls(seconds: int = 3600) -> tuple[SignedUrls, Clock, list[str]]:
    made: list[str] = []
    clock = Clock()

    def sign(name: str) -> str:
        made.append(name)
        return f"https://b/{name}?made={clock.now}"

    return SignedUrls(sign, seconds, clock), clock, made


# How long a URL is remembered


@pytest.mark.parametrize(("seconds", "remembered"), [(60, 15), (400, 100), (1200, 300), (3600, 300), (604_800, 300)])
def test_a_url_is_remembered_for_a_quarter_of_its_time_and_five_minutes_at_most(seconds: int, remembered: int) -> None:
    urls, clock, made = signed_urls(seconds)
    first = urls.url("a")
    clock.now += remembered - 1
    assert urls.url("a") == first
    assert made == ["a"]
    clock.now += 1
    assert urls.url("a") != first
    assert made == ["a", "a"]


def test_a_clock_that_was_set_back_makes_urls_anew() -> None:
    urls, clock, made = signed_urls()
    urls.url("a")
    clock.now -= 3600
    urls.url("a")
    assert made == ["a", "a"]


def test_the_time_of_a_url_begins_before_it_is_signed() -> None:
    clock = Clock()
    made: list[str] = []

    def slowly(name: str) -> str:
        made.append(name)
        clock.now += 10
        return "https://b/"

    urls = SignedUrls(slowly, 60, clock)
    urls.url("a")
    clock.now += 5
    urls.url("a")
    assert len(made) == 2


def test_few_urls_are_held_and_none_long_after_its_time() -> None:
    urls, clock, _ = signed_urls()
    for number in range(25_000):
        urls.url(str(number))
        assert len(urls._young) + len(urls._old) <= 10_000
    clock.now += 301
    urls.url("x")
    clock.now += 301
    urls.url("y")
    assert len(urls._young) + len(urls._old) <= 2


def test_names_that_pages_show_together_are_all_remembered() -> None:
    urls, _, made = signed_urls()
    for _ in range(3):
        for number in range(4_000):
            urls.url(str(number))
    assert len(made) == 4_000


def test_what_cannot_be_signed_is_not_tried_for_each_file_of_a_page() -> None:
    clock = Clock()
    tried: list[str] = []

    def sign(name: str) -> str:
        tried.append(name)
        if len(tried) < 3:
            raise StorageError("no credentials")
        return f"https://b/{name}"

    urls = SignedUrls(sign, 3600, clock)
    for name in "abc":
        with pytest.raises(StorageError, match="no credentials"):
            urls.url(name)
    assert tried == ["a"]
    clock.now += 10
    with pytest.raises(StorageError):
        urls.url("b")
    clock.now += 10
    assert urls.url("c") == "https://b/c"
    assert tried == ["a", "b", "c"]


# The storage


def test_a_storage_without_base_url_signs_where_it_can(url: str) -> None:
    storage = FsspecStorage(url + "/folder")
    path = url.removeprefix("signingfs:/") + "/folder/img/a b,c.webp"
    assert storage.url("img/a b,c.webp") == f"https://bucket.example{quote(path)}?se=3600&sp=r,w&sig=1%2F%3D"
    assert storage.url("img/a b,c.webp") == storage.url("img/a b,c.webp")
    assert SigningFileSystem.signed == [(path, 3600)]


def test_a_base_url_is_preferred(url: str) -> None:
    assert FsspecStorage(url, "https://cdn.example/x").url("a.webp") == "https://cdn.example/x/a.webp"
    assert SigningFileSystem.signed == []


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_unsafe_names_are_never_signed(url: str, name: str) -> None:
    with pytest.raises(UnsafeName):
        FsspecStorage(url).url(name)
    assert SigningFileSystem.signed == []


@pytest.mark.parametrize("seconds", [59, 604_801, -1, True, False, "3600", 60.5, None])
def test_the_time_is_chosen_per_storage_and_checked_at_once(url: str, seconds: Any) -> None:
    if seconds is None:
        FsspecStorage(url, sign_seconds=60).url("a")
        assert SigningFileSystem.signed[-1][1] == 60
        return
    app = EasyImg(
        storages=url, storage_options={"default": {"sign_seconds": seconds}}, base_urls={}, metadata="sqlite://"
    )
    with pytest.raises(ConfigError) as caught:
        app.check()
    assert (
        str(caught.value)
        == f"storages: 'default': sign_seconds: {seconds!r} is neither 0 nor a whole number in 60..604800"
    )


def test_a_storage_may_have_no_urls_at_all(url: str) -> None:
    assert FsspecStorage(url, sign_seconds=0).url("originals/a.jpg") is None
    assert FsspecStorage(url, "/m/", sign_seconds=0).url("a.jpg") == "/m/a.jpg"
    assert SigningFileSystem.signed == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"url": "memory://x"}, "URLs of memory:///x are not signed: its filesystem cannot sign"),
        ({"url": "signingfs://x", "base_url": "/m/"}, "URLs of signingfs:///x are not signed: it has a base URL"),
    ],
)
def test_a_time_for_urls_that_are_not_signed_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FsspecStorage(**options, sign_seconds=600)
    assert str(caught.value) == f"sign_seconds: {reason}"


def test_what_cannot_be_signed_is_one_line_without_secrets(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SigningFileSystem, "fails", True)
    with pytest.raises(StorageError, match=r"cannot sign a URL of 'a': OSError: 'no credentials, only \*\*\*'"):
        FsspecStorage(url, token="hunter22").url("a")


def test_a_signed_url_with_credentials_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hunter22@127.0.0.1:9")
    storage = FsspecStorage("s3://bucket/x", key="AKIA", secret="hunter23")
    with pytest.raises(StorageError, match="would be in every page") as caught:
        storage.url("a.jpg")
    assert "hunter2" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_signs_on(url: str) -> None:
    storage = FsspecStorage(url)
    before = storage.url("a")
    assert in_child(lambda: storage.url("a") == before and storage.url("b") is not None)


def in_child(question: Any) -> bool:
    """Return what a forked process answers."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if question() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# Pages


@pytest.fixture
def app(url: str, tmp_path: Any) -> Any:
    with EasyImg(storages=url, metadata=f"sqlite:///{tmp_path}/rows.db", queue="immediate", isolation="never") as app:
        app.storage("default").write("shoe.jpg", images.photo(900, 600), "image/jpeg")
        yield app


def test_signed_urls_are_escaped_in_every_attribute(app: EasyImg) -> None:
    html = str(Img(width=300, densities=[1, 2])("shoe.jpg", alt="Shoe"))
    assert "&amp;sp=r,w&amp;sig=" in html
    assert "&sp" not in html
    [img] = parse(html)
    assert [(c.number, c.letter) for c in img.candidates] == [(1, ""), (2, "x")]
    for written in (img.attributes["src"], *(candidate.url for candidate in img.candidates)):
        assert written.startswith("https://bucket.example/")
        assert written.split("?se=3600&sp=r,w&sig=")[1].endswith("%2F%3D")


def test_a_page_is_never_given_a_url_that_was_signed_longer_ago_than_both_memories(
    app: EasyImg, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(app.storage("default")._signed, "_clock", clock)  # type: ignore[attr-defined]
    thumb = Img(width=300)
    str(thumb("shoe.jpg"))
    first = str(thumb("shoe.jpg"))
    assert str(thumb("shoe.jpg")) == first  # the row cache and the memory of URLs
    app.cache.clear()  # as ten seconds later
    assert str(thumb("shoe.jpg")) == first  # the memory of URLs alone
    clock.now += 300
    app.cache.clear()
    assert str(thumb("shoe.jpg")) != first


def test_pages_go_on_where_nothing_can_be_signed(
    app: EasyImg, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(SigningFileSystem, "fails", True)
    html = str(Img(width=300)("shoe.jpg", alt="Shoe"))
    assert 'src="data:image/svg+xml' in html
    assert "no URL for a file" in caplog.text


def test_threads_may_sign_at_once(url: str) -> None:
    storage = FsspecStorage(url)
    names = [f"img/{number}.webp" for number in range(300)]
    found: list[list[str | None]] = []
    threads = [threading.Thread(target=lambda: found.append([storage.url(n) for n in names])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[u.partition("?")[0] for u in urls] for urls in found] == [
        [f"https://bucket.example{url.removeprefix('signingfs:/')}/{n}" for n in names]
    ] * 8
