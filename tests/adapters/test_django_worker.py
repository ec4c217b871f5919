"""``manage.py easyimg worker``: real processes with Django set up, on the databases and brokers of sites."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.django_project import Project
from tests.queues.sites import alive, children, kill, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # many processes start, one after another

Make = Callable[..., Project]
WORKER = ("easyimg", "worker", "--processes", "1")


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path, queue_name: str) -> Make:
    """Return a function that makes a project of fixtures' names: a database, a queue."""

    def project(database: str = "", queue: str = "none", **easyimg: Any) -> Project:
        url = request.getfixturevalue(database) if database else None
        broker = request.getfixturevalue(queue) if queue.endswith("_url") else queue
        chosen = {"QUEUE": broker, "QUEUE_NAME": queue_name, "NAMESPACE": queue_name, **easyimg}
        return Project(tmp_path, url, EASYIMG=chosen)

    return project


def builders(supervisor: int) -> list[int]:
    return [pid for pid in children(supervisor) if b"--child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize(
    ("database", "queue"),
    [
        ("", "none"),
        ("", "redis_url"),
        ("", "rabbitmq_url"),
        ("postgres_url", "thread"),
        ("postgres_url", "redis_url"),
        ("postgres_url", "rabbitmq_url"),
        ("mysql_url", "redis_url"),
    ],
)
def test_what_is_ordered_before_and_meanwhile_is_built_and_sigterm_ends_it(
    make: Make, database: str, queue: str
) -> None:
    project = make(database, queue, SWEEP_SECONDS=60)
    project.put("early.jpg", "late.jpg")
    project.order("early.jpg")
    with project.started(*WORKER, folder="/") as worker:  # its processes find the settings beside manage.py
        project.wait_for_files(3)
        project.order("late.jpg")  # a doorbell, or a look at the rows: nothing is swept for a minute
        project.wait_for_files(6)
        (pid,) = builders(worker.pid)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(25) == 0
    assert not alive(pid)
    assert "Traceback" not in project.log
    status = project.status()
    assert (status["sources"], status["generated"], status["pending"]) == (2, 6, 0)


def test_a_killed_process_is_replaced_and_django_is_set_up_in_the_next(make: Make) -> None:
    project = make()
    project.put("a.jpg")
    with project.started(*WORKER) as worker:
        (first,) = until(lambda: builders(worker.pid), 40)
        until(lambda: " started " in project.log, 40)
        kill(first)
        until(lambda: (pids := builders(worker.pid)) and pids != [first], 40)
        project.order("a.jpg")
        project.wait_for_files(3)


@pytest.mark.parametrize(
    ("easyimg", "text"),
    [
        ({"QUEU": "none"}, "unknown setting 'queu'; did you mean 'queue'?"),
        ({"QUEUE": "redis://127.0.0.1:1/0"}, "queue: redis://127.0.0.1:1/0: "),
        ({"QUEUE": "dramatiq"}, "queue: 'dramatiq' means the site's own broker, and none was given"),
        ({"METADATA": "django:nowhere"}, "metadata: no database 'nowhere' in DATABASES"),
    ],
)
def test_what_cannot_work_is_told_in_one_line_at_the_start(tmp_path: Path, easyimg: dict[str, Any], text: str) -> None:
    project = Project(tmp_path, migrated=False, EASYIMG={"METADATA": f"sqlite:///{tmp_path}/rows.db", **easyimg})
    done = project.manage(*WORKER)
    assert done.returncode == 2
    assert done.stderr.startswith(f"CommandError: {text}")
    assert done.stderr.count("\n") == 1


def test_the_plain_command_works_for_the_site_as_well(make: Make) -> None:
    project = make()
    project.put("a.jpg")
    project.order("a.jpg")
    # What the project starts; the site is named by the environment alone.
    (project.folder / "manage.py").write_text("from easyimg.cli import main; main()")
    with project.started("worker", "--processes", "1"):
        project.wait_for_files(3)
