"""A script that writes a static site, as ``docs/scripts.md`` has it, run as people run it: again and again."""

from __future__ import annotations

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from easyimg.testing import images
from tests.queues.sites import ROOT

SITE = """\
import sys
from pathlib import Path
from jinja2 import Environment
from easyimg import EasyImg
from easyimg.jinja import install

images = EasyImg(
    storages={"default": "file://media", "public": "file://public"},
    base_urls={"public": "/"},
    variants="public",
    variants_prefix="img",
    metadata="sqlite:///pictures.db",
    queue="immediate",
    strict=True,
)

if __name__ == "__main__":
    env = Environment(autoescape=True)
    install(env, images)
    page = env.from_string("{% for name in names %}{{ img(name, width=30, alt=name) }}{% endfor %}")
    Path("public").mkdir(exist_ok=True)
    Path("public/index.html").write_text(page.render(names=sys.argv[1:]))
"""


class StaticSite:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "site_script.py").write_text(SITE)
        (folder / "media").mkdir()
        self.put("a.jpg", seed=1)

    def put(self, name: str, *, seed: int) -> None:
        (self.folder / "media" / name).write_bytes(images.photo(90, 60, seed=seed, gps=True))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, *command], cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )

    def write(self, *names: str) -> str:
        done = self.run("site_script.py", *names)
        assert done.returncode == 0, done.stderr
        return (self.folder / "public" / "index.html").read_text()

    def files(self) -> dict[str, int]:
        """Published pictures, and when each was written."""
        return {path.name: path.stat().st_mtime_ns for path in (self.folder / "public" / "img").iterdir()}


@pytest.fixture
def site(tmp_path):
    return StaticSite(tmp_path)


@pytest.mark.slow
def test_all_that_a_page_shows_is_there_when_it_is_written_and_is_not_built_again(site):
    page = site.write("a.jpg")
    first = site.files()
    assert len(first) == 3
    assert all(f"/img/{name}" in page for name in first)
    assert "a.jpg" not in page.replace('alt="a.jpg"', ""), "the original is not published"
    for name in first:
        with Image.open(BytesIO((site.folder / "public" / "img" / name).read_bytes())) as picture:
            assert not picture.getexif()
    site.put("b.jpg", seed=2)
    more = site.write("a.jpg", "b.jpg")
    assert page in more
    assert len(site.files()) == 6
    assert {name: site.files()[name] for name in first} == first


@pytest.mark.slow
def test_a_picture_that_was_replaced_gets_new_files_when_it_is_found(site):
    before = site.write("a.jpg")
    site.put("a.jpg", seed=7)
    easyimg = ("-c", "from easyimg.cli import main; main()", "--app", "site_script:images")
    done = site.run(*easyimg, "check", "--fix", "--content")
    assert "Traceback" not in done.stderr
    after = site.write("a.jpg")
    assert after != before
    assert all(f"/img/{name}" in after + before for name in site.files())
    assert sum(f"/img/{name}" in after for name in site.files()) == 3


@pytest.mark.slow
def test_a_picture_that_is_missing_stops_the_script(site):
    done = site.run("site_script.py", "none.jpg")
    assert done.returncode == 1
    assert "none.jpg" in done.stderr
    assert not (site.folder / "public" / "index.html").exists()
