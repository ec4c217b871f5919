"""The core's command line as commands of ``manage.py``: the same subcommands, options, output and exit codes."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import partial
from typing import Any, Final, NoReturn

import click
from django.apps import apps
from django.core.management.base import BaseCommand, CommandError

import easyimg
from easyimg.cli import COMMANDS
from easyimg.cli.session import INTERRUPTED, Found, SafeGroup, Session
from easyimg.current import current_app
from easyimg.errors import SpecError, did_you_mean, shown
from easyimg.formats import ALIASES, FORMATS

PROGRAM: Final = "manage.py easyimg"

SPEC: Final = "easyimg_django.site:app"
"""How worker processes find the site's EasyImg."""

_WITH_VALUE: Final = ("--settings", "--pythonpath", "--verbosity", "-v")
_FLAGS: Final = ("--traceback", "--no-color", "--force-color", "--version")
"""Django's options of every command. No subcommand has options of these names, so they may stand anywhere."""


def _options(command: click.Command) -> Iterable[str]:
    """Return the options of a subcommand as keyword arguments of ``call_command``."""
    return [_keyword(param) for param in command.params if isinstance(param, click.Option)]


def _keyword(option: click.Option) -> str:
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


class Group(SafeGroup):
    """The subcommands. Their errors become Django's: one line on the command line, raised by ``call_command``."""

    shows_where = "--traceback"

    def fail(self, ctx: click.Context, exc: Exception, message: str, code: int) -> NoReturn:
        """Hand the error on."""
        raise CommandError(message, returncode=code) from exc


GROUP: Final = Group(
    "easyimg",
    commands={str(command.name): command for command in COMMANDS},
    help="Look after the variants of the site's pictures.",
    epilog=f"Django's own options may stand anywhere: {', '.join((*_WITH_VALUE, *_FLAGS))}.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
"""Every subcommand."""


class EasyImgCommand(BaseCommand):
    """Hands its words to the subcommands.

    The site's system checks are not run first: cron runs this every minute, and a setting of ours that cannot work is
    said in one line anyhow.
    """

    requires_system_checks = ()
    stealth_options = tuple({name for command in COMMANDS for name in _options(command)})
    first: Sequence[str] = ()
    """Words that come before those that were given."""

    def get_version(self) -> str:
        """Return easyimg's version."""
        return easyimg.__version__

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        """Return a parser that keeps to Django's own options and leaves the other words to the subcommands."""
        parser = super().create_parser(prog_name, subcommand, add_help=False, **options)
        parser.parse_args = partial(_parsed, parser.parse_args)
        return parser

    def add_arguments(self, parser: Any) -> None:
        """Take any words."""
        parser.add_argument("words", nargs="*")

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """Print what there is, for ``manage.py help easyimg``."""
        self._run(["--help"], {"verbosity": 1, "no_color": True})

    def handle(self, *args: Any, words: Sequence[str], **options: Any) -> None:
        """Run a subcommand.

        Raises:
            CommandError: it failed; ``returncode`` is the exit code.
        """
        given = {name: value for name, value in options.items() if name in self.stealth_options}
        with ExitStack() as stack:
            if options.get("stdout") is not None:
                stack.enter_context(redirect_stdout(options["stdout"]))
            if options.get("stderr") is not None:
                stack.enter_context(redirect_stderr(options["stderr"]))
            code = self._run([*words, *_as_words(given)], options)
        if code and self._called_from_command_line:
            raise SystemExit(code)  # the subcommand has said why
        if code:
            why = "interrupted" if code == INTERRUPTED else "it has said why"
            raise CommandError(f"{PROGRAM} {' '.join(words)}: exit code {code}: {why}", returncode=code)

    def _run(self, words: Sequence[str], options: Mapping[str, Any]) -> int:
        words = [*self.first, *words] or ["--help"]
        asks_for_help = {"-h", "--help"} & set(words)
        if words[0] == "worker" and not asks_for_help and not os.environ.get("DJANGO_SETTINGS_MODULE"):
            text = "worker: its processes find the site by DJANGO_SETTINGS_MODULE, which is not set"
            raise CommandError(text, returncode=2)
        session = _session(options)
        try:
            return GROUP.main(words, prog_name=PROGRAM, standalone_mode=False, obj=session) or 0
        except click.ClickException as exc:
            raise CommandError(_complaint(exc), returncode=exc.exit_code) from exc
        finally:
            session.close()


def find_model(word: str) -> Found | None:
    """Return the model, and its field in a list, that ``shop.Product`` or ``shop.Product.photo`` means.

    Raises:
        SpecError: the app has no such model; or only another app has.
    """
    label, _, rest = word.partition(".")
    name, _, field = rest.partition(".")
    extension = ALIASES.get(rest.lower(), rest.lower())
    if not rest or extension in (*FORMATS, *(f.extension for f in FORMATS.values())):
        return None  # the name of a file
    if label not in apps.app_configs:
        elsewhere = [model._meta.app_label for model in apps.get_models() if model.__name__ == name]  # noqa: SLF001
        if not elsewhere:
            return None  # that of a folder
        raise SpecError(f"{shown(word)}: no app {label!r}{did_you_mean(label, elsewhere)}")
    known = {model.__name__: model for model in apps.get_app_config(label).get_models()}
    if name not in known:
        raise SpecError(f"{shown(word)}: no model {name!r} in the app {label!r}{did_you_mean(name, known)}")
    return known[name], [field] if field else None


def _session(options: Mapping[str, Any]) -> Session:
    session = Session(
        current_app,
        verbose=options["verbosity"] > 1,
        quiet=options["verbosity"] == 0,
        spec=SPEC,
        program=f"python {PROGRAM}",
        find_model=find_model,
        shared=True,
        logs=not logging.getLogger("easyimg").hasHandlers(),  # else the site's LOGGING does
    )
    for console in (session.out, session.err):
        console.no_color = bool(options["no_color"]) or console.no_color
    return session


def _complaint(error: click.ClickException) -> str:
    ctx = getattr(error, "ctx", None)
    where = f" ({ctx.command_path} --help shows what there is)" if ctx else ""
    return f"{error.format_message()}{where}"


def _parsed(parse: Any, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
    """Parse Django's options, wherever they stand; all else is words."""
    options, words = split(args or [])
    return parse([*options, "--", *words], namespace)


def split(args: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return Django's own options among these words, and the others."""
    options: list[str] = []
    words: list[str] = []
    rest = iter(args)
    for word in rest:
        if word == "--":
            words += [word, *rest]
        elif word in _WITH_VALUE:
            options += [word, *[value for value in [next(rest, None)] if value is not None]]
        elif word in _FLAGS or re.match(r"-v\d|--(settings|pythonpath|verbosity)=", word):
            options.append(word)
        else:
            words.append(word)
    return options, words


def _as_words(options: Mapping[str, Any]) -> list[str]:
    """Return keyword arguments of ``call_command`` as they are written on the command line."""
    words: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            several = value if isinstance(value, list | tuple) else [value]
            words += [word for one in several for word in (option, str(one))]
    return words
