"""Run every python block of the README and the documentation.

A page is one program, run in a process and a folder of its own that holds ``media/photos/shoe.jpg``. A block below
``<!-- no-test: reason -->`` is left out. One below ``<!-- file: name -->`` is written to that file, and run by pytest
where its name begins with ``test_``. A block below ``<!-- output -->`` is what the python block before it printed;
there KEY and VERSION stand for those of a file's name, and line breaks are spaces in html.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMENT = r"(?:<!-- *(?P<mark>output|(?:no-test|file):[^\n]*?) *-->\s*\n\s*)?"
FENCE = re.compile(
    rf"^ *{COMMENT}```(?P<language>\w+)\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block: its language, the comment above it, the line of its first line, its text."""

    language: str
    mark: str
    line: int
    body: str


def blocks(text: str) -> list[Block]:
    """Return a page's blocks that this test is about: python ones, files, and outputs."""
    found = [
        Block(m["language"], m["mark"] or "", text.count("\n", 0, m.start("body")) + 1, m["body"])
        for m in FENCE.finditer(text)
    ]
    wanted = [b for b in found if b.language in ("python", "py") or b.mark.startswith(("output", "file:"))]
    return [b for b in wanted if not b.mark.startswith("no-test")]


PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if blocks(page.read_text("utf-8"))
]


def _parameter(page: Path) -> Any:
    """Return a page; all but the first two that a newcomer reads are left out of `make quick`."""
    quick = page.name in ("README.md", "getting-started.md")
    return pytest.param(page, id=page.name, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize("page", [_parameter(page) for page in PAGES])
def test_examples_run_and_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    photo = tmp_path / "media" / "photos" / "shoe.jpg"
    photo.parent.mkdir(parents=True)
    make_photo(photo)
    done = subprocess.run(
        [sys.executable, "-W", "error", __file__, str(page)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for language, said, printed in json.loads(done.stdout.splitlines()[-1]):
        assert comparable(language, printed) == comparable(language, said)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```python\na = 1\n```\n", [("python", "", 2)]),
        ("<!-- no-test: needs a server -->\n```python\na = 1\n```\n", []),
        ("<!-- file: x.py -->\n```python\na = 1\n```\n", [("python", "file: x.py", 3)]),
        ("<!-- file: x.html -->\n```jinja\n{{ a }}\n```\n", [("jinja", "file: x.html", 3)]),
        ("```bash\nls\n```\n\n```python\na\n```\n", [("python", "", 6)]),
        ("```python\na\n```\n\n<!-- output -->\n```html\n<p>\n```\n", [("python", "", 2), ("html", "output", 7)]),
        ("```html\n<p>\n```\n", []),
    ],
)
def test_blocks_are_found_as_documented(text: str, expected: list[tuple[str, str, int]]) -> None:
    assert [(b.language, b.mark, b.line) for b in blocks(text)] == expected


def make_photo(path: Path) -> None:
    """Write a 1800 x 1200 JPEG: a red slope on a grey one, so that no two places look the same."""
    from PIL import Image

    grey = Image.linear_gradient("L").resize((1800, 1200))
    Image.merge("RGB", (grey.transpose(Image.Transpose.ROTATE_180), grey, grey)).save(path, quality=90)


def comparable(language: str, text: str) -> str:
    """Return an output without what differs between machines (a version is a hash of an encoder's bytes) or pages."""
    text = re.sub(r"\b[0-9a-f]{32}\.[0-9a-f]{12}\.", "KEY.VERSION.", text.strip())
    return " ".join(text.split()) if language == "html" else text


def run_page(page: Path) -> list[tuple[str, str, str]]:
    """Run a page's blocks in one namespace; return (language, what the page says is printed, what was printed)."""
    namespace = {"__name__": "__main__"}
    compared, printed = [], ""
    for block in blocks(page.read_text("utf-8")):
        if block.mark == "output":
            compared.append((block.language, block.body, printed))
            continue
        if block.mark.startswith("file:"):
            write_file(block.mark.removeprefix("file:").strip(), block.body)
            continue
        # Empty lines in front, so that a traceback names the page's own line.
        code = compile("\n" * (block.line - 1) + block.body, str(page), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, namespace)
        printed = out.getvalue()
    return compared


def write_file(name: str, body: str) -> None:
    """Write a page's file; tests among them must pass."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(body, "utf-8")
    sys.path[:0] = [str(Path.cwd())] if str(Path.cwd()) not in sys.path else []
    if name.startswith("test_"):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert " passed" in done.stdout


if __name__ == "__main__":
    print(json.dumps(run_page(Path(sys.argv[1]))))
