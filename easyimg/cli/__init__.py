"""The command line: ``easyimg``.

Exit codes: 0 fine; 1 a gate tripped or work failed; 2 usage or configuration; 130 interrupted.

``COMMANDS`` hold no state: a framework's own command line adds them to a group whose context object is a
:class:`~easyimg.cli.session.Session` with its own way to find the EasyImg, closed by ``ctx.call_on_close``.
"""

from __future__ import annotations

import click

import easyimg
from easyimg.cli import building, demo, inspecting, moving, queueing, schema, status, upkeep
from easyimg.cli.session import SafeGroup, Session
from easyimg.loading import load_app

COMMANDS: tuple[click.Command, ...] = (
    status.status,
    building.build,
    building.build_img_queue,
    queueing.requeue,
    queueing.queue,
    queueing.focus,
    upkeep.clean_command,
    upkeep.check_command,
    moving.adopt_command,
    building.worker,
    inspecting.inspect,
    inspecting.config,
    schema.migrate,
    demo.demo,
)
"""Every command, ready to be added to another group."""


@click.group(cls=SafeGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--app",
    "spec",
    envvar="EASYIMG_APP",
    metavar="MODULE:OBJECT",
    help="The EasyImg to use, or a function that returns it. Without it, EASYIMG_* variables are read.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say more; show tracebacks.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@click.version_option(easyimg.__version__, prog_name="easyimg")
@click.pass_context
def main(ctx: click.Context, spec: str | None, verbose: bool, quiet: bool) -> None:
    """Responsive images: look after the variants of a site's pictures."""
    session = Session(lambda: load_app(spec), verbose=verbose, quiet=quiet, spec=spec)
    ctx.obj = session
    ctx.call_on_close(session.close)


for _command in COMMANDS:
    main.add_command(_command)
