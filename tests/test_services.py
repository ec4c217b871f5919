from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import services


def test_postgres_database_is_new_and_empty(postgres_url: str) -> None:
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == []
        connection.execute(text("CREATE TABLE t (a int)"))
    engine.dispose()


def test_mysql_database_is_new_and_dropped_under_an_open_transaction(mysql_url: str) -> None:
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(mysql_url)
    connection = engine.connect()  # left open: the fixture must end it
    assert inspect(connection).get_table_names() == []
    connection.execute(text("CREATE TABLE t (a int)"))
    connection.execute(text("SELECT * FROM t"))
    connection.detach()
    connection.close()
    engine.dispose()


def test_two_redis_databases_are_apart(redis_url: str) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 1  # the mark of its taker
        client.set("a", 1)


def test_rabbitmq_takes_and_gives_a_message(rabbitmq_url: str, queue_name: str) -> None:
    connection = services.rabbitmq_connection(rabbitmq_url)
    channel = connection.channel()
    channel.queue_declare(queue_name)
    channel.basic_publish("", queue_name, b"ding")
    assert channel.basic_get(queue_name, auto_ack=True)[2] == b"ding"
    connection.close()


def test_chromium_shows_a_page(chromium) -> None:
    page = chromium.new_page()
    page.set_content("<title>easyimg</title>")
    assert page.title() == "easyimg"
    page.close()


def test_a_redis_of_our_own_starts_answers_and_is_gone() -> None:
    service = services.BY_NAME["redis"]
    with services.started(service) as url:
        service.ping(url)
    with pytest.raises(Exception, match=r"refused|Connection"):
        service.ping(url)


def test_run_exports_urls_and_hands_back_the_exit_code() -> None:
    root = Path(__file__).parent.parent
    code = "import os, sys; print(os.environ['TEST_REDIS_URL']); sys.exit(3)"
    done = subprocess.run(
        [sys.executable, "tests/services.py", "run", "--", sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "redis://" in done.stdout.splitlines()[-1]
