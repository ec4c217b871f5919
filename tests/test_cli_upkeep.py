"""``easyimg clean`` and ``easyimg check``, by click's runner and as processes of their own."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from easyimg import Source
from easyimg.testing import images
from easyimg.variant import VariantStatus
from tests.test_cli import COMMAND, Site

ORPHAN = f"img/{'a' * 32}.0123456789ab.webp"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.app.close()


def build(site: Site, *names: str) -> list[Source]:
    sources = [site.put(name, images.photo(200, 150, seed=n)) for n, name in enumerate(names)]
    site.order(*sources)
    assert site.run("build").exit_code == 0
    return sources


def put_orphan(site: Site, days: float = 2.0) -> Path:
    site.put(ORPHAN, b"orphan")
    path = site.media / ORPHAN
    os.utime(path, (time.time() - days * 86_400,) * 2)
    return path


def built_files(site: Site) -> list[str]:
    return [row.file_name for row in site.app.metadata.file_page() if row.status == VariantStatus.BUILT]


# clean


def test_clean_removes_what_no_row_names_and_says_so(site: Site) -> None:
    build(site, "a.jpg")
    orphan = put_orphan(site)
    would = site.run("clean", "--dry-run")
    assert would.stdout == (
        "Would be removed: 1 orphan files, 0 temporary files, 6 bytes\n"
        "Kept: 0 files of rows, 3 too young, 0 of other names\n"
    )
    assert orphan.exists()
    done = site.run("clean")
    assert (done.exit_code, done.stdout) == (0, would.stdout.replace("Would be removed", "Removed"))
    assert not orphan.exists()
    assert all((site.media / name).exists() for name in built_files(site))
    assert site.run("--quiet", "clean").output == ""


@pytest.mark.parametrize(
    ("time_", "gone"), [("3d", False), ("47h", True), ("1w", False), ("172000", True), ("1d", True)]
)
def test_the_grace_time_may_be_chosen(site: Site, time_: str, gone: bool) -> None:
    build(site, "a.jpg")
    orphan = put_orphan(site)
    assert site.run("clean", "--older-than", time_).exit_code == 0
    assert orphan.exists() != gone


def test_clean_as_json_has_the_promised_keys(site: Site) -> None:
    build(site, "a.jpg")
    put_orphan(site)
    site.put("img/logo.png")
    values = json.loads(site.run("clean", "--format", "json", "--older-than", "0").stdout)
    assert values == {
        "listed": 5,
        "kept": 3,
        "young": 0,
        "foreign": 1,
        "orphans": 1,
        "temporaries": 0,
        "bytes": 6,
        "sources": 0,
        "failed": 0,
        "uploads": 0,
        "unsettled": 0,
        "dry_run": False,
        "older_than_seconds": 0.0,
    }


def test_rows_of_vanished_sources_go_when_asked(site: Site) -> None:
    _, gone = build(site, "a.jpg", "b.jpg")
    (site.media / "b.jpg").unlink()
    words = ("clean", "--sources", "--older-than", "0s")
    assert "Would be removed: rows of 1 sources whose original is gone\n" in site.run(*words, "--dry-run").stdout
    assert site.app.metadata.inspect(gone) is not None
    result = site.run(*words)
    assert "Removed: 3 orphan files" in result.stdout
    assert "Removed: rows of 1 sources whose original is gone\n" in result.stdout
    assert site.app.metadata.inspect(gone) is None
    assert len(list((site.media / "img").iterdir())) == 3


def test_a_wrong_database_is_refused_unless_forced(site: Site, tmp_path: Path) -> None:
    build(site, "a.jpg")
    files = built_files(site)
    wrong = {"EASYIMG_METADATA": f"sqlite:///{tmp_path}/empty.db"}
    result = site.run("clean", "--older-than", "0", **wrong)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: clean: not one of the files below 'img' belongs to a row")
    assert all((site.media / name).exists() for name in files)
    assert site.run("clean", "--older-than", "0", "--force", **wrong).exit_code == 0
    assert not any((site.media / name).exists() for name in files)


REFUSING = """
from easyimg import EasyImg
from easyimg.errors import StorageError
from easyimg.storages.fsspec import FsspecStorage

class Refusing(FsspecStorage):
    def delete(self, name):
        raise StorageError("read-only")

app = EasyImg(storages={{"default": Refusing("file://{media}")}}, metadata="sqlite:///{folder}/easyimg.db")
"""


def test_files_that_cannot_be_removed_make_it_fail(site: Site) -> None:
    build(site, "a.jpg")
    orphan = put_orphan(site)
    (site.folder / "refusing.py").write_text(REFUSING.format(media=site.media, folder=site.folder))
    words = [*COMMAND, "--app", "refusing:app", "clean"]
    result = subprocess.run(words, cwd=site.folder, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "Failed: 1 files cannot be removed; see the log\n" in result.stdout
    assert "read-only" in result.stderr
    assert orphan.exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["clean", "--older-than", "1y"], 2, "'1y' is no time; write seconds, or 15m, 2h, 1d, 2w"),
        (["clean", "--older-than", "-1"], 2, "'-1' is no time"),
        (["check", "--content", "a.webp"], 2, "give no names with it"),
        (["check", "--format", "xml"], 2, "'xml' is not one of"),
    ],
)
def test_wrong_usage_is_explained(site: Site, words: list[str], code: int, message: str) -> None:
    result = site.run(*words)
    assert result.exit_code == code
    assert message in result.stderr


# check


def test_check_of_a_site_in_order_is_fine(site: Site) -> None:
    build(site, "a.jpg")
    result = site.run("check", "--content")
    assert (result.exit_code, result.stdout) == (0, "Checked: 3 built variants of 1 sources\nFound: nothing wrong\n")


def test_check_fails_until_what_is_missing_is_fixed_and_built(site: Site) -> None:
    [source] = build(site, "a.jpg")
    gone = built_files(site)[0]
    (site.media / gone).unlink()
    told = site.run("check")
    assert told.exit_code == 1
    assert told.stdout == (
        f"missing: {gone} of a.jpg: absent from storage 'default'\n"
        "Checked: 3 built variants of 1 sources\nFound: 1 missing\nTry: easyimg check --fix\n"
    )
    assert site.statuses(source) == {"BUILT"}
    fixed = site.run("check", "--fix")
    assert fixed.exit_code == 0
    assert "absent from storage 'default'; queued again\n" in fixed.stdout
    assert "Fixed: 1, by queueing again\n" in fixed.stdout
    assert site.run("build").stdout.startswith("Built 1 variant of 1 source")
    assert (site.media / gone).exists()
    assert site.run("check").exit_code == 0


def test_vanished_and_changed_originals_are_told(site: Site) -> None:
    _, changed = build(site, "a.jpg", "b.jpg")
    (site.media / "a.jpg").unlink()
    site.put("b.jpg", images.corners(200, 150, format="jpeg"))
    result = site.run("check", "--content", "--fix")
    assert result.exit_code == 1  # what has vanished cannot be queued
    assert "vanished: a.jpg: absent from storage 'default'\n" in result.stdout
    assert "changed: b.jpg: " in result.stdout
    assert "Found: 1 vanished, 1 changed\n" in result.stdout
    assert result.stdout.endswith("Try: easyimg clean --sources --dry-run\n")
    assert site.statuses(changed) == {"QUEUED"}


def test_names_from_a_log_are_checked_alone(site: Site) -> None:
    build(site, "a.jpg")
    one, two, _ = built_files(site)
    (site.media / one).unlink()
    (site.media / two).unlink()
    result = site.run("check", "--fix", f"/media/{one}?v=1", "/favicon.ico", ORPHAN)
    assert result.exit_code == 0
    assert "Checked: 1 built variants\nUnknown: 2 names that no built variant has\nFound: 1 missing\n" in result.stdout
    assert [row.status for row in site.app.metadata.file_page()].count(VariantStatus.QUEUED) == 1
    assert site.run("check", two).exit_code == 1
    assert site.run("check", ORPHAN).exit_code == 0


def test_check_as_json_has_the_promised_keys(site: Site) -> None:
    build(site, "a.jpg")
    gone = built_files(site)[0]
    (site.media / gone).unlink()
    result = site.run("check", "--format", "json")
    assert result.exit_code == 1
    values = json.loads(result.stdout)
    assert values.pop("findings") == [
        {
            "kind": "missing",
            "source": {"storage": "default", "name": "a.jpg"},
            "file_name": gone,
            "detail": "absent from storage 'default'",
            "fixed": False,
        }
    ]
    assert values == {
        "sources": 1,
        "variants": 3,
        "missing": 1,
        "resized": 0,
        "vanished": 0,
        "changed": 0,
        "unreadable": 0,
        "fixed": 0,
        "unknown": 0,
        "found": 1,
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", ["clean", "check"])
def test_on_a_terminal_it_is_pretty_and_the_bar_leaves_no_trace(site: Site, command: str) -> None:
    build(site, "a.jpg")
    put_orphan(site)
    (site.media / built_files(site)[0]).unlink()
    leader, follower = pty.openpty()
    env = {**os.environ, **site.env, "TERM": "xterm-256color", "COLUMNS": "200"}
    process = subprocess.Popen([*COMMAND, command], env=env, stdout=follower, stderr=follower)
    assert process.wait(60) == (1 if command == "check" else 0)
    os.close(follower)
    text = os.read(leader, 65_536).decode()
    os.close(leader)
    assert ("1 orphan files" if command == "clean" else "missing") in text
    assert "Traceback" not in text
