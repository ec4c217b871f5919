"""What the tables say of a case that could not be done whole."""

from __future__ import annotations

import pytest

from tests.faults import cases, report
from tests.faults.harness import Result

cases.load()

WORDS = "this account may not mount one"


def result(fault: int, **values: str) -> Result:
    return Result(fault, "disk full", "sqlite", "none", 3, 1, **values)


def test_a_case_done_in_part_is_not_shown_as_done() -> None:
    part, whole = result(8, not_done=f"no small disk: {WORDS}"), result(7)
    assert report.line(part).startswith("part")
    assert WORDS in report.line(part)
    assert report.line(whole).startswith("ok")
    (row,) = [line for line in report.table([part, whole]).splitlines() if line.startswith("| 8 ")]
    assert row.endswith(f"| not done: no small disk: {WORDS} |")
    (row,) = [line for line in report.summary([part, whole]).splitlines() if line.startswith("| 8 ")]
    assert "not all of it was done" in row
    assert "not" not in report.summary([whole]).replace("| not ", "")


@pytest.mark.parametrize("not_done", ["", WORDS])
def test_a_failed_case_says_so_before_all_else(not_done: str) -> None:
    failed = result(8, not_done=not_done, error="AssertionError: tried 3 times")
    assert report.line(failed).startswith("BAD")
    assert "AssertionError: tried 3 times" in report.table([failed])
    assert "**failed**" in report.summary([failed])
