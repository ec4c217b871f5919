"""What ``clean`` does about originals of transactions that were cut short."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from easyimg import Img
from easyimg.clean import clean
from easyimg.cli import COMMANDS
from easyimg.cli.session import SafeGroup, Session
from easyimg.fields import bind
from easyimg.unsettled import FOLDER
from tests.fields.conftest import Shop, picture

HOUR = 3600.0


@pytest.fixture
def killed(tmp_path):
    """Return the shop that a process left behind that was killed at some moment."""
    made = []

    def make(moment):
        command = [sys.executable, "-m", "tests.fields.killed", str(tmp_path), moment]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        shop = Shop(tmp_path)
        bind(shop.models.Base, shop.Session)
        made.append(shop)
        return shop

    yield make
    for shop in made:
        shop.close()


def age(shop, seconds=2 * HOUR):
    for path in (shop.media / FOLDER).iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


@pytest.mark.parametrize(
    ("moment", "orphans"),
    [
        ("after the flush", 1),
        ("after the flush of a delete", 0),
        ("before the file", 0),
        ("after the commit", 1),
        ("after the commit of a delete", 1),
    ],
)
def test_a_killed_process_leaves_an_orphan_that_clean_finds_and_nothing_else(killed, moment, orphans):
    shop = killed(moment)
    named, files = shop.named(), shop.files()
    assert len(files) == len(named) + orphans
    assert shop.notes()
    clean(shop.app, older_than=HOUR)
    assert shop.files() == files  # still young
    age(shop)
    report = clean(shop.app, older_than=HOUR, dry_run=True)
    assert (report.uploads, shop.files()) == (orphans, files)
    report = clean(shop.app, older_than=HOUR)
    assert (report.uploads, report.unsettled, report.failed) == (orphans, 0, 0)
    assert shop.files() == named
    assert shop.notes() == []
    assert clean(shop.app, older_than=HOUR).uploads == 0


def cut_short(shop):
    """Leave a transaction behind as a dead process does; return what must not be closed before the end."""
    session = shop.Session()
    session.add(shop.Product(main_image=picture()))
    session.flush()
    return session


def test_a_transaction_is_given_an_hour_whatever_was_asked_for(shop):
    bind(shop.models.Base, shop.Session)
    session = cut_short(shop)
    assert clean(shop.app, older_than=0).uploads == 0
    age(shop, HOUR - 60)
    assert clean(shop.app, older_than=0).uploads == 0
    assert len(shop.files()) == 1
    session.commit()
    assert shop.files() == shop.named()


def test_an_upload_is_left_alone_where_nobody_can_say_whether_a_row_names_it(shop, caplog):
    session = cut_short(shop)
    age(shop)
    report = clean(shop.app, older_than=HOUR)
    assert (report.uploads, report.unsettled, len(shop.files())) == (0, 1, 1)
    assert "nobody answers for their column" in caplog.text
    session.close()


def test_an_upload_of_a_column_that_there_is_no_more_is_left_alone(shop):
    bind(shop.models.Base, shop.Session)
    session = cut_short(shop)
    (path,) = (shop.media / FOLDER).iterdir()
    path.write_text(path.read_text().replace("product.main_image", "product.photo"))
    age(shop)
    assert clean(shop.app, older_than=HOUR).unsettled == 1
    assert len(shop.files()) == 1
    session.close()


def test_a_file_that_another_column_names_stays(shop):
    bind(shop.models.Base, shop.Session)
    session = cut_short(shop)
    (name,) = shop.files()
    session.connection().exec_driver_sql("UPDATE product SET main_image = NULL, back_image = ?", (name,))
    session.connection().commit()
    age(shop)
    assert clean(shop.app, older_than=HOUR).uploads == 0
    assert shop.files() == [name]
    session.close()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"v": 2}', '{"v": 1, "column": 7, "files": {}}', "\xff"])
def test_what_is_no_note_is_left_alone(shop, text):
    bind(shop.models.Base, shop.Session)
    (shop.media / FOLDER).mkdir()
    (shop.media / FOLDER / "x.json").write_text(text, "latin-1")
    age(shop)
    report = clean(shop.app, older_than=HOUR)
    assert (report.uploads, report.unsettled) == (0, 0)
    assert (shop.media / FOLDER / "x.json").exists()


def test_an_orphan_goes_with_its_rows_and_variants(shop):
    bind(shop.models.Base, shop.Session)
    session = cut_short(shop)
    (name,) = shop.files()
    Img(width=30)(name, alt="").build("all")  # the page was shown inside the transaction
    assert len(shop.variants()) == 3
    session.connection().invalidate()
    age(shop)
    shop.engine.dispose()
    assert clean(shop.app, older_than=HOUR).uploads == 1
    assert (shop.files(), shop.variants(), shop.app.metadata.counts(stale_after=0).sources) == ([], [], 0)
    session.close()


def test_the_command_says_what_it_did_and_what_it_could_not(shop):
    def run(*words):
        group = SafeGroup("easyimg", commands={command.name: command for command in COMMANDS})
        return CliRunner().invoke(group, words, obj=Session(lambda: shop.app))

    session = cut_short(shop)
    age(shop)
    result = run("clean", "--older-than", "1h")
    assert result.exit_code == 0
    assert "Undecided: 1 originals of transactions that were cut short; say where the rows" in result.stdout
    bind(shop.models.Base, shop.Session)
    session.connection().invalidate()
    result = run("clean", "--older-than", "1h")
    assert "Removed: 1 originals of transactions that were cut short\n" in result.stdout
    values = json.loads(run("clean", "--format", "json").stdout)
    assert (values["uploads"], values["unsettled"]) == (0, 0)
    session.close()
