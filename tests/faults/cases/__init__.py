"""The faults, by what they break. Each module registers its own; ``load`` imports them all."""

from __future__ import annotations

import importlib
import pkgutil


def load() -> None:
    """Register every fault."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
