from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from easyimg import EasyImg, Img, process_queue
from easyimg.errors import ConfigError, SourceNotFound, StorageError
from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing import images
from easyimg.testing.storage import StorageContract
from easyimg.variant import VariantStatus
from tests import services
from tests.html.parsing import parse
from tests.storages.conftest import KEY, S3, SECRET, Requests

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # commands are processes, each of which loads botocore

EASYIMG = [sys.executable, "-c", "from easyimg.cli import main; main()"]
THUMB = Img(width=300, densities=[1, 2])


def get(url: str) -> tuple[int, str | None, bytes]:
    """Return status, content type and body as a browser gets them."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as exc:
        return exc.code, None, b""


class TestPublicBucket(StorageContract):
    base_url = "https://cdn.example.com/x/"

    @pytest.fixture
    def storage(self, s3: S3) -> FsspecStorage:
        return FsspecStorage(f"s3://{s3.bucket()}/media", "https://cdn.example.com/x", **s3.options)


class TestPrivateBucket(StorageContract):
    @pytest.fixture
    def storage(self, s3: S3) -> FsspecStorage:
        return FsspecStorage(f"s3://{s3.bucket()}", **s3.options)

    @pytest.mark.parametrize(
        "name", ["img/0a1b.webp", "a b,c.jpg", 'it\'s "(1)".jpg', "é?#&<>%+.jpg", "12:30/a@2x.jpg"]
    )
    def test_urls_are_encoded(self, storage: FsspecStorage, name: str) -> None:  # type: ignore[override]
        """Signed here, and opened."""
        storage.write(name, name.encode(), "image/webp")
        url = storage.url(name)
        assert url is not None
        assert not set(url) & set(" ,\"'()<>\\\n\t#")
        assert get(url) == (200, "image/webp", name.encode())


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.bucket()


@pytest.fixture
def storage(s3: S3, bucket: str) -> FsspecStorage:
    return FsspecStorage(f"s3://{bucket}/media", **s3.options)


# One storage


def test_content_types_are_kept(s3: S3, bucket: str, storage: FsspecStorage) -> None:
    storage.write("a.webp", b"x", "image/webp")
    assert s3.client().head_object(Bucket=bucket, Key="media/a.webp")["ContentType"] == "image/webp"


def test_a_private_file_opens_by_its_signed_url_alone(storage: FsspecStorage) -> None:
    storage.write("a.webp", b"private", "image/webp")
    url = storage.url("a.webp")
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url  # the signature that all regions take
    assert "X-Amz-Expires=3600" in url
    assert get(url) == (200, "image/webp", b"private")
    assert get(url.partition("?")[0])[0] == 403


def test_signing_asks_the_server_nothing(storage: FsspecStorage) -> None:
    with Requests() as requests:
        assert storage.url("a.webp") == storage.url("a.webp")
        assert storage.url("b.webp") != storage.url("a.webp")
    assert requests == []


def test_a_public_bucket_is_read_without_credentials(s3: S3, bucket: str) -> None:
    s3.client().put_object(Bucket=bucket, Key="a.webp", Body=b"public", ACL="public-read", ContentType="image/webp")
    public = FsspecStorage(f"s3://{bucket}", anon=True, endpoint_url=s3.endpoint)
    assert public.url("a.webp") == f"{s3.endpoint}/{bucket}/a.webp"
    assert get(public.url("a.webp")) == (200, "image/webp", b"public")


def test_the_site_may_choose_another_signature(s3: S3, bucket: str) -> None:
    storage = FsspecStorage(f"s3://{bucket}", **s3.options, config_kwargs={"signature_version": "s3"})
    assert "AWSAccessKeyId=" in storage.url("a.webp")


def test_each_use_is_one_request(storage: FsspecStorage) -> None:
    for use, expected in (
        (lambda: storage.write("a.webp", b"12345", "image/webp"), ["PUT"]),
        (lambda: storage.read("a.webp", 100), ["GET"]),
        (lambda: storage.size("a.webp"), ["HEAD"]),
        (lambda: list(storage.list("img")), ["GET"]),
        (storage.check, ["GET"]),
        (lambda: storage.delete("a.webp"), ["DELETE"]),
    ):
        with Requests() as requests:
            use()
        assert [line.split(" ")[0] for line in requests] == expected


def test_listings_come_by_pages_and_see_what_others_wrote(s3: S3, bucket: str, storage: FsspecStorage) -> None:
    client = s3.client()
    for number in range(1_250):
        client.put_object(Bucket=bucket, Key=f"media/img/{number % 7}/{number:04}.webp", Body=b"x" * (number % 9))
    client.put_object(Bucket=bucket, Key="media/img/folder/", Body=b"")  # as web consoles make folders
    client.put_object(Bucket=bucket, Key="media/img2/beside.webp", Body=b"")
    with Requests() as requests:
        found = list(storage.list("img"))
    assert len(requests) == 2
    assert {(file.name, file.size) for file in found} == {(f"img/{n % 7}/{n:04}.webp", n % 9) for n in range(1_250)}
    assert len(found) == 1_250
    assert all(abs(file.modified - time.time()) < 120 for file in found)
    client.put_object(Bucket=bucket, Key="media/img/new.webp", Body=b"new")
    assert {f.name for f in storage.list("img")} - {f.name for f in found} == {"img/new.webp"}


# What goes wrong


def test_an_absent_bucket_is_told_from_an_absent_file(s3: S3, bucket: str, storage: FsspecStorage) -> None:
    with pytest.raises(SourceNotFound):
        storage.read("a.jpg")
    absent = FsspecStorage("s3://not-there/media", **s3.options)
    for use in (lambda: absent.read("a.jpg", 10), lambda: list(absent.list()), absent.check):
        with pytest.raises(StorageError) as caught:
            use()
        assert str(caught.value) == "there is no bucket 'not-there'; create it, or correct the URL"
    with pytest.raises(StorageError, match=r"^s3://not-there/media: cannot write 'a\.jpg': FileNotFoundError: "):
        absent.write("a.jpg", b"x", "image/jpeg")


@pytest.fixture
def strict(s3: S3, bucket: str) -> Iterator[dict[str, str]]:
    """The server asks for credentials from here on; the options of one who has them."""
    iam = s3.client("iam")
    user = f"user-{bucket}"
    iam.create_user(UserName=user)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName=user, PolicyName="s3", PolicyDocument=json.dumps(policy))
    made = iam.create_access_key(UserName=user)["AccessKey"]
    set_free_requests(s3, "0")
    yield {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"], "endpoint_url": s3.endpoint}
    set_free_requests(s3, "inf")


def set_free_requests(s3: S3, number: str) -> None:
    """Let the server answer so many requests before it looks at credentials."""
    headers = {"Content-Type": "text/plain"}
    url = f"{s3.endpoint}/moto-api/reset-auth"
    urllib.request.urlopen(urllib.request.Request(url, number.encode(), headers, method="POST")).close()


def test_wrong_credentials_are_one_line_without_secrets(strict: dict[str, str], bucket: str) -> None:
    right = FsspecStorage(f"s3://{bucket}", **strict)
    right.check()
    right.write("a.jpg", b"x", "image/jpeg")
    wrong = FsspecStorage(f"s3://{bucket}", **{**strict, "secret": SECRET})
    for use in (wrong.check, lambda: wrong.read("a.jpg", 10), lambda: wrong.write("a", b"", "image/png")):
        with pytest.raises(StorageError, match=r"^s3://easyimg-\w+: cannot \w+ .*PermissionError: .*") as caught:
            use()
        assert SECRET not in str(caught.value)
        assert strict["key"] not in str(caught.value)
        assert "\n" not in str(caught.value)


def app_of(url: str, options: dict[str, Any], folder: Path, **more: Any) -> EasyImg:
    return EasyImg(
        storages=url,
        storage_options={"default": options},
        metadata=f"sqlite:///{folder}/rows.db",
        **{"queue": "none", "isolation": "never", **more},
    )


def test_what_cannot_work_shows_at_the_start(s3: S3, strict: dict[str, str], bucket: str, tmp_path: Path) -> None:
    app_of(f"s3://{bucket}", strict, tmp_path).check()
    gone = f"http://127.0.0.1:{services.free_port()}"
    for url, options, expected in (
        (
            "s3://not-there",
            strict,
            "storages: 'default': there is no bucket 'not-there'; create it, or correct the URL",
        ),
        (f"s3://{bucket}", {**strict, "secret": SECRET}, "; check the user and the password"),
        (f"s3://{bucket}", {**strict, "endpoint_url": gone}, "; start the server, or correct host and port of its URL"),
        (f"s3://{bucket}", {**strict, "no_such_option": SECRET}, "no_such_option"),
    ):
        with pytest.raises(ConfigError) as caught:
            app_of(url, options, tmp_path).check()
        message = str(caught.value)
        assert message.startswith("storages: 'default': ")
        assert expected in message
        assert "\n" not in message
        assert SECRET not in message
        assert strict["secret"] not in message


@pytest.mark.parametrize("trouble", ["server", "bucket", "credentials"])
def test_trouble_with_the_bucket_is_told_in_the_rows_and_passes(
    s3: S3, strict: dict[str, str], bucket: str, tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    with app_of(f"s3://{bucket}", strict, tmp_path) as app:
        source = app.save_upload(images.photo(400, 300), name="shoe.jpg")
        str(THUMB(source))
    bad_url, bad_options = {
        "server": (f"s3://{bucket}", {**strict, "endpoint_url": f"http://127.0.0.1:{services.free_port()}"}),
        "bucket": ("s3://not-there", strict),
        "credentials": (f"s3://{bucket}", {**strict, "secret": SECRET}),
    }[trouble]
    with app_of(bad_url, bad_options, tmp_path) as bad:
        assert process_queue(bad) == 0
        html = str(THUMB(source))
        rows = bad.metadata.inspect(source).variants
    assert {row.status for row in rows} == {VariantStatus.QUEUED}  # to be tried again
    assert {row.error_kind for row in rows} == {"StorageError"}
    told = " ".join([html, caplog.text, *(row.error for row in rows)])
    assert "<img" in html
    assert not {SECRET, strict["secret"]} & set(told.split())
    assert SECRET not in told
    assert strict["secret"] not in told


# A site


@pytest.fixture
def environment(s3: S3, bucket: str, tmp_path: Path) -> dict[str, str]:
    return {
        "EASYIMG_STORAGES": f"s3://{bucket}/media",
        "EASYIMG_STORAGE_OPTIONS": json.dumps({"default": {**s3.options, "sign_seconds": 600}}),
        "EASYIMG_METADATA": f"sqlite:///{tmp_path}/rows.db",
        "EASYIMG_QUEUE": "none",
    }


def easyimg(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EASYIMG, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def urls_of(html: str) -> list[str]:
    [img] = parse(html)
    return [img.attributes["src"], *(candidate.url for candidate in img.candidates)]


def upload_and_build(environment: dict[str, str]) -> tuple[str, str, str, list[str]]:
    """Return the source's name, the page before and after another process built it, and that one's requests."""
    with EasyImg.from_env(environment) as app:
        app.check()
        source = app.save_upload(images.photo(900, 600), prefix="photos/", name="shoe 1.jpg")
        with Requests() as of_pages:
            pending = str(THUMB(source, alt="Shoe"))
        with Requests() as of_build:
            done = easyimg(environment, "build")
        assert done.returncode == 0, done.stderr
        with of_pages:
            built = str(THUMB(source, alt="Shoe"))
        assert of_pages == []
        assert THUMB(source).is_built
    return source.name, pending, built, of_build


def test_a_build_is_one_read_and_one_write_for_each_variant(bucket: str, environment: dict[str, str]) -> None:
    name, _, built, requests = upload_and_build(environment)
    first, *rest = [line.partition("?")[0] for line in requests]
    assert first == f"GET /{bucket}"  # the command looks at the storage when it starts
    written = [f"PUT {url.partition('?')[0].partition(f'/{bucket}/')[2]}" for url in urls_of(built)]
    assert len(set(written)) == 3
    assert rest[0] == f"GET /{bucket}/media/{name}"
    assert sorted(line.replace(f"/{bucket}/", "") for line in rest[1:]) == sorted(set(written))


def test_pages_of_a_private_bucket_have_urls_that_open(bucket: str, environment: dict[str, str]) -> None:
    _, pending, built, _ = upload_and_build(environment)
    [url] = set(urls_of(pending))
    assert "X-Amz-Expires=600&" in url
    assert get(url)[:2] == (200, "image/jpeg")
    assert "&amp;X-Amz-Signature=" in built
    assert [get(url)[:2] for url in urls_of(built)] == [(200, "image/jpeg"), (200, "image/webp"), (200, "image/webp")]
    assert {get(url.partition("?")[0])[0] for url in urls_of(built)} == {403}


def test_pages_with_a_cdn_have_its_urls(s3: S3, bucket: str, environment: dict[str, str]) -> None:
    cdn = "https://cdn.example.com/media/"
    environment |= {"EASYIMG_BASE_URLS": cdn, "EASYIMG_STORAGE_OPTIONS": json.dumps({"default": s3.options})}
    name, pending, built, _ = upload_and_build(environment)
    assert set(urls_of(pending)) == {cdn + name}
    stored = {key.removeprefix("media/") for key in s3.keys(bucket)}
    assert {url.removeprefix(cdn) for url in urls_of(built)} == stored - {name}


def test_check_and_clean_work_on_a_bucket(s3: S3, bucket: str, environment: dict[str, str]) -> None:
    upload_and_build(environment)
    before = sorted(s3.keys(bucket))
    lost = next(key for key in before if key.startswith("media/img/"))
    s3.client().delete_object(Bucket=bucket, Key=lost)
    s3.client().put_object(Bucket=bucket, Key=f"media/img/{'0' * 32}.{'0' * 12}.jpg", Body=b"nobody's")
    checked = easyimg(environment, "-v", "check", "--fix")
    assert checked.returncode == 0, checked.stderr
    assert Path(lost).name in checked.stdout
    assert easyimg(environment, "build").returncode == 0
    assert easyimg(environment, "clean", "--older-than", "0").returncode == 0
    assert sorted(s3.keys(bucket)) == before


def test_no_secret_is_said_anywhere(environment: dict[str, str], tmp_path: Path) -> None:
    name, pending, built, _ = upload_and_build(environment)
    with EasyImg.from_env(environment) as app:
        said = [repr(app), repr(app.settings), repr(app.storage("default"))]
    for words in (["status"], ["config"], ["inspect", name], ["-v", "check"], ["-v", "build"]):
        done = easyimg(environment, *words)
        said += [done.stdout, done.stderr]
    said.append((tmp_path / "rows.db").read_bytes().decode("latin-1"))
    assert len("".join(said)) > 1_000
    for text in said:
        assert "hunter22" not in text.lower()
        assert "X-Amz" not in text
    for page in (pending, built):  # a signature names the key that it was made with, and holds nothing of the secret
        assert "hunter22" not in page.replace(KEY, "")
