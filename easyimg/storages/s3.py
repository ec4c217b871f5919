"""S3 and what speaks its protocol (MinIO, R2, Spaces ...), through s3fs: calls counted, listings by pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fsspec import AbstractFileSystem

from easyimg.errors import ConfigError, StorageError, shown
from easyimg.storages.ways import ABSENT, Info, Way


class S3Way(Way):
    """One request for a read, for a write and for a thousand listed objects."""

    content_type = "ContentType"

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options with our defaults.

        botocore signs URLs by the second version of S3's signature unless told otherwise, which regions and buckets
        made since 2020 refuse (https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html). Listings
        are never kept: other processes write to the same bucket.

        Raises:
            ConfigError: the endpoint holds a user or password.
        """
        _check_endpoint(given)
        config = {"signature_version": "s3v4", **(given.get("config_kwargs") or {})}
        return {"use_listings_cache": False, **given, "config_kwargs": config}

    def check(self, fs: AbstractFileSystem, root: str) -> None:
        """List one object: what every later question needs the right for, and what tells an absent bucket."""
        bucket, prefix = _bucket_and_prefix(root)
        _page(fs, bucket, Prefix=prefix, MaxKeys=1)

    def read(self, fs: AbstractFileSystem, path: str, number: int | None) -> bytes:
        """Return a whole object, or its first bytes, in one request."""
        try:
            return super().read(fs, path, number)
        except FileNotFoundError as exc:
            if _code(exc) == "NoSuchBucket":
                raise _no_bucket(path.partition("/")[0]) from exc
            raise
        except OSError as exc:
            if _code(exc) == "InvalidRange":  # an empty object has no first byte
                return b""
            raise

    def walk(self, fs: AbstractFileSystem, folder: str) -> Iterator[Info]:
        """Yield what is known of every object below a folder, a thousand a request; no more than that is held."""
        bucket, prefix = _bucket_and_prefix(folder)
        further: dict[str, str] = {}
        while True:
            page = _page(fs, bucket, Prefix=prefix, **further)
            for found in page.get("Contents", ()):
                yield {"name": f"{bucket}/{found['Key']}", "size": found["Size"], "modified": found["LastModified"]}
            if not page.get("IsTruncated"):
                return
            further = {"ContinuationToken": page["NextContinuationToken"]}


def _check_endpoint(given: Mapping[str, Any]) -> None:
    """Refuse an endpoint with credentials in it: signed URLs begin with it."""
    for options in (given, given.get("client_kwargs") or {}):
        endpoint = options.get("endpoint_url")
        if isinstance(endpoint, str) and "@" in endpoint.partition("://")[2].partition("?")[0]:
            raise ConfigError(
                "endpoint_url: a user or password in it would be in every signed URL; write key= and secret= instead"
            )


def _page(fs: AbstractFileSystem, bucket: str, **options: Any) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = fs.call_s3("list_objects_v2", Bucket=bucket, **fs.req_kw, **options)
    except ABSENT as exc:
        raise _no_bucket(bucket) from exc
    return found


def _bucket_and_prefix(path: str) -> tuple[str, str]:
    bucket, _, folder = path.strip("/").partition("/")
    return bucket, f"{folder}/" if folder else ""


def _no_bucket(bucket: str) -> StorageError:
    return StorageError(f"there is no bucket {shown(bucket)}; create it, or correct the URL")


def _code(exc: BaseException) -> str:
    """Return the code of S3's answer behind an error of s3fs."""
    response = getattr(exc.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
