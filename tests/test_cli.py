"""The command line, on real SQLite and real pictures: by click's runner, and as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import easyimg
from easyimg import EasyImg, Img, Source, process_queue
from easyimg.cli import COMMANDS, main
from easyimg.cli.pace import Pace
from easyimg.cli.queueing import split_options
from easyimg.cli.session import SafeGroup, Session
from easyimg.cli.status import rate_text
from easyimg.errors import BuildError, StorageError, remedy
from easyimg.metadata import totals
from easyimg.storages.fsspec import FsspecStorage
from easyimg.testing import images
from easyimg.variant import VariantStatus, Wanted

THUMB = Img(width=60, ratio="square")
COMMAND = [sys.executable, "-c", "from easyimg.cli import main; main()"]


class Site:
    """A folder with pictures, a database, and the environment that names them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.media = folder / "media"
        self.media.mkdir()
        self.env = {
            "EASYIMG_STORAGES": f"file://{self.media}",
            "EASYIMG_METADATA": f"sqlite:///{folder}/easyimg.db",
            "EASYIMG_PRESETS": '{"card": {"width": 50, "ratio": "square", "densities": [2]}}',
        }
        self.app = EasyImg.from_env({**self.env, "EASYIMG_QUEUE": "none"})

    def put(self, name: str, data: bytes | None = None) -> Source:
        path = self.media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.photo(200, 150) if data is None else data)
        return Source("default", name)

    def order(self, *sources: Source, img: Img = THUMB) -> None:
        specs = [s.canonical for s in img.plan.specs]
        self.app.metadata.enqueue([Wanted(s, dict(zip(img.plan.keys(s.address), specs, strict=True))) for s in sources])

    def statuses(self, source: Source) -> set[str]:
        detail = self.app.metadata.inspect(source)
        return {v.status.name for v in detail.variants} if detail else set()

    def run(self, *words: str, **env: str) -> Result:
        return CliRunner().invoke(main, list(words), env={**self.env, **env})

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        env = {**os.environ, **self.env, **options.pop("env", {})}
        return subprocess.Popen(
            [*COMMAND, *words], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.app.close()


def broken(data: bytes) -> bytes:
    return data[: len(data) // 2]


def make_mixed(site: Site) -> tuple[Source, Source]:
    """Order a good and a broken picture."""
    good, bad = site.put("good.jpg"), site.put("bad.jpg", broken(images.photo(200, 150)))
    site.order(good, bad)
    return good, bad


# status


def test_status_as_json_has_the_promised_keys_and_counts(site: Site) -> None:
    make_mixed(site)
    site.run("build")
    site.order(site.put("later.jpg"))

    report = json.loads(site.run("status", "--format", "json").stdout)

    assert report["counts"] == {
        "sources": 3,
        "generated": 3,
        "queued": 3,
        "building": 0,
        "pending": 3,
        "source_errors": 3,
        "build_errors": 0,
    }
    assert report["avg_per_source"] == 1.0
    assert report["stale"] == {"threshold_seconds": 600, "count": 0}
    assert report["error_dist"] == [{"error_count": 1, "count": 3}]
    assert [e["kind"] for e in report["errors"]] == ["SourceUnreadable"]
    assert [e["remedy"] for e in report["errors"]] == ["replace the upload"]
    assert report["suggestions"] == ["easyimg build"]  # no requeue: it could not help


class OutOfReach(FsspecStorage):
    """A storage whose files ``away/...`` cannot be read now."""

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        if name.startswith("away/"):
            raise StorageError(f"https://me:hunter2@bucket/{name}?X-Amz-Signature=hunter2 timed out")
        return super().read(name, max_bytes)


def fail_once(site: Site, *sources: Source) -> None:
    """Build with a storage that is out of reach, so that these sources are given up at the first attempt."""
    storage = {"default": OutOfReach(f"file://{site.media}")}
    with EasyImg(site.app.settings.replace(storages=storage, max_attempts=1)) as app:
        site.order(*sources)
        process_queue(app)


def test_status_suggests_a_requeue_of_the_kinds_that_it_can_help_and_says_what_helps_the_others(site: Site) -> None:
    bad, away = site.put("bad.jpg", broken(images.photo(200, 150))), site.put("away/a.jpg")
    fail_once(site, bad, away, Source("default", "absent.jpg"))

    report = json.loads(site.run("status", "--format", "json").stdout)
    assert {e["kind"]: e["remedy"] for e in report["errors"]} == {
        "SourceNotFound": "put the file there and requeue",
        "SourceUnreadable": "replace the upload",
        "StorageError": "requeue",
    }
    assert report["suggestions"] == ["easyimg requeue --kind StorageError"]
    assert all(e["count"] == 3 and e["example"] for e in report["errors"])
    assert "hunter2" not in json.dumps(report)
    plain = site.run("status").stdout
    assert "absent.jpg" in plain
    assert "(replace the upload)\n" in plain

    assert site.run(*report["suggestions"][0].split()[1:]).stdout == "Requeued 3 variants\n"
    assert site.statuses(away) == {"QUEUED"}
    assert site.statuses(bad) == {"SOURCE_ERROR"}


@pytest.mark.parametrize(
    ("kind", "helps"),
    [
        ("StorageError", "requeue"),
        ("BuildTimeout", "requeue"),
        ("BuildCrashed", "requeue"),
        ("GaveUp", "requeue"),
        ("SourceNotFound", "put the file there and requeue"),
        ("SourceUnreadable", "replace the upload"),
        ("SourceTooLarge", "replace the upload, or allow it in the settings and requeue"),
        ("UnsupportedFormat", "replace the upload, or allow it in the settings and requeue"),
        ("BuildError", "mend the cause and requeue"),
        ("SpecError", "mend the cause and requeue"),
        ("SomebodyElsesError", "mend the cause and requeue"),
    ],
)
def test_every_kind_of_error_has_its_remedy(kind: str, helps: str) -> None:
    assert remedy(kind) == helps


def test_status_is_plain_where_there_is_no_terminal(site: Site) -> None:
    make_mixed(site)
    result = site.run("status")
    assert result.exit_code == 0
    assert "Sources: 2\n" in result.stdout
    assert "Pending: 6 (queued 6, building 0)\n" in result.stdout
    assert "Suggestion: easyimg build\n" in result.stdout
    assert "\x1b" not in result.stdout


def test_status_is_pretty_on_a_terminal(site: Site) -> None:
    make_mixed(site)
    leader, follower = pty.openpty()
    env = {**os.environ, **site.env, "TERM": "xterm-256color"}
    assert subprocess.run([*COMMAND, "status"], env=env, stdout=follower, check=True).returncode == 0
    os.close(follower)
    text = os.read(leader, 65536).decode()
    os.close(leader)
    assert "2 sources" in text
    assert "█" in text
    assert "\x1b[" in text


@pytest.mark.parametrize(
    ("gates", "code"),
    [
        ([], 0),
        (["--fail-on-errors", "3"], 0),
        (["--fail-on-errors", "2"], 1),
        (["--fail-on-errors", "0"], 1),
        (["--fail-on-stale"], 0),
    ],
)
def test_the_error_gate_trips_above_its_number(site: Site, gates: list[str], code: int) -> None:
    make_mixed(site)
    site.run("build")
    result = site.run("status", *gates)
    assert result.exit_code == code
    assert "Source errors: 3" in result.stdout


def test_the_stale_gate_trips_when_a_lease_ended_long_ago(site: Site) -> None:
    site.order(site.put("good.jpg"))
    site.app.metadata.claim(lease=0.05, max_attempts=3)
    time.sleep(0.2)

    assert site.run("status", "--fail-on-stale").exit_code == 0
    result = site.run("status", "--fail-on-stale", "--stale-after", "0.01", "--format", "json")

    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["stale"] == {"threshold_seconds": 0.01, "count": 3}
    assert report["suggestions"][0] == "easyimg build --stale-after 0.01"


@pytest.mark.slow
def test_watch_shows_the_status_again_and_again_until_ctrl_c(site: Site) -> None:
    make_mixed(site)
    process = site.start("status", "--format", "json", "--watch", "0.1")
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    assert [line["counts"]["queued"] for line in lines] == [6, 6, 6]
    assert process.communicate()[1] == ""
    assert process.returncode == 0


@pytest.mark.slow
def test_watch_waits_for_rows_that_do_not_answer_for_a_while(site: Site) -> None:
    make_mixed(site)
    site.app.close()
    process = site.start("status", "--format", "json", "--watch", "0.1")
    assert process.stdout is not None
    assert process.stderr is not None
    first = json.loads(process.stdout.readline())
    with contextlib.closing(sqlite3.connect(site.folder / "easyimg.db")) as rows:
        rows.execute("ALTER TABLE easyimg_variant RENAME TO away")
        said = process.stderr.readline()
        rows.execute("ALTER TABLE away RENAME TO easyimg_variant")
    later = json.loads([process.stdout.readline() for _ in range(5)][-1])
    process.send_signal(signal.SIGINT)
    rest = process.communicate()[1]
    assert "no such table" in said
    assert all(line.startswith("Error: ") and "no such table" in line for line in [said, *rest.splitlines()])
    assert process.returncode == 0
    assert later["counts"] == first["counts"]


@pytest.mark.slow
def test_watch_tells_the_rate_since_the_last_look_and_when_the_backlog_is_done(site: Site) -> None:
    sources = [site.put(f"{n}.jpg") for n in range(4)]
    site.order(*sources)
    process = site.start("status", "--format", "json", "--watch", "0.3")
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(2)]
    process_queue(site.app, limit=6)
    while looks[-1]["counts"]["generated"] < 6:
        looks.append(json.loads(process.stdout.readline()))
    process_queue(site.app)
    while looks[-1]["counts"]["pending"]:
        looks.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == ""
    rates = [look["rate"] for look in looks]
    assert rates[0] is None
    assert rates[1]["built_per_second"] == 0
    assert rates[1]["done_in_seconds"] is None
    assert all(rate["is_exact"] and rate["seconds"] >= 0.3 for rate in rates[1:])
    assert sum(rate["built_per_second"] * rate["seconds"] for rate in rates[1:]) == pytest.approx(12, abs=0.1)
    (half,) = [look for look in looks if look["counts"]["generated"] == 6][:1]
    elapsed = sum(look["rate"]["seconds"] for look in looks[1 : looks.index(half) + 1])
    assert half["rate"]["done_in_seconds"] == pytest.approx(elapsed, abs=0.15)  # 6 of 12 took that long
    assert rates[-1]["done_in_seconds"] == 0


def test_the_rate_of_large_tables_is_what_the_backlog_shrank_by(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "EXACT_BELOW", 3)
    pace, metadata = Pace(), site.app.metadata
    make_mixed(site)
    site.order(site.put("other.jpg"))
    assert pace.look(metadata.counts(stale_after=60), 100.0) is None
    process_queue(site.app)
    counts = metadata.counts(stale_after=60)
    assert counts.counted_at
    assert counts.generated == 0, "remembered from before the builds"
    rate = pace.look(counts, 103.0)
    assert rate == {"seconds": 3.0, "built_per_second": 2.0, "is_exact": False, "done_in_seconds": 0.0}
    assert rate_text(rate) == "backlog shrinks by about 2.0/s"
    site.order(site.put("more.jpg"))
    assert pace.look(metadata.counts(stale_after=60), 104.0) == {
        "seconds": 1.0,
        "built_per_second": 0.0,
        "is_exact": False,
        "done_in_seconds": 2.0,  # 6 of 9 were settled in 4 s, new ones included
    }


@pytest.mark.parametrize(
    ("seconds", "words"), [(90, "90 s"), (600, "10 min"), (36000, "10 h"), (None, None), (0.0, None)]
)
def test_the_time_to_the_end_is_said_in_words(seconds: float | None, words: str | None) -> None:
    rate = {"seconds": 2.0, "built_per_second": 3.25, "is_exact": True, "done_in_seconds": seconds}
    assert rate_text(rate) == "3.2 built/s" + (f", done in about {words}" if words else "")


@pytest.mark.slow
def test_watch_shows_the_rate_as_text_too(site: Site) -> None:
    site.order(site.put("good.jpg"))
    process = site.start("status", "--watch", "0.1")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert next(line for line in lines if line.startswith("Rate: ")) == "Rate: 0.0 built/s\n"
    process_queue(site.app)
    assert next(line for line in lines if line.startswith("Rate: ") and not line.startswith("Rate: 0.0"))
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0


# build


def test_build_makes_the_files_says_how_many_and_fails_when_one_fails(site: Site) -> None:
    good, bad = make_mixed(site)
    result = site.run("build")
    assert re.fullmatch(r"Built 3 variants of 2 sources in \d+\.\d s; 3 failed\n", result.stdout)
    reason = 'kind=SourceUnreadable error="VipsJpeg: premature end of JPEG image"'
    broken = site.app.metadata.inspect(bad)
    told = re.fullmatch(r'WARNING not built source=bad\.jpg keys="([0-9a-f ]+)" variants=3 (.*)\n', result.stderr)
    assert broken is not None
    assert told is not None
    assert set(told[1].split()) == {variant.key for variant in broken.variants}
    assert told[2] == reason
    assert result.exit_code == 1
    assert site.statuses(good) == {"BUILT"}
    assert site.statuses(bad) == {"SOURCE_ERROR"}
    detail = site.app.metadata.inspect(good)
    assert detail is not None
    assert all((site.media / v.file_name).stat().st_size == v.bytes for v in detail.variants)


def test_build_is_fine_when_all_is_built_and_quiet_says_nothing(site: Site) -> None:
    site.order(site.put("good.jpg"))
    result = site.run("--quiet", "build")
    assert (result.exit_code, result.output) == (0, "")
    assert site.run("build").stdout.startswith("Built 0 variants of 0 sources")


def test_several_workers_build_everything_once(site: Site) -> None:
    sources = [site.put(f"{n}.jpg", images.photo(200, 150, seed=n)) for n in range(8)]
    site.order(*sources)
    result = site.run("build", "--workers", "3")
    assert result.exit_code == 0
    assert result.stdout.startswith("Built 24 variants of 8 sources")
    for source in sources:
        detail = site.app.metadata.inspect(source)
        assert detail is not None
        assert [(v.status, v.attempts) for v in detail.variants] == [(VariantStatus.BUILT, 0)] * 3


@pytest.mark.parametrize("workers", ["1", "2"])
def test_limit_stops_early(site: Site, workers: str) -> None:
    site.order(*(site.put(f"{n}.jpg") for n in range(6)))
    assert site.run("build", "--limit", "3", "--workers", workers).exit_code == 0
    assert 3 <= site.app.metadata.counts(stale_after=0).generated <= 6


def test_max_errors_gives_failed_variants_another_chance(site: Site) -> None:
    _, bad = make_mixed(site)
    site.run("build")
    site.put("bad.jpg")
    assert site.run("build").stdout.startswith("Built 0 variants")
    assert site.run("build", "--max-errors", "3").stdout.startswith("Built 3 variants of 1 source")
    assert site.statuses(bad) == {"BUILT"}


def test_max_errors_leaves_alone_what_failed_more_often(site: Site) -> None:
    once, twice = site.put("away/once.jpg"), site.put("away/twice.jpg")
    fail_once(site, twice)
    assert site.run("requeue").stdout == "Requeued 3 variants\n"
    fail_once(site, once)
    assert site.run("build", "--max-errors", "0").stdout.startswith("Built 0 variants")
    assert site.run("build", "--max-errors", "1").stdout.startswith("Built 3 variants of 1 source")
    assert (site.statuses(once), site.statuses(twice)) == ({"BUILT"}, {"BUILD_ERROR"})
    assert site.run("build", "--max-errors", "2").stdout.startswith("Built 3 variants of 1 source")
    assert site.statuses(twice) == {"BUILT"}


def test_stale_after_takes_up_what_a_dead_process_left(site: Site) -> None:
    source = site.put("good.jpg")
    site.order(source)
    for _ in range(3):  # three times claimed and left: given up, unless asked to try again
        site.app.metadata.claim(lease=0.05, max_attempts=3)
        time.sleep(0.1)
    assert site.run("build", "--stale-after", "0").stdout.startswith("Built 3 variants of 1 source")


def test_the_cron_command_is_silent_when_there_is_nothing_to_do(site: Site) -> None:
    assert site.run("build_img_queue").output == ""
    site.order(site.put("good.jpg"))
    result = site.run("build_img_queue", "--workers", "2")
    assert result.exit_code == 0
    assert result.stdout.startswith("Built 3 variants of 1 source")
    assert site.run("build_img_queue").output == ""


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "workers", "code"), [(signal.SIGINT, "1", 130), (signal.SIGTERM, "1", 143), (signal.SIGINT, "2", 130)]
)
def test_an_interrupted_build_gives_its_lease_back(site: Site, number: int, workers: str, code: int) -> None:
    large = images.photo(1200, 900)
    sources = [site.put(f"{n}.jpg", large) for n in range(20)]
    site.order(*sources, img=Img(width=600, format="avif", effort="small"))
    process = site.start("build", "--workers", workers)
    wait_for(lambda: site.app.metadata.counts(stale_after=0).building > 0)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    counts = site.app.metadata.counts(stale_after=0)
    assert process.returncode == code, (out, err)
    assert counts.building == 0
    assert counts.queued > 0
    assert "Traceback" not in err


# requeue, queue, inspect, config


def test_requeue_by_kind_queues_failed_variants_again(site: Site) -> None:
    _, bad = make_mixed(site)
    site.run("build")
    assert site.run("requeue", "--kind", "BuildTimeout").stdout == "Requeued 0 variants\n"
    assert site.run("requeue", "--max-errors", "0").stdout == "Requeued 0 variants\n"
    assert site.run("requeue", "--kind", "SourceUnreadable", "--kind", "BuildTimeout").stdout == "Requeued 3 variants\n"
    assert site.statuses(bad) == {"QUEUED"}


def test_requeue_takes_several_kinds_and_leaves_the_others(site: Site) -> None:
    bad, away = site.put("bad.jpg", broken(images.photo(200, 150))), site.put("away/a.jpg")
    absent = Source("default", "absent.jpg")
    fail_once(site, bad, away, absent)
    result = site.run("requeue", "--kind", "SourceNotFound", "--kind", "StorageError")
    assert result.stdout == "Requeued 6 variants\n"
    assert site.statuses(away) == site.statuses(absent) == {"QUEUED"}
    assert site.statuses(bad) == {"SOURCE_ERROR"}


def test_requeue_knows_the_kinds_there_are(site: Site) -> None:
    class OddEngine:
        name = "odd"

        def __getattr__(self, name: str) -> Any:
            class Odd(BuildError):
                kind = "OddError"

            raise Odd("out of ink")

    site.order(site.put("a.jpg"))
    with EasyImg(site.app.settings.replace(engine=OddEngine())) as app:
        process_queue(app)
    for kind in ("StorageEror", "storageerror", "Nonsense"):
        result = site.run("requeue", "--kind", "SourceUnreadable", "--kind", kind)
        assert result.exit_code == 2
        assert f"--kind: no error is a '{kind}'" in result.stderr
        assert ("did you mean 'StorageError'?" in result.stderr) == (kind != "Nonsense")
        assert "Requeued" not in result.output
    assert "; known: BuildCrashed, BuildError," in result.stderr
    assert site.run("requeue", "--kind", "BuildCrashed").stdout == "Requeued 0 variants\n"
    assert site.run("requeue", "--kind", "OddError").stdout == "Requeued 3 variants\n"  # somebody else's engine's


def test_requeue_includes_stale_builds_when_asked(site: Site) -> None:
    source = site.put("good.jpg")
    site.order(source)
    site.app.metadata.claim(lease=0.05, max_attempts=3)
    time.sleep(0.2)
    assert site.run("requeue", "--stale-after", "0").stdout == "Requeued 0 variants\n"
    assert site.run("requeue", "--include-stale", "--stale-after", "0").stdout == "Requeued 3 variants\n"
    assert site.statuses(source) == {"QUEUED"}


def test_queue_orders_the_pictures_below_a_folder_once(site: Site) -> None:
    a, b = site.put("photos/a.jpg"), site.put("photos/2024/b.JPEG")
    site.put("other/c.jpg")
    site.put("photos/notes.txt", b"text")
    site.put("img/0123.jpg")

    assert site.run("queue", "photos/", "width=60", "ratio=square").stdout == "Queued 2 pictures\n"
    assert site.statuses(a) == site.statuses(b) == {"QUEUED"}
    assert site.app.metadata.counts(stale_after=0).queued == 6
    again = site.run("queue", "photos", "width=60", "ratio=square")
    assert again.stdout == "Queued 0 of 2 pictures; the others had their rows already\n"
    assert site.run("queue", "/", "--preset", "card").stdout == "Queued 3 pictures\n"  # no variants of variants


def test_queue_takes_names_and_presets_with_changes(site: Site) -> None:
    a, b = site.put("a.jpg"), site.put("b.jpg")
    assert site.run("queue", "a.jpg", "--preset", "card", "quality=70").stdout == "Queued 1 picture\n"
    detail = site.app.metadata.inspect(a)
    assert detail is not None
    specs = [json.loads(v.spec) for v in detail.variants]
    assert {s["width"] for s in specs} == {50, 100}
    assert {s["quality"] for s in specs} == {70}
    assert site.statuses(b) == set()


def test_queued_pictures_are_those_a_page_asks_for(site: Site) -> None:
    source = site.put("a.jpg")
    site.run("queue", "a.jpg", "width=60", "ratio=1", 'sizes={"600": 40}')
    site.run("build")
    assert Img(app=site.app, width=60, ratio=1, sizes={600: 40})(source, alt="").is_built


def test_queued_pictures_have_their_art_direction(site: Site) -> None:
    source = site.put("a.jpg")
    site.run("queue", "a.jpg", "width=60", 'art={"600": {"width": 40, "sizes": {"300": 30}}, "print": {"ratio": 1}}')
    site.run("build")
    art = {600: {"width": 40, "sizes": {300: 30}}, "print": {"ratio": 1}}
    assert Img(app=site.app, width=60, art=art)(source, alt="").is_built


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["photos/"], 2, "say what to queue"),
        (["width=60"], 2, "say which pictures"),
        (["photos/", "widht=60"], 2, "did you mean 'width'"),
        (["photos/", "--preset", "crad"], 2, "did you mean 'card'"),
        (["photos/", "width=60"], 1, "no pictures found in storage 'default': photos/"),
        (["photos/", "width=60", "--storage", "s3"], 2, "no storage 's3'"),
        (["../etc", "width=60"], 1, "'../etc'"),
    ],
)
def test_queue_explains_what_it_cannot_do(site: Site, words: list[str], code: int, message: str) -> None:
    result = site.run("queue", *words)
    assert result.exit_code == code
    assert message in result.stderr


def test_options_are_read_as_json_where_they_can_be() -> None:
    words = ["a=b/c.jpg", "photos/", "width=300", "ratio=4/3", "crop=false", 'sizes={"600": 300}', "densities=[1.5, 2]"]
    names, options = split_options(words[1:])
    assert names == ["photos/"]
    assert options == {"width": 300, "ratio": "4/3", "crop": False, "sizes": {600: 300}, "densities": [1.5, 2]}


def test_inspect_tells_all_about_a_source(site: Site) -> None:
    make_mixed(site)
    site.run("build")
    values = json.loads(site.run("inspect", "good.jpg", "--format", "json").stdout)
    assert (values["info"]["width"], values["info"]["height"]) == (200, 150)
    assert [(v["status"], v["width"]) for v in values["variants"]] == [("BUILT", 60), ("BUILT", 60), ("BUILT", 120)]
    plain = site.run("inspect", "default:bad.jpg").stdout
    assert plain.count("SOURCE_ERROR") == 3
    assert "SourceUnreadable" in plain
    pretty = site.run("inspect", "bad.jpg", "--storage", "default", "--format", "pretty").stdout
    assert "status" in pretty


def test_focus_moves_the_crops_of_a_picture(site: Site) -> None:
    make_mixed(site)
    site.run("build")
    before = json.loads(site.run("inspect", "good.jpg", "--format", "json").stdout)
    result = site.run("focus", "good.jpg", "0.25", "1")
    assert (result.exit_code, result.stdout) == (0, "good.jpg: crops keep 0.25, 1 in view\n")
    site.run("build")
    after = json.loads(site.run("inspect", "good.jpg", "--format", "json").stdout)
    assert after["focus"] == [0.25, 1.0]
    assert after["version"] != before["version"]
    assert {v["status"] for v in after["variants"]} == {"BUILT"}
    assert site.run("focus", "good.jpg", "--clear").exit_code == 0
    assert json.loads(site.run("inspect", "good.jpg", "--format", "json").stdout)["focus"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "give X and Y"), (("0.5",), "give X and Y"), (("0.5", "2"), "focus"), (("0.5", "0.5", "--clear"), "give X")],
)
def test_a_focus_that_is_no_point_is_refused(site: Site, arguments: tuple[str, ...], said: str) -> None:
    result = site.run("focus", "good.jpg", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_focus_of_no_picture_is_refused_and_leaves_no_row(site: Site) -> None:
    result = site.run("focus", "absent.jpg", "0.5", "0.5")
    assert (result.exit_code, result.stderr) == (1, "Error: there is no absent.jpg\n")
    assert site.run("inspect", "absent.jpg").exit_code == 1


def test_inspect_of_an_unknown_source_fails(site: Site) -> None:
    result = site.run("inspect", "absent.jpg")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: nothing is known of absent.jpg")


def test_config_shows_what_is_in_force_without_secrets(site: Site) -> None:
    result = site.run(
        "config",
        EASYIMG_METADATA="postgresql://me:hunter2@db/site",
        EASYIMG_STORAGE_OPTIONS='{"default": {"auto_mkdir": true, "secret": "hunter2"}}',
    )
    assert result.exit_code == 0
    assert "engine in use: vips" in result.stdout
    assert "metadata = 'postgresql://***@db/site'" in result.stdout
    assert "hunter2" not in result.output


# how commands find their EasyImg, and how they fail


@pytest.mark.slow
def test_an_app_is_found_by_its_module(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.folder / "my_site.py").write_text(
        "from easyimg import EasyImg\n"
        f"def make():\n    return EasyImg(storages='file://{site.media}', metadata='sqlite:///{site.folder}/other.db')\n"
    )
    process = subprocess.run(
        [*COMMAND, "--app", "my_site:make", "status"], cwd=site.folder, capture_output=True, text=True, check=True
    )
    assert process.stdout.startswith("Sources: 0\n")
    assert (site.folder / "other.db").exists()


@pytest.mark.parametrize(
    ("words", "env", "code", "message"),
    [
        (["status"], {"EASYIMG_QUEU": "x"}, 2, "Error: unknown setting 'EASYIMG_QUEU'; did you mean 'EASYIMG_QUEUE'"),
        (["--app", "absent_module:app", "status"], {}, 2, "Error: app: 'absent_module:app': there is no module"),
        (["--app", "json:dump_s", "status"], {}, 2, "Error: app: 'json:dump_s': no 'dump_s' in json"),
        (["status"], {"EASYIMG_METADATA": "sqlite:////nowhere/at/all.db"}, 2, "Error: metadata: SQLite: "),
        (["status", "--format", "xml"], {}, 2, "'xml' is not one of"),
        (["bulid"], {}, 2, "No such command 'bulid'"),
        (["build", "--workers", "0"], {}, 2, "--workers"),
    ],
)
def test_errors_are_one_clear_line_and_the_right_exit_code(
    site: Site, words: list[str], env: dict[str, str], code: int, message: str
) -> None:
    result = site.run(*words, **env)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_verbose_shows_the_traceback(site: Site) -> None:
    result = site.run("-v", "status", EASYIMG_METADATA="sqlite:////nowhere/at/all.db")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr


def test_an_unexpected_error_is_one_line_too(site: Site) -> None:
    (site.folder / "bad_site.py").write_text("def make():\n    raise RuntimeError('out of order')\n")
    process = subprocess.run(
        [*COMMAND, "--app", "bad_site:make", "status"], cwd=site.folder, capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert process.stderr == "Error: unexpected RuntimeError: out of order (easyimg -v shows where)\n"


def test_version_and_help_need_no_configuration() -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout == f"easyimg, version {easyimg.__version__}\n"
    text = CliRunner().invoke(main, ["--help"]).stdout
    assert all(str(command.name) in text for command in COMMANDS)


def test_help_loads_no_image_library_and_no_database() -> None:
    code = (
        "import sys\nfrom easyimg.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print([m for m in ('pyvips', 'PIL', 'sqlalchemy', 'dramatiq', 'jinja2') if m in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "[]"


def test_the_commands_can_be_added_to_a_frameworks_own_command_line(site: Site) -> None:
    @click.group(cls=SafeGroup)
    @click.pass_context
    def group(ctx: click.Context) -> None:
        ctx.obj = Session(lambda: site.app)

    for command in COMMANDS:
        group.add_command(command)
    assert CliRunner().invoke(group, ["status"]).stdout.startswith("Sources: 0\n")


def test_no_builder_threads_are_started_by_ordering(site: Site) -> None:
    site.put("a.jpg")
    result = site.run("queue", "a.jpg", "width=60", EASYIMG_QUEUE="thread")
    assert result.exit_code == 0
    assert site.app.metadata.counts(stale_after=0).queued == 3


@pytest.mark.slow
def test_a_worker_builds_what_is_due_and_ends_cleanly_on_sigterm(site: Site) -> None:
    source = site.put("good.jpg")
    site.order(source)
    process = site.start("worker", "--processes", "1", env={"EASYIMG_QUEUE": "none"})
    wait_for(lambda: site.statuses(source) == {"BUILT"}, 40)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in err


def test_the_list_of_commands_says_of_each_in_whole_words_what_it_does() -> None:
    lines = CliRunner().invoke(main, ["--help"]).output.partition("Commands:\n")[2].splitlines()
    assert len(lines) == len(COMMANDS)
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []
