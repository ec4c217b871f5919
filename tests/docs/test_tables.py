from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import click

from easyimg.checks import WIDTHS
from easyimg.cli import COMMANDS
from easyimg.maintain import status_report
from easyimg.options import CROPS, OPTION_NAMES, RATIOS
from easyimg.settings import Settings
from easyimg.variant import Counts

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_options_table_has_one_row_per_option_in_the_code() -> None:
    table = (DOCS / "options.md").read_text().split("\n\n| option |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert sorted(rows) == sorted(OPTION_NAMES)


def test_options_page_names_every_word() -> None:
    text = (DOCS / "options.md").read_text()
    assert [word for word in (*WIDTHS, *RATIOS, *CROPS) if f"`{word}`" not in text] == []


def test_every_setting_is_described_in_its_docstring() -> None:
    described = re.findall(r"^ {8}([\w, ]+):", Settings.__doc__ or "", re.MULTILINE)
    assert {name for line in described for name in line.split(", ")} == {field.name for field in fields(Settings)}


def _options(command: click.Command) -> set[str]:
    found = {name for p in command.params if isinstance(p, click.Option) for name in p.opts if name.startswith("--")}
    return found - {"--help"}


def test_the_command_line_page_has_every_command_with_its_options() -> None:
    text = (DOCS / "cli.md").read_text()
    parts = dict(re.findall(r"^## `easyimg (\w+)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(parts) == {command.name for command in COMMANDS}
    for command in COMMANDS:
        described = set(re.findall(r"`(--[\w-]+)", "\n".join(re.findall(r"^\| .*", parts[command.name], re.MULTILINE))))
        if command.name != "build_img_queue":  # "the same options"
            assert described == _options(command), command.name
    assert _options(COMMANDS[1]) == _options(COMMANDS[2])


def test_the_command_line_page_has_every_key_of_the_status() -> None:
    report = status_report(Counts(), stale_after=600)
    (table,) = re.findall(r"^\| key \| value \|\n(.*?)\n\n", (DOCS / "cli.md").read_text(), re.MULTILINE | re.DOTALL)
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(report)
    assert [key for key in (*report["counts"], *report["stale"]) if f"`{key}`" not in table] == []
