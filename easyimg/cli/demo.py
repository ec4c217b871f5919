"""``easyimg demo``: the main job in one command."""

from __future__ import annotations

from pathlib import Path

import click

from easyimg.cli.session import Session, pass_session


@click.command(short_help="Build a folder of pictures and serve a gallery of it.")
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="A folder of pictures; without it, some are painted.",
)
@click.option("--once", is_flag=True, help="Write the page and exit; for scripts.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".demo"),
    show_default=True,
    metavar="DIR",
    help="Where sources, variants, rows and the page go; made anew each time.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 = any free one.")
@pass_session
@click.pass_context
def demo(
    ctx: click.Context, session: Session, photos: Path | None, once: bool, out: Path, host: str, port: int
) -> None:
    """Build a folder of pictures through the real queue, show the bytes saved, serve the page."""
    from easyimg.demo import run_demo

    session.hush()
    ctx.exit(run_demo(out, photos=photos, once=once, host=host, port=port, console=session.out))
