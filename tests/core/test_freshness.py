"""How caching headers are cut short while a page waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyimg.freshness import brief_headers, shorten


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ("", "no-cache"),
        ("public, max-age=600", "public, max-age=10"),
        ("max-age=5", "max-age=5"),
        ("max-age=0, must-revalidate", "max-age=0, must-revalidate"),
        ("public, max-age=60, s-maxage=86400", "public, max-age=10, s-maxage=10"),
        ("public, max-age=31536000, immutable", "public, max-age=10"),
        ("max-age=600, stale-while-revalidate=86400", "max-age=10, stale-while-revalidate=10"),
        ("private", "private, max-age=10"),
        ("public", "public, max-age=10"),
        ("no-store", "no-store"),
        ("private, no-cache", "private, no-cache"),
        ('private="Set-Cookie, X-User", max-age="600"', 'private="Set-Cookie, X-User", max-age=10'),
        ("Public, MAX-AGE=600", "Public, max-age=10"),
        ("max-age=never", "max-age=10"),
        ("max-age", "max-age=10"),
        (" , ,max-age=99", "max-age=10"),
    ],
)
def test_nobody_keeps_it_longer_and_all_else_stays(said, becomes):
    assert shorten(said, 10) == becomes


@given(
    st.lists(
        st.sampled_from(["public", "private", "no-store", "immutable", "must-revalidate", 'no-cache="A, B"'])
        | st.builds("{}={}".format, st.sampled_from(["max-age", "s-maxage", "x"]), st.integers(0, 10**9)),
        max_size=6,
    ),
    st.integers(0, 100),
)
def test_shortening_twice_changes_nothing_more(directives, seconds):
    once = shorten(", ".join(directives), seconds)
    assert shorten(once, seconds) == once
    assert ("no-store" in once) == ("no-store" in directives)
    assert "immutable" not in once


def test_all_headers_that_say_how_long_are_changed_and_validators_go():
    headers = {
        "Cache-Control": "max-age=600",
        "Expires": "Thu, 01 Jan 2099 00:00:00 GMT",
        "ETag": '"1"',
        "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
        "CDN-Cache-Control": "max-age=86400",
        "Surrogate-Control": "max-age=86400, stale-if-error=3600",
        "X-Accel-Expires": "3600",
        "Content-Type": "text/html",
    }
    assert brief_headers(headers, 10) == {
        "Cache-Control": "max-age=10",
        "Expires": None,
        "ETag": None,
        "Last-Modified": None,
        "CDN-Cache-Control": "max-age=10",
        "Surrogate-Control": "max-age=10, stale-if-error=3600",
        "X-Accel-Expires": "10",
    }


@pytest.mark.parametrize(("said", "becomes"), [("0", "0"), ("5", "5"), ("off", "10"), ("@1900000000", "10")])
def test_nginx_s_own_header(said, becomes):
    assert brief_headers({"X-Accel-Expires": said}, 10)["X-Accel-Expires"] == becomes


def test_a_page_that_says_nothing_is_asked_for_again():
    assert brief_headers({}, 10) == {"Cache-Control": "no-cache"}
