"""``flask easyimg ...``: the commands of ``easyimg``, on the application's own EasyImg."""

from __future__ import annotations

import os

import click
from flask import Flask, current_app, has_app_context
from flask.cli import ScriptInfo

import easyimg
from easyimg.cli import COMMANDS
from easyimg.cli.session import SafeGroup, Session
from easyimg.errors import ConfigError
from easyimg_flask import request

WORKER_SPEC = "easyimg_flask.cli:find_core"
"""How the processes of a worker find the EasyImg: by the application that ``FLASK_APP`` names."""


class FlaskGroup(SafeGroup):
    """Ours, below ``flask``."""

    shows_where = "flask easyimg -v"


@click.group("easyimg", cls=FlaskGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Say more; show tracebacks.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_context
def easyimg_group(ctx: click.Context, verbose: bool, quiet: bool) -> None:
    """Look after the variants of this application's pictures."""
    info = ctx.ensure_object(ScriptInfo)
    if not has_app_context():
        ctx.with_resource(info.load_app().app_context())
    if ctx.invoked_subcommand == "worker":
        _tell_children(info)
    session = Session(find_core, verbose=verbose, quiet=quiet, spec=WORKER_SPEC, program="flask easyimg")
    ctx.obj = session
    ctx.call_on_close(session.close)


for _command in COMMANDS:
    if _command.name != "demo":  # a site of its own, not this application
        easyimg_group.add_command(_command)


def find_core() -> easyimg.EasyImg:
    """Return the EasyImg of the current application; without one, of that which Flask's command line would load.

    Raises:
        ConfigError: ``init_app`` was not called for it.
        click.UsageError: there is no application.
    """
    app = _current() if has_app_context() else ScriptInfo(os.environ.get("FLASK_APP") or None).load_app()
    found = app.extensions.get(request.EXTENSION)
    if not isinstance(found, easyimg.EasyImg):
        raise ConfigError(f"easyimg: EasyImg().init_app(app) was not called for {app.name!r}")
    return found


def _current() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - the documented way
    return app


def _tell_children(info: ScriptInfo) -> None:
    """Name the application in the environment, where the processes that a worker starts look for it.

    ``flask --app`` tells only this process, and a command line of the site's own nobody.
    """
    if info.app_import_path:
        os.environ["FLASK_APP"] = info.app_import_path
    elif info.create_app is not None and not os.environ.get("FLASK_APP"):
        raise ConfigError(
            "worker: set FLASK_APP; its processes cannot see the application that this command line makes"
        )
