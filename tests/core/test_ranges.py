"""Which part of a file a request gets."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from easyimg.ranges import answer

ETAG = "abc.def"


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("", 200, (0, 100)),
        ("bytes=0-9", 206, (0, 10)),
        (" bytes=10- ", 206, (10, 100)),
        ("bytes=-5", 206, (95, 100)),
        ("bytes=-500", 206, (0, 100)),
        ("bytes=90-500", 206, (90, 100)),
        ("bytes=99-99", 206, (99, 100)),
        ("bytes=100-", 416, (0, 0)),
        ("bytes=-0", 416, (0, 0)),
        ("bytes=9-8", 200, (0, 100)),
        ("bytes=0-1,5-6", 200, (0, 100)),
        ("bytes=-", 200, (0, 100)),
        ("bytes=x-9", 200, (0, 100)),
        ("bytes=٣-", 200, (0, 100)),
        ("bytes=" + "9" * 5000 + "-", 200, (0, 100)),
        ("lines=1-2", 200, (0, 100)),
    ],
)
def test_a_part_is_what_was_asked_for_if_that_can_be_understood(asked, status, part):
    found = answer({"range": asked}, 100, ETAG)
    assert (found.status, (found.start, found.stop)) == (status, part)
    start, stop = part
    told = {200: None, 206: f"bytes {start}-{stop - 1}/100", 416: "bytes */100"}[status]
    assert found.headers.get("Content-Range") == told
    assert found.headers["Content-Length"] == str(stop - start)
    assert found.headers.get("Cache-Control") == ("no-store" if status == 416 else None)


@pytest.mark.parametrize("tags", [f'"{ETAG}"', f'W/"{ETAG}"', f'"other", "{ETAG}"', "*"])
def test_what_the_browser_has_is_not_sent_again_not_even_a_part(tags):
    found = answer({"if-none-match": tags, "range": "bytes=0-9"}, 100, ETAG)
    assert (found.status, found.start, found.stop) == (304, 0, 0)
    assert found.headers["ETag"] == f'"{ETAG}"'
    assert "Content-Length" not in found.headers


@pytest.mark.parametrize("tags", ["", '"other"', ETAG, f'"{ETAG}x"'])
def test_another_tag_is_not_that_of_the_file(tags):
    assert answer({"if-none-match": tags}, 100, ETAG).status == 200


@pytest.mark.parametrize(
    ("condition", "status"),
    [(f'"{ETAG}"', 206), ('"other"', 200), (f'W/"{ETAG}"', 200), ("Wed, 21 Oct 2026 07:28:00 GMT", 200)],
)
def test_a_part_of_another_file_is_not_sent_to_one_that_goes_on_with_this(condition, status):
    assert answer({"range": "bytes=5-", "if-range": condition}, 100, ETAG).status == status


@hypothesis.given(asked=st.text(max_size=30) | st.from_regex(r"bytes=\d*-\d*", fullmatch=True), size=st.integers(0, 30))
def test_no_request_asks_for_bytes_that_are_not_there(asked, size):
    found = answer({"range": asked}, size, ETAG)
    assert 0 <= found.start <= found.stop <= size
    assert (found.status in (206, 416)) == ("Content-Range" in found.headers)
    assert int(found.headers["Content-Length"]) == found.stop - found.start
