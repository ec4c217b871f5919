"""The pixel libraries behind :class:`easyimg.ports.Engine`. Importing this package loads none of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from easyimg.errors import ConfigError, MissingDependency, shown

if TYPE_CHECKING:
    from easyimg.ports import Engine

_ENGINES: Final = {
    "vips": ("easyimg.engines.vips", "VipsEngine", "pyvips pyvips-binary"),
    "pillow": ("easyimg.engines.pillow", "PillowEngine", "Pillow"),
}


def load_engine(name: str = "auto") -> Engine:
    """Return the engine of that name, importing its library now.

    Args:
        name: ``"vips"``, ``"pillow"``, or ``"auto"``: libvips where it can be imported, else Pillow. Which one it is,
            ``Engine.name`` says.

    Raises:
        MissingDependency: the library is not installed, or its binary part cannot be loaded.
        ConfigError: there is no engine of that name.
    """
    if name == "auto":
        try:
            return load_engine("vips")
        except MissingDependency:
            return load_engine("pillow")
    if name not in _ENGINES:
        raise ConfigError(f"engine: {shown(name)} is not one of 'auto', 'vips', 'pillow'")
    module, cls, package = _ENGINES[name]
    try:
        engine: Engine = getattr(import_module(module), cls)()
    except (ImportError, OSError) as exc:  # OSError: pyvips is there, the libvips it loads is not
        raise MissingDependency(package, f"the {name} engine", "all") from exc
    return engine
