"""What every command shares: the EasyImg, where it talks to, how errors become exit codes."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO, TypeVar

import click
from rich.console import Console
from rich.logging import RichHandler

from easyimg.app import EasyImg
from easyimg.errors import ConfigError, EasyImgError, SpecError
from easyimg.ports import App
from easyimg.reach import check_rows

F = TypeVar("F", bound=Callable[..., Any])

Found = tuple[Any, list[str] | None]
"""A model, and names of its fields; None = those that hold pictures."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


class Session:
    """One run of the command line.

    Args:
        find_app: returns the EasyImg; called when a command first needs it.
        verbose: log everything, show tracebacks.
        quiet: only errors.
        spec: how the EasyImg was named, to be handed to other processes; None = by the environment.
        program: what people type for ``easyimg`` here; suggestions begin with it.
        find_model: returns the model, and the names of its fields or None, that a word means; None = it means none.
        shared: others of this process use the EasyImg as well: it is left open.
        logs: log to standard error; False where the site's own logging does.
    """

    def __init__(
        self,
        find_app: Callable[[], App],
        *,
        verbose: bool = False,
        quiet: bool = False,
        spec: str | None = None,
        program: str = "easyimg",
        find_model: Callable[[str], Found | None] = lambda word: None,
        shared: bool = False,
        logs: bool = True,
    ) -> None:
        self._find_app = find_app
        self._app: App | None = None
        self._is_ours = not shared
        self._is_checked = False
        self.verbose = verbose
        self.quiet = quiet
        self.spec = spec
        self.program = program
        self.find_model = find_model
        self.asked_by: int | None = None
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)
        self._logged: list[tuple[logging.Logger, logging.Handler, int]] = []
        self._handler = self._log_to_stderr() if logs else self._log_elsewhere()

    @property
    def app(self) -> App:
        """The EasyImg, its rows within reach; with ``unchecked`` they need not be.

        Raises:
            ConfigError: there is none, or its metadata store cannot be used as configured.
        """
        found = self.unchecked
        if not self._is_checked:
            check_rows(found.metadata)
            self._is_checked = True
        return found

    @property
    def unchecked(self) -> App:
        """The EasyImg. This process never starts the builder threads of the site's own ``queue="thread"``."""
        if self._app is None:
            found = self._find_app()
            if isinstance(found, EasyImg) and found.settings.queue == "thread":
                found = EasyImg(found.settings.replace(queue="none"))
                self._is_ours = True
            self._app = found
        return self._app

    def is_asked_to_stop(self) -> bool:
        """Return whether a signal has come."""
        return self.asked_by is not None

    def end_if_asked(self) -> None:
        """End the command by the signal that made its work stop, if one did."""
        if self.asked_by is not None:
            raise _end_of(self.asked_by)

    def say(self, text: str) -> None:
        """Print a result, unless quiet."""
        if not self.quiet:
            click.echo(text)

    def hush(self, *, always: bool = False) -> None:
        """Log nothing, unless verbose: the command itself tells what happens."""
        if always or not self.verbose:
            self._handler.setLevel(logging.CRITICAL)

    def close(self) -> None:
        """Close the EasyImg, unless others use it, and stop logging."""
        for logger, handler, level in self._logged:
            logger.removeHandler(handler)
            logger.setLevel(level)
        if isinstance(self._app, EasyImg) and self._is_ours:
            self._app.close()

    def _log_to_stderr(self) -> logging.Handler:
        if self.err.is_terminal:
            handler: logging.Handler = RichHandler(console=self.err, show_path=False, show_time=False)
        else:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        handler.setLevel(logging.DEBUG if self.verbose else logging.ERROR if self.quiet else logging.WARNING)
        self._log("easyimg", handler)
        # What libvips warns of is in our own messages, where it matters; with no handler it would be printed.
        self._log("pyvips", handler if self.verbose else logging.NullHandler())
        return handler

    def _log_elsewhere(self) -> logging.Handler:
        handler = logging.NullHandler()
        self._log("pyvips", handler)
        return handler

    def _log(self, name: str, handler: logging.Handler) -> None:
        logger = logging.getLogger(name)
        self._logged.append((logger, handler, logger.level))
        logger.addHandler(handler)
        if self.verbose:
            logger.setLevel(logging.INFO if name == "pyvips" else logging.DEBUG)


class SafeGroup(click.Group):
    """A group whose commands end with one clear line and the right exit code, whatever was raised."""

    shows_where = "easyimg -v"
    """What shows where an error came from that nobody foresaw."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            with _terminable(ctx):
                return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except (ConfigError, SpecError) as exc:
            self.fail(ctx, exc, str(exc), 2)
        except EasyImgError as exc:
            self.fail(ctx, exc, str(exc), 1)
        except Exception as exc:  # noqa: BLE001  # the border of the process
            self.fail(ctx, exc, f"unexpected {type(exc).__name__}: {exc} ({self.shows_where} shows where)", 1)

    def fail(self, ctx: click.Context, exc: Exception, message: str, code: int) -> None:
        """Say what went wrong, and end with this exit code."""
        if isinstance(ctx.obj, Session) and ctx.obj.verbose:
            click.echo("".join(traceback.format_exception(exc)), err=True, nl=False)
        click.echo(f"Error: {message}", err=True)
        ctx.exit(code)


@contextmanager
def _terminable(ctx: click.Context) -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: what is claimed is given back on the way out.

    An exception that a signal's handler raises is lost where Python runs a finalizer at that moment. The session
    remembers the signal, so that long work stops at the next place that looks.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if isinstance(ctx.obj, Session):
            ctx.obj.asked_by = number
        if frame is not None and frame.f_code.co_filename == weakref.__file__:
            threading.Timer(0.01, signal.raise_signal, (number,)).start()  # once more, when that is over
            return
        raise _end_of(number)

    handled = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, or the site's own matter
        handled.append(signal.SIGINT)
    previous = {number: signal.signal(number, stop) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _end_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def _console(file: TextIO) -> Console:
    """Return a console; where no terminal tells its width, tables get room enough to stay on one line."""
    return Console(file=file, highlight=False, soft_wrap=True, width=None if file.isatty() else 200)


pass_session = click.make_pass_decorator(Session)
"""Give a command the Session as its first argument."""


def stale_after_option(default: float | None) -> Callable[[F], F]:
    """Return the option ``--stale-after``."""
    return click.option(
        "--stale-after",
        type=click.FloatRange(min=0),
        default=default,
        show_default=default is not None,
        metavar="SECONDS",
        help="A build without a verdict counts as stale this long after its lease ended.",
    )


def format_option(*names: str) -> Callable[[F], F]:
    """Return the option ``--format``; the default is pretty on a terminal, else plain."""
    return click.option(
        "--format", "form", type=click.Choice(names), default=None, help="Default: pretty on a terminal, else plain."
    )


def chosen_format(session: Session, form: str | None) -> str:
    """Return the format asked for, or what suits standard output."""
    return form or ("pretty" if session.out.is_terminal else "plain")
