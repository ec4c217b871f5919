"""Builds side by side, and one alone."""

import os
import threading
import time

from easyimg.alone import Builds


def never():
    return False


def run(*works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    return threads


def join(threads):
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_one_waits_until_it_is_alone_and_others_until_it_is_over():
    builds, seen = Builds(), []
    begun, over = threading.Event(), threading.Event()

    def first():
        with builds.one():
            begun.set()
            over.wait(10)
            seen.append("first ends")

    def suspect():
        begun.wait(10)
        with builds.one():
            asked.set()
            assert builds.be_alone(10, never)
            seen.append("alone")
            time.sleep(0.1)
            seen.append("alone ends")

    def later():
        asked.wait(10)
        while builds._alone is None and not seen:
            time.sleep(0.01)
        with builds.one():
            seen.append("later")

    asked = threading.Event()
    threads = run(first, suspect, later)
    asked.wait(10)
    while builds._alone is None:
        time.sleep(0.01)
    time.sleep(0.2)
    assert seen == []
    over.set()
    join(threads)
    assert seen == ["first ends", "alone", "alone ends", "later"]


def test_the_second_who_wants_to_be_alone_is_told_so_at_once():
    builds, told = Builds(), []
    both, done = threading.Barrier(2), threading.Event()

    def one():
        with builds.one():
            both.wait(10)
            told.append(builds.be_alone(10, never))
            if not told[-1]:
                return
            done.wait(10)

    threads = run(one, one)
    done.set()
    join(threads)
    assert sorted(told) == [False, True]


def test_it_gives_up_in_time_or_when_told_to_stop_and_others_go_on():
    builds, over, begun = Builds(), threading.Event(), threading.Event()

    def first():
        with builds.one():
            begun.set()
            over.wait(10)

    threads = run(first)
    assert begun.wait(10)
    with builds.one():
        assert not builds.be_alone(0.05, never)
        assert not builds.be_alone(10, lambda: True)
    with builds.one():
        pass
    over.set()
    join(threads)


def test_a_build_inside_a_build_does_not_wait_for_itself():
    builds = Builds()
    with builds.one():
        assert builds.be_alone(1, never)
        with builds.one():
            assert builds.be_alone(1, never)
    with builds.one():
        pass


def test_a_forked_process_has_no_builds_under_way():
    builds = Builds()
    over = threading.Event()

    def first():
        with builds.one():
            over.wait(10)

    threads = run(first)
    pid = os.fork()
    if pid == 0:
        with builds.one():
            os._exit(0 if builds.be_alone(0.5, never) else 1)
    over.set()
    join(threads)
    assert os.waitpid(pid, 0)[1] == 0
