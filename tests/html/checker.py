"""The Nu HTML checker (https://github.com/validator/validator), what HTML authors' tools are built on: find it, run it.

    python tests/html/checker.py    install it into node_modules, and from Debian what it needs

Java runs it. ``TEST_VNU_JAR`` names a jar of another place; it is then used as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "node_modules" / "vnu-jar"
VERSION = "26.9.27"
"""A newer checker may find what this one let pass: raised on purpose, not by chance."""


class Finding(NamedTuple):
    """One error or warning: the file's name, the line in it, and what the checker says."""

    file: str
    line: int
    message: str


def find_checker(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the checker's jar if it can be run here."""
    jar = Path(environ.get("TEST_VNU_JAR") or PACKAGE / "build" / "dist" / "vnu.jar")
    return jar if jar.is_file() and shutil.which("java") else None


def check(jar: Path, folder: Path) -> list[Finding]:
    """Return all that the checker says about the HTML files of a folder: errors, warnings, and files it cannot read.

    One process for all files: starting Java takes longer than checking a hundred of them.
    """
    # Guessing the language of a page of images would only find its file names.
    options = ["--format", "json", "--stdout", "--exit-zero-always", "--no-langdetect", "--skip-non-html"]
    command = ["java", "-jar", str(jar), *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return [
        Finding(Path(m.get("url", "")).name, m.get("lastLine", 0), f"{m.get('subType') or m['type']}: {m['message']}")
        for m in json.loads(done.stdout)["messages"]
    ]


def install() -> str:
    """Install what is missing; return one line about what cannot be had, ``""`` when all is there."""
    from tests.services import apt_install

    if os.environ.get("TEST_VNU_JAR"):
        return "" if find_checker() else "TEST_VNU_JAR names no file, or java is not installed"
    has_package = _installed_version() == VERSION
    needed = {"java": "default-jre-headless"} if has_package else {"java": "default-jre-headless", "npm": "npm"}
    apt_install([package for program, package in needed.items() if not shutil.which(program)])
    for program, package in needed.items():
        if not shutil.which(program):
            return f"{program} is not installed; on Debian: apt install {package}"
    if not has_package:
        # Its install script would only look for a Java of its own.
        options = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        npm = ["npm", "install", "--prefix", str(ROOT), *options, f"vnu-jar@{VERSION}"]
        subprocess.run(npm, stdout=subprocess.DEVNULL, check=False)
    return "" if find_checker() else f"npm could not install vnu-jar {VERSION}"


def _installed_version() -> str:
    try:
        return str(json.loads((PACKAGE / "package.json").read_text())["version"])
    except (OSError, ValueError, KeyError):
        return ""


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    problem = install()
    if problem:
        print(f"HTML checker: {problem}", flush=True)
    sys.exit(bool(problem) and os.environ.get("CI") == "true")
