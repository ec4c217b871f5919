"""What the tests do on a page."""

from __future__ import annotations

from typing import Any


def follow(page: Any, selector: str) -> None:
    """Click a link or a button, and wait until the next page's scripts listen: a person is never so quick."""
    with page.expect_navigation(wait_until="load"):
        page.click(selector)
