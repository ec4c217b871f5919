"""The HTML checker, and one site whose sources are in every state that a page can meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import absent
from tests.html.checker import find_checker


@pytest.fixture(scope="session")
def checker() -> Path:
    """The Nu HTML checker's jar."""
    jar = find_checker()
    if jar is None:
        absent("no HTML checker is installed; put it into node_modules with: python tests/html/checker.py")
    assert jar is not None
    return jar
