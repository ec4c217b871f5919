"""Sphinx configuration: ``make docs`` builds with every warning an error, unresolved names included."""

from __future__ import annotations

import builtins
from importlib.metadata import version as _version
from typing import TYPE_CHECKING

from sphinx import addnodes

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

project = "easyimg"
author = "The easyimg contributors"
version = release = _version("easyimg")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "examples"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 100  # one argument per line beyond
autodoc_default_options = {"members": True, "undoc-members": True, "exclude-members": "__new__"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False

nitpicky = True
# Types in signatures are shown as they are written there; those of other projects could be resolved over the network
# only. What our pages name in full (`easyimg.`), and every error under "Raises", must resolve.
nitpick_ignore_regex = [("py:class", r"(?!easyimg\.).*"), ("py:.*", r"(?!easyimg)\w+\..*")]

html_theme = "furo"
html_title = "easyimg"


def _keep_colons(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put back together what napoleon splits: it reads "Longest side: 16383" above an attribute as a type."""
    if what in ("attribute", "property", "data") and lines and lines[-1].startswith(":type: "):
        lines[:] = [f"{lines[-1].removeprefix(':type: ')}: {lines[0]}", *lines[1:-1]]


def _unlink_builtins(app: Sphinx, doctree: nodes.document) -> None:
    """Show builtin types as text: a field called ``bytes`` would be taken for the type of that name."""
    for reference in list(doctree.findall(addnodes.pending_xref)):
        if reference["refdomain"] == "py" and reference["reftarget"] in dir(builtins):
            reference.replace_self(reference.children)


def _write_factories(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Give defaults that a dataclass makes anew a text that parses as Python; ``<factory>`` does not."""
    return signature.replace("<factory>", "{...}") if signature else signature, returns


def setup(app: Sphinx) -> None:
    """Register the corrections above."""
    app.connect("autodoc-process-signature", _write_factories)
    app.connect("autodoc-process-docstring", _keep_colons, priority=600)  # after napoleon's 500
    app.connect("doctree-read", _unlink_builtins)
