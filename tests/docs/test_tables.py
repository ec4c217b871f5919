from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from easyimg.checks import WIDTHS
from easyimg.options import CROPS, LATER, OPTION_NAMES, RATIOS
from easyimg.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_options_table_has_one_row_per_option_in_the_code() -> None:
    table = (DOCS / "options.md").read_text().split("\n\n| option |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert sorted(rows) == sorted(OPTION_NAMES)


def test_options_page_names_what_is_refused_for_now_and_every_word() -> None:
    text = (DOCS / "options.md").read_text()
    (refused,) = re.findall(r"^Not in this release.*$", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", refused)) == set(LATER)
    assert [word for word in (*WIDTHS, *RATIOS, *CROPS) if f"`{word}`" not in text] == []


def test_every_setting_is_described_in_its_docstring() -> None:
    described = re.findall(r"^ {8}([\w, ]+):", Settings.__doc__ or "", re.MULTILINE)
    assert {name for line in described for name in line.split(", ")} == {field.name for field in fields(Settings)}
