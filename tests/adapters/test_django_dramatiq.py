"""Sites that have Dramatiq already, through django_dramatiq: its workers build, over its broker."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.django_project import Project
from tests.adapters.django_site import database_settings
from tests.queues.sites import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # many processes start, one after another

Make = Callable[..., Project]

MIDDLEWARE = [
    "dramatiq.middleware.AgeLimit",
    "dramatiq.middleware.TimeLimit",
    "dramatiq.middleware.Callbacks",
    "dramatiq.middleware.Retries",
    "django_dramatiq.middleware.AdminMiddleware",
    "django_dramatiq.middleware.DbConnectionsMiddleware",
]

TASKS = """
from django_dramatiq.models import Task
print(sorted({(task.actor_name, task.status) for task in Task.tasks.all()}))
"""

ACTORS = """
import django_dramatiq.setup, easyimg_django.tasks
import dramatiq
print([name for name in dramatiq.get_broker().actors if name.endswith(".build")])
"""


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path, queue_name: str) -> Make:
    """Return a function that makes a project with a Dramatiq broker on the server of a fixture."""

    def project(server: str, database: str = "", sqlite: Any = None, **easyimg: Any) -> Project:
        url = request.getfixturevalue(server)
        kind = "redis.RedisBroker" if url.startswith("redis") else "rabbitmq.RabbitmqBroker"
        options = {"url": url, "namespace": queue_name} if url.startswith("redis") else {"url": url}
        broker = {"BROKER": f"dramatiq.brokers.{kind}", "OPTIONS": options, "MIDDLEWARE": MIDDLEWARE}
        databases = {"default": {**database_settings(f"sqlite:///{tmp_path}/site.db"), "OPTIONS": sqlite}}
        return Project(
            tmp_path,
            request.getfixturevalue(database) if database else None,
            **({"DATABASES": databases} if sqlite else {}),
            INSTALLED_APPS=["django_dramatiq", "easyimg_django"],
            DRAMATIQ_BROKER=broker,
            EASYIMG={"QUEUE": "dramatiq", "QUEUE_NAME": queue_name, **easyimg},
        )

    return project


@pytest.mark.parametrize("server", ["redis_url", "rabbitmq_url"])
def test_rundramatiq_answers_doorbells_and_stops_when_asked(make: Make, server: str, queue_name: str) -> None:
    # On SQLite only as the next test does it: AdminMiddleware would give up where another writes meanwhile.
    project = make(server, "postgres_url", SWEEP_SECONDS=60)
    project.put("a.jpg", "b.jpg")
    with project.started("rundramatiq", "--processes", "1", "--threads", "2", "--queues", queue_name) as dramatiq:
        project.order("a.jpg", "b.jpg")
        project.wait_for_files(6)
        dramatiq.send_signal(signal.SIGTERM)
        assert dramatiq.wait(30) == 0
    assert "Discovered tasks module: 'easyimg_django.tasks'" in project.log
    # Its AdminMiddleware may log that the sender and the worker insert a message's row at the same time.
    assert str(ROOT / "easyimg") not in project.log
    status = project.status()
    assert (status["generated"], status["pending"]) == (6, 0)
    done = project.run("-c", f"import django; django.setup(){TASKS}")
    assert f"('{queue_name}.build', 'done')" in done.stdout


def test_no_row_of_its_admin_stays_running_on_sqlite_where_transactions_begin_by_writing(
    make: Make, queue_name: str
) -> None:
    wal = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode = WAL"}
    project = make("redis_url", sqlite=wal)
    names = [f"{n}.jpg" for n in range(12)]
    project.put(*names)
    with project.started("rundramatiq", "--processes", "1", "--threads", "4", "--queues", queue_name) as dramatiq:
        project.order(*names)
        project.wait_for_files(36)
        dramatiq.send_signal(signal.SIGTERM)
        assert dramatiq.wait(30) == 0
    assert "database is locked" not in project.log
    done = project.run("-c", f"import django; django.setup(){TASKS}")
    assert f"('{queue_name}.build', 'done')" in done.stdout
    assert "'running'" not in done.stdout


def test_rundramatiq_sweeps_for_doorbells_that_were_lost(make: Make, queue_name: str) -> None:
    project = make("redis_url", SWEEP_SECONDS=1)
    project.put("a.jpg")
    own = "EASYIMG = {**EASYIMG, 'QUEUE': 'none'}\n"
    (project.folder / "silent.py").write_text(f"from site_settings import *\n{own}")
    done = project.manage("easyimg", "queue", "a.jpg", "width=40", "densities=[2]", "--settings", "silent")
    assert (done.returncode, done.stdout) == (0, "Queued 1 picture\n")
    with project.started("rundramatiq", "--processes", "1", "--threads", "1", "--queues", queue_name):
        project.wait_for_files(3)


def test_the_worker_of_easyimg_takes_the_sites_broker_as_well(make: Make) -> None:
    project = make("redis_url")
    project.put("a.jpg")
    with project.started("easyimg", "worker", "--processes", "1") as worker:
        project.order("a.jpg")
        project.wait_for_files(3)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(25) == 0
    assert "crew=DramatiqCrew" in project.log
    assert "Traceback" not in project.log


def test_a_site_whose_pictures_are_built_elsewhere_keeps_its_dramatiq_to_itself(make: Make, queue_name: str) -> None:
    project = make("redis_url", QUEUE="none")
    assert project.run("-c", ACTORS).stdout == "[]\n"
    project = make_again(project, queue_name)
    assert project.run("-c", ACTORS).stdout == f"['{queue_name}.build']\n"


def make_again(project: Project, queue_name: str) -> Project:
    """Let the same project use its broker."""
    path = project.folder / "site_settings.py"
    path.write_text(f"{path.read_text()}\nEASYIMG = {{'QUEUE': 'dramatiq', 'QUEUE_NAME': {queue_name!r}}}\n")
    return project
