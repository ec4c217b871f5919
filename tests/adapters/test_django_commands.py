"""``manage.py easyimg`` and ``build_img_queue``: in this process by ``call_command``, and as processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from easyimg import Img, current_app
from easyimg.cli import COMMANDS, main
from easyimg.testing import images
from tests.adapters import django_site
from tests.adapters.django_project import Project
from tests.queues.sites import until

django_site.start()

from django.core.management import CommandError, call_command  # noqa: E402 - needs a Django that is set up
from django.db import transaction  # noqa: E402
from django.test import override_settings  # noqa: E402

from easyimg_django.commands import split  # noqa: E402

ALIASES = ["sqlite_alias", "postgres_alias", "mysql_alias"]
KEYS = ["sources", "generated", "queued", "building", "pending", "source_errors", "build_errors"]


@pytest.fixture
def alias(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(getattr(request, "param", "sqlite_alias"))
    django_site.empty(name)
    return name


@pytest.fixture
def media(tmp_path: Path, alias: str) -> Iterator[Path]:
    """The folder of a site whose settings are in force: a good picture, and a broken one."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/good.jpg").write_bytes(images.photo(160, 120))
    (tmp_path / "photos/bad.jpg").write_bytes(images.photo(160, 120)[:2000])
    presets = {"card": {"width": 40, "densities": [2]}}
    chosen = {"METADATA": f"django:{alias}", "QUEUE": "none", "ISOLATION": "never", "PRESETS": presets}
    with override_settings(MEDIA_ROOT=str(tmp_path), MEDIA_URL="/media/", EASYIMG=chosen):
        yield tmp_path


def run(*words: str, **options: Any) -> str:
    out = StringIO()
    call_command(*words, stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


def failed(*words: str, **options: Any) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command(*words, **{"stdout": StringIO(), "stderr": StringIO(), **options})
    return caught.value


def counts() -> dict[str, int]:
    found: dict[str, int] = json.loads(run("easyimg", "status", "--format", "json"))["counts"]
    return found


# In this process, on three databases.


@pytest.mark.parametrize("alias", ALIASES, indirect=True)
def test_pictures_are_queued_built_and_reported_by_commands_alone(media: Path) -> None:
    assert run("easyimg", "queue", "photos/", "--preset", "card") == "Queued 2 pictures\n"
    assert counts() == {**dict.fromkeys(KEYS, 0), "sources": 2, "queued": 6, "pending": 6}

    out = StringIO()
    assert failed("easyimg", "build", stdout=out).returncode == 1
    assert out.getvalue().startswith("Built 3 variants of 2 sources in ")
    assert out.getvalue().endswith("3 failed\n")

    report = json.loads(run("easyimg", "status", format="json", stale_after=5))
    assert list(report["counts"]) == KEYS
    assert report["counts"] == {**dict.fromkeys(KEYS, 0), "sources": 2, "generated": 3, "source_errors": 3}
    assert report["stale"] == {"threshold_seconds": 5, "count": 0}
    assert len(list(media.glob("img/*"))) == 3

    assert failed("easyimg", "status", fail_on_errors=2).returncode == 1
    assert failed("easyimg", "status", "--fail-on-errors", "2").returncode == 1
    run("easyimg", "status", fail_on_errors=3)
    assert run("easyimg", "requeue", kind=["SourceUnreadable"]) == "Requeued 3 variants\n"
    assert counts()["queued"] == 3


def test_suggestions_are_what_can_be_typed_on_a_django_site(media: Path) -> None:
    run("easyimg", "queue", "photos/good.jpg", "width=40")
    assert "Suggestion: python manage.py easyimg build\n" in run("easyimg", "status")
    run("easyimg", "build")
    for file in media.glob("img/*"):
        file.unlink()
    out = StringIO()
    assert failed("easyimg", "check", stdout=out).returncode == 1
    assert "Try: python manage.py easyimg check --fix\n" in out.getvalue()


def test_the_queue_is_worked_off_for_cron_and_silence_means_that_nothing_was_due(media: Path) -> None:
    assert run("build_img_queue") == ""
    run("easyimg", "queue", "photos/good.jpg", "width=40")
    assert run("build_img_queue", limit=1).startswith("Built ")
    assert run("build_img_queue", verbosity=0) == ""
    assert counts()["pending"] == 0


def test_commands_see_what_the_transaction_around_them_has_not_committed(media: Path, alias: str) -> None:
    with transaction.atomic(using=alias):
        str(Img(width=40)("photos/good.jpg", alt=""))
        assert counts()["queued"] == 3
        run("build_img_queue")
        assert counts()["generated"] == 3
        transaction.set_rollback(True, using=alias)
    assert counts()["sources"] == 0


def test_a_command_leaves_the_sites_easyimg_as_it_was(media: Path) -> None:
    app = current_app()
    storage = app.storage("default")
    run("easyimg", "status")
    assert current_app() is app
    assert app.storage("default") is storage  # nothing was closed under those who use it


def test_orphans_are_cleaned_and_a_source_is_inspected(media: Path) -> None:
    run("easyimg", "queue", "photos/good.jpg", "width=40")
    run("build_img_queue")
    orphan = media / "img" / f"{'0' * 32}.{'0' * 12}.webp"
    orphan.write_bytes(b"left over")
    report = json.loads(run("easyimg", "clean", dry_run=True, older_than="0", format="json"))
    assert (report["orphans"], orphan.exists()) == (1, True)
    run("easyimg", "clean", "--older-than", "0")
    assert (orphan.exists(), len(list(media.glob("img/*")))) == (False, 3)
    assert "photos/good.jpg" in run("easyimg", "inspect", "photos/good.jpg")
    assert failed("easyimg", "inspect", "photos/none.jpg").returncode == 1


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("easyimg", "stats"), 2, "No such command 'stats'. Did you mean 'status'?"),
        (("easyimg", "status", "--fromat", "json"), 2, "No such option '--fromat'. Did you mean '--format'?"),
        (("easyimg", "queue", "photos/", "--preset", "crad"), 2, "no preset 'crad'; did you mean 'card'?"),
        (("easyimg", "queue", "photos/", "widht=3"), 2, "did you mean 'width'?"),
        (("easyimg", "queue", "shop.Prodct", "width=3"), 2, "no model 'Prodct' in the app 'shop'; did you mean"),
        (("easyimg", "queue", "shp.Product", "width=3"), 2, "'shp.Product': no app 'shp'; did you mean 'shop'?"),
        (("easyimg", "queue", "shop.Product.foto", "width=3"), 2, "holds files; did you mean 'photo'?"),
        (("easyimg", "queue", "shop.Product.name", "width=3"), 2, "no field 'name' that holds files"),
        (("easyimg", "queue", "none/", "width=3"), 1, "no pictures found in storage 'default': none/"),
        (("easyimg", "worker"), 2, "DJANGO_SETTINGS_MODULE, which is not set"),
        (("easyimg", "migrate"), 2, "use its migrations"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(
    media: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, text: str
) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    error = failed(*words)
    assert error.returncode == code
    assert text in str(error)
    assert "\n" not in str(error)


def test_settings_that_cannot_work_are_told_in_one_line(media: Path) -> None:
    with override_settings(EASYIMG={"QUEU": "none"}):
        error = failed("easyimg", "status")
    assert (str(error), error.returncode) == ("unknown setting 'queu'; did you mean 'queue'?", 2)


def test_absent_tables_are_told_with_what_makes_them(media: Path, tmp_path: Path) -> None:
    with (
        django_site.database("bare", f"sqlite:///{tmp_path / 'bare.db'}", migrated=False),
        override_settings(EASYIMG={"METADATA": "django:bare"}),
    ):
        error = failed("easyimg", "status")
    assert str(error).endswith("; run: python manage.py migrate easyimg_django --database bare")
    assert error.returncode == 2


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        ("status --format json", "", "status --format json"),
        ("--settings a status -v 2", "--settings a -v 2", "status"),
        ("status --settings=a --no-color -v0", "--settings=a --no-color -v0", "status"),
        ("queue a -- --settings b", "", "queue a -- --settings b"),
        ("status --verbosity", "--verbosity", "status"),
    ],
)
def test_djangos_own_options_may_stand_anywhere(args: str, options: str, words: str) -> None:
    assert split(args.split()) == (options.split(), words.split())


def test_no_subcommand_has_an_option_that_is_djangos() -> None:
    taken = [opt for command in COMMANDS for param in command.params for opt in param.opts]
    assert split(taken)[0] == []


def test_every_subcommand_of_the_command_line_is_there_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        name = str(command.name)
        call_command("easyimg", name, "--help")
        by_django = capsys.readouterr().out
        by_click = CliRunner().invoke(main, [name, "--help"], prog_name="manage.py easyimg").output
        assert by_django.split() == by_click.split()  # whatever width the lines have


# As processes.


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"), EASYIMG={"ISOLATION": "never"})
    made.put("photos/good.jpg")
    return made


@pytest.mark.slow
def test_exit_codes_and_output_are_those_of_the_command_line(project: Project) -> None:
    assert project.manage("easyimg", "queue", "photos/", "width=40", "densities=[2]").stdout == "Queued 1 picture\n"
    status = project.manage("easyimg", "status", "--format", "json", "--settings", "site_settings", "--no-color")
    assert (status.returncode, json.loads(status.stdout)["counts"]["queued"], status.stderr) == (0, 3, "")
    built = project.manage("build_img_queue")
    assert (built.returncode, built.stdout[:29], built.stderr) == (0, "Built 3 variants of 1 source ", "")
    assert len(project.files) == 3

    project.put("photos/bad.jpg", data=b"no picture")
    project.manage("easyimg", "queue", "photos/", "width=40", "densities=[2]")
    assert project.manage("easyimg", "build").returncode == 1
    tripped = project.manage("easyimg", "status", "--fail-on-errors", "0")
    assert (tripped.returncode, tripped.stderr, "Source errors: 3" in tripped.stdout) == (1, "", True)

    wrong = project.manage("easyimg", "status", "--fromat", "json")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert wrong.stderr.startswith("CommandError: No such option '--fromat'")
    traced = project.manage("easyimg", "queue", "none/", "width=4", "--traceback")
    assert "Traceback" in traced.stderr


PRODUCTS = """
from tests.adapters.shop.models import Product
Product.objects.bulk_create([  # as before easyimg: nothing is queued by this
    *(Product(name=name, photo=f"photos/{name}.jpg", leaflet=f"{name}.pdf") for name in "abc"),
    Product(name="without a photo"),
])
"""


@pytest.mark.slow
def test_the_pictures_of_a_models_rows_are_queued_and_built_by_a_worker(tmp_path: Path) -> None:
    presets = {"card": {"width": 40, "densities": [2]}}
    apps = ["easyimg_django", "tests.adapters.shop"]
    project = Project(tmp_path, migrated=False, INSTALLED_APPS=apps, EASYIMG={"QUEUE": "none", "PRESETS": presets})
    for words in (("migrate", "--run-syncdb", "--verbosity", "0"), ("shell", "-c", PRODUCTS)):
        assert project.manage(*words).returncode == 0
    project.put("photos/a.jpg", "photos/b.jpg", "photos/c.jpg", "photos/unnamed.jpg")

    queued = project.manage("easyimg", "queue", "shop.Product.photo", "--preset", "card")
    assert (queued.returncode, queued.stdout, queued.stderr) == (0, "Queued 3 pictures\n", "")
    assert project.status() == {**dict.fromkeys(KEYS, 0), "sources": 3, "queued": 9, "pending": 9}
    with project.started("easyimg", "worker", "--processes", "1"):
        project.wait_for_files(9)
        until(lambda: project.status()["pending"] == 0)
    assert project.status() == {**dict.fromkeys(KEYS, 0), "sources": 3, "generated": 9}
    again = project.manage("easyimg", "queue", "shop.Product", "--preset", "card")  # all its image fields
    assert (again.returncode, again.stdout) == (0, "Queued 0 of 3 pictures; the others had their rows already\n")

    wrong = project.manage("easyimg", "queue", "shop.Product.foto", "--preset", "card")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert "shop.Product has no field 'foto' that holds files; did you mean 'photo'?" in wrong.stderr


@pytest.mark.slow
def test_helps_tell_what_there_is(project: Project) -> None:
    for words in (("easyimg",), ("easyimg", "--help"), ("help", "easyimg")):
        done = project.manage(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(str(command.name) in done.stdout for command in COMMANDS)
    assert "build_img_queue" in project.manage("help").stdout


@pytest.mark.slow
def test_the_plain_command_finds_the_site_that_django_settings_module_names(project: Project) -> None:
    command = ("-c", "from easyimg.cli import main; main()", "status", "--format", "json")
    done = project.run(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["counts"] == project.status()

    absent = project.run(*command, DJANGO_SETTINGS_MODULE="no_settings")
    assert (absent.returncode, absent.stdout) == (2, "")
    assert "the Django site cannot be set up: ModuleNotFoundError: No module named 'no_settings'" in absent.stderr
    own = project.run(*command, EASYIMG_METADATA=f"sqlite:///{project.folder}/own.db")
    assert json.loads(own.stdout)["counts"]["sources"] == 0  # settings of ours in the environment come first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"INSTALLED_APPS": []}, "site_settings: 'easyimg_django' is not in INSTALLED_APPS; name another EasyImg"),
        ({"INSTALLED_APPS": ["no_app"]}, "the Django site cannot be set up: ModuleNotFoundError: No module named"),
        ({"EASYIMG": {"QUEU": "none"}}, "unknown setting 'queu'; did you mean 'queue'?"),
    ],
)
def test_the_plain_command_says_what_the_site_lacks(tmp_path: Path, settings: dict[str, Any], text: str) -> None:
    project = Project(tmp_path, migrated=False, **settings)
    done = project.run("-c", "from easyimg.cli import main; main()", "status")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert text in done.stderr
